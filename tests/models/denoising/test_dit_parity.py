"""Final latents of diffusion transformers are those of diffusers' own pipelines, alone and in any company."""

import copy
from itertools import cycle

import pytest
import torch
from diffusers.hooks import group_offloading

from models.acceleration.tuning import exact_on_cpu
from models.denoising.batch_sizes import BatchSizes
from models.denoising.passes import Denoiser
from models.denoising.stepper import Stepper
from models.errors import ModelError
from models.families.dit import keep_layers_away
from models.request import Mode, Sampler
from tests.support.dit_workbench import KINDS, MODES, DiTWorkbench
from tests.support.workbench import distance, make_item

SOLVERS = [Sampler.HEUN, Sampler.UNIPC, Sampler.DPMPP_2M]
# diffusers counts the passes of Heun as steps, and starts img2img elsewhere than it says.
CASES = [
    *zip(KINDS, cycle([Mode.TEXT2IMG]), cycle(SOLVERS), strict=False),
    *zip(KINDS, cycle([Mode.IMG2IMG]), cycle(SOLVERS[1:]), strict=False),
]


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    return DiTWorkbench(tmp_path_factory.mktemp("transformers"))


def an_item(model, mode=Mode.TEXT2IMG, **changes):
    guided = KINDS[model].guided
    return make_item(mode, model=model, **{"negative_text": "blur" if guided else "", "cfg_scale": 3.0, **changes})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("model", KINDS)
def test_latents_are_those_of_diffusers_in_a_pass_with_others(bench, model, mode):
    items = [
        an_item(model, mode, seed=1, steps=4),
        an_item(model, mode, seed=2, steps=3, cfg_scale=1.0, negative_text="", text="a longer text " * 3),
        an_item(model, seed=3, steps=2, cfg_scale=5.0, text="x"),
    ]

    together = bench.together(items, joins=[0, 1, 2])

    for item, ours in zip(items, together, strict=True):
        assert distance(ours, bench.reference(item)) < 1e-3, item.recipe
    assert distance(together[0], together[1]) > 1e-2


@pytest.mark.parametrize("model", ["sd3", "qwen_image", "z_image", "dev"])
def test_in_bfloat16_on_a_cpu_company_changes_no_bit_and_latents_stay_in_float32(bench, model):
    pipeline = copy.deepcopy(bench.pipelines[model]).to(torch.bfloat16)
    half = KINDS[model].model(pipeline, KINDS[model].options)
    sizes = exact_on_cpu(half, half.transformer)
    items = [
        an_item(model, seed=1, steps=3),
        an_item(model, Mode.INPAINT, seed=2, steps=3, cfg_scale=1.0, negative_text=""),
    ]

    together = bench.together(items, joins=[0, 1], sizes=sizes, model=half)

    for item, latents in zip(items, together, strict=True):
        assert latents.dtype == torch.float32
        assert torch.equal(latents, bench.together([item], sizes=sizes, model=half)[0])
    assert distance(together[0], bench.together(items[:1])[0]) < 0.1


@pytest.mark.parametrize(("model", "mode", "sampler"), CASES)
def test_every_solver_is_that_of_diffusers_on_the_noise_levels_of_the_checkpoint(bench, model, mode, sampler):
    item = an_item(model, mode, sampler=sampler, steps=5)

    (ours,) = bench.together([item])

    assert distance(ours, bench.reference(item)) < 1e-3


@pytest.mark.parametrize("strength", [0.01, 0.5, 1.0])
@pytest.mark.parametrize("model", KINDS)
def test_any_strength_starts_where_that_of_diffusers_does(bench, model, strength):
    item = an_item(model, Mode.IMG2IMG, steps=5, strength=strength)

    (ours,) = bench.together([item])

    assert distance(ours, bench.reference(item)) < 1e-3


@pytest.mark.parametrize("model", [name for name, kind in KINDS.items() if kind.model.mixes_sizes])
def test_sizes_share_a_pass_where_little_of_it_is_wasted(bench, model):
    sizes = [(128, 128), (128, 112), (112, 128), (64, 64)]
    items = [an_item(model, seed=place, width_px=w, height_px=h) for place, (w, h) in enumerate(sizes)]

    together = bench.together(items)

    slots = [bench.models[model].start(item, "") for item in items]
    assert [len(part) for part in bench.models[model].parts(slots)] == [*KINDS[model].passes]
    for item, ours in zip(items, together, strict=True):
        assert distance(ours, bench.reference(item)) < 1e-3, item.recipe


@pytest.mark.parametrize("model", KINDS)
def test_a_slot_that_leaves_changes_nothing_for_those_that_stay(bench, model):
    stays, leaves = (bench.models[model].start(an_item(model, seed=seed, steps=4), "") for seed in (1, 2))
    denoiser = Denoiser(bench.models[model], BatchSizes())
    with torch.no_grad():
        for slots in ([stays, leaves], [stays, leaves], [stays], [stays]):
            denoiser.step(slots, _raise)

    assert distance(stays.latents, bench.reference(stays.item)) < 1e-3


@pytest.mark.parametrize("model", KINDS)
def test_rows_without_memory_for_two_are_passed_one_by_one(bench, model, monkeypatch):
    outputs = bench.models[model].outputs

    def small_memory(rows):
        if len(rows) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return outputs(rows)

    items = [an_item(model, seed=seed) for seed in (1, 2)]
    expected = bench.together(items)
    monkeypatch.setattr(bench.models[model], "outputs", small_memory)
    painted = bench.together(items)

    for ours, theirs in zip(painted, expected, strict=True):
        assert distance(ours, theirs) < 1e-3


@pytest.mark.parametrize("model", KINDS)
def test_a_text_beyond_the_encoder_is_refused_and_not_cut(bench, model):
    longest = bench.models[model].max_tokens
    with pytest.raises(ModelError, match=rf"the prompt has \d+ tokens; the maximum is {longest}. Shorten it."):
        bench.models[model].start(an_item(model, text="a " * (longest + 10)), "")


@pytest.mark.parametrize("model", KINDS)
def test_the_estimate_of_the_last_step_is_where_it_ends(bench, model):
    stepper = Stepper(bench.models[model])
    slot = bench.models[model].start(an_item(model), "")
    while not slot.sampling.is_done:
        slot.wants_estimate = True
        stepper.step([slot], _raise)

    assert distance(slot.estimate, slot.latents) < 1e-3
    assert stepper.preview(slot)().shape == (8, 8, 3)
    assert stepper.pixels(slot).shape == (64, 64, 3)
    assert stepper.pixels(slot, 64).shape == (64, 64, 3)


def _raise(slot, exc):
    raise exc


@pytest.mark.parametrize("model", ["sd3", "qwen_image", "z_image", "dev"])
def test_layers_that_come_one_by_one_make_the_same_latents_in_mixed_company(bench, model, monkeypatch):
    brought, bring = [], group_offloading.ModuleGroup.onload_
    monkeypatch.setattr(group_offloading.ModuleGroup, "onload_", lambda group: (brought.append(group), bring(group)))
    parts = bench.pipelines[model].components
    transformer = copy.deepcopy(parts["transformer"])
    keep_layers_away(transformer, torch.device("cpu"))
    kind = KINDS[model]
    away = kind.model(kind.pipelines[0](**parts | {"transformer": transformer}), kind.options)
    items = [an_item(model, seed=seed, steps=2 + seed, cfg_scale=2.0 + seed) for seed in range(2)]

    together = bench.together(items, joins=[0, 1], model=away)

    assert len(set(brought)) > 1
    for ours, theirs in zip(together, bench.together(items, joins=[0, 1]), strict=True):
        assert distance(ours, theirs) < 1e-6  # where weights lie in memory decides the order of some sums
