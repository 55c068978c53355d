"""`imagegenx catalog`, and the catalogs that come with ImageGenX."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from configs.private_folder import make_private
from configs.settings import PACKAGE_ROOT, Settings, load_settings
from imagegenx_cli.embedded_dagster import dagster_instance
from imagegenx_cli.terminal import say
from models.registry import ModelRegistry, open_registry
from ops.catalog import CatalogError, catalog_file, catalog_name, read_catalog, register_catalog

if TYPE_CHECKING:
    from dagster import DagsterInstance

SHIPPED_CATALOGS = PACKAGE_ROOT / "configs" / "catalogs"
SHIPPED_LOGOS = PACKAGE_ROOT / "configs" / "logos"


def validate(file: Path) -> None:
    """Print the number of rows. Raises CatalogError listing every problem."""
    catalog = read_catalog(file, open_registry(load_settings()))
    say(f"catalog '{catalog.name}': {len(catalog.table)} rows, no problems.")


def add(file: Path) -> None:
    """Copy a catalog, with the pictures it names, to the catalog folder and make it a partition."""
    settings = load_settings()
    catalog = register_catalog(file, settings, open_registry(settings))
    with dagster_instance(settings.home) as instance:
        add_partition(instance, catalog.name)
    say(f"catalog '{catalog.name}': {len(catalog.table)} rows, registered.")


def add_partition(instance: "DagsterInstance", catalog: str) -> None:
    """Make a registered catalog a partition of the assets; it may be one already."""
    from sensors.launching import PARTITIONS

    instance.add_dynamic_partitions(PARTITIONS, [catalog])


def register_shipped(name: str, settings: Settings, registry: ModelRegistry) -> None:
    """Register the shipped catalog of this name, and the shipped logos.

    A registered catalog stays as it is, unless it is still the copy of an earlier version of the shipped one.
    """
    shipped = next((file for file in _files(SHIPPED_CATALOGS) if catalog_name(file) == name), None)
    if shipped is None:
        return
    _copy_logos(settings.logo_folder)
    record = settings.home / "cache" / "shipped_catalogs.json"
    copied: dict[str, str] = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    digest = _digest(shipped)
    registered = _registered(settings.catalog_folder, name)
    if registered and (_digest(registered) != copied.get(name) or copied[name] == digest):
        return
    register_catalog(shipped, settings, registry)
    make_private(record.parent)
    record.write_text(json.dumps({**copied, name: digest}), encoding="utf-8")


def _copy_logos(folder: Path) -> None:
    make_private(folder)
    for logo in _files(SHIPPED_LOGOS):
        if not (folder / logo.name).exists():
            shutil.copyfile(logo, folder / logo.name)


def _registered(folder: Path, name: str) -> Path | None:
    try:
        return catalog_file(folder, name)
    except CatalogError:
        return None


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
