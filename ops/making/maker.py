"""Making pictures for catalogs: who does it, and the rows of a manifest that wait for theirs."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from foundation.error_text import error_text
from io_managers.image_set import ManifestRow, Status
from io_managers.settling import with_recipe
from models.picture_job import PictureJob, PictureOutcome
from models.resolution import Resolution
from resources.progress import report_step

REMEMBERED = 1_000
"""Outcomes kept; more than rows are looked up ahead."""

OnStep = Callable[[str, int, int], None]
"""Called with a job's id, the denoising steps done, and the steps to do."""


class PictureMaker(Protocol):
    """Ensures that pictures are in the store: in this process, or by the workers of the fleet."""

    def kind(self, model: str, size: Resolution) -> str:
        """How pictures of this model and size are computed, for recipes: `eager/cuda/float16`; "" if nobody knows yet.

        An outcome names the kind that its picture was really made with.
        """
        ...

    def ensure(self, jobs: Iterable[PictureJob], on_step: OnStep) -> Iterator[PictureOutcome]:
        """One outcome for each job, in any order, as they come; a job that fails ends no other.

        Jobs have different ids and are read lazily, a bounded number ahead; steps are told in the caller's thread.
        Closing the iterator withdraws what is under way.

        Raises:
            StoreError: if the store fails.
            OutageError: if the fleet's queue stays away.
        """
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """A row that waits for a picture: what is known of it without one, and the job that makes the picture."""

    row: ManifestRow
    job: PictureJob


def made_rows(rows: Iterable[ManifestRow | Wanted], maker: PictureMaker) -> Iterator[ManifestRow]:
    """Every row once, as soon as its picture is stored or known to fail; rows with equal jobs share one picture."""
    return _Making(maker).rows(rows)


class _Making:
    def __init__(self, maker: PictureMaker) -> None:
        self._maker = maker
        self._ready: deque[ManifestRow] = deque()
        self._waiting: dict[str, list[ManifestRow]] = {}
        self._ended: OrderedDict[str, PictureOutcome] = OrderedDict()

    def rows(self, rows: Iterable[ManifestRow | Wanted]) -> Iterator[ManifestRow]:
        """See `made_rows`."""
        for outcome in self._maker.ensure(self._jobs(rows), self._stepped):
            yield from self._take_ready()
            first, *others = self._waiting.pop(outcome.id)
            self._remember(outcome)
            yield _with_outcome(first, outcome, Status.REUSED if outcome.reused else Status.MADE)
            for other in others:
                yield _with_outcome(other, outcome, Status.REUSED)
        yield from self._take_ready()

    def _stepped(self, job_id: str, done: int, total: int) -> None:
        if waiting := self._waiting.get(job_id):
            report_step(waiting[0].row_id, done, total)

    def _take_ready(self) -> Iterator[ManifestRow]:
        while self._ready:
            yield self._ready.popleft()

    def _jobs(self, rows: Iterable[ManifestRow | Wanted]) -> Iterator[PictureJob]:
        for row in rows:
            if isinstance(row, ManifestRow):
                self._ready.append(row)
            elif ended := self._ended.get(row.job.id):
                self._ready.append(_with_outcome(row.row, ended, Status.REUSED))
            elif waiting := self._waiting.get(row.job.id):
                waiting.append(row.row)
            else:
                self._waiting[row.job.id] = [row.row]
                yield row.job

    def _remember(self, outcome: PictureOutcome) -> None:
        """For rows whose picture was looked for before it was stored: these are few, and follow soon."""
        self._ended[outcome.id] = outcome
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)


def _with_outcome(row: ManifestRow, outcome: PictureOutcome, status: Status) -> ManifestRow:
    row = with_recipe(row, outcome.recipe)
    if outcome.error:
        ended = Status.REJECTED if outcome.rejected else Status.FAILED
        return replace(row, status=ended, error=error_text(outcome.error))
    return replace(
        row,
        status=status,
        key=outcome.key,
        digest=outcome.digest,
        size_bytes=outcome.size_bytes,
        width_px=outcome.width_px,
        height_px=outcome.height_px,
        format=outcome.key.rpartition(".")[2],
        seconds=0.0 if status is Status.REUSED else outcome.seconds,
        spread=outcome.spread,
        fingerprint=outcome.fingerprint,
        moderated_by=outcome.moderated_by,
        verdict=outcome.verdict or row.verdict,
    )
