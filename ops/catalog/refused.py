"""The files of the catalog sources that are refused now, in the store: for the check, the metric and whoever asks."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from ops.checks.outcome import Outcome, Problem
from resources.object_store import ObjectStore
from resources.stored_json import get_json, put_json

KEY = "registry/refused.json"
_REMEDY = "Beside each file lies its `.problems.txt`, with every row and column. Correct the file, or take it away."


@dataclass(frozen=True)
class Refusal:
    """Why a file is no catalog: the first line of what is wrong; `waits` for something that may still come."""

    why: str
    waits: bool = False


def note_refused(store: ObjectStore, refused: Mapping[str, Refusal]) -> None:
    """Let these files, and no others, be known as refused."""
    put_json(store, KEY, {file: asdict(refusal) for file, refusal in sorted(refused.items())})


def refused_files(store: ObjectStore) -> dict[str, Refusal]:
    """The files that were refused when the sources were last looked at, with the reason."""
    return {file: Refusal(**told) for file, told in (get_json(store, KEY) or {}).items()}


def check_accepted(refused: Mapping[str, Refusal]) -> Outcome:
    """An error for each file that is refused; one that waits for another file is a warning."""
    problems = [Problem("", f"{file}: {one.why}", blocks=not one.waits) for file, one in sorted(refused.items())]
    return Outcome(len(problems), problems, _REMEDY)
