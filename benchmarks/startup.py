"""What everybody waits for: the command line's help, and the code location that every Dagster process loads."""

import resource
import subprocess
import sys
from collections.abc import Sequence

LIMITS = {"imagegenx --help, processor s": 1.0, "code location, processor s": 2.5}
_TRIES = 3


def run() -> dict[str, float]:
    """Processor seconds of both, the least of a few tries."""
    commands = {
        "imagegenx --help, processor s": ["-c", "from imagegenx_cli.main import main; main()", "--help"],
        "code location, processor s": ["-c", "import imagegenx_assets.definitions"],
    }
    return {name: min(_processor_s(command) for _ in range(_TRIES)) for name, command in commands.items()}


def _processor_s(arguments: Sequence[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
