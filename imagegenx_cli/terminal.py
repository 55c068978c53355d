"""What commands say on the terminal: results as JSON, and progress."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import typer

from foundation.errors import ImageGenXError
from foundation.outside_text import one_line, printable
from foundation.process_start import lossy_text
from resources.progress import watching

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class InterruptedByPersonError(ImageGenXError):
    """The person at the terminal ended the command."""


def print_json(data: object) -> None:
    """Print JSON in UTF-8, whatever the terminal's encoding is: programs read it, this one too."""
    typer.echo(printable(json.dumps(data, indent=2, ensure_ascii=False)).encode("utf-8", "backslashreplace"))


def say(text: object, *, err: bool = False) -> None:
    """Print a line, or several, in which nothing from outside moves the terminal."""
    typer.echo(printable(str(text)), err=err)


def say_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of cells in columns, the names of the columns first."""
    from rich.cells import cell_len

    lines = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        say("  ".join(padded).rstrip())


class ProgressBars:
    """One bar per asset, and in it the true denoising step of the picture in work."""

    def __init__(self, bars: "Progress") -> None:
        self._bars = bars
        self._assets: dict[str, TaskID] = {}
        # Libraries and the model load for some seconds before the first step.
        self._step: TaskID | None = bars.add_task("loading", total=None)

    def pictures(self, asset: str, done: int, total: int) -> None:
        """See `Watcher.pictures`."""
        if asset not in self._assets:
            self._assets[asset] = self._bars.add_task(asset.replace("_", " "), total=total)
        self._bars.update(self._assets[asset], completed=done)
        if done == total:
            self._end_step()

    def step(self, picture_id: str, step: int, steps: int) -> None:
        """See `Watcher.step`."""
        if self._step is None:
            self._step = self._bars.add_task("")
        self._bars.update(self._step, description=f"  {one_line(picture_id)}", completed=step, total=steps)

    def _end_step(self) -> None:
        if self._step is not None:
            self._bars.remove_task(self._step)
            self._step = None


@contextmanager
def progress_bars() -> Iterator[None]:
    """Show the progress of what runs inside this block on standard error, and leave the finished bars there."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<24.24}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    # Dagster redirects standard error while a run works, to keep what it prints; the bars must still be seen.
    with (
        _own_standard_error() as terminal,
        Progress(*columns, console=Console(file=terminal), refresh_per_second=8) as bars,
        watching(ProgressBars(bars)),
    ):
        yield


@contextmanager
def _own_standard_error() -> Iterator[TextIO]:
    """Where standard error goes now, wherever it is redirected to later."""
    descriptor = os.dup(sys.stderr.fileno())
    try:
        with lossy_text(descriptor, sys.stderr) as terminal:
            yield terminal
    finally:
        os.close(descriptor)


@contextmanager
def byte_bars() -> Iterator[Callable[[str, int, int], None]]:
    """What to call with a file's name, its bytes that are here and all its bytes: a bar for each, on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    label = TextColumn("{task.description:<48.48}", markup=False)
    columns = (label, BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4) as bars:
        known: dict[str, TaskID] = {}

        def show(name: str, here: int, total: int) -> None:
            if name not in known:
                known[name] = bars.add_task(one_line(name), total=total)
            bars.update(known[name], completed=here)

        yield show
