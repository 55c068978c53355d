"""A small path tracer whose pictures are polynomials of the product's colour and of the backdrop's brightness.

Every path counts how often it met the product's own colour (`m`) and whether it met the backdrop (`b`); radiance is
summed apart for each pair, so that one traced scene gives a picture of every colour on every backdrop, interreflections
included. Lights: a dome and soft boxes at infinity, sampled by solid angle; glossy reflections by GGX half vectors
(Walter et al., "Microfacet models for refraction through rough surfaces", 2007), with Schlick's Fresnel term.
"""

from typing import NamedTuple

import numpy as np

from training.scenes.bvh import FAR, Floats, Ints, intersect, jit

COLOURED, RED, GREEN, BLUE, ROUGH, METAL, GLASS, BUMP, BUMP_FREQUENCY, NOISE, NOISE_FREQUENCY, GRAIN, SHEEN = range(13)
"""Columns of the table of materials."""
MATERIAL_COLUMNS = 13
MOST_MAIN, MOST_BACKDROP = 3, 1
PRODUCT_LAYERS = (MOST_MAIN + 1) * (MOST_BACKDROP + 1)
BACKDROP_LAYERS = 3
UNSHADED = (PRODUCT_LAYERS + BACKDROP_LAYERS) * 3
"""The layer with the radiance that white backdrop would have without the product."""
GUIDES = 6
DIFFUSE_BOUNCES, GLASS_BOUNCES = 3, 8


class Geometry(NamedTuple):
    """What rays meet: a tree of triangles, their normals and materials, and the materials' table."""

    boxes: Floats
    links: Ints
    corners: Floats
    normals: Floats
    """(triangles, 9) normals of the corners."""
    places: Floats
    """(triangles, 9) corners in the texture's space."""
    kinds: Ints
    """(triangles,) row of the table."""
    clear: np.ndarray
    """(triangles,) bool: shadow rays pass."""
    none: np.ndarray
    """(triangles,) bool, all False."""
    materials: Floats


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
def _hash(x: int, y: int, z: int) -> float:
    h = np.uint32(x) * np.uint32(374761393) + np.uint32(y) * np.uint32(668265263) + np.uint32(z) * np.uint32(2246822519)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(1274126177)
    h = (h ^ (h >> np.uint32(16))) * np.uint32(2654435769)
    return float((h >> np.uint32(8)) & np.uint32(0xFFFFFF)) / 16777216.0


@jit
def noise(x: float, y: float, z: float) -> float:
    """Value noise in [0, 1], smooth between the points of a lattice."""
    fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
    u, v, w = x - fx, y - fy, z - fz
    u, v, w = u * u * (3 - 2 * u), v * v * (3 - 2 * v), w * w * (3 - 2 * w)
    i, j, k = np.int64(fx), np.int64(fy), np.int64(fz)
    total = 0.0
    for a in range(2):
        for b in range(2):
            for c in range(2):
                weight = (u if a else 1 - u) * (v if b else 1 - v) * (w if c else 1 - w)
                total += weight * _hash(i + a, j + b, k + c)
    return total


@jit
def _texture(material: Floats, x: float, y: float, z: float) -> float:
    """Factor of the albedo at a point of the texture's space."""
    f = material[NOISE_FREQUENCY]
    if material[GRAIN] == 1:  # wood: rings about a line along y
        r = np.sqrt(x * x + z * z) * f + 1.5 * noise(3 * x, 0.6 * y, 3 * z)
        value = 0.6 * (r - np.floor(r)) + 0.4 * noise(40 * x, 3 * y, 40 * z)
    elif material[GRAIN] == 2:  # weave
        value = 0.5 + 0.25 * np.sin(f * x) * np.sin(f * y) + 0.25 * noise(0.2 * f * x, 0.2 * f * y, 0.2 * f * z)
    elif material[GRAIN] == 3:  # vertical streaks, as of denim
        value = 0.55 * noise(f * x, 0.12 * f * y, f * z) + 0.45 * noise(0.1 * f * x, 0.1 * f * y, 0.1 * f * z)
    else:
        value = 0.6 * noise(f * x, f * y, f * z) + 0.4 * noise(2.3 * f * x, 2.3 * f * y, 2.3 * f * z)
    return 1 + material[NOISE] * (value - 0.5) * 2


@jit
def _basis(x: float, y: float, z: float) -> tuple[float, float, float, float, float, float]:
    """Two vectors that complete a unit vector to a frame (Duff et al., 2017)."""
    sign = 1.0 if z >= 0 else -1.0
    a = -1.0 / (sign + z)
    b = x * y * a
    return 1 + sign * x * x * a, sign * b, -sign * x, b, sign + y * y * a, -y


@jit
def _cosine(nx: float, ny: float, nz: float, u: float, v: float) -> tuple[float, float, float]:
    """Direction about a normal, with density cosine / pi."""
    r, phi = np.sqrt(u), 2 * np.pi * v
    p, q, s = r * np.cos(phi), r * np.sin(phi), np.sqrt(max(0.0, 1 - u))
    ax, ay, az, bx, by, bz = _basis(nx, ny, nz)
    return p * ax + q * bx + s * nx, p * ay + q * by + s * ny, p * az + q * bz + s * nz


@jit
def _dome(setting: Setting, y: float) -> float:
    if y < 0:
        return setting.dome[1] + (setting.dome[0] - setting.dome[1]) * min(1.0, -2 * y)
    return setting.dome[1] + (setting.dome[2] - setting.dome[1]) * y


@jit
def _boxes_seen(setting: Setting, x: float, y: float, z: float) -> float:
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
def _light_sample(setting: Setting, n: int, a: float, b: float) -> tuple[float, float, float, float]:
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
def _backdrop(setting: Setting, oy: float, oz: float, dy: float, dz: float) -> tuple[float, bool]:
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
def _shadowed(
    geometry: Geometry, stack: Ints, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float
) -> bool:
    hit = intersect(
        geometry.boxes, geometry.links, geometry.corners, geometry.clear, True, stack, ox, oy, oz, dx, dy, dz, FAR
    )  # fmt: skip
    return hit[1] >= 0


@jit
def _backdrop_light(
    geometry: Geometry,
    setting: Setting,
    stack: Ints,
    floor: bool,
    pick: int,
    ox: float,
    oy: float,
    oz: float,
    a: float,
    b: float,
) -> tuple[float, float]:
    """Radiance of white backdrop lit by one point of soft box `pick`, with and without the product's shadow."""
    ny, nz = (1.0, 0.0) if floor else (0.0, 1.0)
    dx, dy, dz, weight = _light_sample(setting, pick, a, b)
    cosine = dy * ny + dz * nz
    if cosine <= 0:
        return 0.0, 0.0
    free = weight * cosine / np.pi * len(setting.lights)
    return 0.0 if _shadowed(geometry, stack, ox, oy, oz, dx, dy, dz) else free, free


@jit
def _dome_irradiance(setting: Setting, floor: bool) -> float:
    return 0.35 * setting.dome[1] + 0.65 * setting.dome[2] if floor else 0.5 * setting.dome[1] + 0.5 * setting.dome[2]


@jit
def _follow(
    geometry: Geometry, setting: Setting, stack: Ints, out: Floats, guide: Floats,
    ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, s1: float, s2: float, s3: float, s4: float,
    pick: int,
) -> None:  # fmt: skip
    """Follow one camera ray; add its radiance to `out` and what it first met to `guide`."""
    r = g = b = 1.0
    main = back = bounces = 0
    from_backdrop = False
    glossy = True
    for depth in range(GLASS_BOUNCES):
        t, face, u, v = intersect(
            geometry.boxes, geometry.links, geometry.corners, geometry.none, False, stack, ox, oy, oz, dx, dy, dz, FAR
        )
        far, floor = _backdrop(setting, oy, oz, dy, dz)
        if face < 0 or far < t:
            if depth and from_backdrop and bounces == 1:
                value = _dome(setting, dy)
                _add(out, True, main, back, r * value, g * value, b * value)
                out[UNSHADED] += value
                return
            if far > 1e6:
                value = _dome(setting, dy) + (_boxes_seen(setting, dx, dy, dz) if glossy else 0.0)
                _add(out, from_backdrop, main, back, r * value, g * value, b * value)
                return
            ox, oy, oz = ox + far * dx, oy + far * dy, oz + far * dz
            oy += 1e-4 if floor else 0.0
            oz += 0.0 if floor else 1e-4
            if depth == 0:
                guide[0] += 1
                guide[2 if floor else 3] += 1
                lit, free = _backdrop_light(geometry, setting, stack, floor, pick, ox, oy, oz, s1, s2)
                out[UNSHADED] += free
                from_backdrop, glossy, bounces = True, False, 1
                _add(out, True, 0, 0, lit, lit, lit)
                dx, dy, dz = _cosine(0.0, 1.0 if floor else 0.0, 0.0 if floor else 1.0, s3, s4)
                continue
            lit, free = _backdrop_light(
                geometry, setting, stack, floor, pick, ox, oy, oz, np.random.random(), np.random.random()
            )
            lit += 0.8 * _dome_irradiance(setting, floor)
            _add(out, from_backdrop, main, 1, r * lit, g * lit, b * lit)
            return
        if from_backdrop and bounces == 1:
            out[UNSHADED] += _dome(setting, dy)
        w = 1 - u - v
        normal, place, material = (
            geometry.normals[face],
            geometry.places[face],
            geometry.materials[geometry.kinds[face]],
        )
        nx = w * normal[0] + u * normal[3] + v * normal[6]
        ny = w * normal[1] + u * normal[4] + v * normal[7]
        nz = w * normal[2] + u * normal[5] + v * normal[8]
        px = w * place[0] + u * place[3] + v * place[6]
        py = w * place[1] + u * place[4] + v * place[7]
        pz = w * place[2] + u * place[5] + v * place[8]
        if material[BUMP] > 0:
            f, e = material[BUMP_FREQUENCY], 0.35
            centre = noise(f * px, f * py, f * pz)
            nx -= material[BUMP] * (noise(f * px + e, f * py, f * pz) - centre)
            ny -= material[BUMP] * (noise(f * px, f * py + e, f * pz) - centre)
            nz -= material[BUMP] * (noise(f * px, f * py, f * pz + e) - centre)
        length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12
        nx, ny, nz = nx / length, ny / length, nz / length
        outside = nx * dx + ny * dy + nz * dz < 0
        if not outside:
            nx, ny, nz = -nx, -ny, -nz
        facing = min(1.0, max(1e-3, -(nx * dx + ny * dy + nz * dz)))
        ox, oy, oz = ox + t * dx, oy + t * dy, oz + t * dz
        if depth == 0:
            guide[1] += geometry.kinds[face] + 1
            guide[4] += nx * 0.7 + nz * 0.3
            guide[5] += ny
        if material[GLASS] > 0:
            eta = 1 / material[GLASS] if outside else material[GLASS]
            k = 1 - eta * eta * (1 - facing * facing)
            f0 = ((material[GLASS] - 1) / (material[GLASS] + 1)) ** 2
            fresnel = 1.0 if k < 0 else f0 + (1 - f0) * (1 - (facing if outside else np.sqrt(max(k, 0.0)))) ** 5
            if np.random.random() < fresnel:
                dx, dy, dz = dx + 2 * facing * nx, dy + 2 * facing * ny, dz + 2 * facing * nz
                shift = 1e-4
            else:
                q = eta * facing - np.sqrt(k)
                dx, dy, dz = eta * dx + q * nx, eta * dy + q * ny, eta * dz + q * nz
                shift = -1e-4
                if outside:
                    r, g, b = r * material[RED], g * material[GREEN], b * material[BLUE]
                    main += int(material[COLOURED])
            ox, oy, oz = ox + shift * nx, oy + shift * ny, oz + shift * nz
            glossy = True
            continue
        ox, oy, oz = ox + 1e-4 * nx, oy + 1e-4 * ny, oz + 1e-4 * nz
        rough, metal = material[ROUGH], material[METAL]
        factor = _texture(material, px, py, pz) if material[NOISE] > 0 else 1.0
        f0 = 0.04 if metal == 0 else 0.9
        fresnel = f0 + (1 - f0) * (1 - facing) ** 5 * (1 - 0.8 * rough)
        chance = 1.0 if metal > 0 else (0.0 if rough >= 0.95 else min(0.9, 0.25 + fresnel * 0.75))
        if np.random.random() < chance:
            value = fresnel / chance if metal == 0 else 1.0
            if metal > 0:
                r, g, b = r * material[RED], g * material[GREEN], b * material[BLUE]
                main += int(material[COLOURED])
            dx, dy, dz, weight = _reflect(nx, ny, nz, dx, dy, dz, rough * rough, facing)
            if weight <= 0:
                return
            r, g, b = r * value * weight, g * value * weight, b * value * weight
            glossy = True
        else:
            keep = factor * (1 - (fresnel if rough < 0.95 else 0.0)) / (1 - chance)
            r, g, b = r * keep * material[RED], g * keep * material[GREEN], b * keep * material[BLUE]
            main += int(material[COLOURED])
            sheen = 1 + material[SHEEN] * (1 - facing) ** 3
            r, g, b = r * sheen, g * sheen, b * sheen
            one, two = (s1, s2) if depth == 0 else (np.random.random(), np.random.random())
            chosen = pick if depth == 0 else int(np.random.random() * len(setting.lights))
            lx, ly, lz, weight = _light_sample(setting, chosen, one, two)
            cosine = nx * lx + ny * ly + nz * lz
            if cosine > 0 and not _shadowed(geometry, stack, ox, oy, oz, lx, ly, lz):
                value = weight * cosine / np.pi * len(setting.lights)
                _add(out, from_backdrop, main, back, r * value, g * value, b * value)
            one, two = (s3, s4) if depth == 0 else (np.random.random(), np.random.random())
            dx, dy, dz = _cosine(nx, ny, nz, one, two)
            glossy = False
        bounces += 1
        if bounces > DIFFUSE_BOUNCES:
            return


@jit
def _reflect(
    nx: float, ny: float, nz: float, dx: float, dy: float, dz: float, alpha: float, facing: float
) -> tuple[float, float, float, float]:
    """Reflect at a GGX half vector; the last number is the weight, 0 below the surface."""
    u, phi = np.random.random(), 2 * np.pi * np.random.random()
    cosine = np.sqrt((1 - u) / (1 + (alpha * alpha - 1) * u))
    sine = np.sqrt(max(0.0, 1 - cosine * cosine))
    ax, ay, az, bx, by, bz = _basis(nx, ny, nz)
    p, q = sine * np.cos(phi), sine * np.sin(phi)
    hx, hy, hz = p * ax + q * bx + cosine * nx, p * ay + q * by + cosine * ny, p * az + q * bz + cosine * nz
    along = -(dx * hx + dy * hy + dz * hz)
    if along <= 0:
        return dx, dy, dz, 0.0
    lx, ly, lz = dx + 2 * along * hx, dy + 2 * along * hy, dz + 2 * along * hz
    return lx, ly, lz, 1.0 if lx * nx + ly * ny + lz * nz > 0 else 0.0


@jit
def _add(out: Floats, from_backdrop: bool, main: int, back: int, r: float, g: float, b: float) -> None:
    if from_backdrop:
        layer = PRODUCT_LAYERS + min(main, BACKDROP_LAYERS - 1)
    else:
        layer = min(main, MOST_MAIN) * (MOST_BACKDROP + 1) + min(back, MOST_BACKDROP)
    limit = 12.0
    out[3 * layer] += min(r, limit)
    out[3 * layer + 1] += min(g, limit)
    out[3 * layer + 2] += min(b, limit)


@jit
def trace(
    geometry: Geometry, setting: Setting, width: int, height: int, counts: Ints, seed: int, out: Floats, guides: Floats
) -> None:
    """Trace `counts` (H, W) rays a pixel; write mean layers (H, W, UNSHADED + 1) and guides (H, W, GUIDES)."""
    np.random.seed(seed)
    stack = np.empty(64, np.int32)
    for y in range(height):
        for x in range(width):
            count = counts[y, x]
            shift = (np.random.random(), np.random.random(), np.random.random(), np.random.random())
            turn = (np.random.random(), np.random.random())
            for n in range(count):
                a, b = (0.7548776662 * n + turn[0]) % 1.0, (0.5698402910 * n + turn[1]) % 1.0
                k = n ^ 5 if (n ^ 5) < count else n
                s1, s2 = (0.7548776662 * n + shift[0]) % 1.0, (0.5698402910 * k + shift[1]) % 1.0
                s3, s4 = (0.7548776662 * k + shift[2]) % 1.0, (0.5698402910 * n + shift[3]) % 1.0
                cx, cy = 2 * (x + a) / width - 1, 1 - 2 * (y + b) / height
                dx = setting.frame[2, 0] + cx * setting.frame[0, 0] + cy * setting.frame[1, 0]
                dy = setting.frame[2, 1] + cx * setting.frame[0, 1] + cy * setting.frame[1, 1]
                dz = setting.frame[2, 2] + cx * setting.frame[0, 2] + cy * setting.frame[1, 2]
                ox, oy, oz = setting.eye[0], setting.eye[1], setting.eye[2]
                if setting.aperture > 0:
                    r, phi = setting.aperture * np.sqrt(np.random.random()), 2 * np.pi * np.random.random()
                    p, q = r * np.cos(phi), r * np.sin(phi)
                    for axis in range(3):
                        offset = p * setting.frame[0, axis] + q * setting.frame[1, axis]
                        if axis == 0:
                            ox, dx = ox + offset, dx - offset / setting.focus
                        elif axis == 1:
                            oy, dy = oy + offset, dy - offset / setting.focus
                        else:
                            oz, dz = oz + offset, dz - offset / setting.focus
                length = np.sqrt(dx * dx + dy * dy + dz * dz)
                _follow(
                    geometry, setting, stack, out[y, x], guides[y, x],
                    ox, oy, oz, dx / length, dy / length, dz / length, s1, s2, s3, s4, n % len(setting.lights),
                )  # fmt: skip
            for n in range(out.shape[2]):
                out[y, x, n] /= count
            for n in range(guides.shape[2]):
                guides[y, x, n] /= count


@jit
def first_hits(geometry: Geometry, setting: Setting, width: int, height: int, hits: Ints) -> None:
    """Mark pixels (H, W) whose middle shows the product with the material's row plus one."""
    stack = np.empty(64, np.int32)
    for y in range(height):
        for x in range(width):
            cx, cy = 2 * (x + 0.5) / width - 1, 1 - 2 * (y + 0.5) / height
            dx = setting.frame[2, 0] + cx * setting.frame[0, 0] + cy * setting.frame[1, 0]
            dy = setting.frame[2, 1] + cx * setting.frame[0, 1] + cy * setting.frame[1, 1]
            dz = setting.frame[2, 2] + cx * setting.frame[0, 2] + cy * setting.frame[1, 2]
            t, face, _, _ = intersect(
                geometry.boxes, geometry.links, geometry.corners, geometry.none, False, stack,
                setting.eye[0], setting.eye[1], setting.eye[2], dx, dy, dz, FAR,
            )  # fmt: skip
            far, _ = _backdrop(setting, setting.eye[1], setting.eye[2], dy, dz)
            if face >= 0 and t < far:
                hits[y, x] = geometry.kinds[face] + 1
