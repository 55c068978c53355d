"""`imagegenx demo` of one catalog in a process that is forked, with an engine that needs no PyTorch."""

import os
import sys
from pathlib import Path

from benchmarks.stand_in import StandInEngine
from imagegenx_cli.main import main as program
from resources.gpu_engine import GPUEngine

PICTURE_S = 0.1


def main(catalog: str, output: Path, errors: Path) -> None:
    """Run the program, whose two streams go to files."""
    for descriptor, file in ((1, output), (2, errors)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    sys.argv = ["imagegenx", "demo", "--catalog", catalog]
    GPUEngine.engine = property(lambda handle: StandInEngine(PICTURE_S))
    program()
