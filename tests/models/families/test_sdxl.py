import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image

from configs.settings import EngineSettings
from models.admission import parse_request
from models.denoising.samplers import make_scheduler
from models.engine import BatchingEngine, GenerationJob
from models.image import GeneratedImage, InputPicture
from models.planning import plan_recipe
from models.request import Sampler

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


@pytest.fixture
def paint(random_models, warm_pool):
    registry = random_models.registry
    engine = BatchingEngine(registry, EngineSettings(device="cpu"), warm_pool)

    def job(seed, text="a red shoe", image=None, mask=None, **params) -> GenerationJob:
        urls = {"image_url": image and "i", "mask_url": mask and "m"}
        params = {"resolution": "64x64", "steps": 3, **params}
        request = parse_request({"text": text, "model_type": "small_xl", "params": params, **urls}, registry)
        inputs = {
            name: InputPicture("0" * 64, lambda opened=opened: opened)
            for name, opened in {"image": image, "mask": mask}.items()
            if opened
        }
        recipe = plan_recipe(request, registry=registry, engine_kind="eager/cpu/float32", seed=seed, **inputs)
        return GenerationJob(str(seed), recipe, **inputs)

    def run(*specs) -> list[np.ndarray]:
        jobs = [job(**spec) for spec in specs]
        results = {result.id: result for result in engine.generate(jobs)}
        assert all(isinstance(result, GeneratedImage) for result in results.values()), results
        return [results[one.id].pixels.astype(int) for one in jobs]

    return run


@pytest.mark.parametrize("negative", ["", "blur"])
def test_sdxl_is_what_diffusers_makes(paint, random_models, negative):
    pipeline = StableDiffusionXLPipeline.from_pretrained(random_models.folder / "sdxl", add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = make_scheduler(Sampler.EULER, pipeline.scheduler.config, 3)

    (ours,) = paint({"seed": 3, "negative_text": negative})

    generator = torch.Generator().manual_seed(3)
    theirs = pipeline(
        "a red shoe",
        negative_prompt=negative or None,
        width=64,
        height=64,
        num_inference_steps=3,
        guidance_scale=7.5,
        generator=generator,
    ).images[0]
    assert np.abs(ours - np.asarray(theirs).astype(int)).max() <= 1


@pytest.mark.parametrize("inputs", [{}, {"image": PICTURE}, {"image": PICTURE, "mask": Image.new("L", (64, 64), 255)}])
@pytest.mark.parametrize("cfg_scale", [1, 7.5])
def test_a_picture_is_the_same_alone_and_in_company(paint, inputs, cfg_scale):
    specs = [
        {"seed": 1, "cfg_scale": cfg_scale, **inputs},
        {
            "seed": 2,
            "text": "a blue shirt",
            "negative_text": "blur" if cfg_scale > 1 else "",
            "cfg_scale": cfg_scale,
            **inputs,
        },
    ]

    together = paint(*specs)

    for spec, in_company in zip(specs, together, strict=True):
        assert np.abs(paint(spec)[0] - in_company).max() <= 1
    assert np.abs(together[0] - together[1]).mean() > 1
