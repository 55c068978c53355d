"""One drawing function a product, in object units: x right, y down, about [-1, 1].

A drawing names the paint and tone of its parts but holds no colour and no pixel: `renderer`
poses, colours and paints it, so that every style shares one geometry. Shape parameters come from
the generator handed in; the order of DRAWINGS seeds it, so a new product goes last.
"""

from collections.abc import Callable

from training.products.accessories import draw_hat, draw_umbrella, draw_watch
from training.products.bags import draw_backpack, draw_handbag
from training.products.clothing import draw_dress, draw_jeans, draw_sneaker, draw_t_shirt
from training.products.drawing import Drawing, Paint, Part
from training.products.furniture import draw_chair, draw_lamp
from training.products.geometry import Points, Rng
from training.products.tableware import draw_bottle, draw_mug, draw_teapot

__all__ = ["DRAWINGS", "Drawing", "Paint", "Part", "Points", "Rng"]

DRAWINGS: dict[str, Callable[[Rng], Drawing]] = {
    "t-shirt": draw_t_shirt,
    "dress": draw_dress,
    "jeans": draw_jeans,
    "sneaker": draw_sneaker,
    "backpack": draw_backpack,
    "handbag": draw_handbag,
    "mug": draw_mug,
    "bottle": draw_bottle,
    "chair": draw_chair,
    "lamp": draw_lamp,
    "hat": draw_hat,
    "watch": draw_watch,
    "umbrella": draw_umbrella,
    "teapot": draw_teapot,
}
