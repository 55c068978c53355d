"""What `imagegenx doctor` checks of Dagster: its database, where it keeps what runs print, its daemon, its catalogs."""

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from configs.settings import Settings
from foundation.error_text import cause_text
from imagegenx_cli.doctor_finding import Finding, State
from imagegenx_cli.embedded_dagster import dagster_instance

if TYPE_CHECKING:
    from dagster import DagsterInstance

_TIMEOUT_S = 3
_STALE_HEARTBEAT_S = 120
_LAUNCHERS = {"ray": "Ray", "kubernetes": "K8s"}
"""What the class of a launcher has in its name, by `placement.launcher`."""


def dagster(settings: Settings) -> Iterator[Finding]:
    """The storage of Dagster's instance answers, and its daemon is alive where one is expected."""
    named = os.environ.get("DAGSTER_HOME")
    file = Path(named or settings.home / "dagster") / "dagster.yaml"
    if not named and not file.is_file():
        yield Finding("dagster", State.NOTE, "no instance yet; `imagegenx demo` or `imagegenx dev` makes one.")
        return
    configured = yaml.safe_load(file.read_text(encoding="utf-8")) or {} if file.is_file() else {}
    trouble = list(_database(configured))
    yield from trouble
    if not trouble:
        with dagster_instance(settings.home) as instance:
            runs, storage = instance.get_runs_count(), type(instance.run_storage).__name__
            yield Finding("dagster", State.OK, f"{storage} answers; {runs} runs")
            yield _daemon(instance, deployed=bool(named))
            yield from _switched_off(instance)
            yield from _unknown_catalogs(instance, settings)
    yield from _compute_logs(configured)
    yield from placement(configured, settings)


def _database(configured: Mapping[str, Any]) -> Iterator[Finding]:
    """Why PostgreSQL lets nobody in: Dagster itself would only try again until patience ends."""
    storage = configured.get("storage", {})
    given = (storage.get("postgres") or storage.get("custom", {}).get("config", {})).get("postgres_url")
    if given is None:
        return
    import sqlalchemy

    remedy = "Correct DAGSTER_POSTGRES_URL: postgresql+psycopg2://user:password@host:5432/database."
    try:
        engine = sqlalchemy.create_engine(_value(given), connect_args={"connect_timeout": _TIMEOUT_S})
        with engine.connect():
            return
    except sqlalchemy.exc.OperationalError as exc:
        remedy = f"Start PostgreSQL, or correct DAGSTER_POSTGRES_URL{_hint(str(exc.orig))}."
        found = str(exc.orig)
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, KeyError) as exc:
        found = f"DAGSTER_POSTGRES_URL cannot be used: {type(exc).__name__}: {cause_text(exc)}"
    yield Finding("dagster", State.BAD, f"PostgreSQL: {' '.join(found.split())}", remedy)


def _hint(said: str) -> str:
    return " and its password" if "authentication failed" in said else ""


def _compute_logs(configured: Mapping[str, Any]) -> Iterator[Finding]:
    """What runs print can be stored; where it cannot, Dagster goes on and its pages stay empty."""
    logs = configured.get("compute_logs", {})
    if logs.get("class") != "S3ComputeLogManager":
        return
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    remedy = "Correct DAGSTER_S3_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: what runs print is lost until then."
    try:
        place = {name: _value(value) for name, value in logs.get("config", {}).items()}
        quick = Config(connect_timeout=_TIMEOUT_S, read_timeout=_TIMEOUT_S, retries={"total_max_attempts": 1})
        client = boto3.Session().client(
            "s3", endpoint_url=place.get("endpoint_url"), region_name=place.get("region"), config=quick
        )
        key = f"{place.get('prefix', 'dagster')}/doctor"
        client.put_object(Bucket=place["bucket"], Key=key, Body=b"doctor")
        client.delete_object(Bucket=place["bucket"], Key=key)
    except (BotoCoreError, ClientError, ValueError, KeyError) as exc:
        yield Finding("compute logs", State.BAD, f"{type(exc).__name__}: {cause_text(exc)}", remedy)
    else:
        yield Finding("compute logs", State.OK, f"bucket {place['bucket']}: put and delete work")


def placement(configured: Mapping[str, Any], settings: Settings) -> Iterator[Finding]:
    """Runs carry the tags of the launcher that places them: without, workers start where there is no GPU."""
    set_to, placed_by = settings.placement.launcher, configured.get("run_launcher", {}).get("class", "")
    launcher = next((name for name, word in _LAUNCHERS.items() if word in placed_by), "none")
    coordinator = configured.get("run_coordinator", {}).get("class", "")
    if launcher != set_to:
        found = f"placement.launcher is {set_to}, and the run launcher of dagster.yaml is {placed_by or 'not named'}."
        remedy = f"Set IMAGEGENX_PLACEMENT__LAUNCHER={launcher}, or correct dagster.yaml."
        yield Finding("placement", State.BAD, found, remedy)
    elif launcher != "none" and coordinator != "PlacedRunCoordinator":
        found = f"the run coordinator of dagster.yaml is {coordinator or 'not named'}: no worker asks for a GPU."
        yield Finding("placement", State.BAD, found, "Take run_coordinator from deploy/dagster.yaml.")
    elif launcher != "none":
        yield Finding("placement", State.OK, f"runs are placed by {placed_by}")


def _value(given: Any) -> Any:
    """A value of dagster.yaml, or the environment variable that it names; KeyError if that is not set."""
    return os.environ[given["env"]] if isinstance(given, dict) and "env" in given else given


def _daemon(instance: "DagsterInstance", *, deployed: bool) -> Finding:
    beats = instance.get_daemon_heartbeats().values()
    failing = [beat for beat in beats if beat.errors]
    age_s = time.time() - max((beat.timestamp for beat in beats), default=0.0)
    if age_s > _STALE_HEARTBEAT_S:
        found = "the daemon does not run: no sensor, schedule, backfill or queued run is looked after."
        remedy = "Start `imagegenx dev`, or `python -m imagegenx_cli.daemon`."
        return Finding("daemon", State.BAD if deployed else State.NOTE, found, remedy)
    if failing:
        said = " ".join((failing[0].errors or [])[0].message.split())
        return Finding("daemon", State.BAD, f"{failing[0].daemon_type}: {said}", "Look at the daemon's log.")
    return Finding("daemon", State.OK, f"last heartbeat {age_s:.0f} s ago")


def _switched_off(instance: "DagsterInstance") -> Iterator[Finding]:
    """Sensors and schedules that somebody has stopped on Dagster's pages."""
    states = instance.all_instigator_state()
    stopped = {state.instigator_name for state in states if state.status.name == "STOPPED"}
    stopped -= {state.instigator_name for state in states if state.status.name != "STOPPED"}
    if stopped:
        remedy = "Switch them on again on Dagster's page of automations, unless that is meant."
        yield Finding("daemon", State.NOTE, f"switched off: {', '.join(sorted(stopped))}.", remedy)


def _unknown_catalogs(instance: "DagsterInstance", settings: Settings) -> Iterator[Finding]:
    """Settings that name a catalog there is not: they say nothing by themselves."""
    from ops.catalog.home_folder import open_catalogs
    from ops.garbage_collection import registered_catalogs
    from resources.open_store import open_store

    registered = registered_catalogs(instance, open_catalogs(settings, open_store(settings.store)))
    named = {"schedules": {one.catalog for one in settings.schedules}, "releases.catalogs": settings.releases.catalogs}
    for setting, catalogs in named.items():
        if unknown := sorted(set(catalogs) - registered):
            remedy = "Correct the name, or register the catalog; until then the setting does nothing for it."
            yield Finding("catalogs", State.NOTE, f"{setting}: no catalog {', '.join(unknown)}.", remedy)
