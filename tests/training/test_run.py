import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from training.run import main


def train(folder: Path, target: str) -> None:
    """Run the command in this process, for two steps a stage."""
    options = ["--folder", str(folder / "work"), "--target", str(folder / target)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["training.run", "--budget", "tiny", "--workers", "1", *options])
        main()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything."""
    folder = tmp_path_factory.mktemp("training")
    train(folder, "builtin")
    return folder


def test_the_training_command_goes_through_all_its_stages(trained: Path):
    files = {str(file.relative_to(trained / "builtin")) for file in (trained / "builtin").rglob("*.safetensors")}
    assert files == {
        "tiny/unet/diffusion_pytorch_model.safetensors",
        "tiny/vae/diffusion_pytorch_model.safetensors",
        "tiny/text_encoder/model.safetensors",
        "controlnet_canny/diffusion_pytorch_model.safetensors",
        "loras/sketch.safetensors",
        "loras/pastel.safetensors",
        "upscaler.safetensors",
        "judge.safetensors",
    }


def test_what_it_trains_loads_and_paints_with_diffusers(trained: Path):
    import torch
    from diffusers import ControlNetModel, StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(
        trained / "builtin" / "tiny", safety_checker=None, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(trained / "builtin" / "loras", weight_name="sketch.safetensors")
    picture = pipeline("a red mug", num_inference_steps=1, height=128, width=128).images[0]
    assert picture.size == (128, 128)
    assert ControlNetModel.from_pretrained(trained / "builtin" / "controlnet_canny").config.in_channels == 8


def test_the_files_stay_small_and_are_in_half_precision(trained: Path):
    sizes = {file: file.stat().st_size for file in (trained / "builtin").rglob("*") if file.is_file()}
    model = sum(size for file, size in sizes.items() if "tiny" in file.relative_to(trained / "builtin").parts)
    assert model <= 16_000_000
    for file, size in sizes.items():
        if file.suffix == ".safetensors":
            assert "tiny" in file.parts or size <= 3_000_000
            with safe_open(file, "pt") as weights:
                assert {weights.get_slice(name).get_dtype() for name in weights.keys()} <= {"F16", "I64"}  # noqa: SIM118


def test_a_second_run_trains_nothing_again(trained: Path, capsys: pytest.CaptureFixture[str]):
    train(trained, "again")
    assert capsys.readouterr().out == f"written to {trained / 'again'}\n"
