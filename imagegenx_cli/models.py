"""`imagegenx models`."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields

from configs.settings import load_settings
from foundation.errors import ImageGenXError
from imagegenx_cli.embedded_dagster import dagster_instance
from imagegenx_cli.terminal import byte_bars, print_json, say, say_table
from models.admission import parse_request
from models.card import ModelCard
from models.control import MAX_CONTROLS
from models.engine import BatchingEngine, Engine, GenerationJob
from models.errors import ModelError, ModelLoadError
from models.hub import fetch_missing
from models.image import FailedImage, InputPicture
from models.planning import plan_recipe
from models.registry import ModelRegistry, open_registry
from models.request import Mode
from ops.releases import CurrentReleases, Impact, release_impact
from resources.open_store import open_store
from resources.weight_store import open_loading_registry

_STEPS = 2
_INPUTS = {
    Mode.TEXT2IMG: (),
    Mode.IMG2IMG: ("image_url",),
    Mode.INPAINT: ("image_url", "mask_url"),
    Mode.CONTROLNET: (),
}


@dataclass(frozen=True)
class ListedModel:
    """A model as `models list` shows it; `release` is None if its files are not here."""

    name: str
    family: str
    modes: tuple[Mode, ...]
    source: str
    release: str | None
    accelerator: str

    def cells(self) -> list[str]:
        """The fields as short texts."""
        release = (self.release or "not here")[:12]
        return [self.name, self.family, ",".join(self.modes), self.source, release, self.accelerator]


def list_models(*, as_json: bool) -> None:
    """Print every model's name, family, modes, source, release and accelerator, and the cards that are wrong."""
    registry = open_loading_registry(load_settings())
    models = [_listed(registry, name) for name in registry.names]
    bad = [ListedModel(card.name, "bad card", (), str(card.file), None, "") for card in registry.bad_cards]
    if as_json:
        reasons = [{**asdict(model), "error": card.reason} for model, card in zip(bad, registry.bad_cards, strict=True)]
        print_json([*map(asdict, models), *reasons])
        return
    rows = [[column.name for column in fields(ListedModel)], *(model.cells() for model in [*models, *bad])]
    say_table(rows)
    for card in registry.bad_cards:
        say(f"bad: {card}", err=True)
    for replaced, used in registry.replaced_cards:
        say(f"note: model '{used.stem}' is that of {used}; {replaced} is not used.", err=True)


def verify_models() -> int:
    """Paint a small picture with each model in each of its modes, and print what works here.

    Nothing is downloaded: a model whose files are not here is reported as such.

    Returns:
        the exit status: 1 if the default model does not work, or a file is no card.
    """
    settings = load_settings()
    registry = open_loading_registry(settings)
    engine = BatchingEngine(registry, settings.engine)
    works = {}
    for name in registry.names:
        lines = list(_verified(registry, engine, name))
        works[name] = all(ok for ok, _ in lines)
        for ok, line in lines:
            say(f"{'ok    ' if ok else 'no    '} {name}: {line}")
        engine.release()
    for bad in registry.bad_cards:
        say(f"no     {bad.name}: {bad}")
    return 0 if works.get(registry.default_model) and not registry.bad_cards else 1


def fetch_model(name: str) -> None:
    """Fetch what a model needs from the hub, with a progress bar, and print where it is."""
    card = open_loading_registry(load_settings()).card(name)
    with byte_bars() as on_bytes:
        fetch_missing(card, on_bytes)
    for path in filter(None, (card.path, *card.controlnet_paths.values())):
        if not path.exists():
            raise ModelLoadError(f"model '{name}' is to be at {path}, on this machine; there is nothing to fetch.")
        say(path)


def _listed(registry: ModelRegistry, name: str) -> ListedModel:
    card = registry.card(name)
    source = str(card.path or card.source)
    return ListedModel(name, card.family, card.modes, source, _release(registry, name), card.accelerator)


def _release(registry: ModelRegistry, name: str) -> str | None:
    """The release's digest, or None if the model's files are not here."""
    try:
        return registry.release(name)
    except ModelError:
        return None


def _verified(registry: ModelRegistry, engine: Engine, name: str) -> Iterator[tuple[bool, str]]:
    """Whether the model works here, and a line about it, for each mode."""
    card = registry.card(name)
    if missing := _not_here(card):
        yield False, missing
        return
    for mode in card.modes:
        began = time.perf_counter()
        try:
            size = _paint(registry, engine, card, mode)
        except ImageGenXError as exc:
            yield False, f"{mode}: {exc}"
            return
        spent_s = time.perf_counter() - began
        yield True, f"{mode} {size} on {engine.kind(name, card.default_resolution)}, {_STEPS} steps in {spent_s:.1f} s"


def _not_here(card: ModelCard) -> str:
    """What of a model is only on the hub; "" if all its files are here."""
    parts = [card.source] if card.path is None else []
    if card.controlnet and card.controlnet_path is None:
        parts.append(card.controlnet)
    if not parts:
        return ""
    return f"not here; its first picture, or `imagegenx models fetch {card.name}`, fetches {' and '.join(parts)}"


def _paint(registry: ModelRegistry, engine: Engine, card: ModelCard, mode: Mode) -> str:
    """Paint one picture and return its size; ModelError if that fails."""
    grey = _grey(card)
    urls: dict[str, object] = dict.fromkeys(_INPUTS[mode], "grey")
    if mode is Mode.CONTROLNET:
        urls["controls"] = [{"model": name, "image": "grey"} for name in card.controlnet_paths][:MAX_CONTROLS]
    params = {"steps": _STEPS, "seed": 0, "resolution": card.default_resolution}
    request = parse_request({"text": "a mug", "model_type": card.name, "params": params, **urls}, registry)
    image, mask = (grey if name in urls else None for name in ("image_url", "mask_url"))
    controls = [grey] * len(request.chosen_controls)
    kind = engine.kind(card.name, card.default_resolution)
    recipe = plan_recipe(
        request, registry=registry, engine_kind=kind, seed=0, image=image, mask=mask, controls=controls
    )
    (outcome,) = engine.generate([GenerationJob(card.name, recipe, image, mask, controls)])
    if isinstance(outcome, FailedImage):
        raise ModelError(outcome.error)
    return str(recipe.size)


def _grey(card: ModelCard) -> InputPicture:
    from PIL import Image

    size = (card.default_resolution.width_px, card.default_resolution.height_px)
    return InputPicture("0" * 64, lambda: Image.new("RGB", size, "grey"))


def show_impact(name: str, *, as_json: bool) -> None:
    """Print the catalogs with pictures of an older release of this model, or of what its later steps use."""
    from resources.dagster_names import CATALOG_PARTITIONS

    settings = load_settings()
    registry = open_registry(settings)
    release = registry.release(name)
    with dagster_instance(settings.home) as instance:
        catalogs = instance.get_dynamic_partitions(CATALOG_PARTITIONS)
    store = open_store(settings.store)
    impacts = list(release_impact(store, catalogs, CurrentReleases(settings, registry), name))
    if as_json:
        print_json([asdict(impact) for impact in impacts])
        return
    told = f"model '{name}', release {release[:12]}:"
    if not impacts:
        say(f"{told} all pictures of {len(catalogs)} catalogs are up to date.")
        return
    say(told)
    _show_impacts(impacts, len(catalogs))


def _show_impacts(impacts: Sequence[Impact], catalogs: int) -> None:
    columns = ("catalog", "rows", "stale", "to make", "to finish", "GPU s")
    rows = [
        (one.catalog, *map(str, (one.rows, one.stale, one.to_make, one.to_finish)), f"{one.gpu_s:.1f}")
        for one in impacts
    ]
    say_table([columns, *rows])
    stale, missing = sum(one.stale for one in impacts), sum(one.to_make for one in impacts)
    gpu_s, finishing = sum(one.gpu_s for one in impacts), sum(one.to_finish for one in impacts)
    made = f"{missing} pictures to make and {finishing} that only need later steps, in about {gpu_s:.0f} GPU s"
    say(f"{len(impacts)} of {catalogs} catalogs, {stale} stale rows, {made}.")
