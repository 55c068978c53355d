"""`imagegenx generate`: one picture, from options or from a recipe, without Dagster."""

import hashlib
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.settings import Settings, load_settings
from foundation.problems import Problem
from imagegenx_cli.files import check_writable, read_file, write_file
from imagegenx_cli.terminal import progress_bars, say
from models.admission import parse_request
from models.encoding import rgb_picture
from models.engine import BatchingEngine, Engine, GenerationJob
from models.errors import InvalidRequestError, ModelError
from models.image import FailedImage, InputPicture, Pictures, check_together, input_picture
from models.planning import plan_recipe
from models.recipe import INPUT_READING, Recipe, lora_fields
from models.registry import ModelRegistry
from models.request import ImageFormat
from models.statement import mark_step
from models.subjects import subject_hint
from ops.marking import Marker, labelled, marking_step
from ops.stages import recorded_change
from resources.open_store import open_store
from resources.progress import report_step
from resources.weight_store import open_loading_registry

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS: Mapping[str, ImageFormat] = {".webp": "webp", ".png": "png", ".jpg": "jpg", ".jpeg": "jpg"}
_MAX_SEED = 2**32


@dataclass(frozen=True)
class Inputs:
    """The input pictures given on the command line.

    Attributes:
        leads: how ControlNets follow the control pictures, for each of these: `model`, `weight`, `start`, `end`.
    """

    image: Path | None
    mask: Path | None
    controls: Sequence[Path]
    leads: Mapping[str, Sequence[object]]

    @property
    def request_fields(self) -> dict[str, object]:
        """As a request names them; InvalidRequestError if it is not clear what belongs to which control picture."""
        for name, values in self.leads.items():
            if len(values) != len(self.controls):
                rule = f"{len(values)} for {len(self.controls)} control pictures. Give one for each --control, or none"
                raise InvalidRequestError([Problem(f"control_{name}", rule)])
        controls = [
            {"image": str(file), **{name: values[place] for name, values in self.leads.items()}}
            for place, file in enumerate(self.controls)
        ]
        given = {"image_url": self.image and str(self.image), "mask_url": self.mask and str(self.mask)}
        return {name: value for name, value in given.items() if value} | ({"controls": controls} if controls else {})


class _Painter:
    """The engine and the settings of this command, and what they make of a recipe."""

    def __init__(self) -> None:
        self.settings: Settings = load_settings()
        self.registry: ModelRegistry = open_loading_registry(self.settings)
        self.engine: Engine = BatchingEngine(self.registry, self.settings.engine)

    def input_picture(self, file: Path | None) -> InputPicture | None:
        """An input picture by the digest of its file."""
        if file is None:
            return None
        return input_picture(read_file(file), self.settings.pictures.max_input_pixels)

    def pictures(self, inputs: Inputs) -> Pictures:
        """All input pictures; PictureError if they are too large together."""
        image, mask = self.input_picture(inputs.image), self.input_picture(inputs.mask)
        controls = [picture for file in inputs.controls if (picture := self.input_picture(file))]
        check_together([image, mask, *controls], self.settings.pictures.max_input_pixels)
        return image, mask, controls

    def paint(self, recipe: Recipe, inputs: Pictures) -> tuple["Image", Recipe]:
        """The picture and the recipe that really made it; ModelError if the model cannot."""
        planned = recipe.model_copy(update={"post": ()})
        with progress_bars():
            (outcome,) = self.engine.generate([GenerationJob("picture", planned, *inputs)], report_step)
        if isinstance(outcome, FailedImage):
            raise ModelError(outcome.error)
        image = rgb_picture(outcome.pixels)
        for recorded in (step for step in recipe.post if step.op != "mark"):
            change = recorded_change(recorded, self.settings)
            if change.step != recorded:
                _warn(f"the file behind the recipe's step '{recorded.op}' is another one now")
            image, planned = change.apply(image), planned.with_step(change.step)
        before, mark = mark_step(recipe), marking_step(self.settings)
        if before and before != mark:
            _warn("the policy of marks is another one here")
        return (labelled(image, mark), planned.with_step(mark)) if mark else (image, planned)


def paint_request(
    output: Path, text: str | None, model: str | None, params: Mapping[str, object], inputs: Inputs
) -> None:
    """Paint what the options say and write it to `output`."""
    file_format = _format_of(output)
    painter = _Painter()
    data = {"text": text or "", "params": params, **inputs.request_fields}
    request = parse_request({**data, "model_type": model} if model is not None else data, painter.registry)
    if hint := subject_hint(dict(request), painter.registry):
        say(f"hint: {hint}", err=True)
    image, mask, controls = pictures = painter.pictures(inputs)
    seed = request.params.seed
    recipe = plan_recipe(
        request,
        registry=painter.registry,
        engine_kind=painter.engine.kind(request.model_type, request.params.resolution),
        seed=secrets.randbelow(_MAX_SEED) if seed is None else seed,
        image=image,
        mask=mask,
        controls=controls,
    )
    _write(painter, output, file_format, recipe, pictures)


def lora_params(names: Sequence[str], weights: Sequence[float]) -> dict[str, object]:
    """The parameters that ask for these LoRAs; InvalidRequestError if it is not clear which weight is whose."""
    if weights and len(weights) != max(len(names), 1):
        rule = f"{len(weights)} weights for {len(names)} LoRAs. Give --lora-weight once for each --lora, or not at all"
        raise InvalidRequestError([Problem("lora_weight", rule)])
    if len(names) > 1:
        pairs = zip(names, weights or [1.0] * len(names), strict=True)
        return {"loras": [{"name": name, "weight": weight} for name, weight in pairs]}
    given = {"lora_name": names, "lora_weight": weights}
    return {field: values[0] for field, values in given.items() if values}


def paint_recipe(output: Path, source: str, inputs: Inputs, refused: Sequence[str]) -> None:
    """Paint a recorded recipe again, post-processing included, and write it to `output`.

    Warns on standard error where this machine differs from the one that recorded it, so that pixels may differ.

    Args:
        source: a JSON file, or "-" for standard input.
        refused: options given beside the recipe that would contradict it.
    """
    file_format = _format_of(output)
    if refused:
        rule = f"the recipe decides everything but the input pictures; leave out {', '.join(refused)}"
        raise InvalidRequestError([Problem("recipe", rule)])
    recorded = Recipe.from_json(sys.stdin.buffer.read() if source == "-" else read_file(Path(source)))
    painter = _Painter()
    pictures = painter.pictures(inputs)
    _check_inputs(recorded, pictures)
    _write(painter, output, file_format, _for_here(recorded, painter), pictures)


def _for_here(recorded: Recipe, painter: _Painter) -> Recipe:
    """The recipe as this machine would record it, with a warning for each difference that may change pixels."""
    engine_kind = painter.engine.kind(recorded.model, recorded.size)
    here: dict[str, Any] = {"release": painter.registry.release(recorded.model), "engine": engine_kind}
    for field, value in here.items():
        if (was := getattr(recorded, field)) != value:
            name = field.replace("_digest", "")
            short = (text if field == "engine" else text[:20] for text in (value, was))
            _warn("{} of model '{}' is {} here, but {} in the recipe".format(name, recorded.model, *short))
    if recorded.has_inputs and recorded.input_reading != INPUT_READING:
        was = recorded.input_reading or "1"
        _warn(f"input pictures are read in version {INPUT_READING} here, but in version {was} in the recipe")
        here["input_reading"] = INPUT_READING
    return recorded.model_copy(update=here | _loras_here(recorded, painter))


def _loras_here(recorded: Recipe, painter: _Painter) -> dict[str, Any]:
    fields = lora_fields(recorded.pinned_loras, partial(painter.registry.lora_digest, recorded.model))
    here = {lora.name: lora.digest for lora in recorded.model_copy(update=fields).pinned_loras}
    for name, was in ((lora.name, lora.digest) for lora in recorded.pinned_loras):
        if (now := here[name]) != was:
            _warn(f"lora '{name}' of model '{recorded.model}' is {now[:20]} here, but {was[:20]} in the recipe")
    return fields


def _check_inputs(recipe: Recipe, given: Pictures) -> None:
    controls = [control.digest for control in recipe.pinned_controls]
    count, problems = max(len(controls), len(given[2])), list[Problem]()
    options = ("image", "mask", *["control"] * count)
    wanted = (recipe.image_digest, recipe.mask_digest, *controls, *[None] * (count - len(controls)))
    pictures = (*given[:2], *given[2], *[None] * (count - len(given[2])))
    for option, digest, picture in zip(options, wanted, pictures, strict=True):
        if digest and picture is None:
            problems.append(Problem(option, f"the recipe needs the picture of sha256 {digest}; give it as --{option}"))
        elif picture and picture.digest != digest:
            needed = f"the recipe needs the one of {digest}" if digest else "the recipe needs none"
            problems.append(Problem(option, f"this is the picture of sha256 {picture.digest}; {needed}"))
    if problems:
        raise InvalidRequestError(problems)


def _write(painter: _Painter, output: Path, file_format: ImageFormat, recipe: Recipe, inputs: Pictures) -> None:
    image, painted = painter.paint(recipe, inputs)
    quality, marker = painter.settings.pictures.original_quality, Marker(painter.settings)
    files = [picture.read() for picture in (inputs[0], *inputs[2]) if picture]
    data = marker.encode(image, file_format, quality, painted, embed=True, inputs=files)
    if mark_step(painted):
        marker.keep(open_store(painter.settings.store), painted, "", name=hashlib.sha256(data).hexdigest()[:16])
    write_file(output, data)
    say(f"{output}: {image.width}×{image.height}, seed {painted.seed}")


def _format_of(output: Path) -> ImageFormat:
    """The format that a file's ending asks for. Raises FileError, before the work, if it cannot be written."""
    file_format = FORMATS.get(output.suffix.lower())
    if file_format is None:
        rule = f"'{output.suffix}' is not the ending of a picture; use {', '.join(FORMATS)}"
        raise InvalidRequestError([Problem("output", rule)])
    check_writable(output)
    return file_format


def _warn(difference: str) -> None:
    say(f"warning: {difference}: pixels may differ.", err=True)
