"""Meshes of simple shapes: turned profiles, tubes, lofts, rounded boxes, inflated outlines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.ndimage import distance_transform_edt, gaussian_filter

from training.scenes.bvh import Floats, Ints

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Mesh:
    """Triangles of one material.

    Attributes:
        vertices: (V, 3), y up.
        faces: (F, 3).
        material: name of a material.
    """

    vertices: Points
    faces: Ints
    material: str = "main"

    def of(self, material: str) -> "Mesh":
        return replace(self, material=material)

    def moved(self, x: float = 0, y: float = 0, z: float = 0) -> "Mesh":
        return replace(self, vertices=self.vertices + np.array([x, y, z]))

    def scaled(self, x: float, y: float | None = None, z: float | None = None) -> "Mesh":
        return replace(self, vertices=self.vertices * np.array([x, x if y is None else y, x if z is None else z]))

    def turned(self, axis: str, degrees: float) -> "Mesh":
        return replace(self, vertices=self.vertices @ rotation(axis, degrees).T)

    def warped(self, warp: Callable[[Points], Points]) -> "Mesh":
        return replace(self, vertices=warp(self.vertices))

    def normals(self) -> Floats:
        """(V, 3) unit normals: the mean of the faces around, by area."""
        corners = self.vertices[self.faces]
        flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        total = np.stack(
            [sum(np.bincount(self.faces[:, n], flat[:, a], len(self.vertices)) for n in range(3)) for a in range(3)], 1
        )
        length = np.linalg.norm(total, axis=1, keepdims=True)
        return np.asarray(total / np.maximum(length, 1e-12), np.float32)


def rotation(axis: str, degrees: float) -> Points:
    """(3, 3) matrix that turns about an axis."""
    a = np.radians(degrees)
    c, s = np.cos(a), np.sin(a)
    n = "xyz".index(axis)
    matrix = np.eye(3)
    i, j = (n + 1) % 3, (n + 2) % 3
    matrix[[i, i, j, j], [i, j, i, j]] = [c, -s, s, c]
    return matrix


def spline(points: Sequence[Sequence[float]] | Points, count: int = 40, closed: bool = False) -> Points:
    """A centripetal-like Catmull-Rom curve through the points, `count` samples."""
    p = np.asarray(points, float)
    p = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    spans = len(p) - 3
    t = np.linspace(0, spans, count, endpoint=not closed)
    n = np.minimum(t.astype(int), spans - 1)
    u = (t - n)[:, None]
    a, b, c, d = p[n], p[n + 1], p[n + 2], p[n + 3]
    curve: Points = 0.5 * (2 * b + (c - a) * u + (2 * a - 5 * b + 4 * c - d) * u**2 + (3 * b - a - 3 * c + d) * u**3)
    return curve


def rounded(
    points: Sequence[Sequence[float]] | Points, times: int = 3, closed: bool = False, cut: float = 0.2
) -> Points:
    """Corners cut repeatedly (Chaikin, 1974); the ends of an open line stay."""
    p = np.asarray(points, float)
    for _ in range(times):
        following = np.roll(p, -1, 0) if closed else p[1:]
        here = p if closed else p[:-1]
        pairs = np.stack([here + cut * (following - here), following - cut * (following - here)], 1).reshape(
            -1, p.shape[1]
        )
        p = pairs if closed else np.concatenate([p[:1], pairs[1:-1], p[-1:]])
        cut = 0.25
    return p


def surface(points: Points, wrap_rows: bool = False, wrap_columns: bool = False) -> Mesh:
    """The mesh of a (rows, columns, 3) grid of points."""
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    if wrap_rows:
        index = np.concatenate([index, index[:1]])
    if wrap_columns:
        index = np.concatenate([index, index[:, :1]], 1)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return Mesh(points.reshape(-1, 3).astype(float), faces.astype(np.int32))


def lathe(profile: Sequence[Sequence[float]] | Points, segments: int = 72) -> Mesh:
    """A profile of (radius, height) turned about the y axis."""
    p = np.asarray(profile, float)
    angle = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    r, y = p[:, :1], np.repeat(p[:, 1:], segments, 1)
    return surface(np.stack([r * np.cos(angle), y, r * np.sin(angle)], -1), wrap_columns=True)


def shell(profile: Sequence[Sequence[float]] | Points, thickness: float, segments: int = 72) -> Mesh:
    """A turned vessel with walls: the profile runs from the middle of the bottom to the rim."""
    p = np.asarray(profile, float)
    along = np.gradient(p, axis=0)
    normal = np.stack([along[:, 1], -along[:, 0]], 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    inner = p - thickness * normal
    inner[:, 0] = np.maximum(inner[:, 0], 0)
    inner[0] = (0, p[0, 1] + thickness)
    middle = 0.5 * (p[-1] + inner[-1]) + 0.4 * thickness * along[-1] / (np.linalg.norm(along[-1]) + 1e-12)
    return lathe(np.concatenate([p, middle[None], inner[::-1]]), segments)


def frames(path: Points) -> tuple[Points, Points]:
    """Two normals (K, 3) along a path (K, 3), turned as little as possible."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-12
    normal = np.cross(tangent[0], np.eye(3)[np.abs(tangent[0]).argmin()])
    normals = []
    for t in tangent:
        normal = normal - t * (normal @ t)
        normal = normal / (np.linalg.norm(normal) + 1e-12)
        normals.append(normal)
    one = np.array(normals)
    return one, np.cross(tangent, one)


def tube(
    path: Points, radius: float | Sequence[float] | Points, flat: float = 1.0, sides: int = 16, closed: bool = False,
    up: Sequence[float] | None = None,
) -> Mesh:  # fmt: skip
    """A round tube along a path (K, 3); `flat` scales the section along `up` (default: a normal of the path)."""
    path = np.asarray(path, float)
    one, two = frames(path)
    if up is not None:
        tangent = np.cross(one, two)
        two = np.asarray(up, float) - tangent * (tangent @ np.asarray(up, float))[:, None]
        two /= np.linalg.norm(two, axis=1, keepdims=True) + 1e-12
        one = np.cross(two, tangent)
    r = np.broadcast_to(np.asarray(radius, float), len(path))[:, None, None]
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)[None, :, None]
    rings = path[:, None] + r * (np.cos(angle) * one[:, None] + flat * np.sin(angle) * two[:, None])
    if closed:
        return surface(rings, wrap_rows=True, wrap_columns=True)
    ends = [np.repeat(path[n][None, None], sides, 1) for n in (0, -1)]
    return surface(np.concatenate([ends[0], rings, ends[1]]), wrap_columns=True)


def loft(sections: Sequence[Points] | Points) -> Mesh:
    """A skin over closed sections (K, S, 3), its ends closed."""
    rings = np.asarray(sections, float)
    ends = [np.repeat(rings[n].mean(0)[None, None], rings.shape[1], 1) for n in (0, -1)]
    return surface(np.concatenate([ends[0], rings, ends[1]]), wrap_columns=True)


def circle(radius: float, height: float) -> Points:
    """Points (72, 3) around the y axis."""
    t = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    return np.stack([radius * np.cos(t), np.full(72, height), radius * np.sin(t)], 1)


def sphere(radius: float = 1.0, segments: int = 64) -> Mesh:
    """A ball about the origin."""
    a = np.linspace(-np.pi / 2, np.pi / 2, segments // 2)
    return lathe(np.stack([radius * np.cos(a), radius * np.sin(a)], 1), segments)


def block(x: float, y: float, z: float, edge: float = 0.05, cells: int = 8, puff: float = 0.0) -> Mesh:
    """A box of these sizes about the origin with rounded edges; `puff` swells its faces like a cushion's."""
    half = 0.5 * np.array([x, y, z])
    edge = min(edge, *half)
    inner = half - edge
    t = np.linspace(-1, 1, cells + 1)
    parts = []
    for axis in range(3):
        for sign in (-1, 1):
            u, v = np.meshgrid(_stretched(t, edge / half[(axis + 1) % 3]), _stretched(t, edge / half[(axis + 2) % 3]))
            p = np.empty((*u.shape, 3))
            p[..., axis], p[..., (axis + 1) % 3], p[..., (axis + 2) % 3] = sign, u, v
            p = p * half
            q = np.clip(p, -inner, inner)
            away = p - q
            p = q + edge * away / (np.linalg.norm(away, axis=-1, keepdims=True) + 1e-12)
            if puff:
                p[..., axis] += sign * puff * ((1 - u**2) * (1 - v**2)) ** 0.6
            mesh = surface(p if sign > 0 else p[:, ::-1])
            parts.append(mesh)
    return joined(parts)


def _stretched(t: Points, edge: float) -> Points:
    """Grid lines with more of them at the rounded edges."""
    bend = np.clip(1 - edge, 0.3, 0.99)
    corner = 1 - (1 - bend) * (1 - np.linspace(0, 1, 4)[1:-1])
    return np.unique(np.concatenate([t * bend, corner, -corner, [-1, 1]]))


def joined(meshes: Sequence[Mesh], material: str | None = None) -> Mesh:
    """Several meshes as one, of the first's material unless another is given."""
    offsets = np.cumsum([0, *(len(m.vertices) for m in meshes[:-1])])
    faces = np.concatenate([m.faces + n for m, n in zip(meshes, offsets, strict=True)]).astype(np.int32)
    return Mesh(np.concatenate([m.vertices for m in meshes]), faces, material or meshes[0].material)


def inflate(
    outline: Points, depth: float, reach: float, cells: int = 150,
    folds: Callable[[Points, Points, Points], Points] | None = None, back: float = 1.0, flat_edge: float = 0.0,
) -> Mesh:  # fmt: skip
    """Two sheets sewn along an outline (K, 2) and blown up.

    `depth` is the greatest half thickness, reached at `reach` from the outline; `folds(x, y, distance)` is added to
    the front sheet's height, and, by `back`, taken from the rear's.
    """
    low, high = outline.min(0), outline.max(0)
    step = float((high - low).max()) / cells
    low = low - 3 * step
    columns, rows = (np.ceil((high - low) / step).astype(int) + 4).tolist()
    inside = _filled(outline, low, step, columns, rows)
    scale = 4
    distance = (distance_transform_edt(inside) - distance_transform_edt(~inside)) * step / scale
    distance = gaussian_filter(distance, 1.5)[scale // 2 :: scale, scale // 2 :: scale]
    slope_y, slope_x = np.gradient(distance, step)
    y, x = np.meshgrid(low[1] + step * np.arange(rows), low[0] + step * np.arange(columns), indexing="ij")
    outside = distance < 0
    x, y = x - np.where(outside, distance * slope_x, 0), y - np.where(outside, distance * slope_y, 0)
    near = np.clip(distance / reach, 0, 1)
    height = flat_edge * (distance > 0) + depth * np.sqrt(1 - (1 - near) ** 2)
    wave = folds(x, y, distance) * np.clip(distance / (3 * step), 0, 1) if folds else np.zeros_like(x)
    kept = distance > -0.9 * step
    cell = kept[:-1, :-1] & kept[1:, :-1] & kept[1:, 1:] & kept[:-1, 1:]
    cell &= (distance[:-1, :-1] > 0) | (distance[1:, 1:] > 0) | (distance[1:, :-1] > 0) | (distance[:-1, 1:] > 0)
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (n[cell] for n in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    front = np.stack([x, y, height + wave], -1).reshape(-1, 3)
    rear = np.stack([x, y, -back * height + wave * (1 if back < 0.5 else -0.3)], -1).reshape(-1, 3)
    return joined([_compact(front, faces), _compact(rear, faces[:, ::-1])])


def _filled(outline: Points, low: Points, step: float, columns: int, rows: int) -> npt.NDArray[np.bool_]:
    """Which points of a grid four times as fine lie inside the outline."""
    sheet = Image.new("1", (columns * 4, rows * 4))
    ImageDraw.Draw(sheet).polygon([tuple(p) for p in ((outline - low) / step * 4 + 2)], fill=1)
    return np.asarray(sheet)


def _compact(vertices: Points, faces: Ints) -> Mesh:
    used, index = np.unique(faces, return_inverse=True)
    return Mesh(vertices[used], index.reshape(faces.shape).astype(np.int32))


def creases(rng: np.random.Generator, shape: tuple[int, int], along: float, across: float) -> Points:
    """A sheet (H, W) of random folds in about [-1, 1], `along` and `across` cells long."""
    sheet = gaussian_filter(rng.standard_normal(shape), (along, across))
    return np.asarray(sheet / (np.abs(sheet).max() + 1e-12))


def polygon(*points: tuple[float, float], mirrored: bool = False) -> Points:
    """Points (K, 2) of an outline; `mirrored` appends their mirror images in reverse order."""
    p = np.array(points, float)
    return np.concatenate([p, (p * [-1, 1])[::-1]]) if mirrored else p
