"""Model releases: what a catalog's pictures were made with, and what a new release of it makes stale.

Everything that decides pixels is in their recipes: the release of the model, the LoRA, and the network, font or logo of
each later step. A summary of them (`UsedRelease`) is stored with each catalog when its gallery is made, so that telling
which of thousands of catalogs are stale reads one small object for each, and no manifest.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from configs.settings import Settings
from io_managers.image_set import ImageSet, ManifestRow, Status, picture_key, read_image_set
from models.errors import ImageGenXError, ModelError
from models.recipe import PostStep, Recipe
from models.registry import ModelRegistry
from ops.map_ahead import map_ahead
from ops.stages import recorded_change
from ops.watermark_files import file_digest
from resources.object_store import ObjectNotFoundError, ObjectStore

FOLDER = "releases/"


@dataclass(frozen=True)
class UsedRelease:
    """Rows of a catalog that were made with the same release of everything.

    Attributes:
        recipe: of one of them, as JSON.
        rows: how many there are.
        picture_s: seconds that generating and upscaling one takes, on average; 0 if that was never measured.
    """

    recipe: str
    rows: int
    picture_s: float = 0.0


@dataclass(frozen=True)
class Impact:
    """What a catalog has to do because of new releases.

    Attributes:
        rows: all rows that have a picture.
        stale: those whose picture an older release made.
        to_make: those of them whose new picture is not stored from an earlier time.
        gpu_s: estimated seconds to make them.
    """

    catalog: str
    rows: int
    stale: int
    to_make: int
    gpu_s: float


class CurrentReleases:
    """The releases that are here now, and recipes brought up to them; a step's files are looked at once."""

    def __init__(self, settings: Settings, registry: ModelRegistry) -> None:
        self._settings = settings
        self._registry = registry
        self._steps: dict[str, PostStep] = {}

    def digests(self) -> dict[str, str]:
        """What decides pixels, by name: every model whose files are here, with its LoRAs, and the files of later steps.

        Of those, `upscaler` is the super-resolution network and `marks` are the fonts and logos.
        """
        found = {name: digest for name in self._registry.names if (digest := self._model_digest(name))}
        upscaler = self._settings.upscaler
        marks = [*_files(self._settings.fonts_folder), *_files(self._settings.logo_folder)]
        if upscaler.is_file():
            found["upscaler"] = file_digest(upscaler)
        if marks:
            found["marks"] = _joined([f"{file.name}={file_digest(file)}" for file in marks])
        return found

    def _model_digest(self, name: str) -> str:
        """The release of a model and its LoRAs; "" if its files are not here."""
        try:
            loras = [self._registry.lora_digest(name, lora) for lora in sorted(self._registry.card(name).loras)]
            return _joined([self._registry.release(name), *loras])
        except ModelError:
            return ""

    def refreshed(self, recipe: Recipe) -> Recipe:
        """The recipe that the same request has now.

        What is not here any more stays as it was: nothing could be made with it.
        """
        try:
            release = self._registry.release(recipe.model)
            lora = self._registry.lora_digest(recipe.model, recipe.lora_name) if recipe.lora_name else ""
        except ImageGenXError:
            return recipe
        post = tuple(self._step(step) for step in recipe.post)
        return recipe.model_copy(update={"release": release, "lora_digest": lora, "post": post})

    def _step(self, step: PostStep) -> PostStep:
        known = step.model_dump_json()
        if known not in self._steps:
            try:
                self._steps[known] = recorded_change(step, self._settings, self._registry).step
            except ImageGenXError:
                self._steps[known] = step
        return self._steps[known]


def releases_key(catalog: str) -> str:
    """Object key of a catalog's summary."""
    return f"{FOLDER}{catalog}.json"


def record_releases(finished: ImageSet) -> None:
    """Store the summary of a catalog's finished pictures."""
    store, catalog = finished.store, finished.catalog
    measured = _measured_seconds(store, catalog)
    before = {_label(Recipe.from_json(used.recipe)): used.picture_s for used in used_releases(store, catalog)}
    summary = []
    for recipe, rows in _groups(finished):
        seconds = [measured[row_id] for row_id in rows if measured.get(row_id)]
        picture_s = sum(seconds) / len(seconds) if seconds else before.get(_label(recipe), 0.0)
        summary.append(asdict(UsedRelease(recipe.to_json(), len(rows), picture_s)))
    store.put(releases_key(catalog), json.dumps(summary).encode(), content_type="application/json")


def used_releases(store: ObjectStore, catalog: str) -> list[UsedRelease]:
    """The summary of a catalog; empty before its gallery was made."""
    try:
        return [UsedRelease(**used) for used in json.loads(store.get(releases_key(catalog)))]
    except ObjectNotFoundError:
        return []


def stale_catalogs(store: ObjectStore, catalogs: Iterable[str], current: CurrentReleases) -> Iterator[tuple[str, int]]:
    """(catalog, number of stale rows) of each catalog that has any."""
    for catalog, used in map_ahead(lambda name: used_releases(store, name), catalogs):
        if rows := sum(one.rows for one in used if _is_stale(Recipe.from_json(one.recipe), current)):
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
    seconds = {_label(Recipe.from_json(used.recipe)): used.picture_s for used in used_releases(store, catalog)}
    rows = [row for row in read_image_set(store, "watermarked_images", catalog).rows() if row.recipe]
    stale = []
    for row in rows:
        recipe = Recipe.from_json(row.recipe)
        if (model is None or recipe.model == model) and (fresh := current.refreshed(recipe)) != recipe:
            stale.append((row, fresh))
    missing = [fresh for (row, fresh), stored in map_ahead(lambda pair: _is_stored(store, *pair), stale) if not stored]
    gpu_s = sum(seconds.get(_label(fresh), 0.0) for fresh in missing)
    return Impact(catalog, len(rows), len(stale), len(missing), gpu_s)


def _is_stored(store: ObjectStore, row: ManifestRow, fresh: Recipe) -> bool:
    return store.stat(picture_key(fresh, row.format)) is not None


def _is_stale(recipe: Recipe, current: CurrentReleases) -> bool:
    return current.refreshed(recipe) != recipe


def _groups(finished: ImageSet) -> Iterator[tuple[Recipe, Sequence[str]]]:
    """(a recipe, ids of the rows) for each combination of releases."""
    groups: dict[str, tuple[Recipe, list[str]]] = {}
    for row in finished.rows():
        if row.recipe and row.status is not Status.FAILED:
            recipe = Recipe.from_json(row.recipe)
            groups.setdefault(_uses(recipe), (recipe, []))[1].append(row.row_id)
    yield from groups.values()


def _uses(recipe: Recipe) -> str:
    """What of a recipe new releases change, as one text."""
    steps = [[step.op, step.uses, *(step.params.get(name) for name in _FILES)] for step in recipe.post]
    return json.dumps([recipe.model, recipe.release, recipe.lora_name, recipe.lora_digest, steps])


_FILES = ("scale", "type", "font", "image_path")
"""The params of a step that name the file it uses."""


def _label(recipe: Recipe) -> str:
    """What decides how long a picture takes, whatever the releases."""
    scales = [str(step.params.get("scale")) for step in recipe.post if step.op == "upscale"]
    return " ".join([recipe.model, recipe.lora_name, *scales])


def _measured_seconds(store: ObjectStore, catalog: str) -> dict[str, float]:
    """Seconds of generating and upscaling, by row id, of the pictures that the last run made."""
    seconds: dict[str, float] = {}
    for asset in ("generated_images", "upscaled_images"):
        for row in read_image_set(store, asset, catalog).rows():
            if row.status is Status.MADE:
                seconds[row.row_id] = seconds.get(row.row_id, 0.0) + row.seconds
    return seconds


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else []


def _joined(digests: Sequence[str]) -> str:
    """One digest of several; of one, itself."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
