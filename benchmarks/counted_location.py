"""The code location of ImageGenX, whose runs also note each model they load and each picture they finish.

`benchmarks.backfill` has Dagster's code server load it: the server's runs are processes of their own.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.backfill import NOTES
from imagegenx_assets.definitions import defs
from models.batching.feed import Feed, Result
from models.image import GeneratedImage
from models.pipeline_pool import PipelinePool

__all__ = ["defs"]

_lease, _ended = PipelinePool.lease, Feed.ended


def _note(kind: str, what: str) -> None:
    # One short write to a file opened for appending: the lines of several processes do not mix.
    with Path(os.environ[NOTES]).open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {kind} {what}\n")


def _counting_lease(pool: PipelinePool, key: object, load: Callable[[], object], *rest: object) -> object:
    def counted() -> object:
        _note("load", getattr(key, "release", ""))
        return load()

    return _lease(pool, key, counted, *rest)  # type: ignore[arg-type]


def _counting_ended(feed: Feed[Any], result: Result) -> None:
    if isinstance(result, GeneratedImage):
        _note("picture", result.recipe.digest)
    _ended(feed, result)


PipelinePool.lease = _counting_lease  # type: ignore[assignment,method-assign]
Feed.ended = _counting_ended  # type: ignore[assignment,method-assign]
