"""What tests need that is no Python package: programs and fonts of the system. `make test` installs them."""

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest


def program(*names: str, package: str) -> str:
    """Where the first of these programs is. Without any the test is skipped; in CI (`CI=true`) it fails."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    found = next(filter(None, (shutil.which(name, path=path) for name in names)), None)
    return found or lacking(f"none of {', '.join(names)} is on the PATH", package)


def lacking(what: str, package: str) -> NoReturn:
    """Skip the test for what this machine lacks; in CI, fail."""
    missing = f"{what}; Debian's package {package} brings it"
    if os.environ.get("CI", "").lower() in ("", "0", "false"):
        pytest.skip(missing)
    pytest.fail(missing, pytrace=False)
