"""The alert of failed runs: each is told to the webhook that the settings name, until it is delivered or given up."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dagster import (
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DefaultSensorStatus,
    EventLogRecord,
    RunStatusChangeRecordsFilter,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)

from configs.settings import Settings
from foundation.logs import without_secrets
from foundation.outside_text import printable
from resources.dagster_names import PARTITION_NAME_TAG, RANGE_END_TAG, RANGE_START_TAG, WILL_RETRY_TAG
from resources.outbound import DeliveryRefusedError, OutboundError, open_outbound
from resources.settings_resource import SettingsResource
from sensors.owned import owned_sensor

EVENT = "run.failed"
MOST_PER_TICK = 5
"""Each takes callbacks.timeout_s (10 s) at worst, and a tick one minute."""
REFUSED_TRIES = 20
"""An alert that the receiver refuses (4xx) is given up after so many tries, about five minutes."""
MOST_TRIES = 5760
"""One that cannot be delivered, after so many: about a day."""
_PASSING = (408, 425, 429)
"""Refusals that ask to try again."""
_MOST_STEPS = 3
_LONGEST_ERROR = 4000


@owned_sensor(
    "operations",
    minimum_interval_seconds=15,
    default_status=DefaultSensorStatus.RUNNING,
    description=(
        "Tells every failed run to the webhook of `alerts.webhook_url`, signed by the Standard Webhooks scheme; the"
        " event has the run's id. What cannot be delivered is told again with the next tick, for about a day; what the"
        " receiver refuses (4xx), for five minutes. What is given up is in the tick's log. Off without a URL."
    ),
)
def run_failure_alert(context: SensorEvaluationContext, settings: SettingsResource) -> SensorResult:
    """Tell the failures since the last one told; the first tick only remembers where the log of runs stands."""
    now = settings.current
    if not now.alerts.webhook_url:
        # Without a cursor: what fails while alerts are off is old news when they are switched on.
        return SensorResult(skip_reason=SkipReason("alerts.webhook_url is not set."), cursor="")
    read = _read(context.cursor or "")
    if read is None:
        newest = _failures(context.instance, limit=1, ascending=False)
        return SensorResult(skip_reason=SkipReason("Watching from now on."), cursor=str(_last_id(newest)))
    (before, _), (told, tries) = read, read
    problems: list[str] = []
    for record in _failures(context.instance, limit=MOST_PER_TICK, ascending=True, after=told):
        try:
            _tell(context.instance, record, now)
        except OutboundError as exc:
            tries += 1
            given_up = tries >= _most_tries(exc)
            end = f"It is given up after {tries} tries." if given_up else "It will be tried again."
            problems.append(f"Alert of run {record.run_id}: {exc} {end}")
            context.log.error(problems[-1])
            if not given_up:
                break
        told, tries = record.storage_id, 0
    reason = " ".join(problems) or _all_told(before, told)
    return SensorResult(skip_reason=SkipReason(reason), cursor=f"{told} {tries}" if tries else str(told))


def _read(cursor: str) -> tuple[int, int] | None:
    """The last alert that was told or given up, and how often the next one has been tried; None if that is lost."""
    if not (found := re.fullmatch(r"(\d+)(?: (\d+))?", cursor)):
        return None
    return int(found[1]), int(found[2] or 0)


def _most_tries(error: OutboundError) -> int:
    """How often one alert is tried, before those after it have their turn.

    A receiver that answers 4xx is there and does not want this one; whatever else goes wrong may pass.
    """
    status = error.status if isinstance(error, DeliveryRefusedError) else 0
    return REFUSED_TRIES if 400 <= status < 500 and status not in _PASSING else MOST_TRIES


def alert(instance: DagsterInstance, run: DagsterRun, failed_at_s: float, ui_url: str = "") -> dict[str, Any]:
    """What the webhook is told: type, timestamp (ISO 8601) and data."""
    data = {
        "run_id": run.run_id,
        "job": run.job_name,
        "partitions": _partitions(run.tags),
        "error": printable(without_secrets(_error(instance, run))[:_LONGEST_ERROR]),
        "will_retry": run.tags.get(WILL_RETRY_TAG) == "true",
        "url": f"{ui_url.rstrip('/')}/runs/{run.run_id}" if ui_url else None,
    }
    return {"type": EVENT, "timestamp": datetime.fromtimestamp(failed_at_s, UTC).isoformat(), "data": data}


def _tell(instance: DagsterInstance, record: EventLogRecord, settings: Settings) -> None:
    run = instance.get_run_by_id(record.run_id)
    if run is None:  # deleted meanwhile
        return
    alerts = settings.alerts
    payload = alert(instance, run, record.timestamp, alerts.ui_url)
    client = open_outbound(_allowing(settings, alerts.webhook_url))
    client.post_signed(alerts.webhook_url, f"alert_{run.run_id}", payload, alerts.secret.get_secret_value())


def _allowing(settings: Settings, url: str) -> Settings:
    """The settings, under which the operator's own receiver may have a private address."""
    from urllib.parse import urlsplit

    host = urlsplit(url).netloc.rpartition("@")[2]
    hosts = (*settings.gateway.allow_private_hosts, host)
    return settings.model_copy(update={"gateway": settings.gateway.model_copy(update={"allow_private_hosts": hosts})})


def _failures(
    instance: DagsterInstance, *, limit: int, ascending: bool, after: int | None = None
) -> list[EventLogRecord]:
    wanted = RunStatusChangeRecordsFilter(DagsterEventType.RUN_FAILURE, after_storage_id=after)
    return list(instance.fetch_run_status_changes(wanted, limit=limit, ascending=ascending).records)


def _last_id(records: list[EventLogRecord]) -> int:
    return records[0].storage_id if records else 0


def _all_told(before: int, after: int) -> str:
    return "The failed runs have been told." if after > before else "No run has failed."


def _partitions(tags: Mapping[str, str]) -> list[str]:
    """The partition of the run; of a range, its first and last one as Dagster writes them: `first...last`."""
    if PARTITION_NAME_TAG in tags:
        return [tags[PARTITION_NAME_TAG]]
    if RANGE_START_TAG in tags:
        return [f"{tags[RANGE_START_TAG]}...{tags[RANGE_END_TAG]}"]
    return []


def _error(instance: DagsterInstance, run: DagsterRun) -> str:
    """What the failed steps raised, without tracebacks; else why the run ended."""
    failed = instance.get_records_for_run(run.run_id, of_type=DagsterEventType.STEP_FAILURE, limit=_MOST_STEPS).records
    said = [_step_error(record) for record in failed]
    if any(said):
        return "\n".join(filter(None, said))
    ended = instance.get_records_for_run(run.run_id, of_type=DagsterEventType.RUN_FAILURE, limit=1).records
    event = ended[0].event_log_entry.dagster_event if ended else None
    return (event.message if event else None) or "The run failed and did not say why."


def _step_error(record: EventLogRecord) -> str:
    """What the op raised, which Dagster wraps, and the error it began with."""
    event = record.event_log_entry.dagster_event
    if event is None or event.step_failure_data.error is None:
        return ""
    raised = event.step_failure_data.error.cause or event.step_failure_data.error
    first = raised
    while first.cause is not None:
        first = first.cause
    began = f" (from {' '.join(first.message.split())})" if first is not raised else ""
    return f"{event.step_key}: {' '.join(raised.message.split())}{began}"
