"""A bounding volume hierarchy over triangles, built and traversed by compiled loops.

Built by the surface area heuristic over 12 bins (Wald, "On fast construction of SAH-based bounding volume hierarchies",
2007); the triangle test is Möller and Trumbore's (1997). Arrays are float32, so that a picture needs little memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

BINS = 12
LEAF = 4
FAR = np.float32(1e30)
Function = TypeVar("Function", bound=Callable[..., Any])


def jit(function: Function) -> Function:
    """Compile a function of numbers and arrays; the result is kept on disk between runs."""
    compiled: Function = numba.njit(fastmath=True, cache=True, nogil=True, error_model="numpy")(function)
    return compiled


def inlined(function: Function) -> Function:
    """Compile a function into each of its callers: handing over many arrays costs more than what it does with them."""
    compiled: Function = numba.njit(forceinline=True, fastmath=True, nogil=True, error_model="numpy")(function)
    return compiled


@dataclass(frozen=True)
class Hierarchy:
    """The tree and its triangles, reordered.

    Attributes:
        boxes: (nodes, 6) lower and upper corner of each node.
        links: (nodes, 2) first child and 0, or first triangle and number of triangles.
        corners: (triangles, 9) first corner and the two edges from it.
        order: (triangles,) index of each triangle in the mesh it came from.
    """

    boxes: Floats
    links: Ints
    corners: Floats
    order: Ints


def build_hierarchy(vertices: Floats, faces: Ints) -> Hierarchy:
    """The tree over the triangles `faces` (N, 3) of `vertices` (M, 3)."""
    corners = vertices[faces]
    low, high = corners.min(axis=1), corners.max(axis=1)
    order = np.arange(len(faces), dtype=np.int32)
    boxes, links, count = _build(low, high, 0.5 * (low + high), order)
    first = corners[order, 0]
    edges = np.concatenate([first, corners[order, 1] - first, corners[order, 2] - first], axis=1)
    return Hierarchy(boxes[:count], links[:count], np.ascontiguousarray(edges, np.float32), order)


@jit
def _build(low: Floats, high: Floats, centre: Floats, order: Ints) -> tuple[Floats, Ints, int]:
    count = len(order)
    boxes = np.empty((2 * count, 6), np.float32)
    links = np.zeros((2 * count, 2), np.int32)
    spans = np.empty((2 * count, 2), np.int32)
    spans[0, 0], spans[0, 1] = 0, count
    used, node = 1, 0
    while node < used:
        start, stop = spans[node]
        _bound(low, high, order, start, stop, boxes[node])
        middle = _split(low, high, centre, order, start, stop) if stop - start > LEAF else start
        if start < middle < stop:
            links[node, 0] = used
            spans[used, 0], spans[used, 1] = start, middle
            spans[used + 1, 0], spans[used + 1, 1] = middle, stop
            used += 2
        else:
            links[node, 0], links[node, 1] = start, stop - start
        node += 1
    return boxes, links, used


@jit
def _bound(low: Floats, high: Floats, order: Ints, start: int, stop: int, box: Floats) -> None:
    for axis in range(3):
        box[axis], box[axis + 3] = FAR, -FAR
        for n in range(start, stop):
            box[axis] = min(box[axis], low[order[n], axis])
            box[axis + 3] = max(box[axis + 3], high[order[n], axis])


@jit
def _half_area(box: Floats) -> float:
    x, y, z = max(box[3] - box[0], 0.0), max(box[4] - box[1], 0.0), max(box[5] - box[2], 0.0)
    return x * y + y * z + z * x


@jit
def _split(low: Floats, high: Floats, centre: Floats, order: Ints, start: int, stop: int) -> int:
    """Partition the span and return its middle; `start` if no split is worth it."""
    axis, least, extent = 0, np.float32(0), np.float32(0)
    for a in range(3):
        smallest, largest = FAR, -FAR
        for n in range(start, stop):
            smallest, largest = min(smallest, centre[order[n], a]), max(largest, centre[order[n], a])
        if largest - smallest > extent:
            axis, least, extent = a, smallest, largest - smallest
    if extent < 1e-9:
        return start + (stop - start) // 2 if stop - start > 16 else start
    boxes = np.empty((BINS, 6), np.float32)
    boxes[:, :3], boxes[:, 3:] = FAR, -FAR
    counts = np.zeros(BINS, np.int32)
    scale = np.float32(BINS * 0.9999) / extent
    for n in range(start, stop):
        face = order[n]
        bin_ = int((centre[face, axis] - least) * scale)
        counts[bin_] += 1
        for a in range(3):
            boxes[bin_, a] = min(boxes[bin_, a], low[face, a])
            boxes[bin_, a + 3] = max(boxes[bin_, a + 3], high[face, a])
    best = _cheapest(boxes, counts)
    left, right = start, stop - 1
    while left <= right:
        if int((centre[order[left], axis] - least) * scale) <= best:
            left += 1
        else:
            order[left], order[right] = order[right], order[left]
            right -= 1
    return left


@jit
def _cheapest(boxes: Floats, counts: Ints) -> int:
    """The last bin of the left side of the best split."""
    costs = np.zeros(BINS, np.float32)
    grown = np.empty(6, np.float32)
    for backwards in range(2):
        grown[:3], grown[3:] = FAR, -FAR
        total = 0
        for n in range(BINS - 1):
            bin_ = BINS - 1 - n if backwards else n
            total += counts[bin_]
            for a in range(3):
                grown[a], grown[a + 3] = min(grown[a], boxes[bin_, a]), max(grown[a + 3], boxes[bin_, a + 3])
            costs[bin_ - 1 if backwards else bin_] += _half_area(grown) * total if total else 0.0
    best = 0
    for n in range(BINS - 1):
        if costs[n] < costs[best]:
            best = n
    return best


@jit
def _enters(box: Floats, ox: float, oy: float, oz: float, ix: float, iy: float, iz: float, nearest: float) -> float:
    """Distance at which the ray enters the box; FAR if it misses."""
    x0, x1 = (box[0] - ox) * ix, (box[3] - ox) * ix
    y0, y1 = (box[1] - oy) * iy, (box[4] - oy) * iy
    z0, z1 = (box[2] - oz) * iz, (box[5] - oz) * iz
    enter = max(max(min(x0, x1), min(y0, y1)), max(min(z0, z1), np.float32(0)))
    leave = min(min(max(x0, x1), max(y0, y1)), min(max(z0, z1), nearest))
    return enter if enter <= leave else FAR


@jit
def intersect(
    boxes: Floats, links: Ints, corners: Floats, skip: npt.NDArray[np.bool_], any_hit: bool, stack: Ints,
    ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, nearest: float,
) -> tuple[float, int, float, float]:  # fmt: skip
    """Nearest triangle along the ray, or any: (distance, triangle or -1, barycentric u, v); `skip` lets rays pass."""
    ix = np.float32(1) / (dx if abs(dx) > 1e-12 else np.float32(1e-12))
    iy = np.float32(1) / (dy if abs(dy) > 1e-12 else np.float32(1e-12))
    iz = np.float32(1) / (dz if abs(dz) > 1e-12 else np.float32(1e-12))
    size, node, hit = 0, 0, -1
    hit_u = hit_v = np.float32(0)
    if _enters(boxes[0], ox, oy, oz, ix, iy, iz, nearest) == FAR:
        return nearest, hit, hit_u, hit_v
    while True:
        first, count = links[node, 0], links[node, 1]
        if count:
            for n in range(first, first + count):
                if skip[n]:
                    continue
                c = corners[n]
                px, py, pz = dy * c[8] - dz * c[7], dz * c[6] - dx * c[8], dx * c[7] - dy * c[6]
                determinant = c[3] * px + c[4] * py + c[5] * pz
                if abs(determinant) < 1e-14:
                    continue
                inverse = np.float32(1) / determinant
                tx, ty, tz = ox - c[0], oy - c[1], oz - c[2]
                u = (tx * px + ty * py + tz * pz) * inverse
                if u < 0 or u > 1:
                    continue
                qx, qy, qz = ty * c[5] - tz * c[4], tz * c[3] - tx * c[5], tx * c[4] - ty * c[3]
                v = (dx * qx + dy * qy + dz * qz) * inverse
                if v < 0 or u + v > 1:
                    continue
                t = (c[6] * qx + c[7] * qy + c[8] * qz) * inverse
                if np.float32(1e-5) < t < nearest:
                    nearest, hit, hit_u, hit_v = t, n, u, v
                    if any_hit:
                        return nearest, hit, hit_u, hit_v
        else:
            near = _enters(boxes[first], ox, oy, oz, ix, iy, iz, nearest)
            far = _enters(boxes[first + 1], ox, oy, oz, ix, iy, iz, nearest)
            one, two = first, first + 1
            if far < near:
                near, far, one, two = far, near, two, one
            if near < FAR:
                if far < FAR:
                    stack[size] = two
                    size += 1
                node = one
                continue
        if size == 0:
            return nearest, hit, hit_u, hit_v
        size -= 1
        node = stack[size]
