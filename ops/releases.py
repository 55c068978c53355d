"""Model releases: what a catalog's pictures were made with, and what a new release of it makes stale.

Everything that decides pixels is in their recipes: the release of the model, the LoRA, what the model's card says, and
the network, font or logo of each later step. A summary of them (`UsedRelease`) is stored with each catalog when its
gallery is made, so that telling which of thousands of catalogs are stale reads one small object for each, and no
manifest.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

from configs.settings import EngineSettings, Settings
from foundation.errors import ImageGenXError
from foundation.map_ahead import map_ahead
from io_managers.image_set import ImageSet, ManifestRow, Status, picture_key, read_image_set
from models.card import ModelCard
from models.digests import file_digest
from models.errors import ModelError
from models.placement import Placement, decode_budget
from models.recipe import INPUT_READING, PostStep, Recipe, control_fields, lora_fields
from models.registry import ModelRegistry
from models.request import GenerationParams, PostProcess
from models.sampler import fitting
from models.visible_files import visible_files
from ops.marking import MARK_PARAMS, catalog_step, policy_digest
from ops.stages import generated_format, recorded_change, upscaled_format
from resources.object_store import ObjectStore
from resources.shared_folder import refresh_marks
from resources.stored_json import get_json, put_json

FOLDER = "releases/"


@dataclass(frozen=True)
class UsedRelease:
    """Rows of a catalog that were made with the same release of everything.

    Attributes:
        recipe: of one of them, as JSON.
        rows: how many there are.
        picture_s: seconds that generating one takes, on average; 0 if that was never measured.
        upscale_s: the same of upscaling one.
        defaults: what the model gave requests that said nothing, by the recipe's fields. All of the rows have the same
            of these values, or none has them.
    """

    recipe: str
    rows: int
    picture_s: float = 0.0
    upscale_s: float = 0.0
    defaults: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Impact:
    """What a catalog has to do because of new releases.

    Attributes:
        rows: all rows that have a picture.
        stale: those whose picture an older release made.
        to_make: those of them that must be generated: not even the picture before later steps is stored.
        to_finish: those that need later steps only, like a watermark in another font.
        gpu_s: estimated seconds to generate and upscale.
    """

    catalog: str
    rows: int
    stale: int
    to_make: int
    to_finish: int
    gpu_s: float


class CurrentReleases:
    """The releases that are here now, and recipes brought up to them; a step's files are looked at once."""

    def __init__(self, settings: Settings, registry: ModelRegistry) -> None:
        self._settings = settings
        self._registry = registry
        self._steps: dict[str, PostStep] = {}
        self._defaults: dict[str, dict[str, Any]] = {}

    def digests(self) -> dict[str, str]:
        """What decides pixels, by name: every model whose files are here, with its LoRAs, and the files of later steps.

        Of those, `upscaler` is the super-resolution network, `upscaler NAME` one of the others, `marks` are the fonts
        and logos, `marking` is the policy of AI marks; `decode_budget` is the setting that has large pictures decoded
        in tiles.
        """
        found = {name: digest for name in self._registry.names if (digest := self._model_digest(name))}
        upscaler = self._settings.upscaler
        refresh_marks(self._settings)
        folders = (self._settings.fonts_folder, self._settings.logo_folder)
        marks = [file for folder in folders for file in visible_files(folder, deep=True)]
        if source := self._settings.upscaler_source:
            found["upscaler"] = source.partition("#")[2]
        elif upscaler.is_file():
            found["upscaler"] = file_digest(upscaler)
        named = sorted(self._settings.upscalers.items())
        found |= {f"upscaler {name}": file_digest(file) for name, file in named if file.is_file()}
        if marks:
            found["marks"] = _joined([f"{file.name}={file_digest(file)}" for file in marks])
        if policy := policy_digest(self._settings):
            found["marking"] = policy
        if budget := self._settings.engine.decode_budget_pixels:
            found["decode_budget"] = str(budget)
        return found

    def _model_digest(self, name: str) -> str:
        """The release of a model and its LoRAs, with what its card says; "" if its files are not here."""
        card = self._registry.card(name)
        said = card.model_dump(include=_CARD_FIELDS, exclude_defaults=True) | self._own_defaults(name)
        try:
            loras = [self._registry.lora_digest(name, lora) for lora in sorted(card.loras)]
            card_says = [json.dumps(said, sort_keys=True)] if said else []
            return _joined([self._registry.release(name), *loras, *card_says])
        except ModelError:
            return ""

    def defaults(self, model: str) -> dict[str, Any]:
        """What requests for a model get that say nothing, by the recipe's fields; nothing if the model is gone."""
        if model not in self._defaults:
            known = model in self._registry.names
            given = self._registry.card(model).request_defaults() if known else {}
            self._defaults[model] = _recipe_fields(GenerationParams.model_validate(given)) if known else {}
        return self._defaults[model]

    def _own_defaults(self, model: str) -> dict[str, Any]:
        """Those of them that are not everybody's."""
        everybodys = _recipe_fields(GenerationParams())
        return {name: value for name, value in self.defaults(model).items() if value != everybodys[name]}

    def refreshed(
        self, recipe: Recipe, defaults: Mapping[str, object] = MappingProxyType({}), catalog: str = ""
    ) -> Recipe:
        """The recipe that the same request has now.

        What is not here any more stays as it was: nothing could be made with it.

        Args:
            catalog: whose it is: it may have a policy of marks of its own.
            defaults: those of the model when the recipe was planned. A value that equals one is taken for it: should
                the request have named it, its row is run again for nothing, and finds its picture stored.
        """
        try:
            release = self._registry.release(recipe.model)
            loras = lora_fields(recipe.pinned_loras, partial(self._registry.lora_digest, recipe.model))
        except ImageGenXError:
            return recipe
        card = self._registry.card(recipe.model)
        controls = [
            control.model_copy(update={"preprocess": card.preprocess_of(control.model)})
            for control in recipe.pinned_controls
        ]
        update = {
            "release": release,
            **loras,
            "post": self._post(recipe, catalog),
            **control_fields(controls),
            "input_reading": INPUT_READING if recipe.has_inputs else None,
            **self._changed_defaults(recipe, defaults),
        }
        fresh = recipe.model_copy(update=update)
        return fresh.model_copy(update={"engine": _engine(fresh, card, self._settings.engine)})

    def _changed_defaults(self, recipe: Recipe, before: Mapping[str, object]) -> dict[str, Any]:
        now, changed = self.defaults(recipe.model), {}
        for fields in _DEFAULTED if before else ():
            if _has_default(recipe, fields, before):
                changed.update({name: now[name] for name in fields})
        if "schedule" in changed:
            changed["schedule"] = fitting(changed["schedule"], changed.get("sampler", recipe.sampler))
        return changed

    def _post(self, recipe: Recipe, catalog: str) -> tuple[PostStep, ...]:
        changes = tuple(self._step(step) for step in recipe.post if step.op != "mark")
        mark = catalog_step(self._settings, catalog)
        return (*changes, mark) if mark else changes

    def _step(self, step: PostStep) -> PostStep:
        known = step.model_dump_json()
        if known not in self._steps:
            try:
                self._steps[known] = recorded_change(step, self._settings).step
            except ImageGenXError:
                self._steps[known] = step
        return self._steps[known]


def releases_key(catalog: str) -> str:
    """Object key of a catalog's summary."""
    return f"{FOLDER}{catalog}.json"


def record_releases(finished: ImageSet, current: CurrentReleases) -> None:
    """Store the summary of a catalog's finished pictures."""
    store, catalog = finished.store, finished.catalog
    generating, upscaling = (_measured_seconds(store, catalog, asset) for asset in _TIMED)
    before = _seconds(used_releases(store, catalog))
    summary = []
    for recipe, rows in _groups(finished, current):
        picture_s, upscale_s = before.get(_label(recipe), (0.0, 0.0))
        picture_s, upscale_s = _mean(generating, rows) or picture_s, _mean(upscaling, rows) or upscale_s
        defaults = current.defaults(recipe.model)
        summary.append(asdict(UsedRelease(recipe.to_json(), len(rows), picture_s, upscale_s, defaults)))
    put_json(store, releases_key(catalog), summary)


def used_releases(store: ObjectStore, catalog: str) -> list[UsedRelease]:
    """The summary of a catalog; empty before its gallery was made."""
    return [UsedRelease(**used) for used in get_json(store, releases_key(catalog)) or ()]


def measured_seconds(store: ObjectStore, catalogs: Iterable[str]) -> dict[str, float]:
    """Seconds of generating and upscaling a picture, by `label`, as far as these catalogs' runs measured it."""
    found: dict[str, float] = {}
    for _, used in map_ahead(lambda name: used_releases(store, name), catalogs):
        for known, (picture_s, upscale_s) in _seconds(used).items():
            if picture_s:
                found.setdefault(known, picture_s + upscale_s)
    return found


def stale_catalogs(store: ObjectStore, catalogs: Iterable[str], current: CurrentReleases) -> Iterator[tuple[str, int]]:
    """(catalog, number of stale rows) of each catalog that has any."""
    for catalog, used in map_ahead(lambda name: used_releases(store, name), catalogs):
        if rows := sum(one.rows for one in used if _is_stale(one, current, catalog)):
            yield catalog, rows


def release_impact(
    store: ObjectStore, catalogs: Iterable[str], current: CurrentReleases, model: str | None = None
) -> Iterator[Impact]:
    """What each stale catalog has to do, row by row.

    Args:
        model: only rows of this model count.
    """
    for catalog, _ in stale_catalogs(store, catalogs, current):
        impact = _impact(store, catalog, current, model)
        if impact.stale:
            yield impact


def _impact(store: ObjectStore, catalog: str, current: CurrentReleases, model: str | None) -> Impact:
    used = used_releases(store, catalog)
    seconds = _seconds(used)
    rows = list(refreshed_rows(store, catalog, current))
    stale = [(row, new) for row, old, new in rows if old != new and model in (None, old.model)]
    missing = Counter[_Missing]()
    gpu_s = 0.0
    for (_, fresh), what in map_ahead(lambda pair: _missing(store, *pair), stale):
        missing[what] += 1
        picture_s, upscale_s = seconds.get(_label(fresh), (0.0, 0.0))
        gpu_s += {"generated": picture_s + upscale_s, "upscaled": upscale_s}.get(what, 0.0)
    to_finish = missing["upscaled"] + missing["finished"]
    return Impact(catalog, len(rows), len(stale), missing["generated"], to_finish, gpu_s)


def refreshed_rows(
    store: ObjectStore, catalog: str, current: CurrentReleases
) -> Iterator[tuple[ManifestRow, Recipe, Recipe]]:
    """Each row of a catalog that has a picture, with the recipe of that, and as it would be made now."""
    defaults = {Recipe.from_json(one.recipe).model: one.defaults for one in used_releases(store, catalog)}
    for row in read_image_set(store, "watermarked_images", catalog).rows():
        if row.recipe:
            recipe = Recipe.from_json(row.recipe)
            yield row, recipe, current.refreshed(recipe, defaults.get(recipe.model, {}), catalog)


_Missing = Literal["generated", "upscaled", "finished", "nothing"]
"""The first of a row's pictures that is not stored."""


def _missing(store: ObjectStore, row: ManifestRow, fresh: Recipe) -> _Missing:
    if store.stat(picture_key(fresh, row.format)) is not None:
        return "nothing"
    post = PostProcess.model_validate_json(row.post_process)
    if store.stat(picture_key(fresh.model_copy(update={"post": ()}), generated_format(post))) is None:
        return "generated"
    upscaling = tuple(step for step in fresh.post if step.op == "upscale")
    upscaled = picture_key(fresh.model_copy(update={"post": upscaling}), upscaled_format(post))
    return "upscaled" if upscaling and store.stat(upscaled) is None else "finished"


def _is_stale(used: UsedRelease, current: CurrentReleases, catalog: str) -> bool:
    recipe = Recipe.from_json(used.recipe)
    return current.refreshed(recipe, used.defaults, catalog) != recipe


def _groups(finished: ImageSet, current: CurrentReleases) -> Iterator[tuple[Recipe, Sequence[str]]]:
    """(a recipe, ids of the rows) for each combination of releases."""
    groups: dict[str, tuple[Recipe, list[str]]] = {}
    for row in finished.rows():
        if row.recipe and row.status.has_picture:
            recipe = Recipe.from_json(row.recipe)
            key = _uses(recipe, current.defaults(recipe.model))
            groups.setdefault(key, (recipe, []))[1].append(row.row_id)
    yield from groups.values()


def _uses(recipe: Recipe, defaults: Mapping[str, object]) -> str:
    """What of a recipe new releases change, as one text."""
    steps = [[step.op, step.uses, *(step.params.get(name) for name in _FILES)] for step in recipe.post]
    loras = [[lora.name, lora.digest] for lora in recipe.pinned_loras]
    files = [recipe.model, recipe.release, loras, steps]
    pixels = recipe.width_px * recipe.height_px
    said = [
        recipe.engine,
        pixels,
        [control.preprocess for control in recipe.pinned_controls],
        recipe.has_inputs,
        recipe.input_reading,
        *(_has_default(recipe, names, defaults) for names in _DEFAULTED),
    ]
    return json.dumps([files, said])


_PLACEMENT = re.compile(r"([^/]+)/([^/]+)/([^/]+)(?:/tiles-\d+)?")
"""What `Placement.kind` gives."""
_FILES = ("scale", "network", "type", "font", "image_path", "shaping", "halo", "colours", *MARK_PARAMS)
"""The params of a step that name the file it uses, and how, or the policy of marks."""
_DEFAULTED = (("steps",), ("cfg_scale",), ("sampler",), ("schedule",), ("width_px", "height_px"))
"""The fields of a recipe for which a model card has defaults; a resolution is given as a whole."""
_CARD_FIELDS = {"accelerator", "dtype", "control_preprocess", "controlnets"}
"""What of a model card alters planned recipes, beside defaults and the release."""


def _recipe_fields(params: GenerationParams) -> dict[str, Any]:
    size = {"width_px": params.resolution.width_px, "height_px": params.resolution.height_px}
    names = ("steps", "cfg_scale", "sampler", "schedule")
    return {name: getattr(params, name) for name in names} | size


def _has_default(recipe: Recipe, fields: Sequence[str], defaults: Mapping[str, object]) -> bool:
    return all(getattr(recipe, name) == defaults.get(name) for name in fields)


def _engine(recipe: Recipe, card: ModelCard, settings: EngineSettings) -> str:
    """The recorded accelerator, device and number type, as far as the card names none; `auto` is known on the GPU.

    With tiles where the setting now asks for them.
    """
    recorded = _PLACEMENT.fullmatch(recipe.engine)
    if recorded is None:
        return recipe.engine
    wanted = (card.accelerator, "auto", card.dtype)
    accelerator, device, dtype = (
        was if want == "auto" else want for want, was in zip(wanted, recorded.groups(), strict=True)
    )
    return Placement(accelerator, device, dtype, decode_budget(card, settings)).kind(recipe.size)


def _label(recipe: Recipe) -> str:
    """What decides how long a picture takes, whatever the releases."""
    scales = [str(step.params.get("scale")) for step in recipe.post if step.op == "upscale"]
    return label(recipe.model, [lora.name for lora in recipe.pinned_loras], scales)


def label(model: str, loras: Iterable[str], scales: Iterable[str]) -> str:
    """What pictures have in common that take equally long."""
    return " ".join([model, *loras, *scales])


_TIMED = ("generated_images", "upscaled_images")
"""The assets whose making takes the GPU."""


def _measured_seconds(store: ObjectStore, catalog: str, asset: str) -> dict[str, float]:
    """Seconds, by row id, of the pictures of an asset that the last run made."""
    rows = read_image_set(store, asset, catalog).rows()
    return {row.row_id: row.seconds for row in rows if row.status is Status.MADE and row.seconds}


def _mean(measured: Mapping[str, float], rows: Sequence[str]) -> float:
    seconds = [measured[row_id] for row_id in rows if row_id in measured]
    return sum(seconds) / len(seconds) if seconds else 0.0


def _seconds(summary: Iterable[UsedRelease]) -> dict[str, tuple[float, float]]:
    """Seconds of generating and of upscaling a picture, by its label."""
    found: dict[str, tuple[float, float]] = {}
    for used in summary:
        label = _label(Recipe.from_json(used.recipe))
        picture_s, upscale_s = found.get(label, (0.0, 0.0))
        found[label] = (used.picture_s or picture_s, used.upscale_s or upscale_s)
    return found


def _joined(digests: Sequence[str]) -> str:
    """One digest of several; of one, itself."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
