"""Phil Harvey's exiftool, for tests of what other readers find in our files."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest


def exiftool(file: Path) -> dict[str, Any]:
    """Everything it reads in a file, by group and name. Where it is missing the test is skipped; in CI it fails."""
    program = shutil.which("exiftool")
    if program is None:
        missing = "no exiftool on the PATH; `apt-get install libimage-exiftool-perl` brings it"
        if os.environ.get("CI", "").lower() in ("", "0", "false"):
            pytest.skip(missing)
        pytest.fail(missing, pytrace=False)
    command = [program, "-json", "-G1", "-api", "LargeFileSupport=1", "-charset", "filename=utf8", str(file)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    (found,) = json.loads(done.stdout)
    return dict(found)
