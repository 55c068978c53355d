import pytest
import torch

from configs.settings import EngineSettings
from models import placement
from models.acceleration import availability
from models.card import ModelCard
from models.errors import AcceleratorError
from models.placement import Placement, choose_placement
from models.resolution import Resolution

SIZE = Resolution(512, 512)
GPUS = torch.cuda.device_count() if torch.cuda.is_available() else 0


def card(**fields) -> ModelCard:
    return ModelCard(name="mine", family="sd", source="weights", **fields)


def test_eager_takes_the_gpu_if_there_is_one_with_half_precision():
    expected = Placement("eager", "cuda", "float16") if GPUS else Placement("eager", "cpu", "float32")

    assert choose_placement(card(accelerator="eager"), EngineSettings()) == expected


def test_auto_is_eager_on_a_cpu_even_where_a_compiler_is():
    assert choose_placement(card(), EngineSettings(device="cpu")).kind(SIZE) == "eager/cpu/float32"


@pytest.mark.parametrize(
    ("megabytes", "has_bfloat16", "expected"), [(300, True, "bfloat16"), (300, False, "float32"), (2, True, "float32")]
)
def test_auto_computes_large_networks_in_bfloat16_where_the_cpu_has_it(
    tmp_path, monkeypatch, megabytes, has_bfloat16, expected
):
    (tmp_path / "unet").mkdir()
    with (tmp_path / "unet/diffusion_pytorch_model.safetensors").open("wb") as file:
        file.truncate(megabytes * 2**20)
    monkeypatch.setattr(placement, "computes_bfloat16", lambda: has_bfloat16)
    large = ModelCard(name="mine", family="sd", source=str(tmp_path))

    assert choose_placement(large, EngineSettings(device="cpu")).kind(SIZE) == f"eager/cpu/{expected}"


def test_a_model_on_a_hub_counts_as_large_before_it_is_fetched_and_after(tmp_path, monkeypatch):
    monkeypatch.setattr(placement, "computes_bfloat16", lambda: True)
    there = ModelCard(name="mine", family="sd", source="some/model", revision="0" * 40, hub_folder=tmp_path)
    kinds = [choose_placement(there, EngineSettings(device="cpu")).kind(SIZE)]
    next(there.remote_parts()).folder.mkdir(parents=True)
    kinds.append(choose_placement(there, EngineSettings(device="cpu")).kind(SIZE))

    assert kinds == ["eager/cpu/bfloat16"] * 2


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 umip", True),
        ("flags\t\t: fpu amx_bf16 amx_tile", True),
        ("Features\t: fp asimd i8mm bf16 dgh", True),
        ("flags\t\t: fpu avx2 avx512f", False),
        ("model name\t: bf16", False),
    ],
)
def test_bfloat16_is_known_by_the_flags_of_the_processor(monkeypatch, flags, expected):
    monkeypatch.setattr(availability.Path, "read_text", lambda path, **options: f"processor\t: 0\n{flags}\n")
    availability.computes_bfloat16.cache_clear()

    assert availability.computes_bfloat16() is expected
    availability.computes_bfloat16.cache_clear()


def test_openvino_asks_for_a_cpu_and_its_package(monkeypatch):
    wanted = card(accelerator="openvino")
    install(monkeypatch)
    with pytest.raises(AcceleratorError, match=r"needs OpenVINO, which is not installed: pip install 'imagegenx\[op"):
        choose_placement(wanted, EngineSettings(device="cpu"))
    with pytest.raises(AcceleratorError, match="computes on CPUs, and this is cuda"):
        availability.require_accelerator("openvino", "cuda", "mine")


@pytest.mark.parametrize("accelerator", ["tensorrt", "openvino"])
def test_loras_are_refused_with_accelerators_that_build_engines(accelerator):
    with pytest.raises(ValueError, match=f"accelerator {accelerator} runs neither LoRAs nor a controlnet"):
        card(accelerator=accelerator, loras={"bold": "bold.safetensors"})


PACKAGES = ("triton", "torch_tensorrt")


@pytest.fixture(autouse=True)
def _nothing_is_known_of_packages():
    for known in (availability._import_problem, availability.warn_of_missing, availability._compile_problem):
        known.cache_clear()
    yield
    for known in (availability._import_problem, availability.warn_of_missing, availability._compile_problem):
        known.cache_clear()


def install(monkeypatch, *names, problem: Exception | None = None) -> list[str]:
    """Have these of the accelerators' packages and no others, and the names of those that are imported."""
    imported = []

    def import_module(name):
        imported.append(name)
        if problem:
            raise problem

    monkeypatch.setattr(availability, "find_spec", lambda name: name in names or None)
    monkeypatch.setattr(availability, "import_module", import_module)
    monkeypatch.setattr(availability.shutil, "which", lambda program: f"/usr/bin/{program}")
    monkeypatch.setattr(torch, "compile", _compile_nothing)
    return imported


def _compile_nothing(function, **options):
    return lambda value: value


@pytest.fixture(autouse=True)
def tried_on(monkeypatch, tmp_path):
    """The devices on which something was compiled to see whether it can be."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    devices = []

    def zeros(count, device=None):
        devices.append(str(device))
        return device

    monkeypatch.setattr(torch, "zeros", zeros)
    return devices


@pytest.mark.parametrize(
    ("installed", "fields", "best"),
    [
        ({"triton", "torch_tensorrt"}, {}, "tensorrt"),
        ({"triton", "torch_tensorrt"}, {"loras": {"ink": "ink.safetensors"}}, "compile"),
        ({"triton", "torch_tensorrt"}, {"controlnet": "canny"}, "compile"),
        ({"triton", "torch_tensorrt"}, {"family": "diffusers"}, "eager"),
        ({"triton"}, {}, "compile"),
        (set(), {}, "eager"),
    ],
)
def test_on_a_gpu_auto_takes_the_fastest_that_is_installed_and_fits_the_model(monkeypatch, installed, fields, best):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    install(monkeypatch, *installed)
    model = ModelCard(**{"name": "mine", "family": "sd", "source": "weights"} | fields)

    assert choose_placement(model, EngineSettings()).kind(SIZE) == f"{best}/cuda/float16"


def test_without_a_c_compiler_auto_is_eager_with_one_warning_and_compile_is_a_clear_error(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.delenv("CC", raising=False)
    install(monkeypatch, "triton")
    monkeypatch.setattr(availability.shutil, "which", lambda program: None)

    for _ in range(2):
        assert choose_placement(card(), EngineSettings()).accelerator == "eager"
    with pytest.raises(AcceleratorError, match=r"'compile' needs a C compiler, .*: install gcc\. Or use auto or eager"):
        choose_placement(card(accelerator="compile"), EngineSettings())

    assert caplog.messages == [
        "accelerator auto takes eager on cuda: compile needs a C compiler, with which Triton builds its kernels' "
        "launchers, and there is none: install gcc."
    ]
    monkeypatch.setattr(availability.shutil, "which", {"/opt/own-cc": "/opt/own-cc"}.get)
    monkeypatch.setenv("CC", "/opt/own-cc")
    assert choose_placement(card(), EngineSettings()).accelerator == "compile"


def test_the_number_type_of_the_card_is_kept():
    assert choose_placement(card(dtype="bfloat16"), EngineSettings(device="cpu")).kind(SIZE) == "eager/cpu/bfloat16"


def test_which_gpu_it_was_is_no_part_of_the_kind():
    assert Placement("eager", "cuda:3", "float16").kind(SIZE) == "eager/cuda/float16"


@pytest.mark.parametrize("device", [f"cuda:{GPUS}", *([] if GPUS else ["cuda"])])
def test_a_gpu_that_is_not_here_is_a_clear_error(device):
    with pytest.raises(AcceleratorError) as caught:
        choose_placement(card(), EngineSettings(device=device))

    assert str(caught.value) == (
        f"engine.device '{device}': PyTorch sees {GPUS} GPUs here. Use auto or cpu, or install torch for CUDA."
    )


def test_the_kind_says_that_a_model_is_compiled(monkeypatch):
    monkeypatch.setattr(torch, "compile", _compile_nothing)
    assert (
        choose_placement(card(accelerator="compile"), EngineSettings(device="cpu")).kind(SIZE) == "compile/cpu/float32"
    )


def test_where_nothing_can_be_compiled_recipes_say_eager_and_compile_is_a_clear_error(monkeypatch, caplog, tried_on):
    def compile_in_vain(function, **options):
        def run(value):
            raise RuntimeError("fatal error: Python.h: No such file or directory\n\nSet TORCH_LOGS for more.")

        return run

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    install(monkeypatch, "triton")
    monkeypatch.setattr(torch, "compile", compile_in_vain)

    for _ in range(2):
        assert choose_placement(card(), EngineSettings()).kind(SIZE) == "eager/cuda/float16"
    with pytest.raises(AcceleratorError) as caught:
        choose_placement(card(accelerator="compile"), EngineSettings())

    assert str(caught.value) == (
        "model 'mine': accelerator 'compile' cannot compile the smallest function here (fatal error: Python.h: No such "
        "file or directory). Correct that. Or use auto or eager."
    )
    assert len(caplog.messages) == 1
    assert tried_on == ["cuda"]


def test_tensorrt_without_a_gpu_or_its_packages_is_a_clear_error(monkeypatch):
    with pytest.raises(AcceleratorError) as caught:
        choose_placement(card(accelerator="tensorrt"), EngineSettings(device="cpu"))
    assert str(caught.value) == (
        "model 'mine': accelerator 'tensorrt' needs an NVIDIA GPU, and this is cpu. Or use auto or eager."
    )

    monkeypatch.setattr(availability, "find_spec", lambda name: None)
    with pytest.raises(AcceleratorError) as caught:
        availability.require_accelerator("tensorrt", "cuda", "mine")
    assert str(caught.value) == (
        "model 'mine': accelerator 'tensorrt' needs torch-tensorrt, which is not installed: "
        "pip install 'imagegenx[tensorrt]'. Or use auto or eager."
    )


def test_what_is_installed_but_cannot_be_imported_is_passed_over_by_auto_and_says_why_if_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    imported = install(monkeypatch, *PACKAGES, problem=OSError("libnvinfer.so.10:\n  no such file"))

    assert choose_placement(card(), EngineSettings()).accelerator == "eager"
    with pytest.raises(AcceleratorError) as caught:
        choose_placement(card(accelerator="tensorrt"), EngineSettings())

    assert str(caught.value) == (
        "model 'mine': accelerator 'tensorrt' needs torch-tensorrt, which is installed but cannot be imported "
        "(OSError: libnvinfer.so.10: no such file): pip install 'imagegenx[tensorrt]'. Or use auto or eager."
    )
    assert sorted(imported) == sorted(PACKAGES)


def test_no_package_is_imported_for_a_model_on_a_cpu(monkeypatch, tmp_path):
    imported = install(monkeypatch, *PACKAGES)

    for accelerator in ("auto", "eager", "compile"):
        choose_placement(card(accelerator=accelerator), EngineSettings(device="cpu"))

    assert imported == []


def test_tensorrt_runs_neither_loras_nor_a_controlnet():
    with pytest.raises(ValueError, match="accelerator tensorrt runs neither LoRAs nor a controlnet: use compile"):
        card(accelerator="tensorrt", loras={"ink": "ink.safetensors"})


def test_compiling_without_a_compiler_is_a_clear_error(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(AcceleratorError) as caught:
        choose_placement(card(accelerator="compile"), EngineSettings(device="cpu"))

    assert str(caught.value) == (
        "model 'mine': accelerator 'compile' needs a C++ compiler, and there is none: install g++. "
        "Or use auto or eager."
    )


def test_a_family_that_runs_as_a_whole_has_no_accelerators():
    whole = ModelCard(name="mine", family="diffusers", source="weights", accelerator="compile")

    with pytest.raises(AcceleratorError) as caught:
        choose_placement(whole, EngineSettings(device="cpu"))

    assert str(caught.value) == (
        "model 'mine': models of family 'diffusers' know no accelerator 'compile'. Use auto or eager."
    )


@pytest.mark.parametrize(
    ("budget", "size", "tile_px"),
    [
        (None, (2048, 2048), None),
        (512 * 512, (512, 512), None),
        (512 * 512, (1024, 256), None),
        (512 * 512, (520, 512), 512),
        (512 * 512, (2048, 2048), 512),
        (600 * 600, (1024, 1024), 576),
        (128 * 128, (256, 64), None),
        (128 * 128, (136, 128), 128),
    ],
)
def test_a_picture_beyond_the_decode_budget_is_decoded_in_tiles_within_it_and_its_kind_says_so(budget, size, tile_px):
    placement = choose_placement(card(), EngineSettings(device="cpu", decode_budget_pixels=budget))

    assert placement.tile_px(Resolution(*size)) == tile_px
    kind = "eager/cpu/float32"
    assert placement.kind(Resolution(*size)) == (f"{kind}/tiles-{tile_px}" if tile_px else kind)


def test_a_family_that_runs_as_a_whole_decodes_as_its_pipeline_does():
    whole = ModelCard(name="mine", family="diffusers", source="weights")

    placement = choose_placement(whole, EngineSettings(device="cpu", decode_budget_pixels=128 * 128))

    assert placement.kind(Resolution(1024, 1024)) == "eager/cpu/float32"
