"""Make the stubs of `gateway/imagegenx.proto` (needs grpcio-tools): `python -m gateway.stubs.generate [FOLDER]`."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

_PACKAGE = Path(__file__).resolve().parent
_HEADER = "# Made by gateway/stubs/generate.py.\n# ruff: noqa\n# mypy: ignore-errors\n# fmt: off\n"


def generate(folder: Path = _PACKAGE) -> None:
    """Write the stubs into a folder; they import each other as `gateway.stubs`."""
    from grpc_tools import protoc  # type: ignore[import-untyped]

    with TemporaryDirectory() as out:
        outputs = [f"--{kind}_out={out}" for kind in ("python", "pyi")]
        # The compiler sees the proto as gateway/stubs/imagegenx.proto: the imports in the stubs follow from that path.
        sources = [f"-Igateway/stubs={_PACKAGE.parent}", "gateway/stubs/imagegenx.proto"]
        if status := protoc.main(["protoc", *outputs, *sources]):
            raise SystemExit(status)
        for file in Path(out, "gateway", "stubs").iterdir():
            (folder / file.name).write_text(_HEADER + file.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    generate(*(Path(argument) for argument in sys.argv[1:]))
