"""Camera, soft boxes, dome and backdrop of a studio; lights are at infinity and sampled by solid angle."""

from typing import NamedTuple

import numpy as np

from training.scenes.bvh import FAR, Floats, jit


class Setting(NamedTuple):
    """Camera, lights and backdrop."""

    eye: Floats
    frame: Floats
    """(3, 3) right, up, forward; right and up scaled by half the picture's extent at distance one."""
    aperture: float
    focus: float
    lights: Floats
    """(lights, 11) centre, half axes (3 + 3), radiance, softness of a soft box at infinity."""
    dome: Floats
    """(3,) radiance below, at the horizon, above."""
    floor: float
    """Height of the floor; far below if there is none."""
    wall: float
    """z of the wall behind the product."""


@jit
def dome(setting: Setting, y: float) -> float:
    if y < 0:
        return setting.dome[1] + (setting.dome[0] - setting.dome[1]) * min(1.0, -2 * y)
    return setting.dome[1] + (setting.dome[2] - setting.dome[1]) * y


@jit
def boxes_seen(setting: Setting, x: float, y: float, z: float) -> float:
    """Radiance of the soft boxes in a direction."""
    total = 0.0
    for n in range(len(setting.lights)):
        light = setting.lights[n]
        along = x * light[0] + y * light[1] + z * light[2]
        if along <= 0.05:
            continue
        px, py, pz = x / along - light[0], y / along - light[1], z / along - light[2]
        uu = light[3] ** 2 + light[4] ** 2 + light[5] ** 2
        vv = light[6] ** 2 + light[7] ** 2 + light[8] ** 2
        u = abs(px * light[3] + py * light[4] + pz * light[5]) / uu
        v = abs(px * light[6] + py * light[7] + pz * light[8]) / vv
        edge = max(u, v)
        if edge < 1:
            total += light[9] * min(1.0, (1 - edge) / light[10])
    return total


@jit
def light_sample(setting: Setting, n: int, a: float, b: float) -> tuple[float, float, float, float]:
    """A direction to soft box `n` and its radiance over the density of the direction."""
    light = setting.lights[n]
    u, v = 2 * a - 1, 2 * b - 1
    x = light[0] + u * light[3] + v * light[6]
    y = light[1] + u * light[4] + v * light[7]
    z = light[2] + u * light[5] + v * light[8]
    r2 = x * x + y * y + z * z
    r = np.sqrt(r2)
    side = np.sqrt(light[3] ** 2 + light[4] ** 2 + light[5] ** 2) * np.sqrt(
        light[6] ** 2 + light[7] ** 2 + light[8] ** 2
    )
    radiance = light[9] * min(1.0, (1 - max(abs(u), abs(v))) / light[10])
    return x / r, y / r, z / r, radiance * 4 * side / (r2 * r)


@jit
def backdrop_at(setting: Setting, oy: float, oz: float, dy: float, dz: float) -> tuple[float, bool]:
    """Distance to floor or wall, and whether it is the floor."""
    distance, floor = FAR, False
    if dy < -1e-6:
        t = (setting.floor - oy) / dy
        if t > 1e-5:
            distance, floor = t, True
    if dz < -1e-6:
        t = (setting.wall - oz) / dz
        if 1e-5 < t < distance:
            distance, floor = t, False
    return distance, floor


@jit
def dome_irradiance(setting: Setting, floor: bool) -> float:
    return 0.35 * setting.dome[1] + 0.65 * setting.dome[2] if floor else 0.5 * setting.dome[1] + 0.5 * setting.dome[2]
