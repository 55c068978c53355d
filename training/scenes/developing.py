"""From traced layers to a picture: colour, backdrop, exposure, lens and sensor."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from training.scenes.bvh import Floats
from training.scenes.studio import Layers
from training.scenes.tracer import BACKDROP_LAYERS, MOST_BACKDROP, MOST_MAIN, PRODUCT_LAYERS, UNSHADED


@dataclass(frozen=True)
class Finish:
    """What happens between light and file."""

    shadow: float = 0.85
    exposure: float = 0.88
    warmth: float = 0.0
    vignette: float = 0.0
    grain: float = 0.004
    blur: float = 0.0
    seed: int = 0


def develop(layers: Layers, colour: Floats, backdrop: Floats, finish: Finish) -> npt.NDArray[np.uint8]:
    """The picture (H, W, 3) for linear `colour` (3,) and linear backdrop reflectance (H, W, 3)."""
    mean = np.asarray(backdrop, np.float32).reshape(-1, 3).mean(0)
    # Half of the colour that a backdrop throws back is taken out, as photographers do with flags and white balance.
    mean = 0.5 * (mean + mean.mean())
    powers = np.stack([np.asarray(colour, np.float32) ** n for n in range(MOST_MAIN + 1)])
    height, width = layers.cover.shape
    light = layers.light[..., :UNSHADED].reshape(height, width, -1, 3)
    unshaded = layers.light[..., UNSHADED]
    seen = layers.cover > 0.5
    reference = float(np.median(unshaded[seen] / layers.cover[seen])) if seen.any() else 1.0
    product = np.zeros((height, width, 3), np.float32)
    for main in range(MOST_MAIN + 1):
        for back in range(MOST_BACKDROP + 1):
            factor = powers[main] * (mean / max(reference, 1e-3) if back else 1)
            product += light[..., main * (MOST_BACKDROP + 1) + back, :] * factor
    behind = sum(light[..., PRODUCT_LAYERS + n, :] * powers[n] for n in range(BACKDROP_LAYERS))
    ratio = behind / np.maximum(unshaded, 1e-4)[..., None]
    ratio = 1 - (1 - np.minimum(ratio, 1.15)) * finish.shadow
    picture = finish.exposure * product + layers.cover[..., None] * backdrop * ratio
    return _expose(picture, finish)


def _expose(picture: Floats, finish: Finish) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(finish.seed)
    height, width = picture.shape[:2]
    tint = np.array([1 + finish.warmth, 1, 1 - finish.warmth], np.float32)
    picture = picture * tint
    if finish.vignette:
        y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
        picture = picture * (1 - finish.vignette * (x * x + y * y) / 2)[..., None].astype(np.float32)
    if finish.blur:
        picture = gaussian_filter(picture, (finish.blur, finish.blur, 0))
    # A shoulder above 0.8, scaled so that white paper is just white.
    toned = np.where(picture > 0.8, 0.8 + 0.2 * np.tanh((picture - 0.8) / 0.2), picture) / 0.9523
    coded = np.where(toned <= 0.0031308, 12.92 * toned, 1.055 * np.maximum(toned, 1e-6) ** (1 / 2.4) - 0.055)
    coded = coded + finish.grain * rng.standard_normal(coded.shape)
    return np.asarray(np.clip(coded * 255 + 0.5, 0, 255), np.uint8)


def linear(rgb: tuple[int, int, int]) -> Floats:
    """sRGB bytes to linear reflectance (3,)."""
    c = np.array(rgb) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4).astype(np.float32)
