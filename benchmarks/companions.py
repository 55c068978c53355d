"""Do the built-in model's companions do their work? The upscaler, the style LoRAs and the ControlNet."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.adherence import FRESH_SEED, SQUARE
from benchmarks.painting import Commission, paint
from models.canny import canny_edges
from models.esrgan import load_upscaler
from models.image import InputPicture
from training.captions import plain_caption
from training.dataset import random_scenes
from training.judge import judge_colour, judge_picture, load_judge
from training.renderer import Scene, reference_colours, render
from training.run import BUILTIN, STYLES

Pixels = npt.NDArray[np.uint8]

TOLERANCE_PX = 2
"""An edge this near to one it should match counts as found."""


def run() -> dict[str, float]:
    """PSNR in dB, shares in [0, 1] and edge F1 in [0, 1]."""
    return {**upscaling(), **lora_styles(), **controlnet_edges()}


def upscaling(count: int = 48) -> dict[str, float]:
    """PSNR of 4× upscaling of held-out renders, against bicubic enlargement of the same reduced picture."""
    upscaler = load_upscaler(BUILTIN / "upscaler.safetensors", "cpu")
    ours, bicubic = [], []
    for scene in random_scenes(count, (512, 512), "photo", FRESH_SEED):
        large = Image.fromarray(render(scene).rgb)
        small = large.resize((128, 128), Image.Resampling.BICUBIC)
        ours.append(psnr(upscaler.upscale(np.asarray(small), 4), np.asarray(large)))
        bicubic.append(psnr(np.asarray(small.resize((512, 512), Image.Resampling.BICUBIC)), np.asarray(large)))
    means = float(np.mean(ours)), float(np.mean(bicubic))
    return {"upscaler dB": means[0], "bicubic dB": means[1], "upscaler gain dB": means[0] - means[1]}


def psnr(one: Pixels, other: Pixels) -> float:
    """Peak signal-to-noise ratio in dB of 8-bit pictures."""
    error = np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / error))


def lora_styles(count: int = 84) -> dict[str, float]:
    """With each LoRA, how often the judge sees its style, the asked product and the asked colour."""
    judge = load_judge(BUILTIN / "judge.safetensors")
    figures: dict[str, float] = {}
    for style in STYLES:
        scenes = random_scenes(count, SQUARE, style, FRESH_SEED)
        colours = reference_colours(style)
        right = np.zeros(3)
        for number, picture in paint(_styled(scene, n) for n, scene in enumerate(scenes)):
            product, seen = judge_picture(judge, picture.pixels)
            asked = scenes[number]
            right += (seen == style, product == asked.product, judge_colour(picture.pixels, colours) == asked.colour)
        shares = right / count
        figures |= {f"{style} style": shares[0], f"{style} product": shares[1], f"{style} colour": shares[2]}
    return {name: float(value) for name, value in figures.items()}


def _styled(scene: Scene, number: int) -> Commission:
    language = ("en", "zh")[number % 2]
    text = plain_caption(scene.product, scene.colour, scene.background, "zh" if language == "zh" else "en")
    return Commission(text, 8_000_000 + number, {"resolution": "128x128", "lora_name": scene.style})


def controlnet_edges(count: int = 56) -> dict[str, float]:
    """Edge F1 between the control picture and the edges of what is painted, with the ControlNet and without."""
    scenes = random_scenes(count, SQUARE, "photo", FRESH_SEED + 1)
    edges = [canny_edges(render(scene).rgb) for scene in scenes]
    guided = _mean_f1(edges, [_outlined(scene, n, edges[n]) for n, scene in enumerate(scenes)])
    free = _mean_f1(edges, [_outlined(scene, n, None) for n, scene in enumerate(scenes)])
    return {"controlnet edge F1": guided, "without controlnet edge F1": free}


def _outlined(scene: Scene, number: int, edges: Pixels | None) -> Commission:
    text = plain_caption(scene.product, scene.colour, scene.background, "en")
    plain = Commission(text, 9_000_000 + number, {"resolution": "128x128"})
    if edges is None:
        return plain
    digest = hashlib.sha256(edges.tobytes()).hexdigest()
    return replace(plain, control=InputPicture(digest, lambda: Image.fromarray(edges)))


def _mean_f1(edges: list[Pixels], commissions: list[Commission]) -> float:
    def scores() -> Iterator[float]:
        for number, picture in paint(commissions):
            yield edge_f1(edges[number][..., 0] > 0, canny_edges(picture.pixels)[..., 0] > 0)

    return float(np.mean(list(scores())))


def edge_f1(asked: npt.NDArray[np.bool_], painted: npt.NDArray[np.bool_]) -> float:
    """Harmonic mean of the share of painted edges that were asked for and of asked edges that were painted."""
    if not asked.any() or not painted.any():
        return 0.0
    precision = float((painted & _widened(asked)).sum() / painted.sum())
    recall = float((asked & _widened(painted)).sum() / asked.sum())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _widened(edges: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The edges and everything within the tolerance of them."""
    padded = np.pad(edges, TOLERANCE_PX)
    height, width = edges.shape
    span = range(2 * TOLERANCE_PX + 1)
    shifted = [padded[row : row + height, column : column + width] for row in span for column in span]
    return np.asarray(np.any(shifted, axis=0))
