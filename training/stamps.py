"""Parts of a drawing as pixels: posed, rasterised (supersampled, then box-reduced) and clipped."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from training.products import Part, Points

Array = NDArray[np.float32]
Size = tuple[int, int]  # width, height in px


@dataclass(frozen=True)
class Pose:
    """Affine map from object units to pixels, and the pixel scale of one unit."""

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    scale: float

    def apply(self, points: Points) -> Points:
        return points @ self.matrix.T + self.offset


@dataclass(frozen=True)
class Stamp:
    """A part's coverage, cut to its box: rows y..y+h, columns x..x+w of the picture."""

    part: Part
    y: int
    x: int
    cover: Array

    @property
    def window(self) -> tuple[slice, slice]:
        height, width = self.cover.shape
        return slice(self.y, self.y + height), slice(self.x, self.x + width)


def stamp_part(part: Part, pose: Pose, size: Size, widen_px: float = 0.0) -> Stamp:
    """Rasterise a part (plus a rim of `widen_px`), supersampled, inside its own box."""
    points = pose.apply(part.points)
    width = part.width * pose.scale + widen_px
    pad = width / 2 + 3 * part.soft * pose.scale + 1.5
    low = np.clip(np.floor(points.min(0) - pad).astype(int), 0, np.array(size) - 1)
    high = np.clip(np.ceil(points.max(0) + pad).astype(int), low + 1, size)
    box = (high - low).tolist()
    sub = 6 if min(size) <= 256 else 4  # PIL rounds corners to whole pixels of the sheet
    sheet = Image.new("L", (box[0] * sub, box[1] * sub))
    xy = ((points - low) * sub).astype(np.float32)
    _trace(ImageDraw.Draw(sheet), xy, width * sub, solid=not part.width)
    sheet = sheet.reduce(sub)
    if part.soft:
        sheet = sheet.filter(ImageFilter.GaussianBlur(part.soft * pose.scale))
    cover: Array = np.asarray(sheet, dtype=np.float32) / np.float32(255)
    return Stamp(part, int(low[1]), int(low[0]), cover)


def _trace(pen: ImageDraw.ImageDraw, xy: NDArray[np.float32], width: float, solid: bool) -> None:
    """Draw a filled outline with a rim of half `width`, or a round-capped line of `width`."""
    if solid:
        pen.polygon(_corners(xy), fill=255)
    if width < 1:
        return
    run = np.vstack([xy, xy[:1]]) if solid else xy
    step = np.diff(run, axis=0)
    run = run[np.r_[True, np.hypot(step[:, 0], step[:, 1]) > 1e-3]]
    if solid or len(run) < 2:
        for x, y in run.tolist():
            _dot(pen, x, y, width / 2)
        pen.line(_corners(run), fill=255, width=round(width))
        return
    # PIL's wide lines are ragged on curves: a ribbon offset along the normals is smooth.
    along = np.gradient(run, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) * (width / 2)
    pen.polygon(_corners(np.vstack([run + normal, (run - normal)[::-1]])), fill=255)
    for x, y in (run[0].tolist(), run[-1].tolist()):
        _dot(pen, x, y, width / 2)


def _corners(xy: NDArray[np.floating]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in xy.tolist()]


def _dot(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float) -> None:
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)


def clipped(stamps: list[Stamp], size: Size) -> list[Stamp]:
    """Cut clipped stamps to the latest filled one before them that is not clipped."""
    sheet = np.zeros(size[::-1], np.float32)
    out = []
    for stamp in stamps:
        if stamp.part.clip:
            cover = stamp.cover * sheet[stamp.window]
            stamp = Stamp(stamp.part, stamp.y, stamp.x, cover)
        elif not stamp.part.width:
            sheet[:] = 0
            sheet[stamp.window] = stamp.cover
        out.append(stamp)
    return out


def union(stamps: list[Stamp], size: Size) -> Array:
    """Highest coverage of any stamp at every pixel, (H, W) in [0, 1]."""
    mask = np.zeros(size[::-1], np.float32)
    for stamp in stamps:
        np.maximum(mask[stamp.window], stamp.cover, out=mask[stamp.window])
    return mask
