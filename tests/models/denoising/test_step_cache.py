"""Steps that take what is deep in the network from an earlier one."""

from dataclasses import replace

import pytest
import torch

from models.acceleration.tuning import exact_on_cpu
from models.denoising.batch_sizes import BatchSizes
from models.request import Mode, Sampler
from tests.support.workbench import distance, make_item

CACHED = {"step_cache": "deepcache-2", "sampler": Sampler.DDIM}


def passes(part):
    """A list that gets an entry at each computation of a part of a network."""
    seen = []
    return seen, part.register_forward_hook(lambda *_: seen.append(1))


@pytest.mark.parametrize("model", ["small", "small_xl", "tiny"])
def test_latents_are_near_those_of_whole_steps_and_the_deep_blocks_compute_one_step_in_so_many(workbench, model):
    whole = make_item(model=model, steps=9, sampler=Sampler.DDIM)
    unet = workbench.models[model].unet
    computed = {}
    for interval in (2, 3):
        item = make_item(model=model, steps=9, step_cache=f"deepcache-{interval}", sampler=Sampler.DDIM)
        seen, hook = passes(unet.mid_block.resnets[0])
        (latents,) = workbench.together([item])
        hook.remove()
        computed[interval] = len(seen)
        assert 0 < distance(latents, workbench.together([whole])[0]) < 1

    assert computed == {2: 5, 3: 3}
    assert "forward" not in vars(unet.mid_block)


@pytest.mark.parametrize("model", ["small", "tiny"])
def test_company_changes_no_bit(workbench, model):
    items = [
        make_item(model=model, seed=1, steps=5, **CACHED),
        make_item(model=model, seed=2, steps=4, cfg_scale=1.0, step_cache="deepcache-3"),
        make_item(model=model, seed=3, steps=5),
        make_item(Mode.CONTROLNET, model=model, seed=4, steps=4, **CACHED),
        make_item(Mode.IMG2IMG, model=model, seed=5, steps=6, **CACHED),
    ]
    model = workbench.models[model]
    sizes = exact_on_cpu(model, model.unet, *model.controlnets.values())

    together = workbench.together(items, joins=[0, 1, 0, 2, 0], sizes=sizes)

    for item, latents in zip(items, together, strict=True):
        assert torch.equal(latents, workbench.together([item], sizes=sizes)[0])


@torch.no_grad()
def test_rows_computed_one_by_one_keep_what_is_theirs(workbench):
    model = workbench.models["small"]
    slots = [model.start(make_item(steps=4, **CACHED), "") for _ in range(2)]
    for _ in range(4):
        (together,) = model.predict(slots[:1], BatchSizes())
        single = torch.cat([model.predict(slots[1:], BatchSizes(), row)[0] for row in range(2)])
        assert distance(single, together) < 1e-5
        for slot in slots:
            slot.advance(model.guided(slot, together))


def test_whole_steps_are_as_they_were(workbench):
    item = make_item(steps=3)
    once = replace(item, recipe=item.recipe.model_copy(update={"step_cache": None}))

    assert item.recipe.digest == once.recipe.digest
    assert "step_cache" not in item.recipe.to_json()
    assert "deepcache-3" in make_item(step_cache="deepcache-3").recipe.to_json()
