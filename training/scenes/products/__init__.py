"""The products of the second generation, each a function from a random generator to a model of it.

Their sizes are in units of about the product's own height; names and shapes are ours.
"""

from collections.abc import Callable, Mapping

import numpy as np

from training.scenes.products import accessories, bags, clothing, footwear, furniture, tableware
from training.scenes.studio import Model

MODELS: Mapping[str, Callable[[np.random.Generator], Model]] = {
    "t-shirt": clothing.t_shirt,
    "dress": clothing.dress,
    "jeans": clothing.jeans,
    "sneaker": footwear.sneaker,
    "backpack": bags.backpack,
    "handbag": bags.handbag,
    "mug": tableware.mug,
    "bottle": tableware.bottle,
    "chair": furniture.chair,
    "lamp": furniture.lamp,
    "hat": accessories.hat,
    "watch": accessories.watch,
    "umbrella": accessories.umbrella,
    "teapot": tableware.teapot,
    "bowl": tableware.bowl,
    "vase": tableware.vase,
    "bucket": tableware.bucket,
    "candle": tableware.candle,
    "frying pan": tableware.frying_pan,
    "wine glass": tableware.wine_glass,
    "sofa": furniture.sofa,
    "wall clock": furniture.wall_clock,
    "sunglasses": accessories.sunglasses,
    "guitar": accessories.guitar,
    "basketball": tableware.basketball,
}
