"""A secret that is made once, at random unless told otherwise, and kept in a file only this user can read."""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from foundation.errors import ImageGenXError
from foundation.private_folder import make_private

SECRET_BYTES = 32


class LostSecretError(ImageGenXError):
    """What was kept is there no more."""


def kept_secret(file: Path, make: Callable[[], bytes] = partial(secrets.token_bytes, SECRET_BYTES)) -> bytes:
    """The secret in `file`, made if there is none; processes that ask at the same time get the same one.

    Raises:
        LostSecretError: the file is empty, as a machine leaves it that loses its power: anybody could sign with that.
    """
    if not file.exists():
        make_private(file.parent)
        _write(file, make())
    if not (secret := file.read_bytes()):
        raise LostSecretError(f"the secret in {file} is lost: the file is empty. Remove it, and a new one is made.")
    return secret


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
