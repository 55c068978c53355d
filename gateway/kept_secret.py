"""A secret that is made at random once and kept in a file only this user can read."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from foundation.private_folder import make_private

SECRET_BYTES = 32


def kept_secret(file: Path) -> bytes:
    """The secret in `file`, made if there is none; processes that ask at the same time get the same one."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        make_private(file.parent)
        _make(file)
        return file.read_bytes()


def _make(file: Path) -> None:
    """Write it beside its place and link it there: it appears whole, and the first of many writers wins."""
    draft = file.with_name(f"{file.name}.{os.getpid()}-{secrets.token_hex(4)}")
    draft.touch(mode=0o600, exist_ok=False)
    try:
        draft.write_bytes(secrets.token_bytes(SECRET_BYTES))
        with suppress(FileExistsError):
            file.hardlink_to(draft)
    finally:
        draft.unlink()
