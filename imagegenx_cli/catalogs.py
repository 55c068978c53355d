"""`imagegenx catalog`, and the catalogs that come with ImageGenX."""

import hashlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.settings import PACKAGE_ROOT, Settings, load_settings
from foundation.private_folder import make_private
from imagegenx_cli.embedded_dagster import dagster_instance
from imagegenx_cli.terminal import print_json, say, say_table
from models.registry import ModelRegistry, open_registry
from models.visible_files import visible_files
from ops.catalog.home_folder import catalog_files, open_catalogs
from ops.catalog.pictures import FolderFiles
from ops.catalog.reading import catalog_name, read_catalog
from ops.catalog.registered import RegisteredCatalogs, Registration
from ops.catalog.schedules import catalog_schedules
from ops.freshness import made_at_s
from ops.input_pictures import InputPictures
from ops.prospect import prospect
from resources.open_store import open_store

if TYPE_CHECKING:
    from dagster import DagsterInstance

SHIPPED_CATALOGS = PACKAGE_ROOT / "configs" / "catalogs"
SHIPPED_LOGOS = PACKAGE_ROOT / "configs" / "logos"
_LISTED = ("name", "state", "file", "made_at", "schedule", "next_due", "owner")


def validate(file: Path) -> None:
    """Print the number of rows, and what a run would make. Raises CatalogError listing every problem."""
    settings = load_settings()
    store, registry = open_store(settings.store), open_registry(settings)
    catalog = read_catalog(file, registry, has_object=open_catalogs(settings, store).has_object)
    inputs = InputPictures(FolderFiles(file.parent, catalog.name), store, settings.pictures.max_input_pixels)
    found = prospect(catalog, store, registry, inputs)
    say(f"catalog '{catalog.name}': {len(catalog.table)} rows, no problems: {found}.")


def add(file: Path) -> None:
    """Put a catalog, with the pictures it names, into the store and make it a partition."""
    settings = load_settings()
    catalog = _opened(settings).register(file, open_registry(settings))
    with dagster_instance(settings.home) as instance:
        add_partition(instance, catalog.name)
    say(f"catalog '{catalog.name}': {len(catalog.table)} rows, registered.")


def list_catalogs(*, as_json: bool) -> None:
    """Print every catalog that is registered or retired: its file, when it was last made, and what makes it again."""
    settings = load_settings()
    found = list(_described(settings))
    if as_json:
        print_json(found)
    elif not found:
        say("No catalogs yet. Add one with `imagegenx catalog add FILE`.")
    else:
        say_table([_LISTED, *([one[name] or "-" for name in _LISTED] for one in found)])


def retire(name: str) -> None:
    """Take a catalog out of use: its partition and its schedule end, its pictures stay for `retention.retired_days`."""
    settings = load_settings()
    catalogs = _opened(settings)
    catalogs.get(name)
    with dagster_instance(settings.home) as instance:
        catalogs.retire(name)
        remove_partition(instance, name)
    days = settings.retention.retired_days
    say(f"catalog '{name}' is retired. Its pictures go after {days} days; `catalog add` brings it back.")
    if dropped := _in_inbox(name, settings):
        say(f"{dropped} still lies in the watched folder: an edit of it would register the catalog again.")


def set_catalog(name: str, given: list[str]) -> None:
    """Let these hold of a catalog instead of what its file says. Raises CatalogError if one of them cannot be."""
    settings = load_settings()
    pairs = {key.strip(): value.strip() for key, _, value in (one.partition("=") for one in given)}
    catalogs = _opened(settings)
    known = catalogs.give(name, pairs, open_registry(settings))
    made_at = dict(made_at_s(catalogs.store)).get(name, 0.0)
    from imagegenx_assets.catalog_facts import catalog_facts

    with dagster_instance(settings.home) as instance:
        observe(instance, name, catalog_facts(settings, catalogs, name, made_at))
    said = ", ".join(f"{key}={value}" for key, value in sorted(known.given.items()))
    say(f"catalog '{name}': {said or 'everything is as its file says'}.")


def observe(instance: "DagsterInstance", catalog: str, facts: dict[str, Any]) -> None:
    """Let Dagster's page of the catalog's gallery say these from now on."""
    from dagster import AssetKey, AssetObservation

    from resources.dagster_names import GALLERY

    said = "Set by `imagegenx catalog set`."
    instance.report_runless_asset_event(AssetObservation(AssetKey(GALLERY), said, facts, catalog))


def add_partitions(instance: "DagsterInstance", settings: Settings) -> None:
    """Make every registered catalog a partition.

    One that was a partition of this instance, or was made by it, and is none any more was deleted in Dagster: it is
    retired.
    """
    from dagster import AssetKey

    from resources import partitions
    from resources.dagster_names import CATALOG_PARTITIONS, PROMPT_CATALOG

    catalogs = _opened(settings)
    names = catalogs.names()
    known = set(instance.get_dynamic_partitions(CATALOG_PARTITIONS))
    made = instance.get_materialized_partitions(AssetKey(PROMPT_CATALOG))
    gone = (partitions.were_partitions(instance, CATALOG_PARTITIONS, names) | (made & set(names))) - known
    for catalog in gone:
        catalogs.retire(catalog)
    partitions.add_partitions(instance, CATALOG_PARTITIONS, [name for name in names if name not in gone])


def add_partition(instance: "DagsterInstance", catalog: str) -> None:
    """Make a registered catalog a partition of the assets; it may be one already."""
    from resources.dagster_names import CATALOG_PARTITIONS
    from resources.partitions import add_partitions

    add_partitions(instance, CATALOG_PARTITIONS, [catalog])


def remove_partition(instance: "DagsterInstance", catalog: str) -> None:
    """Let a catalog be no partition any more; it may be none already."""
    from resources.dagster_names import CATALOG_PARTITIONS

    if instance.has_dynamic_partition(CATALOG_PARTITIONS, catalog):
        instance.delete_dynamic_partition(CATALOG_PARTITIONS, catalog)


def _opened(settings: Settings) -> RegisteredCatalogs:
    store = open_store(settings.store)
    store.check()
    return open_catalogs(settings, store)


def _described(settings: Settings) -> Iterator[dict[str, str]]:
    from sensors.catalog_schedule import next_due

    catalogs = _opened(settings)
    made = dict(made_at_s(catalogs.store))
    schedules = dict(catalog_schedules(settings, catalogs))
    registered, retired = list(catalogs.all()), list(catalogs.retired())
    for one in registered:
        line, schedule = _line(one, "registered", made.get(one.name)), schedules.get(one.name)
        due = {"schedule": schedule.cron, "next_due": _moment(next_due(schedule).timestamp())} if schedule else {}
        yield line | due
    for one in retired:
        yield _line(one, "retired", made.get(one.name))


def _line(catalog: Registration, state: str, made_at_s: float | None) -> dict[str, str]:
    said = {"name": catalog.name, "state": state, "file": catalog.file, "owner": catalog.review.owner}
    return dict.fromkeys(_LISTED, "") | said | {"made_at": _moment(made_at_s) if made_at_s else ""}


def _moment(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at_s))


def _in_inbox(name: str, settings: Settings) -> Path | None:
    inbox = settings.catalog_source.folder
    return next((file for found, file in catalog_files(inbox) if found == name), None) if inbox else None


def register_shipped(name: str, settings: Settings, registry: ModelRegistry) -> None:
    """Register the shipped catalog of this name, and the shipped logos.

    A registered catalog stays as it is, unless it is still the copy of an earlier version of the shipped one.
    """
    shipped = next((file for file in visible_files(SHIPPED_CATALOGS) if catalog_name(file) == name), None)
    if shipped is None:
        return
    _copy_logos(settings.logo_folder)
    catalogs = _opened(settings)
    known = catalogs.get(name) if name in catalogs.names() else None
    if known is None or (known.shipped and known.content != hashlib.sha256(shipped.read_bytes()).hexdigest()):
        catalogs.register(shipped, registry, shipped=True)


def _copy_logos(folder: Path) -> None:
    make_private(folder)
    for logo in visible_files(SHIPPED_LOGOS):
        if not (folder / logo.name).exists():
            shutil.copyfile(logo, folder / logo.name)
