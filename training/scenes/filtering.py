"""Removes the noise of few samples: an edge-avoiding filter (Dammertz et al., 2010) steered by what a pixel shows."""

import numpy as np

from training.scenes.bvh import Floats, jit

STEPS = (1, 2, 3)


def smooth(light: Floats, guides: Floats) -> Floats:
    """The layers (H, W, L), averaged over neighbours of the same material and direction."""
    for step in STEPS:
        result = np.empty_like(light)
        _pass(light, guides, step, result)
        light = result
    return light


@jit
def _pass(light: Floats, guides: Floats, step: int, result: Floats) -> None:
    height, width, layers = light.shape
    kernel = (0.375, 0.25, 0.0625)
    total = np.empty(layers, np.float32)
    for y in range(height):
        for x in range(width):
            total[:] = 0
            weights = 0.0
            own = guides[y, x]
            own_luminance = light[y, x, 1] + light[y, x, 7] + light[y, x, 13]
            for j in range(-2, 3):
                v = y + j * step
                if v < 0 or v >= height:
                    continue
                for i in range(-2, 3):
                    u = x + i * step
                    if u < 0 or u >= width:
                        continue
                    other = guides[v, u]
                    apart = 40 * abs(own[0] - other[0]) + 40 * abs(own[1] - other[1])
                    apart += 12 * (abs(own[4] - other[4]) + abs(own[5] - other[5]))
                    if own[0] < 0.5:
                        apart += 2.5 * abs(light[v, u, 1] + light[v, u, 7] + light[v, u, 13] - own_luminance)
                    if apart > 6:
                        continue
                    weight = kernel[abs(i)] * kernel[abs(j)] * np.exp(-apart)
                    weights += weight
                    for n in range(layers):
                        total[n] += weight * light[v, u, n]
            for n in range(layers):
                result[y, x, n] = total[n] / weights
