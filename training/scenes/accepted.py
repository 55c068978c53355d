"""Which ImageNet classes count as right for each product, decided before anything was measured.

A class counts if a shop would sell the pictured thing under that name, or if ImageNet has no class of the product's own
name and photographs of it are filed there.
"""

from collections.abc import Mapping

ACCEPTED: Mapping[str, tuple[int, ...]] = {
    "t-shirt": (610, 841),  # jersey/T-shirt; sweatshirt, which differs by its sleeves
    "dress": (578, 601, 655, 689),  # gown, hoopskirt, miniskirt, overskirt: ImageNet has no plain dress
    "jeans": (608,),  # jean
    "sneaker": (770,),  # running shoe
    "backpack": (414,),
    "handbag": (748, 636),  # purse; mailbag, a bag carried by its strap
    "mug": (504, 968),  # coffee mug, cup
    "bottle": (898, 907, 737, 440),  # water, wine, pop and beer bottle
    "chair": (559, 765, 423, 857),  # folding chair, rocking chair, barber chair, throne: ImageNet has no plain chair
    "lamp": (846, 619),  # table lamp, lampshade
    "hat": (515, 808),  # cowboy hat, sombrero: the shape is that of a western hat
    "watch": (531, 826, 409),  # digital watch, stopwatch, analog clock: ImageNet has no plain wristwatch
    "umbrella": (879,),
    "teapot": (849, 505),  # teapot, coffeepot
    "bowl": (659, 809),  # mixing bowl, soup bowl
    "vase": (883,),
    "bucket": (463,),
    "candle": (470,),
    "frying pan": (567, 909),  # frying pan, wok
    "wine glass": (572, 966),  # goblet, red wine
    "sofa": (831,),  # studio couch
    "wall clock": (892, 409),  # wall clock, analog clock
    "sunglasses": (836, 837),  # sunglass, sunglasses
    "guitar": (402, 546),  # acoustic guitar, electric guitar
    "basketball": (430,),
}
