"""`imagegenx models impact`: what a new release of a model would set off."""

from dataclasses import asdict

from configs.settings import load_settings
from imagegenx_cli.embedded_dagster import dagster_instance
from imagegenx_cli.terminal import print_json, say
from models.registry import open_registry
from ops.releases import CurrentReleases, Impact, release_impact
from resources.open_store import open_store


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
    for line in _lines(name, release, len(catalogs), impacts):
        say(line)


def _lines(name: str, release: str, catalogs: int, impacts: list[Impact]) -> list[str]:
    if not impacts:
        return [f"model '{name}', release {release[:12]}: all pictures of {catalogs} catalogs are up to date."]
    rows = [["catalog", "rows", "stale", "to make", "to finish", "GPU s"]]
    for one in impacts:
        counts = map(str, (one.rows, one.stale, one.to_make, one.to_finish))
        rows.append([one.catalog, *counts, f"{one.gpu_s:.1f}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    stale, missing = sum(one.stale for one in impacts), sum(one.to_make for one in impacts)
    gpu_s, finishing = sum(one.gpu_s for one in impacts), sum(one.to_finish for one in impacts)
    made = f"{missing} pictures to make and {finishing} that only need later steps, in about {gpu_s:.0f} GPU s"
    summary = f"{len(impacts)} of {catalogs} catalogs, {stale} stale rows, {made}."
    return [f"model '{name}', release {release[:12]}:", *table, summary]
