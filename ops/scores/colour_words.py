"""Colours that prompts name, in English and Chinese, and what they look like."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Lab = NDArray[np.float64]

_SHADES: Mapping[str, Sequence[tuple[int, int, int]]] = {
    "white": [(250, 250, 250), (226, 227, 230)],
    "grey": [(190, 192, 196), (130, 132, 138)],
    "black": [(15, 15, 18), (60, 60, 66)],
    "beige": [(236, 222, 198), (222, 202, 168)],
    "light blue": [(188, 217, 245), (150, 195, 235)],
    "mint": [(200, 236, 216), (160, 222, 190)],
    "pink": [(250, 216, 225), (242, 120, 170), (200, 70, 125)],
    "red": [(212, 40, 45), (150, 25, 32)],
    "orange": [(245, 132, 30), (208, 100, 14)],
    "yellow": [(250, 212, 50), (215, 168, 20)],
    "green": [(50, 160, 72), (30, 105, 50)],
    "teal": [(10, 152, 158), (8, 105, 112)],
    "blue": [(42, 94, 208), (28, 60, 140)],
    "purple": [(126, 64, 178), (85, 42, 125)],
    "brown": [(122, 78, 48), (88, 55, 34)],
}
_WORDS: Mapping[str, Sequence[str]] = {
    "white": ("white", "白色", "白"),
    "grey": ("light grey", "light gray", "grey", "gray", "浅灰色", "灰色", "灰"),
    "black": ("black", "黑色", "黑"),
    "beige": ("beige", "cream", "米色", "米黄色"),
    "light blue": ("light blue", "pale blue", "sky blue", "浅蓝色", "淡蓝色"),
    "mint": ("mint green", "mint", "薄荷绿色", "薄荷绿", "薄荷色"),
    "pink": ("pale pink", "light pink", "pink", "浅粉色", "粉红色", "粉色", "粉"),
    "red": ("red", "红色", "红"),
    "orange": ("orange", "橙色", "橘色", "橙"),
    "yellow": ("yellow", "黄色", "黄"),
    "green": ("green", "绿色", "绿"),
    "teal": ("teal", "turquoise", "蓝绿色", "青色", "青"),
    "blue": ("blue", "蓝色", "蓝"),
    "purple": ("purple", "violet", "紫色", "紫"),
    "brown": ("brown", "棕色", "褐色", "咖啡色"),
}
_NAMES = {word: name for name, words in _WORDS.items() for word in words}
_ENGLISH = "|".join(sorted((word for word in _NAMES if word.isascii()), key=len, reverse=True))
_CHINESE = "|".join(sorted((word for word in _NAMES if not word.isascii()), key=len, reverse=True))
_COLOUR = re.compile(rf"\b(?:{_ENGLISH})\b|{_CHINESE}", re.IGNORECASE)
_GROUND = r"(?:background|backdrop|wall)"
_BACKGROUND = re.compile(
    rf"\b({_ENGLISH})(?:\s+\w+)?\s+{_GROUND}\b|\b{_GROUND}(?:\s+(?:is|in|should be))?\s+({_ENGLISH})\b"
    rf"|\bon\s+(?:an?\s+)?(?:plain\s+|pure\s+)?({_ENGLISH})\b(?!\s+\w)|({_CHINESE})(?:的)?背景|背景(?:是|为|用)?({_CHINESE})",
    re.IGNORECASE,
)


def asked_colours(text: str) -> tuple[str, tuple[str, ...]]:
    """The colour that a prompt asks for as background, "" if none, and the other colours that it names."""
    found = _BACKGROUND.search(text)
    if found is None:
        return "", _colours(text)
    word = next(group for group in found.groups() if group)
    return _NAMES[word.lower()], _colours(text[: found.start()] + " . " + text[found.end() :])


def nearest_names(pixels: NDArray[Any]) -> NDArray[np.intp]:
    """The place, in `COLOURS`, of the colour that each of these RGB pixels (N, 3) is called."""
    names: NDArray[np.intp] = _NAME_OF[np.argmin(_distances(pixels), axis=1)]
    return names


def closeness(pixel: NDArray[Any], name: str) -> float:
    """How much nearer an RGB colour is to this name than to the nearest other: above 0.5 it is called so; 0..1."""
    distances, own = _distances(pixel.reshape(1, 3))[0], COLOURS.index(name) == _NAME_OF
    here, there = float(distances[own].min()), float(distances[~own].min())
    return there / (here + there) if here + there else 1.0


def to_lab(pixels: NDArray[Any]) -> Lab:
    """CIE L*a*b* (D65) of sRGB pixels (…, 3), 0..255 (IEC 61966-2-1)."""
    linear = np.asarray(pixels, dtype=np.float64) / 255
    linear = np.where(linear > 0.04045, ((linear + 0.055) / 1.055) ** 2.4, linear / 12.92)
    xyz = linear @ _TO_XYZ.T / (0.95047, 1.0, 1.08883)
    cubed = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = np.moveaxis(cubed, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def distance(pixels: NDArray[Any], colour: NDArray[Any]) -> Lab:
    """ΔE (CIE 1976) of RGB pixels (…, 3) from one colour."""
    found: Lab = np.sqrt(((to_lab(pixels) - to_lab(colour)) ** 2).sum(axis=-1))
    return found


def _colours(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_NAMES[word.lower()] for word in _COLOUR.findall(text)))


def _distances(pixels: NDArray[Any]) -> Lab:
    """ΔE (CIE 1976) of each pixel from each shade."""
    difference = to_lab(pixels)[:, None, :] - _SHADE_LAB[None]
    distances: Lab = np.sqrt((difference**2).sum(axis=-1))
    return distances


COLOURS = tuple(_SHADES)
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_NAME_OF = np.array([place for place, shades in enumerate(_SHADES.values()) for _ in shades])
_SHADE_LAB = to_lab(np.array([shade for shades in _SHADES.values() for shade in shades]))
