import threading
from copy import copy

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, StableDiffusionXLControlNetPipeline
from PIL import Image

from configs.settings import PACKAGE_ROOT, EngineSettings
from models.admission import parse_request
from models.denoising.decoding import Decoder, to_pixels
from models.denoising.samplers import make_scheduler
from models.denoising.stepper import Pace, Stepper
from models.denoising.unet_model import UNetModel
from models.denoising.unet_parts import picture_tensor
from models.engine import BatchingEngine, GenerationJob
from models.errors import ModelError
from models.families.loading import load_family
from models.placement import choose_placement
from models.planning import plan_recipe
from models.request import Mode, Priority, Sampler
from tests.support.workbench import distance, make_item


def test_a_family_infers_a_batch_by_itself_as_the_engine_does(random_models, workbench):
    card = random_models.registry.card("small")
    family = load_family(card, choose_placement(card, EngineSettings(device="cpu")))
    items = [make_item(seed=1, steps=2), make_item(Mode.IMG2IMG, seed=2, steps=5)]
    told = []

    result = family.infer(items, (), lambda *step: told.append(step))

    stepper = Stepper(workbench.models["small"])
    for item, pixels in zip(items, result.pixels, strict=True):
        slot = stepper.start(item, ())
        while not slot.sampling.is_done:
            stepper.step([slot], pytest.fail)
        assert np.abs(stepper.pixels(slot).astype(int) - pixels).max() <= 1
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert set(result.seconds) == {"text", "denoise", "decode"}
    assert family.size_bytes > 100_000
    family.release()
    family.release()


def test_pictures_can_be_decoded_beside_the_steps_of_others(workbench):
    model = workbench.models["small"]
    slot = model.start(make_item(), None)
    alongside, at_once, threads = [], [], []
    decoder = Decoder(model, beside=True)

    def decoded(outcome) -> None:
        threads.append(threading.current_thread())
        alongside.append(outcome)

    decoder.decode(slot, decoded)
    decoder.close()
    Decoder(model, beside=False).decode(slot, at_once.append)

    assert threads[0] is not threading.current_thread()
    np.testing.assert_array_equal(alongside[0], at_once[0])


@torch.no_grad()
@pytest.mark.parametrize(
    ("width", "height", "room", "spots", "most_apart"),
    [(128, 128, 8, 4, 4), (128, 104, 8, 4, 4), (256, 200, 16, 4, 3), (256, 200, 8, 4, 5), (256, 256, 16, 16, 8)],
)
def test_a_decoder_short_of_memory_decodes_in_tiles_even_at_its_own_size(
    workbench, width, height, room, spots, most_apart
):
    model = copy(workbench.models["small"])
    model.vae = AutoencoderKL.from_pretrained(PACKAGE_ROOT / "models/builtin/tiny/vae")
    assert model.vae.config.sample_size == 128
    slot = model.start(make_item(width_px=width, height_px=height), None)
    slot.latents = model.encode(picture_tensor(scene(width, height, spots)) * 2 - 1, torch.Generator().manual_seed(1))
    whole, tiled, outputs = [], [], []

    def limited(decoder, inputs) -> None:
        assert not model.vae.use_tiling
        if inputs[0][0, 0].numel() > room * room:
            raise torch.OutOfMemoryError("CUDA out of memory")

    def watched(module, inputs, output) -> None:
        outputs.append(output.numel())

    Decoder(model).decode(slot, whole.append)
    model.vae.decoder.register_forward_pre_hook(limited)
    for module in model.vae.decoder.modules():
        module.register_forward_hook(watched)
    Decoder(model).decode(slot, tiled.append)

    widest_at_full_size = model.vae.config.block_out_channels[1]
    assert 0 < max(outputs) <= widest_at_full_size * (room * 8) ** 2
    assert tiled[0].shape == (height, width, 3)
    assert np.abs(tiled[0].astype(int) - whole[0]).mean() < most_apart
    # Nothing of it stays behind.
    model.vae.decoder._forward_pre_hooks.clear()
    again = []
    Decoder(model).decode(slot, again.append)
    np.testing.assert_array_equal(again[0], whole[0])


def scene(width: int, height: int, spots: int) -> Image.Image:
    """Large spots of different colours, so that no tile is like the whole."""
    colours = np.random.default_rng(0).integers(0, 256, (spots, spots, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_picture_that_is_not_all_numbers_fails(workbench, value):
    model = workbench.models["small"]
    slot = model.start(make_item(), None)
    slot.latents[0, 0, 3, 3] = value
    outcomes = []

    Decoder(model).decode(slot, outcomes.append)

    assert str(outcomes[0]) == "the model gave values that are not numbers (NaN or infinite); try dtype float32"
    with pytest.raises(ModelError, match="not numbers"):
        to_pixels(np.array([[0.5, value]], np.float32))


def test_what_overshoots_is_cut_off():
    assert to_pixels(np.array([-0.5, 0.5, 1.5], np.float32)).tolist() == [0, 128, 255]


@torch.no_grad()
@pytest.mark.parametrize("sampler", Sampler)
def test_sdxl_with_a_controlnet_is_that_of_diffusers(workbench, sampler):
    pipeline = workbench.pipelines["small_xl"]
    torch.manual_seed(5)
    controlnet = ControlNetModel.from_unet(pipeline.unet).eval()
    for block in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
        torch.nn.init.normal_(block.weight, std=0.2)
    torch.nn.init.normal_(controlnet.controlnet_cond_embedding.conv_out.weight, std=10.0)
    model = UNetModel(pipeline, {"": controlnet})
    items = [
        make_item(mode, model="small_xl", seed=seed, sampler=sampler)
        for seed, mode in enumerate((Mode.CONTROLNET, Mode.TEXT2IMG))
    ]

    ours, _ = workbench.together(items, model=model)

    reference = StableDiffusionXLControlNetPipeline(**pipeline.components, controlnet=controlnet, add_watermarker=False)
    reference.set_progress_bar_config(disable=True)
    reference.scheduler = make_scheduler(sampler, model.schedule, 4)
    theirs = reference(
        "a red shoe",
        image=items[0].controls[0],
        num_inference_steps=4,
        guidance_scale=7.5,
        generator=torch.Generator().manual_seed(0),
        width=64,
        height=64,
        output_type="latent",
    ).images
    assert distance(ours, theirs) < 1e-3


def test_a_cancelled_request_of_a_family_that_runs_as_a_whole_stops_at_its_next_step(random_models, warm_pool):
    registry = random_models.registry
    engine = BatchingEngine(registry, EngineSettings(device="cpu"), warm_pool)
    params = {"resolution": "64x64", "steps": 200}
    request = parse_request({"text": "a red shoe", "model_type": "any", "params": params}, registry)
    recipe = plan_recipe(request, registry=registry, engine_kind="eager/cpu/float32", seed=1)
    steps, ended = [], threading.Event()
    results = []

    class Impatient:
        def stepped(self, job_id, done, total) -> None:
            steps.append(done)
            engine.cancel(ticket)

        def ended(self, result) -> None:
            results.append(result)
            ended.set()

    ticket = engine.submit(GenerationJob("1", recipe), Impatient(), Priority.BULK)

    assert ended.wait(120)
    assert results[0].error == "cancelled"
    assert len(steps) < 5


def test_the_loop_is_one_step_ahead_of_a_gpu_and_no_more(monkeypatch):
    told = []

    class Event:
        """Stands for CUDA's, which need a GPU."""

        def __init__(self, *, blocking: bool) -> None:
            self.number = sum(what == "launched" for what, _ in told)

        def record(self, stream: str) -> None:
            told.append(("launched", self.number))

        def synchronize(self) -> None:
            told.append(("done", self.number))

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "stream")
    pace = Pace(torch.device("cuda:0"))

    for _ in range(3):
        pace.keep()

    assert told == [("launched", 0), ("launched", 1), ("done", 0), ("launched", 2), ("done", 1)]
