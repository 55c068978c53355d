"""Planning: the recipe that a request comes to."""

import hashlib
from collections.abc import Sequence
from functools import partial

from models.control import PinnedControl
from models.image import InputPicture
from models.recipe import INPUT_READING, Recipe, control_fields, lora_fields
from models.registry import ModelRegistry
from models.request import GenerationRequest, Mode


def row_seed(row_id: str) -> int:
    """The seed of a catalog row that names none: stable, 0 to 2³²-1."""
    return int.from_bytes(hashlib.sha256(row_id.encode()).digest()[:4], "big")


def plan_recipe(
    request: GenerationRequest,
    *,
    registry: ModelRegistry,
    engine_kind: str,
    seed: int,
    image: InputPicture | None = None,
    mask: InputPicture | None = None,
    controls: Sequence[InputPicture] = (),
) -> Recipe:
    """The recipe that a checked request, its seed and its input pictures come to on this engine.

    What does not touch the pixels of this mode (a strength without an input picture) is left out, so that
    requests with equal pictures have equal recipes.
    """
    params, name = request.params, request.model_type
    card = registry.card(name)
    pinned = [
        PinnedControl(
            **lead.model_dump(exclude={"image"}), digest=picture.digest, preprocess=card.preprocess_of(lead.model)
        )
        for lead, picture in zip(request.chosen_controls, controls, strict=True)
    ]
    return Recipe(
        text=request.text,
        negative_text=params.negative_text,
        model=name,
        release=registry.release(name),
        engine=engine_kind,
        mode=request.mode,
        width_px=params.resolution.width_px,
        height_px=params.resolution.height_px,
        steps=params.steps,
        cfg_scale=params.cfg_scale,
        sampler=params.sampler,
        schedule=params.schedule,
        step_cache=params.step_cache,
        seed=seed,
        **lora_fields(params.chosen_loras, partial(registry.lora_digest, name)),
        strength=params.strength if request.mode in (Mode.IMG2IMG, Mode.INPAINT) else None,
        image_digest=image.digest if image else None,
        mask_digest=mask.digest if mask else None,
        **control_fields(pinned),
        input_reading=INPUT_READING if image or controls else None,
    )
