"""Lines of text as placed glyphs: in the order of their scripts, joined and stacked as the font has it.

With libraries that come whole in their packages (HarfBuzz in `uharfbuzz`; the Unicode bidirectional algorithm, UAX 9,
in `python-bidi`), so that a text has the same pixels on every machine. Pillow's own layout loads the system's FriBidi
where there is one, and draws Hebrew backwards and Arabic unjoined where there is none.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from models.watermark_files import FontFace, WatermarkError

if TYPE_CHECKING:
    from PIL.Image import Image

_UNITS = 64
"""Of HarfBuzz's coordinates in a pixel."""

_NO_GLYPH = 0
_LRE, _RLE, _FIRST_STRONG, _END = "\u202a", "\u202b", "\u2068", "\u2069"
_EMBEDDINGS = {"\u2066": _LRE, "\u2067": _RLE, _END: "\u202c"}
"""Isolates of Unicode 6.3 as the embeddings before them, which is what the algorithm here knows."""

_LEFT_TO_RIGHT = frozenset({"L", "EN", "ES", "ET", "CS", "NSM", "BN", "B", "S", "WS", "ON"})
"""Classes of characters of which none turns a line round."""

_INKLESS = frozenset("ZCM")
"""Categories of characters that need not have ink of their own: spaces, controls, marks."""

Box = tuple[int, int, int, int]


@cache
def shaping_identity() -> str:
    """What shapes text here, for recipes: the libraries whose version may change where a glyph is drawn."""
    import uharfbuzz

    return f"harfbuzz {uharfbuzz.version_string()}, bidi {version('python-bidi')}"


class PlacedGlyph(NamedTuple):
    """A glyph of the font by its number, and where its origin is: right and up from the line's beginning, 1/64 px."""

    number: int
    x: int
    y: int


@dataclass(frozen=True)
class ShapedLine:
    """One line of text at one size; `missing` has its pieces that the font has no glyph for."""

    face: FontFace
    size_px: int
    glyphs: tuple[PlacedGlyph, ...]
    width: int
    missing: tuple[str, ...]

    @property
    def width_px(self) -> float:
        """How far the next letter would be."""
        return self.width / _UNITS

    @property
    def ink(self) -> Box | None:
        """Left, top, right and bottom of the ink, px, down from the baseline; None if there is nothing to see."""
        font = _font(self.face, self.size_px)
        boxes = []
        for glyph in self.glyphs:
            extents = font.get_glyph_extents(glyph.number)
            if extents and extents.width and extents.height:
                left, top = glyph.x + extents.x_bearing, -glyph.y - extents.y_bearing
                boxes.append((left, top, left + extents.width, top - extents.height))
        if not boxes:
            return None
        left, top, right, bottom = zip(*boxes, strict=True)
        return min(left) // _UNITS, min(top) // _UNITS, -(-max(right) // _UNITS), -(-max(bottom) // _UNITS)

    def draw(self) -> tuple["Image", tuple[int, int]]:
        """The ink as a mask (L), and the place of its left top corner from the baseline's beginning, px."""
        import uharfbuzz
        from PIL import Image

        font, raster = _font(self.face, self.size_px), uharfbuzz.RasterDraw()
        raster.scale_factor = (_UNITS, _UNITS)
        for glyph in self.glyphs:
            raster.transform = (1, 0, 0, 1, glyph.x, glyph.y)
            raster.draw_glyph(font, glyph.number)
        drawn = raster.render()
        box = drawn.extents
        if not (box.width and box.height):
            return Image.new("L", (0, 0)), (0, 0)
        size = (box.width, box.height)
        mask = Image.frombytes("L", size, bytes(drawn.buffer), "raw", "L", box.stride, -1)  # rows from the bottom up
        return mask, (box.x_origin, -(box.y_origin + box.height))


@lru_cache(maxsize=512)
def shape_line(text: str, face: FontFace, size_px: int) -> ShapedLine:
    """Place the glyphs of one line, in composed form (NFC), from its left to its right.

    Raises:
        WatermarkError: if the file is no font that HarfBuzz reads.
    """
    import uharfbuzz

    font, text = _font(face, size_px), unicodedata.normalize("NFC", text)
    glyphs: list[PlacedGlyph] = []
    missing: list[str] = []
    x = 0
    for part, is_rtl, script in _runs(text):
        buffer = uharfbuzz.Buffer()
        buffer.add_str(part)
        buffer.guess_segment_properties()
        buffer.direction = "rtl" if is_rtl else "ltr"
        if script:
            buffer.script = script
        uharfbuzz.shape(font, buffer)
        missing += _missing(part, buffer.glyph_infos, font)
        for info, position in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
            glyphs.append(PlacedGlyph(info.codepoint, x + position.x_offset, position.y_offset))
            x += position.x_advance
    return ShapedLine(face, size_px, tuple(glyphs), x, tuple(dict.fromkeys(missing)))


def ascent_px(face: FontFace, size_px: int) -> float:
    """How far a font's lines reach above their baseline, px."""
    return float(_font(face, size_px).get_font_extents("ltr").ascender) / _UNITS


@lru_cache(maxsize=64)
def _font(face: FontFace, size_px: int) -> Any:
    import uharfbuzz

    font = uharfbuzz.Font(_face(face))
    font.scale = (size_px * _UNITS, size_px * _UNITS)
    return font


@lru_cache(maxsize=16)
def _face(face: FontFace) -> Any:
    import uharfbuzz

    opened = uharfbuzz.Face(uharfbuzz.Blob(face.read()), face.index)
    if not opened.glyph_count:
        raise WatermarkError(f"font '{face.path.name}' cannot be read: it is no TrueType or OpenType font.")
    return opened


def _missing(text: str, infos: Sequence[Any], font: Any) -> Iterator[str]:
    """The pieces of a run that come out as the box of a missing glyph, or as nothing though they have something."""
    starts = sorted({info.cluster for info in infos})
    ends = dict(zip(starts, [*starts[1:], len(text)], strict=True))
    inked = {info.cluster for info in infos if _has_ink(font, info.codepoint)}
    for start in starts:
        piece = text[start : ends[start]]
        absent = any(info.codepoint == _NO_GLYPH for info in infos if info.cluster == start)
        visible = any(unicodedata.category(letter)[0] not in _INKLESS for letter in piece)
        if absent or (visible and start not in inked):
            yield piece


def _has_ink(font: Any, glyph: int) -> bool:
    extents = font.get_glyph_extents(glyph)
    return bool(extents and extents.width and extents.height)


def _runs(text: str) -> Iterator[tuple[str, bool, str]]:
    """Parts of one direction and script in the order in which they stand, left to right: (text, is rtl, script)."""
    levels, scripts = _levels(text), _scripts(text)
    cuts = [at for at in range(1, len(text)) if (levels[at], scripts[at]) != (levels[at - 1], scripts[at - 1])]
    spans = list(zip([0, *cuts], [*cuts, len(text)], strict=True)) if text else []
    # Rule L2: from the highest level down to the lowest odd one, turn round what stands at that level or above.
    for level in range(max(levels, default=0), 0, -1):
        spans = list(_turned(spans, [levels[start] >= level for start, _ in spans]))
    for start, end in spans:
        yield text[start:end], levels[start] % 2 == 1, scripts[start]


def _turned(spans: list[tuple[int, int]], chosen: list[bool]) -> Iterator[tuple[int, int]]:
    waiting: list[tuple[int, int]] = []
    for span, is_chosen in zip(spans, chosen, strict=True):
        if is_chosen:
            waiting.append(span)
        else:
            yield from reversed(waiting)
            waiting = []
            yield span
    yield from reversed(waiting)


def _levels(text: str) -> list[int]:
    """The embedding level of each character; those that the algorithm drops stand where the one before them does."""
    from bidi import algorithm

    if _LEFT_TO_RIGHT.issuperset(map(unicodedata.bidirectional, text)):
        return [0] * len(text)
    storage = algorithm.get_empty_storage()
    storage["base_level"] = algorithm.get_base_level(text)
    storage["base_dir"] = ("L", "R")[storage["base_level"]]
    algorithm.get_embedding_levels("".join(_embeddings(text)), storage)
    for at, letter in enumerate(storage["chars"]):
        letter["at"] = at
    algorithm.explicit_embed_and_overrides(storage)
    algorithm.resolve_weak_types(storage)
    algorithm.resolve_neutral_types(storage, False)
    algorithm.resolve_implicit_levels(storage, False)
    known = {letter["at"]: letter["level"] for letter in storage["chars"]}
    levels: list[int] = []
    for at in range(len(text)):
        levels.append(known.get(at, levels[-1] if levels else storage["base_level"]))
    return levels


def _embeddings(text: str) -> Iterator[str]:
    for at, letter in enumerate(text):
        if letter == _FIRST_STRONG:
            yield _RLE if _begins_rtl(text[at + 1 :]) else _LRE
        else:
            yield _EMBEDDINGS.get(letter, letter)


def _begins_rtl(isolate: str) -> bool:
    """Whether the first letter with a direction, outside of isolates in this one, is written leftwards (rule P2)."""
    depth = 0
    for letter in isolate:
        depth += (letter in _EMBEDDINGS or letter == _FIRST_STRONG) and (-1 if letter == _END else 1)
        if depth < 0:
            return False
        if not depth and (kind := unicodedata.bidirectional(letter)) in ("L", "R", "AL"):
            return kind != "L"
    return False


def _scripts(text: str) -> list[str]:
    """The script of each character; what belongs to every script has that of the one before it, else of the next."""
    found = [_script(letter) for letter in text]
    current = next(filter(None, found), "")
    scripts = []
    for script in found:
        current = script or current
        scripts.append(current)
    return scripts


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    """Its ISO 15924 code; "" for what every script has."""
    import uharfbuzz

    buffer = uharfbuzz.Buffer()
    buffer.add_str(letter)
    buffer.guess_segment_properties()
    return buffer.script or ""
