"""New directions of rays: diffuse, glossy, refracted."""

import numpy as np

from training.scenes.bvh import jit


@jit
def basis(x: float, y: float, z: float) -> tuple[float, float, float, float, float, float]:
    """Two vectors that complete a unit vector to a frame (Duff et al., 2017)."""
    sign = 1.0 if z >= 0 else -1.0
    a = -1.0 / (sign + z)
    b = x * y * a
    return 1 + sign * x * x * a, sign * b, -sign * x, b, sign + y * y * a, -y


@jit
def cosine_about(nx: float, ny: float, nz: float, u: float, v: float) -> tuple[float, float, float]:
    """Direction about a normal, with density cosine / pi."""
    r, phi = np.sqrt(u), 2 * np.pi * v
    p, q, s = r * np.cos(phi), r * np.sin(phi), np.sqrt(max(0.0, 1 - u))
    ax, ay, az, bx, by, bz = basis(nx, ny, nz)
    return p * ax + q * bx + s * nx, p * ay + q * by + s * ny, p * az + q * bz + s * nz


@jit
def half_vector(nx: float, ny: float, nz: float, alpha: float) -> tuple[float, float, float]:
    """A random GGX half vector about a normal."""
    u, phi = np.random.random(), 2 * np.pi * np.random.random()
    cosine = np.sqrt((1 - u) / (1 + (alpha * alpha - 1) * u))
    sine = np.sqrt(max(0.0, 1 - cosine * cosine))
    ax, ay, az, bx, by, bz = basis(nx, ny, nz)
    p, q = sine * np.cos(phi), sine * np.sin(phi)
    return p * ax + q * bx + cosine * nx, p * ay + q * by + cosine * ny, p * az + q * bz + cosine * nz


@jit
def schlick(base: float, facing: float) -> float:
    """Share of light that a surface reflects (Schlick, 1994)."""
    return base + (1 - base) * (1 - facing) ** 5
