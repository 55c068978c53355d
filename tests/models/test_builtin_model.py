"""The model that ships in the repository does what any Stable Diffusion does, and paints what is asked."""

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline
from safetensors import safe_open

from benchmarks.quality import Commission, paint
from models.judge import load_judge
from models.sampler import Sampler
from training.judge import judge_background, judge_colour, judge_picture
from training.run import BUILTIN

TEXT = "a teal mug on a pink background"


def pictures(*commissions: Commission) -> list[np.ndarray]:
    found = dict(paint(commissions))
    return [found[number].pixels for number in range(len(commissions))]


def asked(text: str = TEXT, seed: int = 1, **params: object) -> Commission:
    return Commission(text, seed, {"resolution": "128x128", **params})


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def test_diffusers_loads_it_as_a_stable_diffusion_pipeline():
    pipeline = StableDiffusionPipeline.from_pretrained(
        BUILTIN / "tiny", safety_checker=None, requires_safety_checker=False
    )

    names = {name: type(part).__name__ for name, part in pipeline.components.items() if part is not None}
    assert names == {
        "vae": "AutoencoderKL",
        "text_encoder": "CLIPTextModel",
        "tokenizer": "CLIPTokenizer",
        "unet": "UNet2DConditionModel",
        "scheduler": "DDIMScheduler",
    }


@pytest.mark.parametrize(
    ("name", "most_bytes"),
    [
        ("tiny", 16_000_000),
        ("controlnet_canny", 3_000_000),
        ("loras/sketch.safetensors", 3_000_000),
        ("loras/pastel.safetensors", 3_000_000),
        ("upscaler.safetensors", 3_000_000),
    ],
)
def test_its_files_are_small_and_hold_half_precision(name, most_bytes):
    place = BUILTIN / name
    files = [place] if place.is_file() else [file for file in place.rglob("*") if file.is_file()]

    assert 0 < sum(file.stat().st_size for file in files) <= most_bytes
    for file in files:
        if file.suffix == ".safetensors":
            with safe_open(file, "pt") as tensors:
                assert {str(tensors.get_slice(key).get_dtype()) for key in tensors.keys()} == {"F16"}  # noqa: SIM118


def test_a_seed_paints_one_picture_and_another_seed_another_one():
    first, again, other = pictures(asked(seed=1), asked(seed=1), asked(seed=2))

    assert distance(first, again) < 0.5
    assert distance(first, other) > 3


def test_more_steps_come_nearer_to_the_picture_of_many_steps():
    many, some, few = pictures(asked(steps=60), asked(steps=20), asked(steps=3))

    assert distance(some, many) < 0.5 * distance(few, many)


def test_it_paints_the_product_colour_and_background_it_is_asked_for_in_both_languages():
    judge = load_judge(BUILTIN / "judge.safetensors")
    for picture in pictures(asked("a yellow chair, white background"), asked("白色背景上的黄色椅子")):
        assert judge_picture(judge, picture)[0] == "chair"
        assert (judge_colour(picture), judge_background(picture)) == ("yellow", "white")


def test_stronger_guidance_goes_farther_from_the_unguided_picture():
    unguided, weak, strong = pictures(*(asked(cfg_scale=scale) for scale in (1.0, 2.0, 7.5)))

    assert 0 < distance(weak, unguided) < distance(strong, unguided)


def test_a_negative_prompt_keeps_what_it_names_out_of_the_picture():
    def colours(**params: object) -> set[str]:
        return {
            judge_colour(picture) for picture in pictures(*(asked("a mug", n, steps=10, **params) for n in range(8)))
        }

    assert "grey" in colours()
    assert "grey" not in colours(negative_text="grey")


@pytest.fixture(scope="module")
def long_run() -> np.ndarray:
    (picture,) = pictures(asked(steps=25))
    return picture


@pytest.mark.parametrize("sampler", Sampler)
def test_every_sampler_paints_nearly_what_a_long_run_paints(sampler, long_run):
    (picture,) = pictures(asked(sampler=sampler, steps=8))

    assert judge_background(picture) == judge_background(long_run) == "pink"
    assert distance(picture, long_run) < 40
