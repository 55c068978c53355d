"""Make the page's fonts again: `python -m gateway.page_font`.

They are subsets of Noto Sans CJK SC (SIL Open Font License 1.1) from the package `noto-cjk`: Latin letters (its signs
are as wide as characters), and the characters of GB 2312's first level with those of the page's own words. A browser
takes what is rarer from its machine.
"""

import re
from pathlib import Path

import noto_cjk
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTCollection, TTFont

PAGE_FOLDER = Path(__file__).parent / "page"
FACE = "Noto Sans CJK SC"
_FAMILY_NAME = 1
_FIRST_LEVEL = (0xB0, 0xD8), (0xA1, 0xFF)
"""Rows and cells of GB 2312 in EUC-CN: the 3,755 most used characters."""


def main() -> None:
    """Write `latin.woff2` and `han.woff2` into the page's folder."""
    latin = {chr(code) for code in (*range(0x20, 0x7F), *range(0xC0, 0x100))} - set("×÷")
    for name, characters in {"latin": latin, "han": common_han() | words_han()}.items():
        font = _face()
        options = Options(
            flavor="woff2", layout_features=["kern", "tnum"], name_IDs=[0, 1, 2, 13, 14], notdef_outline=True
        )
        subsetter = Subsetter(options)
        subsetter.populate(text="".join(characters))
        subsetter.subset(font)
        font.flavor = "woff2"
        font.save(PAGE_FOLDER / f"{name}.woff2")


def common_han() -> set[str]:
    """The characters of GB 2312's first level, and the marks that stand between them."""
    rows, cells = (range(*bounds) for bounds in _FIRST_LEVEL)
    pairs = (bytes((row, cell)) for row in rows for cell in cells)
    return {pair.decode("gb2312", "ignore") for pair in pairs} | set("，。、；：？！（）《》“”‘’…—·「」【】　")


def words_han() -> set[str]:
    """Every character beyond ASCII that the page itself writes."""
    text = (PAGE_FOLDER / "words.js").read_text(encoding="utf-8")
    return set(re.findall(r"[⺀-鿿＀-￯]", text))


def _face() -> TTFont:
    faces = TTCollection(noto_cjk.otc_path("sans")).fonts
    return next(face for face in faces if face["name"].getDebugName(_FAMILY_NAME) == FACE)


if __name__ == "__main__":
    main()
