"""Outlines in object units: smooth curves through nodes, ellipses and rounded rectangles."""

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Node = tuple[float, float] | tuple[float, float, int]  # a third item of 1 makes a corner
Rng = np.random.Generator


def spline(*nodes: Node, closed: bool = True, samples: int = 9) -> Points:
    """Smooth curve through nodes (cubic Hermite), straight between two corners.

    Returns:
        (N, 2): `samples` points a segment, and the last node where the curve is open.
    """
    xy = np.array([node[:2] for node in nodes], dtype=np.float64)
    corner = np.array([len(node) > 2 and bool(node[2]) for node in nodes])
    if not closed:
        corner[[0, -1]] = True
    tangent = _tangents(xy, closed)
    last = len(xy) if closed else len(xy) - 1
    start, end = xy[:last], np.roll(xy, -1, axis=0)[:last]
    chord = end - start
    length = np.linalg.norm(chord, axis=1, keepdims=True)
    leave, reach = tangent[:last] * length, np.roll(tangent, -1, axis=0)[:last] * length
    soft_leave, soft_reach = ~corner[:last, None], ~np.roll(corner, -1)[:last, None]
    leave_bent = np.where(soft_leave, leave, 1.5 * chord - 0.5 * np.where(soft_reach, reach, chord))
    reach_bent = np.where(soft_reach, reach, 1.5 * chord - 0.5 * np.where(soft_leave, leave, chord))
    curve = _hermite(start, end, leave_bent, reach_bent, samples)
    return curve if closed else np.vstack([curve, xy[-1:]])


def _tangents(xy: Points, closed: bool) -> Points:
    """Unit direction at every node, from its neighbours; an open curve ends along its chord."""
    before, after = np.roll(xy, 1, axis=0), np.roll(xy, -1, axis=0)
    if not closed:
        before[0], after[-1] = xy[0], xy[-1]
    tangent = after - before
    unit: Points = tangent / np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    return unit


def _hermite(start: Points, end: Points, leave: Points, reach: Points, samples: int) -> Points:
    """Cubic Hermite segments, each sampled from its start to short of its end."""
    t = (np.arange(samples) / samples)[None, :, None]
    s0, s1, m0, m1 = (a[:, None] for a in (start, end, leave, reach))
    from_start = (2 * t**3 - 3 * t**2 + 1) * s0 + (t**3 - 2 * t**2 + t) * m0
    curve: Points = from_start + (3 * t**2 - 2 * t**3) * s1 + (t**3 - t**2) * m1
    return curve.reshape(-1, 2)


def mirror(*right: Node) -> Points:
    """Closed outline from its right half, listed from the top to the bottom."""
    left = [_reflected(node) for node in reversed(right) if abs(node[0]) > 1e-6]
    return spline(*right, *left)


def arch(*left: Node) -> list[Node]:
    """Symmetric path from its left half, whose last node lies in the middle."""
    return [*left, *(_reflected(node) for node in reversed(left[:-1]))]


def path(*nodes: Node) -> list[Node]:
    """Nodes of one stretch of an outline."""
    return list(nodes)


def _reflected(node: Node) -> Node:
    return (-node[0], *node[1:])


def ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    """Closed ellipse round a centre."""
    angle = np.linspace(0.0, 2 * np.pi, 40, endpoint=False)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def disc(x: float, y: float, radius: float) -> Points:
    """Closed circle round a centre."""
    return ellipse(x, y, radius, radius)


def block(x0: float, y0: float, x1: float, y1: float, radius: float) -> Points:
    """Rectangle with rounded corners."""
    arc = np.linspace(0.0, np.pi / 2, 6)
    corners = ((x1, y1, 1, 1), (x0, y1, -1, 1), (x0, y0, -1, -1), (x1, y0, 1, -1))
    out = []
    for i, (x, y, sx, sy) in enumerate(corners):
        a = arc + i * np.pi / 2
        centre = (x - sx * radius, y - sy * radius)
        out.append(np.stack([centre[0] + radius * np.cos(a), centre[1] + radius * np.sin(a)], 1))
    return np.vstack(out)
