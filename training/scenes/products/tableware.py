"""Mugs, bowls, vases, teapots, bottles, wine glasses, pans, buckets and candles: mostly turned shapes."""

import numpy as np

from training.scenes.materials import Material, glossy
from training.scenes.shapes import Mesh, Points, circle, joined, lathe, rounded, shell, sphere, spline, tube
from training.scenes.studio import Model

Random = np.random.Generator


def _arc(radius_x: float, radius_y: float, start: float, stop: float, count: int = 32) -> Points:
    t = np.radians(np.linspace(start, stop, count))
    return np.stack([radius_x * np.cos(t), radius_y * np.sin(t), 0 * t], 1)


def mug(rng: Random) -> Model:
    height, radius, belly = rng.uniform(0.8, 1.05), rng.uniform(0.38, 0.46), rng.uniform(-0.04, 0.05)
    profile = [(0, 0.02), (0.8 * radius, 0.02), (0.86 * radius, 0), (radius + 0.4 * belly, 0.12)]
    profile += [(radius + belly, 0.5 * height), (radius, height)]
    body = shell(spline(rounded(profile, 2), 70), 0.04)
    drop = rng.uniform(0.25, 0.32)
    path = _arc(rng.uniform(0.27, 0.34), drop, -102, 102) + [radius - 0.02, 0.5 * height, 0]
    handle = tube(path, 0.05, flat=rng.uniform(1.2, 1.6))
    meshes = [body, handle]
    if rng.random() < 0.6:
        level = height * rng.uniform(0.82, 0.9)
        meshes.append(lathe([(0, level), (radius + 0.5 * belly - 0.02, level)]).of("coffee"))
    return Model(meshes, {"main": glossy(rng.uniform(0.08, 0.25))}, turn=(-75, 18), raise_=(12, 34))


def bowl(rng: Random) -> Model:
    depth, foot = rng.uniform(0.42, 0.56), rng.uniform(0.22, 0.3)
    profile = rounded(
        [
            (0, 0.05),
            (foot, 0.05),
            (foot, 0),
            (foot + 0.05, 0.03),
            (0.58, 0.2 * depth),
            (0.68, 0.6 * depth),
            (0.7, depth),
        ],
        3,
    )
    return Model([shell(profile, 0.035, 96)], {"main": glossy(rng.uniform(0.08, 0.3))}, raise_=(22, 42))


def vase(rng: Random) -> Model:
    neck, belly, lip = rng.uniform(0.08, 0.16), rng.uniform(0.3, 0.42), rng.uniform(0.14, 0.22)
    at = rng.uniform(0.35, 0.6)
    profile = [(0, 0.02), (0.18, 0.0), (0.2, 0.03), (belly, at), (0.8 * belly, at + 0.25), (neck, 1.02), (lip, 1.18)]
    return Model([shell(spline(profile, 90), 0.025, 96)], {"main": glossy(rng.uniform(0.06, 0.25))}, raise_=(6, 22))


def bucket(rng: Random) -> Model:
    low, high, height = rng.uniform(0.3, 0.36), rng.uniform(0.42, 0.5), rng.uniform(0.75, 0.95)
    profile = [(0, 0.02), (low - 0.02, 0.02), (low, 0.0), (low + 0.03, 0.2 * height), (high - 0.02, 0.93 * height)]
    profile += [(high + 0.02, 0.94 * height), (high + 0.03, height - 0.01), (high + 0.01, height)]
    bands = [tube(circle(low + (high - low) * k, height * k), 0.012, closed=True) for k in (0.3, 0.72)]
    tilt = rng.uniform(-30, 75)
    bail = (
        tube(_arc(high + 0.03, 0.62, 0, 180, 40), 0.014, sides=10).of("steel").turned("x", tilt).moved(y=0.9 * height)
    )
    grip = (
        tube(np.array([[-0.13, 0.62, 0], [0.13, 0.62, 0]]) * 1.0, 0.03)
        .of("black")
        .turned("x", tilt)
        .moved(y=0.9 * height)
    )
    ears = [
        lathe([(0, -0.03), (0.05, -0.02), (0.05, 0.02), (0, 0.03)], 20)
        .turned("z", 90)
        .moved(s * (high + 0.02), 0.9 * height)
        .of("steel")
        for s in (-1, 1)
    ]
    meshes = [shell(rounded(profile, 1), 0.015, 96), *bands, bail, grip, *ears]
    return Model(meshes, {"main": Material(coloured=True, rough=rng.uniform(0.2, 0.45))}, raise_=(14, 32))


def teapot(rng: Random) -> Model:
    wide, tall = rng.uniform(0.46, 0.55), rng.uniform(0.62, 0.75)
    profile = spline(
        [(0, 0.02), (0.3, 0), (0.34, 0.04), (wide, 0.45 * tall), (0.8 * wide, 0.82 * tall), (0.24, tall)], 60
    )
    lid = spline([(0.25, tall - 0.01), (0.22, tall + 0.05), (0.1, tall + 0.1), (0, tall + 0.11)], 20)[::-1]
    knob = sphere(0.065, 32).scaled(1, 0.85, 1).moved(y=tall + 0.15)
    path = spline(
        [(wide - 0.12, 0.22, 0), (wide + 0.14, 0.32, 0), (wide + 0.2, 0.55, 0), (wide + 0.36, tall + 0.02, 0)], 40
    )
    spout = tube(path, np.linspace(0.13, 0.05, 40))
    handle = tube(_arc(0.3, 0.27, 78, 282, 40) + [-wide + 0.08, 0.55 * tall, 0], 0.042, flat=1.2)
    meshes = [
        lathe(profile, 96),
        lathe(lid[::-1], 72),
        knob,
        spout,
        handle,
        tube(circle(0.25, tall), 0.018, closed=True),
    ]
    turn = (-40, 40) if rng.random() < 0.5 else (140, 220)
    return Model(meshes, {"main": glossy(rng.uniform(0.06, 0.25))}, turn=turn, raise_=(8, 28))


def bottle(rng: Random) -> Model:
    """A drinking bottle with a screwed cap, or a wine bottle with a label."""
    if rng.random() < 0.55:
        radius = rng.uniform(0.17, 0.2)
        profile = rounded([(0, 0.01), (radius, 0), (radius, 0.74), (0.1, 0.86), (0.09, 0.92)], 3)
        cap = rounded([(0.1, 0.9), (0.115, 0.9), (0.115, 1.04), (0, 1.05)], 2)
        ring = tube(_arc(0.07, 0.06, 0, 180, 24) + [0, 1.04, 0], 0.018).of("black")
        meshes = [
            lathe(profile, 96),
            lathe(cap, 64).of("black"),
            lathe([(0.098, 0.88), (0.12, 0.89), (0.12, 0.905), (0.098, 0.91)]).of("steel"),
        ]
        meshes += [ring] if rng.random() < 0.6 else []
        return Model(meshes, {"main": Material(coloured=True, rough=rng.uniform(0.2, 0.4))}, raise_=(2, 16))
    radius = rng.uniform(0.15, 0.17)
    profile = rounded([(0, 0.03), (0.12, 0.02), (radius, 0), (radius, 0.62), (0.055, 0.78), (0.055, 1.06)], 4)
    label = lathe([(radius + 0.002, 0.16), (radius + 0.002, 0.46)], 96).of("white")
    band = lathe([(radius + 0.004, 0.24), (radius + 0.004, 0.27)], 96).of("label")
    foil = rounded([(0.06, 0.88), (0.062, 0.9), (0.062, 1.05), (0.068, 1.05), (0.068, 1.08), (0, 1.085)], 1)
    meshes = [lathe(profile, 96), label, band, lathe(foil, 48).of("label")]
    materials = {"main": Material(coloured=True, rough=0.08), "label": Material((0.25, 0.05, 0.05), rough=0.4)}
    return Model(meshes, materials, raise_=(2, 14))


def wine_glass(rng: Random) -> Model:
    wide, tall = rng.uniform(0.26, 0.32), rng.uniform(0.5, 0.6)
    outer = spline([(0.02, 0.5), (0.1, 0.52), (wide, 0.5 + 0.5 * tall), (wide - 0.06, 0.5 + tall)], 50)
    stem = spline([(0.3, 0), (0.29, 0.012), (0.06, 0.04), (0.022, 0.12), (0.02, 0.5)], 40)
    inner = [(max(r - 0.012, 0), y) for r, y in outer[::-1]]
    inner[-1] = (0, 0.52)
    glass = lathe(np.concatenate([[(0, 0)], stem, outer[1:], inner]), 96).of("glass")
    level = 0.5 + rng.uniform(0.4, 0.62) * tall
    filled = [(max(r - 0.014, 0), y) for r, y in outer if 0.525 < y < level]
    wine = lathe([(0, 0.53), *filled, (0, filled[-1][1])], 96).of("wine")
    wines = [(0.08, 0.003, 0.008), (0.1, 0.004, 0.012), (0.75, 0.6, 0.2)]
    tone = wines[rng.choice(3, p=(0.45, 0.4, 0.15))]
    return Model([glass, wine], {"wine": Material(tone, rough=0.05)}, raise_=(4, 18))


def frying_pan(rng: Random) -> Model:
    rim, base, depth = 0.5, rng.uniform(0.36, 0.4), rng.uniform(0.1, 0.16)
    profile = rounded([(0, 0.0), (base, 0.0), (rim, depth)], 4)
    length = rng.uniform(0.65, 0.85)
    path = spline([(rim - 0.03, depth - 0.03, 0), (rim + 0.15, depth + 0.05, 0), (rim + length, depth + 0.09, 0)], 30)
    handle = tube(
        path,
        np.interp(np.linspace(0, 1, 30), [0, 0.15, 0.3, 0.9, 1], [0.03, 0.03, 0.045, 0.055, 0.045]),
        flat=0.6,
        up=(0, 1, 0),
    )
    coat = lathe(rounded([(0, 0.021), (base - 0.01, 0.021), (rim - 0.022, depth)], 4), 96).of("coat")
    own = {"main": glossy(0.25), "coat": Material((0.025, 0.025, 0.027), rough=rng.uniform(0.25, 0.45))}
    meshes = [shell(profile, 0.018, 96), coat, handle.of("black")]
    return Model(meshes, own, turn=(-75, 75), raise_=(25, 55), fill=(0.75, 0.9))


def candle(rng: Random) -> Model:
    radius, tall = rng.uniform(0.16, 0.24), rng.uniform(0.55, 0.8)
    wax = lathe(
        rounded(
            [
                (0, 0),
                (radius, 0),
                (radius, tall),
                (radius - 0.02, tall + 0.015),
                (0.4 * radius, tall - 0.02),
                (0, tall - 0.025),
            ],
            2,
        ),
        72,
    )
    wick = tube(np.array([[0, tall - 0.03, 0], [0.004, tall + 0.02, 0], [0.0, tall + 0.05, 0]]), 0.009).of("black")
    flame = lathe([(0, 0), (0.022, 0.02), (0.034, 0.06), (0.026, 0.12), (0.01, 0.18), (0, 0.22)], 24)
    core = flame.scaled(0.6, 0.5, 0.6).of("core")
    dish = shell(rounded([(0, 0), (0.3, 0), (0.36, 0.05)], 3), 0.015).of("brass").moved(y=-0.02)
    meshes = [wax, wick, flame.moved(y=tall + 0.03).of("flame"), core.moved(y=tall + 0.03)]
    meshes += [dish] if rng.random() < 0.4 else []
    own = {
        "main": Material(coloured=True, rough=0.55, noise=0.04, noise_frequency=14),
        "flame": Material((2.6, 1.5, 0.45), rough=1.0), "core": Material((4, 3.2, 1.8), rough=1.0),
    }  # fmt: skip
    return Model(meshes, own, raise_=(5, 20))


def ball_seams(radius: float, curves: list[Points], thick: float) -> Mesh:
    """Thin grooves' stand-ins on a ball: dark lines just above its surface."""
    return joined(
        [
            tube(curve / np.linalg.norm(curve, axis=1, keepdims=True) * radius, thick, sides=8, closed=True)
            for curve in curves
        ]
    )


def basketball(rng: Random) -> Model:
    t = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    s, c, o = np.sin(t), np.cos(t), np.zeros_like(t)
    wave = 0.62 * np.cos(2 * t)
    curves = [
        np.stack(p, 1)
        for p in (
            (c, s, o),
            (o, c, s),
            (c, wave * 0 + 0.55 + 0.25 * np.cos(2 * t), s),
            (c, -0.55 - 0.25 * np.cos(2 * t), s),
        )
    ]
    seams = ball_seams(0.5, curves, 0.011).of("rubber")
    axis, angle = "xyz"[rng.integers(3)], rng.uniform(0, 360)
    parts = [
        part.turned(axis, angle).turned("z", rng.uniform(0, 60)).turned("x", 20) for part in [sphere(0.5, 96), seams]
    ]
    tones = [(0.62, 0.2, 0.045), (0.55, 0.17, 0.05), (0.7, 0.25, 0.06)]
    leather = Material(tones[rng.integers(3)], rough=0.5, bump=0.5, bump_frequency=75, noise=0.07, noise_frequency=8)
    return Model([part.moved(y=0.5) for part in parts], {"main": leather}, turn=(0, 360))
