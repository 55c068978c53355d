"""What a run of a catalog would make, and how long that would take, before anybody runs it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from foundation.map_ahead import map_ahead
from io_managers.image_set import ManifestRow, last_image_set
from models.recipe import Recipe
from models.registry import ModelRegistry
from models.request import GenerationRequest
from models.resolution import Resolution
from ops.catalog.reading import Catalog, table_requests
from ops.editions import edited, reseeded, wanted_edition
from ops.generation import PlannedRow, plan_row
from ops.input_pictures import InputPictures
from ops.releases import FOLDER, label, measured_seconds
from resources.dagster_names import GENERATED_IMAGES
from resources.object_store import ObjectStore

_LOOKED_AT = 50
"""Catalogs whose measured times are read, for models that this one has never used."""


@dataclass(frozen=True)
class Prospect:
    """What a run would do.

    Attributes:
        new, kept: pictures that it would generate, and that are there.
        failing: rows that cannot be made as things are.
        gpu_s: seconds of the GPU for the new ones, as far as they were measured.
        unmeasured: models of new pictures that nobody has measured here.
    """

    new: int = 0
    kept: int = 0
    failing: int = 0
    gpu_s: float = 0.0
    unmeasured: Sequence[str] = ()

    def __str__(self) -> str:
        parts = [f"{self.new:,} new", f"{self.kept:,} kept", *([f"{self.failing:,} failing"] if self.failing else [])]
        if self.gpu_s:
            parts.append(f"about {_span(self.gpu_s)}")
        if self.unmeasured:
            parts.append(f"how long {' and '.join(self.unmeasured)} takes is not known here yet")
        return ", ".join(parts)


def prospect(catalog: Catalog, store: ObjectStore, registry: ModelRegistry, inputs: InputPictures) -> Prospect:
    """Look up which of a catalog's pictures are stored, with the seeds and prompts that its next run has."""
    wanted = wanted_edition(store, catalog.name)
    last = last_image_set(store, GENERATED_IMAGES, catalog.name)
    engines = _RecordedEngines(last.rows() if last else ())
    requests = table_requests(reseeded(edited(catalog.table, wanted), wanted))
    planned = (plan_row(row_id, request, inputs, registry, engines.kind) for row_id, request in requests)
    counts, new = Counter[str](), Counter[tuple[str, str]]()
    for row, is_there in map_ahead(lambda row: _is_there(row, engines, store), planned):
        counts["failing" if row.error else "kept" if is_there else "new"] += 1
        if not (row.error or is_there):
            new[row.request.model_type, _label(row.request)] += 1
    gpu_s, unmeasured = _gpu_seconds(new, store, catalog.name)
    return Prospect(counts["new"], counts["kept"], counts["failing"], gpu_s, unmeasured)


class _RecordedEngines:
    """How the last run computed pictures, which is how the next one will.

    Attributes:
        keys: of the pictures that the last run left.
    """

    def __init__(self, rows: Iterable[ManifestRow]) -> None:
        self.keys = set[str]()
        self._kinds: dict[tuple[str, Resolution | None], str] = {}
        for row in rows:
            if row.recipe and row.status.has_picture:
                recipe = Recipe.from_json(row.recipe)
                self.keys.add(row.key)
                self._kinds[recipe.model, recipe.size] = self._kinds[recipe.model, None] = recipe.engine

    def kind(self, model: str, size: Resolution) -> str:
        """See `PictureMaker`."""
        return self._kinds.get((model, size)) or self._kinds.get((model, None), "")


def _is_there(row: PlannedRow, engines: _RecordedEngines, store: ObjectStore) -> bool:
    return bool(row.key) and (row.key in engines.keys or store.stat(row.key) is not None)


def _label(request: GenerationRequest) -> str:
    scale = request.params.post_process.super_resolution.rstrip("x")
    return label(request.model_type, [lora.name for lora in request.params.chosen_loras], [scale] if scale else [])


def _gpu_seconds(new: Counter[tuple[str, str]], store: ObjectStore, catalog: str) -> tuple[float, tuple[str, ...]]:
    """Seconds for new pictures, by (model, label), and the models that were never measured.

    Where just these LoRAs or sizes were not, another measurement of the model stands for them.
    """
    others = islice((found.key.removeprefix(FOLDER).removesuffix(".json") for found in store.list(FOLDER)), _LOOKED_AT)
    measured = measured_seconds(store, [catalog, *others]) if new else {}
    seconds = {known.partition(" ")[0]: value for known, value in measured.items()} | measured
    gpu_s = sum(count * seconds.get(one, seconds.get(model, 0.0)) for (model, one), count in new.items())
    return gpu_s, tuple(sorted({model for model, _ in new if model not in seconds}))


def _span(seconds: float) -> str:
    """Like '9 GPU minutes'."""
    for unit, size_s in (("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= 2 * size_s or unit == "second":
            return f"{max(1, round(seconds / size_s)):,} GPU {unit}{'' if round(seconds / size_s) <= 1 else 's'}"
    raise AssertionError
