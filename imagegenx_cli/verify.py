"""`imagegenx verify`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from configs.settings import Settings, load_settings
from foundation.errors import ImageGenXError
from imagegenx_cli.files import read_file
from imagegenx_cli.terminal import print_json, say
from resources.mark_records import MarkRecord
from resources.open_store import open_store
from resources.verification import NO_MARKS, Verification, verify


def verify_files(files: Sequence[Path], *, as_json: bool) -> int:
    """Print what the marks of each file say. The exit status: 0 only if all have what the policy asks for, valid."""
    settings = load_settings()
    store = open_store(settings.store)
    answers: list[dict[str, object]] = []
    lacking = 0
    for file in files:
        try:
            found = verify(read_file(file), settings, store)
        except ImageGenXError as exc:
            lacking += 1
            answers.append({"file": str(file), "error": str(exc)})
            if not as_json:
                say(f"{file}: {exc}", err=True)
            continue
        lacks = found.lacks(settings)
        lacking += bool(lacks)
        answers.append({"file": str(file), **_values(found), "lacks": lacks})
        if not as_json:
            _print(file, found, settings)
    if as_json:
        print_json(answers)
    return int(lacking > 0)


def _values(found: Verification) -> dict[str, object]:
    return {
        "marks": [asdict(mark) for mark in found.marks],
        "records": [_record(record) for record in found.records],
    }


def _record(record: MarkRecord) -> dict[str, object]:
    return {**record.model_dump(), "recipe": json.loads(record.recipe) if record.recipe else None}


def _print(file: Path, found: Verification, settings: Settings) -> None:
    if not found.marks:
        say(f"{file}: {NO_MARKS}.")
        return
    say(f"{file}:")
    for mark in found.marks:
        say(f"  {mark.layer:<10} {'valid' if mark.valid else 'WRONG'}  {mark.says}")
    for record in found.records:
        say(f"  {'record':<10} {record.key or 'not in the store'}, of {record.owner or 'a catalog or this machine'}")
        say(f"  {'':<10} {record.recipe}")
    if lacks := found.lacks(settings):
        say(f"  the policy '{settings.marks.policy}' is not met: {'; '.join(lacks)}")
