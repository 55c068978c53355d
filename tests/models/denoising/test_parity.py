"""Final latents are those of diffusers' own pipelines, alone and in any company."""

from itertools import cycle, product

import pytest
import torch
from diffusers import UNet2DConditionModel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.denoising.unet_model import UNetModel
from models.errors import ModelError
from models.request import Mode, Sampler
from tests.support.workbench import FOLDERS, PIPELINES, distance, make_item

CASES = list(PIPELINES)


# Each mode with one sampler; with every sampler they are below, in a batch.
@pytest.mark.parametrize(("case", "sampler"), list(zip(CASES, cycle(Sampler), strict=False)))
def test_latents_are_those_of_diffusers(workbench, case, sampler):
    model, mode = case
    item = make_item(mode, model=model, sampler=sampler, steps=5)

    (ours,) = workbench.together([item])

    assert distance(ours, workbench.reference(item)) < 1e-3


@pytest.mark.parametrize("model", FOLDERS)
def test_latents_are_those_of_diffusers_in_a_batch_of_every_mode_with_every_sampler(workbench, model):
    modes = [mode for name, mode in CASES if name == model]
    items = [
        make_item(
            mode,
            model=model,
            sampler=sampler,
            seed=place,
            steps=2 + place % 4,
            cfg_scale=(7.5, 1.0, 3.0)[place % 3],
            negative_text="blur" if place % 2 else "",
        )
        for place, (mode, sampler) in enumerate(product(modes, Sampler))
    ]

    together = workbench.together(items, joins=range(len(items)))

    for item, ours in zip(items, together, strict=True):
        assert distance(ours, workbench.reference(item)) < 1e-3, item.recipe


def test_controlnets_lead_as_strongly_and_as_long_as_diffusers_lets_them_in_mixed_company(workbench):
    leads = [
        {},
        {"control_weight": 0.4},
        {"control_weight": 1.7, "control_end": 0.5},
        {"control_start": 0.3, "control_end": 0.8},
        {"control_weight": 0.0},
    ]
    items = [
        make_item(Mode.CONTROLNET, seed=place, sampler=sampler, steps=5, **lead)
        for place, (lead, sampler) in enumerate(zip(leads, cycle([Sampler.EULER, Sampler.HEUN]), strict=False))
    ]

    together = workbench.together([*items, make_item(Mode.TEXT2IMG)], joins=[0, 1, 0, 2, 0, 1])

    (usual,) = workbench.together([make_item(Mode.CONTROLNET, seed=1, sampler=Sampler.HEUN, steps=5)])
    for item, ours in zip(items, together, strict=False):
        assert distance(ours, workbench.reference(item)) < 1e-3, item.recipe
    assert distance(usual, together[1]) > 1e-2


def test_several_controlnets_at_once_are_those_of_diffusers_in_mixed_company(workbench):
    digest = {"digest": "c" * 64}
    leads = [
        [digest, {**digest, "model": "other"}],
        [{**digest, "model": "other", "weight": 0.5, "end": 0.5}, {**digest, "weight": 1.5, "start": 0.4}],
        [{**digest, "weight": 0.3}, {**digest, "model": "other"}, {**digest, "weight": 0.8, "end": 0.7}],
        [{**digest, "model": "other"}],
    ]
    items = [
        make_item(
            Mode.CONTROLNET, seed=place, sampler=sampler, steps=5, controls=controls, cfg_scale=(7.5, 1.0)[place % 2]
        )
        for place, (controls, sampler) in enumerate(zip(leads, cycle([Sampler.EULER, Sampler.HEUN]), strict=False))
    ]

    together = workbench.together([*items, make_item(Mode.CONTROLNET), make_item()], joins=[0, 1, 0, 2, 0, 1])

    (single,) = workbench.together([make_item(Mode.CONTROLNET, steps=5)])
    for item, ours in zip(items, together, strict=False):
        assert distance(ours, workbench.reference(item)) < 1e-3, item.recipe
    assert distance(single, together[0]) > 1e-2


@pytest.mark.parametrize("strength", [0.01, 0.3, 1.0])
@pytest.mark.parametrize(("model", "mode"), [case for case in CASES if case[1] in (Mode.IMG2IMG, Mode.INPAINT)])
def test_any_strength_is_that_of_diffusers(workbench, model, mode, strength):
    item = make_item(mode, model=model, sampler=Sampler.EULER_A, steps=4, strength=max(strength, 0.26))

    (ours,) = workbench.together([item])

    assert distance(ours, workbench.reference(item)) < 1e-3


@pytest.mark.parametrize("cfg_scale", [0.0, 1.0, 1.5])
def test_guidance_starts_above_one(workbench, cfg_scale):
    item = make_item(cfg_scale=cfg_scale)

    (ours,) = workbench.together([item])

    assert distance(ours, workbench.reference(item)) < 1e-3


@pytest.mark.parametrize("sizes", [(), (1, 2, 4, 8), (16,)])
def test_padding_changes_no_latents(workbench, sizes):
    items = [make_item(Mode.TEXT2IMG, seed=1), make_item(Mode.CONTROLNET, seed=2), make_item(cfg_scale=1, seed=3)]

    together = workbench.together(items, sizes=sizes)

    for item, ours in zip(items, together, strict=True):
        assert distance(ours, workbench.reference(item)) < 1e-3


@pytest.mark.parametrize("strength", [0.6, 1.0])
@pytest.mark.parametrize("sampler", [Sampler.EULER_A, Sampler.DDIM])
def test_a_unet_made_for_inpainting_gets_mask_and_masked_picture(workbench, sampler, strength):
    pipeline = workbench.pipelines["small"]
    torch.manual_seed(9)
    unet = UNet2DConditionModel.from_config(pipeline.unet.config, in_channels=9).eval()
    model = UNetModel(pipeline)
    model.unet = unet
    items = [make_item(Mode.INPAINT, sampler=sampler, seed=seed, strength=strength) for seed in (1, 2)]

    together = workbench.together(items, model=model)

    for item, ours in zip(items, together, strict=True):
        assert distance(ours, workbench.reference(item, unet=unet)) < 1e-3
    with pytest.raises(ModelError, match="model 'small' is made for inpainting and cannot do text2img."):
        workbench.together([make_item()], model=model)


def test_a_model_distilled_with_guidance_gets_it_as_an_input(workbench):
    pipeline = workbench.pipelines["small"]
    torch.manual_seed(9)
    unet = UNet2DConditionModel.from_config(pipeline.unet.config, time_cond_proj_dim=16).eval()
    model = UNetModel(pipeline)
    model.unet = unet
    items = [make_item(sampler=Sampler.LCM, seed=1, cfg_scale=8.0), make_item(sampler=Sampler.LCM, seed=2)]

    together = workbench.together(items, model=model)

    for item, ours in zip(items, together, strict=True):
        assert distance(ours, workbench.reference(item, unet=unet)) < 1e-3
    assert distance(*together) > 1e-2


mixed_items = st.lists(
    st.builds(
        make_item,
        st.sampled_from([mode for name, mode in CASES if name == "small"]),
        seed=st.integers(0, 2**53 - 1),
        sampler=st.sampled_from(Sampler),
        side=st.sampled_from([64, 72]),
        steps=st.integers(1, 6),
        cfg_scale=st.sampled_from([0.0, 1.0, 2.0, 7.5, 30.0]),
        text=st.sampled_from(["a red shoe", "ein blaues Hemd", "一双红色的鞋", "shoe " * 30]),
        negative_text=st.sampled_from(["", "blur"]),
    ),
    min_size=2,
    max_size=5,
)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(items=mixed_items, joins=st.lists(st.integers(0, 6), min_size=5, max_size=5))
def test_any_mix_in_any_order_of_arrival_gives_each_its_own_latents(workbench, items, joins):
    together = workbench.together(items, joins=joins[: len(items)])

    for item, ours in zip(items, together, strict=True):
        (alone,) = workbench.together([item])
        assert distance(ours, alone) < 1e-3, item.recipe
