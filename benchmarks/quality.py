"""What the built-in model paints: its speed on this CPU, whether it is what was asked, and its companions' work.

`python -m benchmarks.quality FILE` writes the README's sample pictures.

`first_look` seeds faults among its pictures, and counts what the checks let pass at the limits of the settings: a
person is asked of the pictures that some scorer doubts; what none doubts is published.
"""

import hashlib
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import cycle
from itertools import product as combinations
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from benchmarks.engine import Workplace, engine_s, open_workplace
from configs.lifecycle_settings import CheckSettings
from configs.settings import load_settings
from models.admission import parse_request
from models.canny import canny_edges
from models.engine import BatchingEngine, GenerationJob
from models.esrgan import load_upscaler
from models.image import FailedImage, GeneratedImage, InputPicture
from models.judge import Judge, load_judge
from models.planning import plan_recipe
from models.registry import open_registry
from models.watermark_files import find_font
from ops.scores.colour_words import asked_colours
from ops.scores.scorers import open_scorers
from ops.scores.seen import Seen
from training.captions import Language, held_out_caption, plain_caption, training_caption_in
from training.dataset import BACKGROUND_NAMES, COLOUR_NAMES, random_scenes
from training.judge import judge_background, judge_colour, judge_picture
from training.renderer import BACKGROUNDS, COLOURS, PRODUCTS, Scene, reference_colours, render
from training.run import BUILTIN, STYLES

LIMITS = {"pipeline loads s": 2.0, "20 guided steps s": 1.5, "seen by a person, %": 10.0, "faults published, %": 1.0}


MODEL = "tiny"


@dataclass(frozen=True)
class Commission:
    """One picture to paint: a request's fields as a client would send them, and the seed."""

    text: str
    seed: int
    params: Mapping[str, object]
    control: InputPicture | None = None


def paint(commissions: Iterable[Commission]) -> Iterator[tuple[int, GeneratedImage]]:
    """Paint with the built-in model; yields the commission's number and its picture, in the engine's order.

    Raises:
        RuntimeError: a picture failed; a quality measured on the others would flatter the model.
    """
    settings = load_settings()
    registry = open_registry(settings)
    engine = BatchingEngine(registry, settings.engine)

    def jobs() -> Iterator[GenerationJob]:
        for number, commission in enumerate(commissions):
            data: dict[str, object] = {"text": commission.text, "model_type": MODEL, "params": dict(commission.params)}
            if commission.control:
                data["control_image_url"] = "https://benchmark.invalid/edges.png"
            request = parse_request(data, registry)
            recipe = plan_recipe(
                request,
                registry=registry,
                engine_kind=engine.kind(MODEL, request.params.resolution),
                seed=commission.seed,
                controls=[commission.control] if commission.control else [],
            )
            yield GenerationJob(str(number), recipe, controls=[commission.control] if commission.control else [])

    for result in engine.generate(jobs()):
        if isinstance(result, FailedImage):
            raise RuntimeError(f"picture {result.id} failed: {result.error}")
        yield int(result.id), result


REPEATS = 5
SIZE = "128x128"


def speed() -> dict[str, float]:
    """Loading the built-in model, and one picture of 20 guided steps at 128×128: medians in seconds.

    Importing PyTorch and diffusers is not part of loading; it happens once a process."""
    place = open_workplace("tiny")
    figures = {"pipeline loads s": median(_load_s() for _ in range(REPEATS))}
    _paint_s(place, 0)
    figures["20 guided steps s"] = median(_paint_s(place, number) for number in range(1, REPEATS + 1))
    return figures


def _load_s() -> float:
    from diffusers import StableDiffusionPipeline

    from models.families.quiet_libraries import quiet_libraries

    quiet_libraries()
    began = time.perf_counter()
    StableDiffusionPipeline.from_pretrained(BUILTIN / "tiny", safety_checker=None, requires_safety_checker=False)
    return time.perf_counter() - began


def _paint_s(place: Workplace, number: int) -> float:
    job = place.job("x" * number, resolution=SIZE, steps=20, cfg_scale=4.0)
    return engine_s(place, [job])


FRESH_SEED = 10_001
"""Of scenes that trained neither the generator nor the judge."""
SQUARE, OTHER_SIZES = (128, 128), ((128, 192), (192, 128), (192, 192))


@dataclass(frozen=True)
class Ask:
    """What one prompt asks for."""

    product: str
    colour: str
    background: str
    text: str
    group: str
    size: tuple[int, int]


def adherence() -> dict[str, float]:
    """Whether product, colour and background are those asked for: shares in [0, 1], by group and attribute.

    Every prompt is paired with a seed that no render of the training used; half of the phrasings are ones that training
    never saw. The judge's own accuracy on renders it never saw either is measured in the same run.
    """
    judge = load_judge(BUILTIN / "judge.safetensors")
    asks = [*_asks("en", SQUARE, 168), *_asks("zh", SQUARE, 168)]
    for number, size in enumerate(OTHER_SIZES):
        asks += _asks(("en", "zh")[number % 2], size, 56, group="other sizes")
    right: Counter[tuple[str, str]] = Counter()
    for number, picture in paint(_commission(ask, n) for n, ask in enumerate(asks)):
        ask = asks[number]
        for attribute, correct in _verdicts(judge, ask, picture.pixels).items():
            right[ask.group, attribute] += correct
    asked = Counter(ask.group for ask in asks)
    shares = {f"{group} {attribute}": count / asked[group] for (group, attribute), count in sorted(right.items())}
    return {"judge on fresh renders": judge_accuracy(judge), **shares, "pictures": float(len(asks))}


def step_caches() -> dict[str, float]:
    """What `step_cache` saves and costs: seconds a picture, likeness to whole steps in dB, and the share all right."""
    judge, asks = load_judge(BUILTIN / "judge.safetensors"), _asks("en", SQUARE, 24)
    figures: dict[str, float] = {}
    whole: dict[int, Pixels] = {}
    for cache in ("", "deepcache-2", "deepcache-3"):
        commissions = [replace(_commission(ask, n), params={"step_cache": cache}) for n, ask in enumerate(asks)]
        began = time.perf_counter()
        painted = {number: picture.pixels for number, picture in paint(commissions)}
        name = cache or "whole steps"
        figures[f"{name}, s a picture"] = (time.perf_counter() - began) / len(asks)
        right = [_verdicts(judge, asks[number], pixels)["all three"] for number, pixels in painted.items()]
        figures[f"{name}, all right"] = float(np.mean(right))
        whole = whole or painted
        if cache:
            figures[f"{name}, PSNR dB"] = float(np.mean([psnr(painted[n], whole[n]) for n in whole]))
    return figures


def judge_accuracy(judge: Judge, count: int = 504) -> float:
    """Share of fresh renders whose product the judge names rightly."""
    scenes = random_scenes(count, SQUARE, "photo", FRESH_SEED)
    return float(np.mean([judge_picture(judge, render(scene).rgb)[0] == scene.product for scene in scenes]))


def _asks(language: Language, size: tuple[int, int], count: int, group: str = "") -> list[Ask]:
    """As many asks, products and colours evenly spread, half of them in phrasings training never saw."""
    rng = random.Random(f"{language}/{size}")
    pairs = [(product, colour) for product in PRODUCTS for colour in COLOUR_NAMES]
    rng.shuffle(pairs)
    asks = []
    for number, (product, colour) in enumerate(pairs[:count]):
        background = BACKGROUND_NAMES[number % len(BACKGROUND_NAMES)]
        phrase = held_out_caption if number % 2 else training_caption_in
        text = phrase(product, colour, background, language, rng)
        asks.append(Ask(product, colour, background, text, group or language, size))
    return asks


def _commission(ask: Ask, number: int) -> Commission:
    return Commission(ask.text, 7_000_000 + number, {"resolution": f"{ask.size[0]}x{ask.size[1]}"})


def _verdicts(judge: Judge, ask: Ask, pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> dict[str, bool]:
    verdicts = {
        "product": judge_picture(judge, pixels)[0] == ask.product,
        "colour": judge_colour(pixels) == ask.colour,
        "background": judge_background(pixels) == ask.background,
    }
    return {**verdicts, "all three": all(verdicts.values())}


Pixels = npt.NDArray[np.uint8]

TOLERANCE_PX = 2
"""An edge this near to one it should match counts as found."""


def companions() -> dict[str, float]:
    """Whether upscaler, style LoRAs and ControlNet do their work: PSNR in dB, shares and edge F1 in [0, 1]."""
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


COLUMNS = 7


def sample_grid() -> Image.Image:
    """Every product three times, in every colour and on every background, half of the prompts in Chinese, at 256 px.

    The seeds are the first ones, not chosen ones.
    """
    upscaler = load_upscaler(BUILTIN / "upscaler.safetensors", "cpu")
    colours, backgrounds = cycle(COLOUR_NAMES), cycle(BACKGROUND_NAMES)
    commissions = []
    for number, product in enumerate((*PRODUCTS, *PRODUCTS[::-1][:COLUMNS])):
        text = plain_caption(product, next(colours), next(backgrounds), "zh" if number % 2 else "en")
        commissions.append(Commission(text, number, {"resolution": "128x128"}))
    rows = -(-len(commissions) // COLUMNS)
    grid = np.zeros((rows * 256, COLUMNS * 256, 3), np.uint8)
    for number, picture in paint(commissions):
        top, left = number // COLUMNS * 256, number % COLUMNS * 256
        grid[top : top + 256, left : left + 256] = upscaler.upscale(picture.pixels, 2)
    return Image.fromarray(grid)


PICTURES, SHARE, FAULTY_ROUNDS = 500, 0.05, 8
"""So many of the pictures get a fault in each round, others in every one."""
LABELS, LABELLED = ("FRESH", "SALE", "MILK", "2026"), 10
"""One in so many pictures has a label, as its prompt asks."""

Fault = Callable[[Image.Image, str, random.Random], tuple[Image.Image, str]]


def first_look() -> dict[str, float]:
    """Shares, in %, over all rounds; by fault, how many of the seeded ones are published."""
    pictures = painted(PICTURES)
    look = _Look()
    alarms = [look.doubts(*one) for one in pictures]
    chance = random.Random(7)
    seen, published, seeded = 0, dict.fromkeys(FAULTS, 0), dict.fromkeys(FAULTS, 0)
    for _ in range(FAULTY_ROUNDS):
        chosen = chance.sample(range(PICTURES), int(PICTURES * SHARE))
        seen += sum(alarms[place] for place in set(range(PICTURES)) - set(chosen))
        for number, place in enumerate(chosen):
            name, fault = list(FAULTS.items())[number % len(FAULTS)]
            is_doubted = look.doubts(*fault(*pictures[place], chance))
            seeded[name] += 1
            seen += is_doubted
            published[name] += not is_doubted
    total = sum(seeded.values())
    return {
        "seen by a person, %": 100 * seen / (PICTURES * FAULTY_ROUNDS),
        "faults published, %": 100 * sum(published.values()) / total,
        "false alarms, %": 100 * sum(alarms) / PICTURES,
        **{f"{name} published, %": 100 * published[name] / seeded[name] for name in FAULTS},
    }


def painted(count: int) -> list[tuple[Image.Image, str]]:
    """So many pictures of the built-in model, with their prompts: products in all colours before all backgrounds."""
    scenes = list(combinations(PRODUCTS, COLOURS, BACKGROUNDS))
    chosen = random.Random(3).sample(scenes, count)
    texts = [f"a {colour} {what} on a {ground} background" for what, colour, ground in chosen]
    commissions = [Commission(text, seed, {"resolution": "128x128", "steps": 10}) for seed, text in enumerate(texts)]
    plain = [(Image.fromarray(picture.pixels), texts[number]) for number, picture in paint(commissions)]
    return [_well_labelled(*one, number) if number % LABELLED == 0 else one for number, one in enumerate(plain)]


class _Look:
    def __init__(self) -> None:
        self._settings = CheckSettings(scorers=(*CheckSettings().scorers, "lettering"))
        self._scorers = open_scorers(self._settings)

    def doubts(self, image: Image.Image, text: str) -> bool:
        """Whether a person is asked of this picture."""
        seen, limits = Seen.of(image, text, model=MODEL), self._settings.review_below
        scores = ((name, scorer(seen)) for name, scorer in self._scorers.items())
        return any(score is not None and score < limits.get(name, 0.0) for name, score in scores)


def _blank(image: Image.Image, text: str, chance: random.Random) -> tuple[Image.Image, str]:
    """Nothing but the colour of a corner."""
    return Image.new("RGB", image.size, image.convert("RGB").getpixel((0, 0))), text


def _cut_off(image: Image.Image, text: str, chance: random.Random) -> tuple[Image.Image, str]:
    """The product moved a quarter of itself over the right edge."""
    pixels, (left, right) = np.asarray(image.convert("RGB")), _columns(image, text)
    moved = np.roll(pixels, pixels.shape[1] - right + (right - left) // 4, axis=1).copy()
    gap = pixels.shape[1] - right + (right - left) // 4
    moved[:, :gap] = pixels[:, :1]
    return Image.fromarray(moved), text


def _blurred(image: Image.Image, text: str, chance: random.Random) -> tuple[Image.Image, str]:
    return image.convert("RGB").filter(ImageFilter.GaussianBlur(2.5)), text


def _other_background(image: Image.Image, text: str, chance: random.Random) -> tuple[Image.Image, str]:
    """The prompt asks for another background."""
    asked, _ = asked_colours(text)
    other = chance.choice([name for name in BACKGROUNDS if name != asked])
    return image, text.replace(f"{asked} background", f"{other} background")


def _other_colour(image: Image.Image, text: str, chance: random.Random) -> tuple[Image.Image, str]:
    """The prompt asks for another colour; white, grey and black things are no fault of each other."""
    own = asked_colours(text)[1][0]
    neutral = {"white", "grey", "black"}
    others = [name for name in COLOURS if name != own and not {name, own} <= neutral]
    return image, text.replace(f"a {own} ", f"a {chance.choice(others)} ", 1)


def _unreadable(image: Image.Image, text: str, chance: random.Random) -> tuple[Image.Image, str]:
    """The prompt asks for a label, and the letters on it are none."""
    word = chance.choice(LABELS)
    return _labelled(image, "".join(chance.sample("#XWQ%&KZ", len(word)))), f'{text}, with the label "{word}"'


def _well_labelled(image: Image.Image, text: str, number: int) -> tuple[Image.Image, str]:
    word = LABELS[number // LABELLED % len(LABELS)]
    return _labelled(image, word), f'{text}, with the label "{word}"'


def _labelled(image: Image.Image, word: str) -> Image.Image:
    """With a white label across the product."""
    labelled, (width, height) = image.convert("RGB"), image.size
    draw = ImageDraw.Draw(labelled)
    box = (width // 5, height // 2, 4 * width // 5, height // 2 + height // 6)
    draw.rectangle(box, (255, 255, 255))
    face = find_font("", Path())
    font = ImageFont.truetype(face.path, height // 8, face.index)
    draw.text(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), word, (20, 20, 20), font, anchor="mm")
    return labelled


def _columns(image: Image.Image, text: str) -> tuple[int, int]:
    """The first and the last column of the product, px."""
    shown = Seen(np.asarray(image.convert("RGB")), text).product
    columns: NDArray[np.intp] = np.flatnonzero(shown.any(axis=0)) if shown is not None else np.array([])
    return (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, image.width)


FAULTS: Mapping[str, Fault] = {
    "blank": _blank,
    "cut off": _cut_off,
    "blurred": _blurred,
    "other background": _other_background,
    "other colour": _other_colour,
    "unreadable label": _unreadable,
}


if __name__ == "__main__":
    sample_grid().save(Path(sys.argv[1]), quality=88)
