"""Asking a slow store about many things at once, in order and with bounded memory."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

WINDOW = 128
_THREADS = 16

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def map_ahead(function: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[tuple[Item, Answer]]:
    """Each item with the function's answer, in order; up to `WINDOW` items are asked about at the same time."""
    rest = iter(items)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="ahead") as threads:
        while window := list(islice(rest, WINDOW)):
            yield from zip(window, threads.map(function, window), strict=True)
