"""Edges of a picture as white lines on black, the control picture of canny ControlNets (Canny, PAMI 1986)."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

LOW, HIGH = 0.08, 0.2
"""Default hysteresis thresholds, as shares of the largest gradient an 8-bit picture can have."""

_BLACK, _WHITE, _COLOURLESS = 32, 224, 24
_MOST_OUTLIERS, _LEAST_BLACK, _MOST_BETWEEN = 0.01, 0.5, 0.15
"""Shares of the pixels of an edge map: lines that were scaled or compressed are partly grey."""


def canny_edges(
    picture: npt.NDArray[np.uint8], low: float = LOW, high: float = HIGH, sigma: float = 1.0
) -> npt.NDArray[np.uint8]:
    """Find the edges of an RGB picture.

    Args:
        picture: (H, W, 3) uint8.
        low: gradient above which a pixel continues an edge, in [0, 1].
        high: gradient above which a pixel starts an edge, in [0, 1].
        sigma: deviation of the Gaussian that smooths the picture first, in px.
    Returns:
        (H, W, 3) uint8, 255 on edges one pixel wide and 0 elsewhere.
    """
    smooth = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(sigma))
    channels = np.asarray(smooth).astype(np.float32) / np.float32(255)
    gradients = [_sobel(channels[..., channel]) for channel in range(3)]
    strength = np.stack([np.hypot(dx, dy) for dx, dy in gradients])
    strongest = strength.argmax(0)[None]
    dx = np.take_along_axis(np.stack([g[0] for g in gradients]), strongest, 0)[0]
    dy = np.take_along_axis(np.stack([g[1] for g in gradients]), strongest, 0)[0]
    thin = _thin(np.take_along_axis(strength, strongest, 0)[0], dx, dy)
    edges = _connected(thin > low, thin > high)
    return np.repeat(np.where(edges, 255, 0).astype(np.uint8)[..., None], 3, axis=2)


def is_edge_map(picture: npt.NDArray[np.uint8]) -> bool:
    """Whether an RGB picture (H, W, 3) is one of edges already: colourless, mostly black, and hardly grey."""
    least, most = picture.min(axis=2), picture.max(axis=2)
    coloured = (most.astype(np.int16) - least > _COLOURLESS).mean()
    between = ((most > _BLACK) & (most < _WHITE)).mean()
    return bool(coloured <= _MOST_OUTLIERS and (most <= _BLACK).mean() >= _LEAST_BLACK and between <= _MOST_BETWEEN)


def _sobel(channel: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Horizontal and vertical derivative, scaled so that a step from 0 to 1 gives 1."""
    padded = np.pad(channel, 1, mode="edge")
    across = padded[:, 2:] - padded[:, :-2]
    down = padded[2:] - padded[:-2]
    dx = (across[:-2] + 2 * across[1:-1] + across[2:]) / 4
    dy = (down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]) / 4
    return dx, dy


def _thin(
    strength: npt.NDArray[np.float32], dx: npt.NDArray[np.float32], dy: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Keep the gradient only where it is the largest across the edge (in one of four directions)."""
    direction = np.round(np.arctan2(dy, dx) / (np.pi / 4)).astype(int) % 4
    padded = np.pad(strength, 1)
    height, width = strength.shape
    kept = np.zeros_like(strength)
    for number, (row, column) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = padded[1 + row : 1 + row + height, 1 + column : 1 + column + width]
        behind = padded[1 - row : 1 - row + height, 1 - column : 1 - column + width]
        largest = (direction == number) & (strength >= ahead) & (strength > behind)
        kept[largest] = strength[largest]
    return kept


def _connected(weak: npt.NDArray[np.bool_], strong: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The weak pixels that touch a strong one, directly or through other weak ones, and the strong ones.

    By components, in one pass however long and winding the lines are.
    """
    from scipy import ndimage

    components, count = ndimage.label(weak | strong, structure=np.ones((3, 3)))
    wanted = np.zeros(count + 1, dtype=np.bool_)
    wanted[components[strong]] = True
    connected: npt.NDArray[np.bool_] = wanted[components]
    return connected
