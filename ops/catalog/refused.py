"""The files of the catalog sources that are refused now, in the store: for the check, the metric and whoever asks."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from resources.object_store import ObjectNotFoundError, ObjectStore

KEY = "registry/refused.json"


@dataclass(frozen=True)
class Refusal:
    """Why a file is no catalog: the first line of what is wrong; `waits` for something that may still come."""

    why: str
    waits: bool = False


def note_refused(store: ObjectStore, refused: Mapping[str, Refusal]) -> None:
    """Let these files, and no others, be known as refused."""
    told = {file: asdict(refusal) for file, refusal in sorted(refused.items())}
    store.put(KEY, json.dumps(told, ensure_ascii=False).encode("utf-8", "replace"), content_type="application/json")


def refused_files(store: ObjectStore) -> dict[str, Refusal]:
    """The files that were refused when the sources were last looked at, with the reason."""
    try:
        return {file: Refusal(**told) for file, told in json.loads(store.get(KEY)).items()}
    except ObjectNotFoundError:
        return {}
