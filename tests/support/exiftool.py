"""Phil Harvey's exiftool, for tests of what other readers find in our files."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support.programs import program


def exiftool(file: Path) -> dict[str, Any]:
    """Everything it reads in a file, by group and name. Where it is missing the test is skipped; in CI it fails."""
    exiftool_program = program("exiftool", package="libimage-exiftool-perl")
    command = [exiftool_program, "-json", "-G1", "-api", "LargeFileSupport=1", "-charset", "filename=utf8", str(file)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    (found,) = json.loads(done.stdout)
    return dict(found)
