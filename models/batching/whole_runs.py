"""Requests of families that only run as a whole: a batch at a time, and one by one when that fails."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from models.batching.failures import failed
from models.batching.paced_run import Pause
from models.batching.step_loop import CANCELLED, Report
from models.batching.ticket import Ticket
from models.families.base import BatchResult
from models.image import FailedImage, GeneratedImage
from models.input_pictures import keep_unmasked
from models.lora import LoraUse

if TYPE_CHECKING:
    from models.families.base import ModelFamily

logger = logging.getLogger(__name__)


class _AllCancelledError(Exception):
    """Nobody waits for the batch any more."""


def run_whole(
    family: "ModelFamily", loras: Sequence[LoraUse], tickets: Sequence[Ticket], report: Report, pause: Pause
) -> None:
    """Run a batch to its end; if it raises, each of its requests alone. What a single one raises passes through.

    Between steps it calls `pause`. A cancelled request ends at the next step;
    its place in the batch is computed on, for nobody, until all have ended.
    """

    def tell(done: int, total: int) -> None:
        for ticket in tickets:
            if ticket.is_cancelled:
                report.ended(ticket, FailedImage(ticket.id, ticket.item.recipe, CANCELLED))
            else:
                report.stepped(ticket, done, total)
        if all(ticket.is_ended for ticket in tickets):
            raise _AllCancelledError
        pause()

    try:
        result = family.infer([ticket.item for ticket in tickets], loras, tell)
    except _AllCancelledError:
        return
    except Exception as exc:
        if len(tickets) == 1:
            raise
        logger.warning("a batch of %d failed (%s); its jobs run one by one", len(tickets), exc)
    else:
        _end(tickets, result, report)
        return
    # Outside of the except block, so that the failed batch's tensors are free by now.
    for ticket in [ticket for ticket in tickets if not ticket.is_ended]:
        _run_alone(family, loras, ticket, report, pause)


def _end(tickets: Sequence[Ticket], result: BatchResult, report: Report) -> None:
    share = {stage: seconds / len(tickets) for stage, seconds in result.seconds.items()}
    for ticket, pixels in zip(tickets, result.pixels, strict=True):
        if ticket.is_ended:
            continue
        ticket.seconds = share
        item = ticket.item
        if item.image and item.mask:
            pixels = keep_unmasked(pixels, item.image, item.mask)
        report.ended(ticket, GeneratedImage(ticket.id, pixels, item.recipe, share))


def _run_alone(family: "ModelFamily", loras: Sequence[LoraUse], ticket: Ticket, report: Report, pause: Pause) -> None:
    try:
        run_whole(family, loras, [ticket], report, pause)
    except Exception as exc:
        report.ended(ticket, failed(ticket.id, ticket.item.recipe, exc))
