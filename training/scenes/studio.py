"""Places a model before a camera, lights it and traces it into layers."""

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.ndimage import binary_dilation

from training.scenes.bvh import Floats, build_hierarchy
from training.scenes.filtering import smooth
from training.scenes.lighting import Setting
from training.scenes.materials import GLASS, STANDARD, Material, table
from training.scenes.shapes import Mesh, rotation
from training.scenes.tracer import GUIDES, UNSHADED, Geometry, first_hits, trace

NOWHERE = -1e9


@dataclass(frozen=True)
class Model:
    """A product of one shape: its parts, their materials and how it is usually photographed.

    Attributes:
        meshes: its parts, y up, resting on y = 0 if it stands.
        materials: by name, beside the standard ones.
        turn, raise_: ranges of the angles about y and of the camera's height, in degrees.
        stands: whether it stands on a floor; else it hangs before a wall, or lies (`raise_` near 90).
    """

    meshes: list[Mesh]
    materials: dict[str, Material] = field(default_factory=dict)
    turn: tuple[float, float] = (-40, 40)
    raise_: tuple[float, float] = (8, 30)
    stands: bool = True
    fill: tuple[float, float] = (0.66, 0.86)


@dataclass(frozen=True)
class View:
    """Camera and light of one picture; angles in degrees, `fill` is the product's share of the picture's side."""

    turn: float
    raise_: float
    opening: float
    fill: float
    shift: tuple[float, float]
    key: tuple[float, float]
    key_size: float
    contrast: float
    aperture: float


@dataclass(frozen=True)
class Layers:
    """A traced scene: polynomial coefficients and coverage, all (H, W, …) float32."""

    light: Floats
    cover: Floats
    """(H, W) share of the pixel that shows backdrop."""
    ground: Floats
    """(H, W, 3) x and z in the floor's plane (or x and y on the wall) and whether it is the floor, of each pixel."""


def random_view(model: Model, rng: np.random.Generator) -> View:
    """How one picture of the model is taken."""
    return View(
        turn=rng.uniform(*model.turn),
        raise_=rng.uniform(*model.raise_),
        opening=rng.uniform(16, 38),
        fill=rng.uniform(*model.fill),
        shift=(rng.uniform(-0.02, 0.02), rng.uniform(-0.02, 0.02)),
        key=(rng.choice([-1, 1]) * rng.uniform(15, 65), rng.uniform(30, 65)),
        key_size=rng.uniform(0.35, 0.8),
        contrast=rng.uniform(0.35, 0.75),
        aperture=rng.choice([0.0, 0.0, rng.uniform(0.0, 0.02)]),
    )


def shoot(
    model: Model, view: View, size: tuple[int, int], seed: int, samples: tuple[int, int, int] = (9, 6, 3)
) -> Layers:
    """Trace the model at (width, height) px; `samples` a pixel of product, of backdrop near it and of other backdrop.

    Samples are best multiples of the number of soft boxes, so that each gets as many.
    """
    turn = rotation("y", view.turn)
    meshes = [replace(mesh, vertices=mesh.vertices @ turn.T) for mesh in model.meshes]
    geometry = _geometry(meshes, [mesh.vertices for mesh in model.meshes], model.materials)
    setting = _setting(meshes, view, size, model.stands)
    width, height = size
    hits = np.zeros((height, width), np.int32)
    first_hits(geometry, setting, width, height, hits)
    shown = hits > 0
    around = binary_dilation(shown, iterations=max(8, min(size) // 12))
    edge = binary_dilation(shown, np.ones((3, 3)), iterations=2)
    counts = np.select([edge, around], samples[:2], samples[2]).astype(np.int32)
    light = np.zeros((height, width, UNSHADED + 1), np.float32)
    guides = np.zeros((height, width, GUIDES), np.float32)
    trace(geometry, setting, width, height, counts, seed, light, guides)
    return Layers(smooth(light, guides), guides[..., 0], _ground(setting, size))


def _geometry(meshes: list[Mesh], places: list[np.ndarray], own: dict[str, Material]) -> Geometry:
    known = {**STANDARD, **own}
    names = sorted({mesh.material for mesh in meshes})
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    vertices = np.concatenate([mesh.vertices for mesh in meshes]).astype(np.float32)
    faces = np.concatenate([mesh.faces + n for mesh, n in zip(meshes, offsets, strict=True)]).astype(np.int32)
    kinds = np.concatenate([np.full(len(mesh.faces), names.index(mesh.material), np.int32) for mesh in meshes])
    tree = build_hierarchy(vertices, faces)
    normals = np.concatenate([mesh.normals() for mesh in meshes])
    texture = np.concatenate(places).astype(np.float32)
    materials = table([known[name] for name in names])
    kinds = kinds[tree.order]
    clear = materials[kinds, GLASS] > 0
    return Geometry(
        tree.boxes, tree.links, tree.corners,
        np.ascontiguousarray(normals[faces[tree.order]].reshape(-1, 9)),
        np.ascontiguousarray(texture[faces[tree.order]].reshape(-1, 9)),
        kinds, clear, np.zeros(len(kinds), np.bool_), np.empty(64, np.int32), materials,
    )  # fmt: skip


def _setting(meshes: list[Mesh], view: View, size: tuple[int, int], stands: bool) -> Setting:
    vertices = np.concatenate([mesh.vertices for mesh in meshes])
    low, high = vertices.min(0), vertices.max(0)
    middle = 0.5 * (low + high)
    angle = np.radians(view.raise_)
    back = np.array([0, np.sin(angle), np.cos(angle)])
    right, up = np.array([1.0, 0, 0]), np.array([0, np.cos(angle), -np.sin(angle)])
    half = np.tan(np.radians(view.opening / 2)) * np.array([size[0], size[1]]) / min(size)
    distance = _distance(vertices - middle, right, up, back, half, view.fill)
    eye = middle + distance * back - 2 * distance * (view.shift[0] * half[0] * right + view.shift[1] * half[1] * up)
    frame = np.stack([right * half[0], up * half[1], -back])
    depth = float((high - low).max())
    lights, dome = _lights(view)
    return Setting(
        eye.astype(np.float32), frame.astype(np.float32), view.aperture * depth, float(distance), lights, dome,
        float(low[1]) if stands else NOWHERE, float(low[2] - (1.5 * depth if stands else 0.12 * depth)),
    )  # fmt: skip


def _distance(
    points: np.ndarray, right: np.ndarray, up: np.ndarray, back: np.ndarray, half: np.ndarray, fill: float
) -> float:
    """How far the camera stands for the points to fill that share of the picture."""
    across = np.abs(np.stack([points @ right / half[0], points @ up / half[1]], 1)).max(1)
    return float((across / fill + points @ back).max())


def _lights(view: View) -> tuple[Floats, Floats]:
    """A key light, a weaker one across, a top light and the dome; white paper facing up and forward has radiance 1."""
    boxes = [
        _box(*view.key, view.key_size, 1.0),
        _box(-np.sign(view.key[0]) * 70, 20, 0.5, 0.35),
        _box(0, 80, 0.6, 0.6),
    ]
    lights = np.array(boxes, np.float32)
    dome = np.array([0.35, 0.55, 0.9], np.float32)
    facing = np.array([0, 0.6, 0.8])
    given = 0.0
    for light in lights:
        centre, u, v = light[:3], light[3:6], light[6:9]
        given += light[9] * 4 * np.linalg.norm(u) * np.linalg.norm(v) * max(0.0, float(centre @ facing)) / np.pi
    lights[:, 9] *= view.contrast / given
    return lights, dome * np.float32((1.08 - view.contrast) / 0.62)


def _box(azimuth: float, height: float, size: float, power: float) -> list[float]:
    a, h = np.radians(azimuth), np.radians(height)
    centre = np.array([np.sin(a) * np.cos(h), np.sin(h), np.cos(a) * np.cos(h)])
    u = np.cross([0, 1, 0.01], centre)
    u /= np.linalg.norm(u)
    v = np.cross(centre, u)
    return [*centre, *(u * size), *(v * size), power / size**2, 0.25]


def _ground(setting: Setting, size: tuple[int, int]) -> Floats:
    width, height = size
    x = 2 * (np.arange(width) + 0.5) / width - 1
    y = 1 - 2 * (np.arange(height) + 0.5) / height
    eye, frame = setting.eye.astype(float), setting.frame.astype(float)
    ray = frame[2] + x[None, :, None] * frame[0] + y[:, None, None] * frame[1]
    with np.errstate(divide="ignore"):
        floor = np.where(ray[..., 1] < -1e-6, (setting.floor - eye[1]) / ray[..., 1], np.inf)
        wall = np.where(ray[..., 2] < -1e-6, (setting.wall - eye[2]) / ray[..., 2], np.inf)
    on_floor = floor < wall
    t = np.minimum(np.minimum(floor, wall), 1e6)[..., None]
    point = eye + t * ray
    second = np.where(on_floor, point[..., 2], point[..., 1])
    return np.stack([point[..., 0], second, on_floor], -1).astype(np.float32)
