"""`imagegenx store`: what of the store may go, and whether what must stay is whole."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from rich.filesize import decimal

from configs.settings import load_settings
from imagegenx_cli.embedded_dagster import dagster_instance, end_dead_runs
from imagegenx_cli.terminal import print_json, say
from ops.store_life.collecting import Collection
from ops.store_life.verifying import Verification, What, heal, verify_store
from resources.audit import AuditEvent, open_audit, this_person
from resources.open_store import open_store

SHOWN_DAMAGES = 20
SHOWN_ROWS = 5


def collect(*, dry_run: bool, as_json: bool) -> None:
    """Remove what nothing refers to and what is past its retention, and print how much that was, by reason."""
    from ops.garbage_collection import collect_for

    settings = load_settings()
    store = open_store(settings.store)
    store.check()
    with dagster_instance(settings.home) as instance:
        end_dead_runs(instance)
        done, active_since_s, runs = collect_for(instance, settings, store, dry_run=dry_run)
    if as_json:
        print_json(_as_data(done, runs, dry_run=dry_run))
    else:
        _print_collection(done, active_since_s, runs, dry_run=dry_run)


def verify(catalogs: Sequence[str], *, healing: bool, as_json: bool) -> int:
    """Print every damaged object and the catalogs and rows to make again.

    Args:
        catalogs: only these; all if empty.
        healing: move changed objects aside, so that the next run makes them again.
    Returns:
        the exit status: 1 if anything is damaged.
    """
    settings = load_settings()
    store = open_store(settings.store)
    store.check()
    found = verify_store(store, frozenset(catalogs))
    if healing and found.damages:
        with open_audit(settings).deed(AuditEvent.STORE_HEALED, this_person(), lambda: {"moved": found.moved}):
            heal(store, found)
    if as_json:
        print_json(_as_report(found))
    else:
        _print_verification(found, healing=healing)
    return 1 if found.damages else 0


def _print_collection(done: Collection, active_since_s: float | None, runs: int, *, dry_run: bool) -> None:
    if active_since_s is not None:
        age_min = (time.time() - active_since_s) / 60
        named = "1 active run" if runs == 1 else f"{runs} active runs"
        say(f"{named}, for {age_min:.0f} min: what was written since is kept.")
    for reason, gone in done.removed.items():
        say(f"  {reason}: {gone.objects:,} objects, {decimal(gone.bytes)}")
    if done.spared:
        say(f"  spared, in use again or gone meanwhile: {done.spared:,}")
    verb = "would remove" if dry_run else "removed"
    say(f"{verb} {done.objects:,} objects, {decimal(done.bytes)}")


def _as_data(done: Collection, runs: int, *, dry_run: bool) -> dict[str, object]:
    by_reason = {reason: asdict(gone) for reason, gone in done.removed.items()}
    totals = {"objects": done.objects, "bytes": done.bytes, "spared": done.spared}
    return {"dry_run": dry_run, **totals, "active_runs": runs, "removed": by_reason}


def _print_verification(found: Verification, *, healing: bool) -> None:
    for damage in found.damages[:SHOWN_DAMAGES]:
        rows = [f"{row.asset} of '{row.catalog}', row '{row.row_id}'" for row in damage.rows]
        shown = "; ".join(rows[:SHOWN_ROWS]) or "named only by what was replaced; no run makes it again"
        more = f"; and {len(rows) - SHOWN_ROWS} more" if len(rows) > SHOWN_ROWS else ""
        say(f"{damage.what}: {damage.key}: {shown}{more}")
    if len(found.damages) > SHOWN_DAMAGES:
        say(f"… and {len(found.damages) - SHOWN_DAMAGES} more; --json lists all.")
    if not found.damages:
        say(f"{found.pictures:,} pictures in {found.manifests:,} manifests: all there and unchanged.")
        return
    counts = Counter(damage.what for damage in found.damages)
    parts = ", ".join(f"{count} {what}" for what, count in counts.items())
    say(f"{found.pictures:,} pictures in {found.manifests:,} manifests: {parts}.")
    _print_remedy(found, counts.total() - counts[What.MISSING], healing=healing)


def _print_remedy(found: Verification, present: int, *, healing: bool) -> None:
    if found.moved:
        say(f"moved {found.moved} to quarantine/damaged/.")
    elif present:
        say("Run it again with --heal: it moves what is changed aside, or the next run would use it again.")
    if replaced := sum(not damage.rows for damage in found.damages):
        say(f"{replaced} only matter for going back to what was replaced, and go when retention says so.")
    if found.catalogs:
        say("Then materialize these catalogs again, which makes only the damaged pictures:")
    for catalog, rows in sorted(found.catalogs.items()):
        say(f"  imagegenx demo --catalog {catalog}    # {len(rows)} {'row' if len(rows) == 1 else 'rows'}")


def _as_report(found: Verification) -> dict[str, object]:
    return {
        "manifests": found.manifests,
        "pictures": found.pictures,
        "moved": found.moved,
        "damages": [asdict(damage) for damage in found.damages],
        "catalogs": {catalog: sorted(rows) for catalog, rows in sorted(found.catalogs.items())},
    }
