"""Marks of AI-made pictures: what they cost, and what they bear.

The pictures are drawn ones (plain and white grounds with shapes, textures) and, where scikit-image is installed,
cut-outs of the photographs that come with it.
"""

import io
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter

from configs.settings import Settings
from models.marks.embedding import Mark
from models.marks.invisible import find_mark
from models.planning import plan_recipe
from models.recipe import Recipe
from models.registry import ModelRegistry
from models.request import ImageFormat
from ops.marking import Marker, marking_step
from resources.weight_store import open_loading_registry

PICTURES = 300
SIDES_PX = (128, 256, 512, 768)
LIMITS: dict[str, float] = {"all marks of 512², ms": 60.0, "file larger by, kB": 20.0}

Pixels = NDArray[np.uint8]


def _encoded(image: Image.Image, file_format: str, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, file_format, quality=quality)
    return Image.open(file).convert("RGB")


def _half(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2)).resize(image.size)


def _cropped(image: Image.Image) -> Image.Image:
    return image.crop((image.width // 40, image.height // 60, image.width * 39 // 40, image.height * 29 // 30))


_ATTACKS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "nothing": lambda image: image,
    "JPEG 75": lambda image: _encoded(image, "JPEG", 75),
    "WebP 80": lambda image: _encoded(image, "WEBP", 80),
    "half size and back": _half,
    "5 % cropped": _cropped,
    "10 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
}


def run() -> dict[str, float]:
    """Milliseconds, kB, and the share of marked pictures that are recognised, by size and what was done to them."""
    figures = {"photographs that pictures are cut from": float(len(photographs()))} | _cost()
    for side_px in SIDES_PX:
        figures |= _robustness(side_px)
    return figures


def _cost() -> dict[str, float]:
    picture = Image.fromarray(next(drawn_pictures(512, np.random.default_rng(3))))
    with TemporaryDirectory() as home:
        settings = Settings(home=Path(home))
        marker, plain = Marker(settings), planned_recipe(settings)
        step = marking_step(settings)
        assert step
        both = {"plain": plain, "marked": plain.with_step(step)}
        sizes = {name: len(_file(marker, picture, recipe)) for name, recipe in both.items()}
        spent = {name: _ms(partial(_file, marker, picture, recipe)) for name, recipe in both.items()}
    return {
        "all marks of 512², ms": spent["marked"] - spent["plain"],
        "file larger by, kB": (sizes["marked"] - sizes["plain"]) / 1000,
    }


def _file(marker: Marker, picture: Image.Image, recipe: Recipe, file_format: ImageFormat = "webp") -> bytes:
    return marker.encode(picture, file_format, 95, recipe, embed=True)


def planned_recipe(settings: Settings) -> Recipe:
    """Some recipe of the built-in model."""
    from models.admission import parse_request

    registry: ModelRegistry = open_loading_registry(settings)
    request = parse_request({"text": "a red mug"}, registry)
    return plan_recipe(request, registry=registry, engine_kind="eager/cpu/float32", seed=1)


def _ms(call: Callable[[], object], times: int = 15) -> float:
    """Processor time of one call, the median."""
    spent = []
    for _ in range(times):
        began = time.process_time()
        call()
        spent.append(1000 * (time.process_time() - began))
    return float(np.median(spent))


def _robustness(side_px: int) -> dict[str, float]:
    random = np.random.default_rng(1)
    pictures = drawn_pictures(side_px, random)
    found, errors = dict.fromkeys(_ATTACKS, 0), []
    for _ in range(PICTURES):
        picture, identifier = next(pictures), random.bytes(6)
        marked = Mark(picture, identifier).at(1.0)
        errors.append(float(np.mean((marked.astype(float) - picture) ** 2)))
        for name, attack in _ATTACKS.items():
            found[name] += find_mark(np.asarray(attack(Image.fromarray(marked)))) == identifier
    decibels = 10 * np.log10(255**2 / np.maximum(errors, 1e-9))
    shares = {f"{side_px} px, found after {name}": count / PICTURES for name, count in found.items()}
    return {**shares, f"{side_px} px, PSNR, lowest, dB": float(decibels.min())}


def drawn_pictures(side_px: int, random: np.random.Generator) -> Iterator[Pixels]:
    """Endlessly: cut-outs of photographs, white and plain grounds with shapes, textures; uint8 (side, side, 3)."""
    found = photographs()
    while True:
        for _ in range(3 if found else 0):
            yield _cut(found[random.integers(len(found))], side_px, random)
        yield _shapes(side_px, random, ground=255)
        yield _shapes(side_px, random, ground=int(random.integers(20, 240)))
        yield _texture(side_px, random)


def _shapes(side_px: int, random: np.random.Generator, ground: int) -> Pixels:
    y, x = np.mgrid[:side_px, :side_px] / side_px
    picture = np.full((side_px, side_px, 3), ground, float)
    for _ in range(int(random.integers(1, 5))):
        shade = random.uniform(0.6, 1, 1) * (1 - 0.5 * x[..., None])
        inside = np.hypot(x - random.random(), y - random.random()) < random.uniform(0.1, 0.35)
        picture = np.where(inside[..., None], random.integers(20, 255, 3) * shade, picture)
    soft: Pixels = np.clip(gaussian_filter(picture, (0.7, 0.7, 0)), 0, 255).astype(np.uint8)
    return soft


def _texture(side_px: int, random: np.random.Generator) -> Pixels:
    grain = random.normal(0, 1, (side_px, side_px, 3))
    layers = [gaussian_filter(grain, (width, width, 0)) for width in (0.7, 2, 6, 18)]
    picture = sum(layer / layer.std() * random.uniform(3, 25) for layer in layers) + random.integers(60, 200, 3)
    pixels: Pixels = np.clip(picture, 0, 255).astype(np.uint8)
    return pixels


@cache
def photographs() -> list[Image.Image]:
    """Those that come with scikit-image; none without it."""
    found = find_spec("skimage")
    folder = Path(found.origin).parent / "data" if found and found.origin else None
    files = sorted(folder.glob("*.png")) + sorted(folder.glob("*.jpg")) if folder else []
    pictures = [Image.open(file) for file in files]
    # One with transparency is a drawing: nearly all white where it is shown without.
    return [picture.convert("RGB") for picture in pictures if min(picture.size) >= 256 and picture.mode != "RGBA"]


def _cut(photograph: Image.Image, side_px: int, random: np.random.Generator) -> Pixels:
    side = int(random.integers(min(side_px, *photograph.size), min(photograph.size) + 1))
    left, top = (int(random.integers(whole - side + 1)) for whole in photograph.size)
    cut = photograph.crop((left, top, left + side, top + side))
    return np.asarray(cut.resize((side_px, side_px), Image.Resampling.LANCZOS))
