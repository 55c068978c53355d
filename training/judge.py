"""Training of the judge of adherence, on renders that the generator never saw (another seed); and plain colour
measurements, for benchmarks and tests.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from models.judge import Judge, judge_logits, to_square
from training.dataset import Renders
from training.loop import Schedule, Trainer, Worker
from training.renderer import BACKGROUNDS, COLOURS, PRODUCTS, STYLES
from training.vae import to_tensor

SRGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def train_judge(
    worker: Worker, folder: Path, sources: list[tuple[Renders, str]], schedule: Schedule, batch: int, seed: int
) -> None:
    """Train on renders of the given styles, with noise, blur and shift, and write ``judge.pt`` into ``folder``."""
    torch.manual_seed(seed)
    judge = Judge(len(PRODUCTS), len(STYLES)).to(worker.device)
    rng = np.random.default_rng((seed, worker.rank))

    def loss_of(_progress: float) -> Tensor:
        renders, style = sources[rng.integers(len(sources))]
        chosen = np.sort(rng.integers(len(renders), size=batch))
        pictures = to_square(to_tensor(renders.rgb[chosen], worker.device))
        if rng.random() < 0.5:
            pictures = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
        pictures = pictures + rng.uniform(0, 0.15) * torch.randn_like(pictures)
        shift = tuple(int(n) for n in rng.integers(-5, 6, size=2))
        products = torch.from_numpy(renders.labels[chosen, 0]).to(worker.device)
        styles = torch.full_like(products, STYLES.index(style))
        product_logits, style_logits = judge(pictures.roll(shift, dims=(2, 3)))
        return F.cross_entropy(product_logits, products) + F.cross_entropy(style_logits, styles)

    Trainer("judge", judge, schedule, worker, folder).run(loss_of)
    if worker.is_first:
        torch.save(judge.state_dict(), folder / "judge.pt")


def write_judge(folder: Path, target: Path) -> None:
    """Save the trained classifier in half precision."""
    state = torch.load(folder / "judge.pt", weights_only=True, map_location="cpu")
    save_file({name: value.half().contiguous() for name, value in state.items()}, target)


def judge_picture(judge: Judge, picture: npt.NDArray[np.uint8]) -> tuple[str, str]:
    """The product and the style that the (H, W, 3) picture shows."""
    products, styles = judge_logits(judge, picture)
    return PRODUCTS[int(products.argmax())], STYLES[int(styles.argmax())]


def judge_background(picture: npt.NDArray[np.uint8]) -> str:
    """The named background nearest, in CIELAB, to the median of the (H, W, 3) picture's border."""
    return _nearest(_border(picture), BACKGROUNDS)


def judge_colour(picture: npt.NDArray[np.uint8], references: dict[str, tuple[int, int, int]] = COLOURS) -> str:
    """The named colour nearest, in CIELAB, to the most foreground pixels of the (H, W, 3) picture."""
    lab = to_lab(picture)
    # The backdrop is a vertical gradient: compare each row with its own ends.
    ends = np.concatenate([lab[:, :3], lab[:, -3:]], axis=1)
    backdrop = np.median(ends, axis=1)[:, None, :]
    distance = np.linalg.norm(lab - backdrop, axis=2)
    threshold = max(6.0, float(np.quantile(distance, 0.98)) * 0.25)
    foreground = lab[distance > threshold]
    if len(foreground) < 16:
        foreground = lab[lab.shape[0] // 3 : -lab.shape[0] // 3, lab.shape[1] // 3 : -lab.shape[1] // 3].reshape(-1, 3)
    table = np.stack([to_lab(np.array([[rgb]], np.uint8))[0, 0] for rgb in references.values()])
    nearest = np.linalg.norm(foreground[:, None] - table[None], axis=2).argmin(1)
    return list(references)[int(np.bincount(nearest).argmax())]


def _border(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    edges = [picture[:3].reshape(-1, 3), picture[:, :3].reshape(-1, 3), picture[:, -3:].reshape(-1, 3)]
    return np.asarray(np.median(np.concatenate(edges), axis=0), dtype=np.uint8)


def _nearest(rgb: npt.NDArray[np.uint8], references: dict[str, tuple[int, int, int]]) -> str:
    lab = to_lab(rgb.reshape(1, 1, 3))[0, 0]
    table = {name: to_lab(np.array([[reference]], np.uint8))[0, 0] for name, reference in references.items()}
    return min(table, key=lambda name: float(np.linalg.norm(table[name] - lab)))


def to_lab(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """sRGB (…, 3) uint8 to CIELAB under D65 (CIE 15:2004)."""
    linear = rgb.astype(np.float64) / 255
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    xyz = linear @ SRGB_TO_XYZ.T / np.array([0.95047, 1.0, 1.08883])
    curve = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(curve, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
