"""Steps that are tried again when the object store or the queue is away, and end at once for any other reason.

Dagster's `RetryPolicy` would also try a faulty catalog again, and a run that somebody cancels.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from dagster import AssetExecutionContext, InputContext, OutputContext, RetryRequested

from resources.dagster_names import PROCESS_TAG
from resources.object_store import StoreUnavailableError
from resources.queue import QueueAccessError, QueueUnavailableError

MAX_RETRIES = 4
FIRST_WAIT_S = 10.0
"""Before the first retry; each later wait is twice as long."""


@contextmanager
def outages_retried(context: AssetExecutionContext | InputContext | OutputContext) -> Iterator[None]:
    """Have Dagster try the step of this block again after an outage; what is stored by then is not made again.

    A run in the process of somebody's command is not: that person is told at once.
    """
    try:
        yield
    except QueueAccessError:
        raise
    except (StoreUnavailableError, QueueUnavailableError) as exc:
        if isinstance(context, AssetExecutionContext):
            step = context.get_step_execution_context()
        else:
            step = context.step_context
        tries = step.previous_attempt_count
        if tries >= MAX_RETRIES or PROCESS_TAG in step.dagster_run.tags:
            raise
        raise RetryRequested(MAX_RETRIES, FIRST_WAIT_S * 2**tries) from exc
