"""A code location with a sensor that counts its ticks and launches one run, and a schedule; for the storage tests."""

from dagster import (
    DefaultScheduleStatus,
    DefaultSensorStatus,
    Definitions,
    RunRequest,
    SensorEvaluationContext,
    SensorResult,
    job,
    op,
    schedule,
    sensor,
)


@op
def say_hello():
    print("hello from the run")


@job
def greeting():
    say_hello()


@sensor(job=greeting, minimum_interval_seconds=1, default_status=DefaultSensorStatus.RUNNING)
def counting(context: SensorEvaluationContext):
    count = int(context.cursor or 0) + 1
    return SensorResult([RunRequest(run_key="only")], cursor=str(count))


@schedule(job=greeting, cron_schedule="0 6 * * *", default_status=DefaultScheduleStatus.RUNNING)
def every_morning():
    return RunRequest()


defs = Definitions(jobs=[greeting], sensors=[counting], schedules=[every_morning])
