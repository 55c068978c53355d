"""A small path tracer whose pictures are polynomials of the product's colour and of the backdrop's brightness.

Every path counts how often it met the product's own colour and whether it met the backdrop; radiance is summed apart
for each pair, so that one traced scene gives a picture of every colour on every backdrop, interreflections included.
Glossy reflections: GGX half vectors (Walter et al., "Microfacet models for refraction through rough surfaces", 2007).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from training.scenes.bvh import FAR, Floats, Ints, inlined, intersect, jit
from training.scenes.lighting import Setting, backdrop_at, boxes_seen, dome, dome_irradiance, light_sample
from training.scenes.materials import BUMP, COLOURED, GLASS, METAL, NOISE, RED, ROUGH, SHEEN
from training.scenes.scattering import cosine_about, half_vector, schlick
from training.scenes.textures import relief, texture

MOST_MAIN, MOST_BACKDROP = 3, 1
PRODUCT_LAYERS = (MOST_MAIN + 1) * (MOST_BACKDROP + 1)
BACKDROP_LAYERS = 3
UNSHADED = (PRODUCT_LAYERS + BACKDROP_LAYERS) * 3
"""The layer with the radiance that white backdrop would have without the product."""
BRIGHTEST = 12.0
"""Radiance at which a single sample is cut, so that none leaves a bright dot."""
GUIDES = 6
BEHIND, KIND, FLOOR, WALL, ACROSS, UP = range(GUIDES)
"""What a pixel first meets: share of backdrop, sum of materials, shares of floor and wall, direction of the surface."""
DIFFUSE_BOUNCES, GLASS_BOUNCES = 3, 8
OFF = 1e-4
"""How far above a surface a new ray starts."""
ELSEWHERE = 1e6
"""Floors and walls beyond this distance are not there."""
ORIGIN, DIRECTION, WEIGHT, NORMAL, SAMPLES = 0, 3, 6, 9, 12
TIMES_MAIN, TIMES_BACKDROP, BOUNCES, IS_GLOSSY, FROM_BACKDROP, PATH_LENGTH = range(16, 22)
"""Where things stand in a path, one plain array, which compiled loops hand around for nothing: the ray; what its light
is multiplied by; the normal of the last surface met, turned towards where the ray came from; four well spread numbers
for the first surface; counters and marks."""


State = npt.NDArray[np.float64]


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
    stack: Ints
    """(64,) room for the walk through the tree."""
    materials: Floats


@inlined
def _add(out: Floats, path: State, value: float) -> None:
    """Add radiance `value`, times the path's weight, to the layer of what the path has met."""
    main, backdrop = min(int(path[TIMES_MAIN]), MOST_MAIN), min(int(path[TIMES_BACKDROP]), MOST_BACKDROP)
    layer = main * (MOST_BACKDROP + 1) + backdrop
    if path[FROM_BACKDROP]:
        layer = PRODUCT_LAYERS + min(main, BACKDROP_LAYERS - 1)
    for n in range(3):
        out[3 * layer + n] += min(path[WEIGHT + n] * value, BRIGHTEST)


@inlined
def _move(path: State, distance: float) -> None:
    for n in range(3):
        path[ORIGIN + n] += distance * path[DIRECTION + n]


@inlined
def _turn(path: State, x: float, y: float, z: float, lift: float) -> None:
    """A new direction, from a little above (or, if `lift` is negative, below) the surface."""
    for n in range(3):
        path[ORIGIN + n] += lift * path[NORMAL + n]
    path[DIRECTION], path[DIRECTION + 1], path[DIRECTION + 2] = x, y, z


@inlined
def _tint(path: State, material: Floats, factor: float) -> None:
    """Multiply by the material's own colour, or count that the asked colour does."""
    for n in range(3):
        path[WEIGHT + n] *= factor * material[RED + n]
    path[TIMES_MAIN] += int(material[COLOURED])


@inlined
def _numbers(path: State, start: int) -> tuple[float, float]:
    """Two numbers in [0, 1): well spread ones for the first surface, random ones later."""
    if path[BOUNCES] == 0:
        return path[SAMPLES + start], path[SAMPLES + start + 1]
    return np.random.random(), np.random.random()


@jit
def _nearest(geometry: Geometry, path: State) -> tuple[float, int, float, float]:
    """The nearest triangle along the path's ray, as `intersect` gives it."""
    return intersect(
        geometry.boxes, geometry.links, geometry.corners, geometry.none, False, geometry.stack,
        path[ORIGIN], path[ORIGIN + 1], path[ORIGIN + 2],
        path[DIRECTION], path[DIRECTION + 1], path[DIRECTION + 2], FAR,
    )  # fmt: skip


@jit
def _shadowed(geometry: Geometry, path: State, x: float, y: float, z: float) -> bool:
    """Whether something that is not clear stands in a direction above the surface."""
    hit = intersect(
        geometry.boxes, geometry.links, geometry.corners, geometry.clear, True, geometry.stack,
        path[ORIGIN] + OFF * path[NORMAL], path[ORIGIN + 1] + OFF * path[NORMAL + 1],
        path[ORIGIN + 2] + OFF * path[NORMAL + 2], x, y, z, FAR,
    )  # fmt: skip
    return hit[1] >= 0


@inlined
def _from_box(geometry: Geometry, setting: Setting, path: State, pick: int) -> tuple[float, float]:
    """Radiance of a white surface here lit by a random point of soft box `pick`, with and without shadow."""
    one, two = _numbers(path, 0)
    x, y, z, weight = light_sample(setting, pick, one, two)
    cosine = path[NORMAL] * x + path[NORMAL + 1] * y + path[NORMAL + 2] * z
    if cosine <= 0:
        return 0.0, 0.0
    free = weight * cosine / np.pi * len(setting.lights)
    return (0.0 if _shadowed(geometry, path, x, y, z) else free), free


@inlined
def _end_at_backdrop(
    geometry: Geometry, setting: Setting, path: State, out: Floats, far: float, floor: bool, pick: int
) -> None:
    """Add the light of dome, soft boxes or backdrop that a path ends with."""
    if path[FROM_BACKDROP] and path[BOUNCES] == 1:
        # A concave backdrop would light itself; taking the dome instead keeps its unshaded light known.
        value = dome(setting, path[DIRECTION + 1])
        _add(out, path, value)
        out[UNSHADED] += value
    elif far > ELSEWHERE:
        boxes = (
            boxes_seen(setting, path[DIRECTION], path[DIRECTION + 1], path[DIRECTION + 2]) if path[IS_GLOSSY] else 0.0
        )
        _add(out, path, dome(setting, path[DIRECTION + 1]) + boxes)
    else:
        _move(path, far)
        path[NORMAL], path[NORMAL + 1], path[NORMAL + 2] = 0.0, 1.0 if floor else 0.0, 0.0 if floor else 1.0
        lit, _ = _from_box(geometry, setting, path, pick)
        path[TIMES_BACKDROP] = 1
        _add(out, path, lit + 0.8 * dome_irradiance(setting, floor))


@inlined
def _start_at_backdrop(
    geometry: Geometry, setting: Setting, path: State, out: Floats, guide: Floats, far: float, floor: bool, pick: int
) -> None:
    """Light the backdrop that the camera sees, and go on in a random direction from there."""
    guide[BEHIND] += 1
    guide[FLOOR if floor else WALL] += 1
    _move(path, far)
    path[NORMAL], path[NORMAL + 1], path[NORMAL + 2] = 0.0, 1.0 if floor else 0.0, 0.0 if floor else 1.0
    lit, free = _from_box(geometry, setting, path, pick)
    out[UNSHADED] += free
    path[FROM_BACKDROP] = 1
    _add(out, path, lit)
    one, two = _numbers(path, 2)
    x, y, z = cosine_about(path[NORMAL], path[NORMAL + 1], path[NORMAL + 2], one, two)
    _turn(path, x, y, z, OFF)
    path[BOUNCES], path[IS_GLOSSY] = 1, 0


@inlined
def _arrive(
    geometry: Geometry, path: State, material: Floats, face: int, u: float, v: float, t: float
) -> tuple[float, bool, float]:
    """Move to the surface; leave its normal in the path. Returns facing (a cosine), side, and the texture's factor."""
    w, corner_normals, place = 1 - u - v, geometry.normals[face], geometry.places[face]
    x = w * place[0] + u * place[3] + v * place[6]
    y = w * place[1] + u * place[4] + v * place[7]
    z = w * place[2] + u * place[5] + v * place[8]
    for n in range(3):
        path[NORMAL + n] = w * corner_normals[n] + u * corner_normals[n + 3] + v * corner_normals[n + 6]
    if material[BUMP] > 0:
        dx, dy, dz = relief(material, x, y, z)
        path[NORMAL] -= dx
        path[NORMAL + 1] -= dy
        path[NORMAL + 2] -= dz
    length = np.sqrt(path[NORMAL] ** 2 + path[NORMAL + 1] ** 2 + path[NORMAL + 2] ** 2) + 1e-12
    along = (
        path[NORMAL] * path[DIRECTION] + path[NORMAL + 1] * path[DIRECTION + 1] + path[NORMAL + 2] * path[DIRECTION + 2]
    )
    outside = along < 0
    for n in range(3):
        path[NORMAL + n] *= (1.0 if outside else -1.0) / length
    _move(path, t)
    factor = texture(material, x, y, z) if material[NOISE] > 0 else 1.0
    return min(1.0, max(1e-3, abs(along) / length)), outside, factor


@inlined
def _pass_glass(path: State, material: Floats, facing: float, outside: bool) -> None:
    """Reflect or refract at a smooth boundary, at random by Fresnel's share."""
    index = material[GLASS]
    eta = 1 / index if outside else index
    inside_cosine = 1 - eta * eta * (1 - facing * facing)
    steep = facing if outside else np.sqrt(max(inside_cosine, 0.0))
    path[IS_GLOSSY] = 1
    if inside_cosine < 0 or np.random.random() < schlick(((index - 1) / (index + 1)) ** 2, steep):
        k = 2 * facing
        _turn(
            path,
            path[DIRECTION] + k * path[NORMAL],
            path[DIRECTION + 1] + k * path[NORMAL + 1],
            path[DIRECTION + 2] + k * path[NORMAL + 2],
            OFF,
        )
        return
    k = eta * facing - np.sqrt(inside_cosine)
    if outside:
        _tint(path, material, 1.0)
    _turn(
        path,
        eta * path[DIRECTION] + k * path[NORMAL],
        eta * path[DIRECTION + 1] + k * path[NORMAL + 1],
        eta * path[DIRECTION + 2] + k * path[NORMAL + 2],
        -OFF,
    )


@inlined
def _reflect(path: State, material: Floats) -> bool:
    """Reflect at a random half vector; False if that leads below the surface."""
    x, y, z = half_vector(path[NORMAL], path[NORMAL + 1], path[NORMAL + 2], material[ROUGH] ** 2)
    along = -(path[DIRECTION] * x + path[DIRECTION + 1] * y + path[DIRECTION + 2] * z)
    x, y, z = path[DIRECTION] + 2 * along * x, path[DIRECTION + 1] + 2 * along * y, path[DIRECTION + 2] + 2 * along * z
    if along <= 0 or x * path[NORMAL] + y * path[NORMAL + 1] + z * path[NORMAL + 2] <= 0:
        return False
    path[IS_GLOSSY] = 1
    _turn(path, x, y, z, OFF)
    return True


@inlined
def _diffuse(geometry: Geometry, setting: Setting, path: State, out: Floats, pick: int) -> None:
    """Add the light of a soft box, and go on in a random direction."""
    lit, _ = _from_box(geometry, setting, path, pick)
    _add(out, path, lit)
    one, two = _numbers(path, 2)
    x, y, z = cosine_about(path[NORMAL], path[NORMAL + 1], path[NORMAL + 2], one, two)
    path[IS_GLOSSY] = 0
    _turn(path, x, y, z, OFF)


@inlined
def _scatter(
    geometry: Geometry,
    setting: Setting,
    path: State,
    out: Floats,
    material: Floats,
    facing: float,
    factor: float,
    pick: int,
) -> bool:
    """Reflect at the surface or below it, at random; whether the path goes on."""
    rough, metal = material[ROUGH], material[METAL] > 0
    fresnel = 0.04 + 0.96 * (1 - facing) ** 5 * (1 - 0.8 * rough) if rough < 0.95 else 0.0
    chance = min(0.9, 0.25 + 0.75 * fresnel) if rough < 0.95 else 0.0
    if metal or np.random.random() < chance:
        if metal:
            _tint(path, material, 1.0)
        else:
            for n in range(3):
                path[WEIGHT + n] *= fresnel / chance
        if not _reflect(path, material):
            return False
    else:
        sheen = 1 + material[SHEEN] * (1 - facing) ** 3
        _tint(path, material, factor * sheen * (1 - fresnel) / (1 - chance))
        first = path[BOUNCES] == 0
        _diffuse(geometry, setting, path, out, pick if first else int(np.random.random() * len(setting.lights)))
    path[BOUNCES] += 1
    return path[BOUNCES] <= DIFFUSE_BOUNCES


@inlined
def _follow(geometry: Geometry, setting: Setting, path: State, out: Floats, guide: Floats, pick: int) -> None:
    """Follow the camera ray in `path`; add its radiance to `out` and what it first met to `guide`."""
    for n in range(WEIGHT, WEIGHT + 3):
        path[n] = 1
    for n in range(TIMES_MAIN, PATH_LENGTH):
        path[n] = 0
    path[IS_GLOSSY] = 1
    for depth in range(GLASS_BOUNCES):
        t, face, u, v = _nearest(geometry, path)
        far, floor = backdrop_at(setting, path[ORIGIN + 1], path[ORIGIN + 2], path[DIRECTION + 1], path[DIRECTION + 2])
        if face < 0 or far < t:
            if depth or far > ELSEWHERE:
                _end_at_backdrop(geometry, setting, path, out, far, floor, pick)
                return
            _start_at_backdrop(geometry, setting, path, out, guide, far, floor, pick)
            continue
        if path[FROM_BACKDROP] and path[BOUNCES] == 1:
            out[UNSHADED] += dome(setting, path[DIRECTION + 1])
        material = geometry.materials[geometry.kinds[face]]
        facing, outside, factor = _arrive(geometry, path, material, face, u, v, t)
        if depth == 0:
            guide[KIND] += geometry.kinds[face] + 1
            guide[ACROSS] += path[NORMAL] * 0.7 + path[NORMAL + 2] * 0.3
            guide[UP] += path[NORMAL + 1]
        if material[GLASS] > 0:
            _pass_glass(path, material, facing, outside)
        elif not _scatter(geometry, setting, path, out, material, facing, factor, pick):
            return


@inlined
def _aim(setting: Setting, path: State, x: float, y: float) -> None:
    """The camera's ray through a point of the picture, x and y in [-1, 1], through a random point of the lens."""
    r, phi = setting.aperture * np.sqrt(np.random.random()), 2 * np.pi * np.random.random()
    p, q = r * np.cos(phi), r * np.sin(phi)
    length = 0.0
    for n in range(3):
        aside = p * setting.frame[0, n] + q * setting.frame[1, n]
        path[ORIGIN + n] = setting.eye[n] + aside
        path[DIRECTION + n] = (
            setting.frame[2, n] + x * setting.frame[0, n] + y * setting.frame[1, n] - aside / setting.focus
        )
        length += path[DIRECTION + n] ** 2
    for n in range(3, 6):
        path[ORIGIN + n] /= np.sqrt(length)


@inlined
def _spread(path: State, n: int, count: int, shifts: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Sample `n` of `count`: a place in the pixel, and the path's numbers, from shifted two-dimensional lattices."""
    k = n ^ 5 if (n ^ 5) < count else n
    a, b = 0.7548776662, 0.5698402910
    path[SAMPLES], path[SAMPLES + 1] = (a * n + shifts[0]) % 1.0, (b * k + shifts[1]) % 1.0
    path[SAMPLES + 2], path[SAMPLES + 3] = (a * k + shifts[2]) % 1.0, (b * n + shifts[3]) % 1.0
    return (a * n + shifts[4]) % 1.0, (b * n + shifts[5]) % 1.0


@jit
def trace(
    geometry: Geometry, setting: Setting, width: int, height: int, counts: Ints, seed: int, out: Floats, guides: Floats
) -> None:
    """Trace `counts` (H, W) rays a pixel; write mean layers (H, W, UNSHADED + 1) and guides (H, W, GUIDES)."""
    np.random.seed(seed)
    path, shifts = np.zeros(PATH_LENGTH), np.empty(6)
    for y in range(height):
        for x in range(width):
            count = counts[y, x]
            for n in range(6):
                shifts[n] = np.random.random()
            for n in range(count):
                across, down = _spread(path, n, count, shifts)
                _aim(setting, path, 2 * (x + across) / width - 1, 1 - 2 * (y + down) / height)
                _follow(geometry, setting, path, out[y, x], guides[y, x], n % len(setting.lights))
            for n in range(UNSHADED + 1):
                out[y, x, n] /= count
            for n in range(GUIDES):
                guides[y, x, n] /= count


@jit
def first_hits(geometry: Geometry, setting: Setting, width: int, height: int, hits: Ints) -> None:
    """Mark pixels (H, W) in whose middle the product is seen with the material's row plus one."""
    path = np.zeros(PATH_LENGTH)
    for y in range(height):
        for x in range(width):
            _aim(setting, path, 2 * (x + 0.5) / width - 1, 1 - 2 * (y + 0.5) / height)
            t, face, _, _ = _nearest(geometry, path)
            far, _ = backdrop_at(setting, path[ORIGIN + 1], path[ORIGIN + 2], path[DIRECTION + 1], path[DIRECTION + 2])
            if face >= 0 and t < far:
                hits[y, x] = geometry.kinds[face] + 1
