"""Decoded pixels as 8-bit sRGB, whatever the file held: palettes, 16 bits, CMYK, colour profiles."""

import io

from PIL import Image, ImageCms

_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""How Pillow calls the colours that a profile of this ICC colour space is for."""
_NEARLY = 0.1
"""Of a gamma: so near to 1, samples are proportional to light (as ImageMagick has it)."""
_HIGH_BYTES = [level >> 8 for level in range(65_536)]


def to_srgb(image: Image.Image) -> Image.Image:
    """The picture in mode L, LA, RGB or RGBA; colours by its profile in sRGB, a profile that is none is passed over.

    A PNG without one whose gamma (gAMA) says that it holds linear light is converted, too; another gamma is taken for
    that of sRGB.
    """
    profile = image.info.get("icc_profile")
    plain = _eight_bits(image)
    if profile:
        plain = _by_profile(plain, profile)
    elif "srgb" not in image.info and abs(image.info.get("gamma", 0) - 1) < _NEARLY:
        plain = _from_linear(plain)
    result = plain.convert("RGB") if plain.mode == "CMYK" else plain
    result.info = {}
    return result


def _eight_bits(image: Image.Image) -> Image.Image:
    """L, LA, RGB, RGBA or CMYK."""
    if image.mode.startswith("I"):
        return _high_bytes(image)
    if image.mode in ("1", "L"):
        return image.convert("LA" if image.has_transparency_data else "L")
    if image.mode in ("LA", "RGBA", "CMYK"):
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _high_bytes(image: Image.Image) -> Image.Image:
    """Grey of 16 bits as 8; Pillow's own conversion would clip it to white."""
    levels = image.convert("I")
    grey = levels.point(_HIGH_BYTES, "L")
    if (key := image.info.get("transparency")) is None:
        return grey
    opaque = [255] * 65_536
    opaque[key & 0xFFFF] = 0
    return Image.merge("LA", (grey, levels.point(opaque, "L")))


def _from_linear(image: Image.Image) -> Image.Image:
    """The same with sRGB's curve (IEC 61966-2-1) on its colours."""
    levels = [_encoded(level / 255) for level in range(256)]
    bands = {"L": 1, "LA": 1, "RGB": 3, "RGBA": 3}[image.mode]
    return image.point(levels * bands + list(range(256)) * (len(image.getbands()) - bands))


def _encoded(light: float) -> int:
    return round(255 * (12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055))


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _PROFILE_MODES.get(source.profile.xcolor_space.strip())
        colours = _colours(image, mode)
        if mode is None or colours is None:
            return image
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        converted = ImageCms.applyTransform(colours, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    if converted is not None and image.mode in ("LA", "RGBA"):
        converted.putalpha(image.getchannel("A"))
    return converted or image


def _colours(image: Image.Image, mode: str | None) -> Image.Image | None:
    """The picture without its alpha as a profile of this mode takes it; None if the profile is for other pictures."""
    if mode == "CMYK" or image.mode == "CMYK":
        return image if image.mode == mode else None
    if mode == "L":
        return image.getchannel("L") if image.mode in ("L", "LA") else None
    return image.convert("RGB")
