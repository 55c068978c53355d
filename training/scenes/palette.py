"""Colours of products and backdrops, and the kinds of surroundings, as sRGB bytes."""

from collections.abc import Mapping

Rgb = tuple[int, int, int]

COLOURS: Mapping[str, Rgb] = {
    "red": (200, 30, 40),
    "orange": (240, 130, 30),
    "yellow": (250, 205, 50),
    "green": (50, 140, 70),
    "teal": (20, 140, 140),
    "blue": (35, 90, 195),
    "navy": (25, 35, 85),
    "purple": (115, 55, 150),
    "pink": (245, 150, 180),
    "burgundy": (115, 20, 40),
    "brown": (110, 65, 35),
    "beige": (220, 200, 165),
    "olive": (115, 115, 45),
    "black": (28, 28, 30),
    "white": (238, 238, 238),
    "grey": (140, 140, 145),
}

PALE: Mapping[str, Rgb] = {
    "light grey": (215, 215, 217),
    "light blue": (195, 218, 240),
    "mint": (196, 232, 212),
    "light pink": (248, 214, 222),
    "lavender": (216, 206, 238),
}
"""Backdrops that shops use besides the sixteen colours."""

BACKDROP_COLOURS: Mapping[str, Rgb] = {**COLOURS, "white": (255, 255, 255), **PALE}
SURROUNDINGS = ("wooden table", "fabric", "outdoors")
BACKDROPS: tuple[str, ...] = (*BACKDROP_COLOURS, *SURROUNDINGS)

COLOURLESS = ("wine glass", "guitar", "basketball")
"""Products that have a colour of their own."""
OWN_COLOUR = "own"
"""Stands for the colour of a product that is sold in one only."""
ONE_SIDED = ("watch", "wall clock")
"""Products that a mirror image would spoil."""
