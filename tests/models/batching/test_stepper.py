import threading

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionXLControlNetPipeline

from configs.settings import EngineSettings
from models.batching.decoding import Decoder
from models.batching.slots import start_slot
from models.batching.step_model import StepModel
from models.batching.stepper import Pace, Stepper
from models.engine import BatchingEngine, GenerationJob
from models.families import load_family
from models.placement import choose_placement
from models.recipe import plan_recipe
from models.request import Mode, Priority, parse_request
from tests.models.batching.workbench import distance, make_item


def test_a_family_infers_a_batch_by_itself_as_the_engine_does(random_models, workbench):
    card = random_models.registry.card("small")
    family = load_family(card, choose_placement(card, EngineSettings(device="cpu")))
    items = [make_item(seed=1, steps=2), make_item(Mode.IMG2IMG, seed=2, steps=5)]
    told = []

    result = family.infer(items, None, lambda *step: told.append(step))

    stepper = Stepper(workbench.models["small"])
    for item, pixels in zip(items, result.pixels, strict=True):
        slot = stepper.start(item, None)
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
    slot = start_slot(model, make_item(), None)
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
def test_sdxl_with_a_controlnet_is_that_of_diffusers(workbench):
    pipeline = workbench.pipelines["small_xl"]
    torch.manual_seed(5)
    controlnet = ControlNetModel.from_unet(pipeline.unet).eval()
    for block in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
        torch.nn.init.normal_(block.weight, std=0.2)
    torch.nn.init.normal_(controlnet.controlnet_cond_embedding.conv_out.weight, std=10.0)
    model = StepModel(pipeline, controlnet)
    items = [make_item(mode, model="small_xl", seed=seed) for seed, mode in enumerate((Mode.CONTROLNET, Mode.TEXT2IMG))]

    ours, _ = workbench.together(items, model=model)

    reference = StableDiffusionXLControlNetPipeline(**pipeline.components, controlnet=controlnet, add_watermarker=False)
    reference.set_progress_bar_config(disable=True)
    theirs = reference(
        "a red shoe",
        image=items[0].control,
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
