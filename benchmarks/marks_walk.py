"""A walk over files of every kind, format and size: readers that did not write them look for every mark.

`python -m benchmarks.marks_walk` needs exiftool. The files come from `ops.marking.Marker`, which makes all files that
leave: pictures, small copies, sheets, previews. C2PA's reader and the invisible mark's run in a process of their own.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.marks import drawn_pictures, planned_recipe
from configs.settings import Settings
from models.marks.invisible import find_mark
from models.marks.manifest import read_manifest
from models.request import ImageFormat
from models.statement import AI_MADE, statement_of
from ops.marking import READ_BACK_PX, Marker, marking_step
from ops.thumbnail import make_thumbnail, thumbnail_step
from resources.local_store import LocalObjectStore

ROUNDS = 250
"""Of four files each."""
SIDES_PX = (128, 160, 256, 384, 512, 512, 768, 1024, 2048)
FORMATS: tuple[ImageFormat, ...] = ("png", "jpg", "webp")
LIMITS = dict.fromkeys(("without c2pa", "without iptc", "without tc260", "without the invisible one"), 0.0)


def run() -> dict[str, float]:
    """How many files there are of each kind, and how many lack a mark that they must have."""
    with TemporaryDirectory() as folder:
        produced = dict(_files(Path(folder)))
        read = _answer([sys.executable, "-m", "benchmarks.marks_walk", folder])
        said = {Path(one["SourceFile"]).name: one for one in _answer(["exiftool", "-json", "-G1", folder])}
    lacking: Counter[str] = Counter()
    for name, wanted in produced.items():
        label = json.loads(said[name].get("XMP-TC260:Aigc", "{}"))
        lacking["without c2pa"] += read[name]["made"] != AI_MADE
        lacking["without iptc"] += said[name].get("XMP-iptcExt:DigitalSourceType") != AI_MADE
        lacking["without tc260"] += label.get("Label") != "1"
        lacking["without the invisible one"] += wanted not in ("", read[name]["found"])
    return {**Counter(name.partition("-")[0] for name in produced), **lacking}


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    """Write files; each one's name, and the identifier that its pixels must have, if any."""
    with TemporaryDirectory() as home:
        settings = Settings(home=Path(home))
        marker, step, store = Marker(settings), marking_step(settings), LocalObjectStore(Path(home) / "store")
        plain = planned_recipe(settings)
        assert step
        for number in range(ROUNDS):
            side_px, file_format = SIDES_PX[number % len(SIDES_PX)], FORMATS[number % len(FORMATS)]
            pixels = next(drawn_pictures(side_px, np.random.default_rng(number)))
            image = Image.fromarray(pixels[: side_px * 3 // 4] if number % 2 else pixels)
            recipe = plain.model_copy(update={"seed": number}).with_step(step)
            data = marker.encode(image, file_format, 95, recipe, embed=True)
            small = make_thumbnail(Image.open(BytesIO(data)))
            copy = marker.encode(small, "webp", 80, recipe.with_step(thumbnail_step()), embed=False)
            made = {
                f"picture-{number}.{file_format}": (data, image),
                f"copy-{number}.webp": (copy, small),
                f"sheet-{number}.png": (marker.sheet(image, str(number), step, store), image),
                f"preview-{number}.jpg": (marker.preview(image, 70, step), image),
            }
            for name, (content, shown) in made.items():
                (folder / name).write_bytes(content)
                hides = min(shown.size) >= READ_BACK_PX and name.startswith(("picture", "copy"))
                yield name, statement_of(recipe, step).identifier.hex() if hides else ""


def _answer(command: list[str]) -> Any:
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def _read(file: Path) -> dict[str, str]:
    with Image.open(file) as image:
        signed = read_manifest(file.read_bytes(), Image.MIME[image.format or ""])
        found = find_mark(np.asarray(image.convert("RGB")), (1.0,))
    return {"made": signed.source_type if signed and signed.valid else "", "found": found.hex() if found else ""}


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps({file.name: _read(file) for file in Path(sys.argv[1]).iterdir()}))
    else:
        print(json.dumps(run(), indent=1))
