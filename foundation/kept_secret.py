"""A secret that is made once, at random unless told otherwise, and kept in a file only this user can read."""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from foundation.private_folder import make_private

SECRET_BYTES = 32


def kept_secret(file: Path, make: Callable[[], bytes] = partial(secrets.token_bytes, SECRET_BYTES)) -> bytes:
    """The secret in `file`, made if there is none; processes that ask at the same time get the same one."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        make_private(file.parent)
        _write(file, make())
        return file.read_bytes()


def _write(file: Path, secret: bytes) -> None:
    """Write it beside its place and link it there: it appears whole, and the first of many writers wins."""
    draft = file.with_name(f"{file.name}.{os.getpid()}-{secrets.token_hex(4)}")
    draft.touch(mode=0o600, exist_ok=False)
    try:
        draft.write_bytes(secret)
        with suppress(FileExistsError):
            file.hardlink_to(draft)
    finally:
        draft.unlink()
