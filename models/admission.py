"""Letting a request in: the one validation of outside data, against every rule and the limits of its model."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from foundation.problems import Problem, one_of, shown, validation_problems
from foundation.value_object import ValueObject
from models.adapters.adapter_base import base_problem
from models.adapters.adapter_file import adapter_problem
from models.card import ModelCard
from models.control import MAX_CONTROLS
from models.errors import InvalidRequestError, ModelNotFoundError
from models.file_kinds import Kind, file_kind
from models.lora import MAX_LORAS, LoraChoice
from models.model_traits import Guidance
from models.prompt_length import length_rule
from models.prompt_syntax import PromptError, prompt_problem, read_loras
from models.registry import ModelRegistry
from models.request import (
    CONTROL_FIELDS,
    DEFAULT_CFG_SCALE,
    FACTORS,
    MARK_FIELDS,
    GenerationRequest,
    Mode,
    mode_of,
)
from models.resolution import Resolution, parse_sides
from models.sampler import Sampler, Schedule, fitting, schedule_problem
from models.text_mark import fit_mark
from models.watermark_files import WatermarkError, find_font

_MODE_FIELD = {
    Mode.TEXT2IMG: "model_type",
    Mode.IMG2IMG: "image_url",
    Mode.INPAINT: "mask_url",
    Mode.CONTROLNET: "control_image_url",
}
"""The field of a request that asks for a mode."""


def parse_request(data: Mapping[str, object], registry: ModelRegistry) -> GenerationRequest:
    """The request in `data`, checked against every rule and the limits of its model.

    Fields left out, or null, take the model card's defaults, then those of INTERFACES.md §1.

    Raises:
        InvalidRequestError: listing every problem with its field.
    """
    if not isinstance(data, Mapping):
        raise InvalidRequestError([Problem("", f"{shown(data)} is not an object with fields")])
    filled: dict[str, object] = {"model_type": registry.default_model, **_given(data)}
    found: dict[str, Problem] = {}
    card = _card(filled["model_type"], registry)
    if isinstance(card, Problem):
        found[card.field] = card
    else:
        try:
            filled |= _with_named_loras(filled, card)
        except PromptError as exc:
            found["text"] = Problem("text", f"{exc}.")
        filled["params"] = params = _with_defaults(filled.get("params", {}), card)
        found = {problem.field: problem for problem in _model_problems(filled, params, card)} | found
    try:
        request = GenerationRequest.model_validate(filled)
    except ValidationError as exc:
        problems = (problem for problem in validation_problems(exc, GenerationRequest) if problem.field not in found)
        raise InvalidRequestError((*problems, *found.values())) from None
    if found or (found := {problem.field: problem for problem in _finishing_problems(request, registry)}):
        raise InvalidRequestError(found.values())
    return request


def _given(data: Mapping[str, object], levels: int = 4) -> dict[str, object]:
    """The fields that say something: null means "not given". A request is four levels deep."""
    return {
        name: _given(value, levels - 1) if isinstance(value, Mapping) and levels else value
        for name, value in data.items()
        if value is not None
    }


def _card(name: object, registry: ModelRegistry) -> ModelCard | Problem:
    if not isinstance(name, str):
        return Problem("model_type", f"{shown(name)} is not text")
    try:
        return registry.card(name)
    except ModelNotFoundError as exc:
        return Problem("model_type", str(exc))


def _with_named_loras(data: Mapping[str, object], card: ModelCard) -> dict[str, object]:
    """The text and the parameters with the LoRAs that the text names; PromptError if it names them wrongly."""
    text, params = data.get("text"), data.get("params", {})
    if card.prompt_syntax == "plain" or not isinstance(text, str) or not isinstance(params, Mapping):
        return {}
    words, named = read_loras(text)
    several, one = params.get("loras") or (), params.get("lora_name")
    if not named or not isinstance(several, list | tuple):
        return {}
    params = dict(params)
    if one and not several:
        several, one = [{"name": one, "weight": params.pop("lora_weight", 1.0)}], ""
    return {"text": words, "params": {**params, "lora_name": one or "", "loras": [*several, *named]}}


def _with_defaults(params: object, card: ModelCard) -> object:
    if not isinstance(params, Mapping):
        return params
    filled = {**card.request_defaults(), **params}
    if params.get("schedule", "") == "":
        filled["schedule"] = fitting(card.schedule, filled.get("sampler", Sampler.EULER))
    return filled


def _model_problems(data: Mapping[str, object], params: object, card: ModelCard) -> Iterator[Problem]:
    """What this model cannot do; fields of a wrong type are left to the request's own validation."""
    if not isinstance(params, Mapping):
        yield from _mode_problems(card, mode_of(data))
        return
    sampler, schedule = params.get("sampler", Sampler.EULER), params.get("schedule")
    yield from model_problems(
        card,
        mode=mode_of(data),
        resolution=params["resolution"],
        sampler=sampler if sampler in list(Sampler) else None,
        schedule=Schedule(schedule) if schedule in list(Schedule) else None,
        step_cache=params.get("step_cache"),
        loras=dict(_named_loras(params)),
        controlnets=dict(_named_controlnets(data)),
        texts={"text": data.get("text"), "params.negative_text": params.get("negative_text")},
    )
    yield from _guidance_problems(card, params.get("cfg_scale", DEFAULT_CFG_SCALE), params.get("negative_text"))


def _named_loras(params: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """The LoRAs of parameters that may be of any type, by the fields that name them."""
    if isinstance(name := params.get("lora_name"), str) and name:
        yield "params.lora_name", name
    several = params.get("loras")
    for place, lora in enumerate(several[:MAX_LORAS] if isinstance(several, list | tuple) else ()):
        name = lora.name if isinstance(lora, LoraChoice) else lora.get("name") if isinstance(lora, Mapping) else None
        if isinstance(name, str) and name:
            yield f"params.loras.{place}.name", name


def _named_controlnets(data: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """The ControlNets of data that may be of any type, by the fields that name them."""
    if data.get("control_image_url"):
        yield "control_image_url", ""
    several = data.get("controls")
    for place, one in enumerate(several[:MAX_CONTROLS] if isinstance(several, list | tuple) else ()):
        name = one.get("model", "") if isinstance(one, Mapping) else getattr(one, "model", None)
        if isinstance(name, str):
            yield f"controls.{place}.model", name


def model_problems(
    card: ModelCard,
    *,
    mode: Mode,
    resolution: object,
    sampler: Sampler | None,
    schedule: Schedule | None,
    step_cache: object,
    loras: Mapping[str, str],
    controlnets: Mapping[str, str],
    texts: Mapping[str, object],
) -> Iterator[Problem]:
    """What this model cannot do of these, by the fields of a request; recipes may hold what has no effect, too.

    Args:
        resolution: a `Resolution`, or what a request may give for one.
        sampler: None if it is not to be judged.
        loras: names of LoRAs by the fields that name them; so are `controlnets`.
        texts: the prompts by their fields; what is no text is not judged.
    """
    yield from _mode_problems(card, mode)
    if rule := _size_rule(resolution, card):
        yield Problem("params.resolution", rule)
    if sampler and sampler not in (possible := card.possible_samplers):
        yield Problem("params.sampler", f"model '{card.name}' does not run it: {one_of(sampler, possible)}")
    if sampler and schedule and (rule := schedule_problem(sampler, schedule)):
        yield Problem("params.schedule", rule)
    if schedule and not card.takes_schedules:
        yield Problem("params.schedule", f"model '{card.name}' has noise levels of its own. Leave it out.")
    if step_cache and (rule := card.step_cache_problem):
        yield Problem("params.step_cache", f"model '{card.name}': {rule}. Leave it out.")
    for field, name in controlnets.items() if Mode.CONTROLNET in card.modes else ():
        if rule := _controlnet_rule(card, name):
            yield Problem(field, rule)
    for field, lora in loras.items():
        if rule := _lora_rule(card, lora):
            yield Problem(field, rule)
    for field, text in texts.items():
        if isinstance(text, str) and (rule := _text_rule(card, text, negative=field != "text")):
            yield Problem(field, f"{rule}.")


def _text_rule(card: ModelCard, text: str, *, negative: bool) -> str:
    problem = prompt_problem(text, negative=negative) if card.prompt_syntax == "a1111" else ""
    return problem or length_rule(card, text)


def _mode_problems(card: ModelCard, mode: Mode) -> Iterator[Problem]:
    if mode not in card.modes:
        yield Problem(_MODE_FIELD[mode], f"model '{card.name}' cannot do {mode}. It does: {', '.join(card.modes)}.")


def _guidance_problems(card: ModelCard, cfg_scale: object, negative_text: object) -> Iterator[Problem]:
    """What of a guidance and a negative prompt would have no effect."""
    guidance, scale = card.traits.guidance, cfg_scale if isinstance(cfg_scale, int | float) else 0.0
    if guidance is Guidance.NONE and scale > 1:
        rule = f"model '{card.name}' takes no guidance: {scale:g} would have no effect. Leave it out."
        yield Problem("params.cfg_scale", rule)
    if guidance is None or not (isinstance(negative_text, str) and negative_text.strip()):
        return
    if guidance is not Guidance.SECOND_PROMPT:
        rule = f"model '{card.name}' takes no negative prompt: it would have no effect. Leave it out."
        yield Problem("params.negative_text", rule)
    elif scale <= 1:
        rule = f"no effect at cfg_scale {scale:g} on model '{card.name}'. Leave it out, or ask for more than 1."
        yield Problem("params.negative_text", rule)


def _controlnet_rule(card: ModelCard, name: str) -> str | None:
    if name in card.controlnets or (not name and card.controlnet):
        return None
    if not name:
        return f"model '{card.name}' has several ControlNets: name one of {', '.join(card.controlnets)} in controls"
    known = one_of(name, card.controlnets) if card.controlnets else f"{shown(name)} is unknown: none has a name."
    return f"ControlNet of model '{card.name}': {known}"


def _lora_rule(card: ModelCard, lora: str) -> str | None:
    if lora not in card.loras:
        known = one_of(lora, card.loras) if card.loras else f"{shown(lora)} is unknown: it has none."
        return f"LoRA of model '{card.name}': {known}"
    file = card.lora_file(lora)
    if card.lora_pin(lora) and not file.is_file():
        return None  # it is in a store, and judged where it is loaded
    if rule := adapter_problem(file) or base_problem(card, file):
        kind = file_kind(file)
        is_other = kind.kind not in (Kind.ADAPTER, Kind.UNKNOWN, Kind.PICKLE)
        rule = f"the file is no adapter of weights, but: {kind.kind}. {kind.reason}".rstrip(". ") if is_other else rule
        return f"LoRA '{lora}' of model '{card.name}': {rule}"
    return None


def _finishing_problems(request: GenerationRequest, registry: ModelRegistry) -> Iterator[Problem]:
    """Why a picture cannot be led or finished as asked."""
    yield from _idle_problems(request)
    name = request.params.post_process.upscaler
    if name and name not in registry.upscalers:
        rule = one_of(name, registry.upscalers) if registry.upscalers else f"{shown(name)} is unknown: none has a name"
        yield Problem("params.post_process.upscaler", rule)
    yield from _mark_problems(request, registry.fonts_folder)


def _idle_problems(request: GenerationRequest) -> Iterator[Problem]:
    """What a request says of something that it does not ask for; the usual value may be said all the same."""
    params, mark = request.params, request.params.post_process.watermark
    field = "params.post_process.watermark"
    if not request.image_url:
        yield from _idle("params", params, ("strength",), "without an input picture", "give one")
    if not request.control_image_url:
        where = "say it in controls" if request.controls else "give a control picture"
        yield from _idle("params", params, CONTROL_FIELDS, "without control_image_url", where)
    if not params.lora_name:
        where = "say it in loras" if params.loras else "name a LoRA"
        yield from _idle("params", params, ("lora_weight",), "without lora_name", where)
    if mark.enable:
        other = "text" if mark.type == "image" else "image"
        yield from _idle(field, mark, MARK_FIELDS[other], f"on a mark of type {mark.type}", f"ask for type {other}")
    elif "enable" not in mark.model_fields_set:
        yield from _idle(field, mark, mark.model_fields_set, "without enable", "say enable: true")


def _idle(prefix: str, part: ValueObject, fields: Iterable[str], why: str, otherwise: str) -> Iterator[Problem]:
    for field in fields:
        if getattr(part, field) != type(part).model_fields[field].default:
            yield Problem(f"{prefix}.{field}", f"has no effect {why}. Leave it out, or {otherwise}")


def _mark_problems(request: GenerationRequest, fonts_folder: Path) -> Iterator[Problem]:
    """Why a text mark cannot be drawn on the finished picture: its font, a glyph that is missing, its length."""
    post, field = request.params.post_process, "params.post_process.watermark"
    if not post.watermark.enable or post.watermark.type != "text":
        return
    size, factor = request.params.resolution, FACTORS[post.super_resolution]
    try:
        face = find_font(post.watermark.font, fonts_folder)
    except WatermarkError as exc:
        yield Problem(f"{field}.font", str(exc))
        return
    try:
        fit_mark(post.watermark, face, (size.width_px * factor, size.height_px * factor))
    except WatermarkError as exc:
        yield Problem(f"{field}.text", str(exc))


def _size_rule(value: object, card: ModelCard) -> str | None:
    try:
        sides = (value.width_px, value.height_px) if isinstance(value, Resolution) else parse_sides(value)
    except ValueError as exc:
        return str(exc)
    return card.limits.problem(*sides, f" for model '{card.name}'")
