"""The fonts and logos of watermarks: files that the operator put into two folders, and one built-in font."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import FailureCause
from configs.problems import nearest, shown
from models.digests import file_digest
from models.errors import ImageGenXError
from models.visible_files import visible_files

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

BUILT_IN_FONT = "NotoSansCJK-Regular"
_BUILT_IN_SIMPLIFIED_CHINESE = 2
_FONT_ENDINGS = ("", ".ttf", ".otf", ".ttc")
_GLYPH_CHECK_PX = 32
_UNASSIGNED = "\U0010ffff"


class WatermarkError(ImageGenXError):
    """A watermark cannot be drawn as asked."""

    cause = FailureCause.WATERMARK


@dataclass(frozen=True)
class FontFace:
    """A font file, which of its faces, and the sha256 of the file."""

    path: Path
    index: int
    digest: str

    def at(self, size_px: int) -> "FreeTypeFont":
        """Return the face at a size in px. Raises WatermarkError if the file is no font."""
        return _font(self, size_px)

    def missing(self, text: str) -> str:
        """Return the characters of `text` that the face has no glyph for, each once."""
        return _missing(self, "".join(dict.fromkeys(text)))


def find_font(name: str, fonts_folder: Path) -> FontFace:
    """Return the font that `name` means: the built-in one if empty, else a file of the folder.

    Raises:
        WatermarkError: if there is no such file inside the folder.
    """
    if name in ("", BUILT_IN_FONT):
        return _face(_built_in_font(), _BUILT_IN_SIMPLIFIED_CHINESE)
    for ending in _FONT_ENDINGS:
        if path := _inside(fonts_folder, name + ending):
            return _face(path, 0)
    known = [BUILT_IN_FONT, *_names(fonts_folder)]
    raise WatermarkError(
        f"font {shown(name)}: no such file in the fonts folder.{nearest(name, known)} Without a font, the built-in "
        f"{BUILT_IN_FONT} is used."
    )


def find_logo(name: str, logo_folder: Path) -> Path:
    """Return the logo's file. Raises WatermarkError if there is no such file inside the folder."""
    if path := _inside(logo_folder, name):
        return path
    raise WatermarkError(f"logo {shown(name)}: no such file in the logo folder.{nearest(name, _names(logo_folder))}")


def require_digest(file: Path, digest: str) -> None:
    """Raise WatermarkError if a file that has just been read is another one by now."""
    if file_digest(file) != digest:
        raise WatermarkError(f"'{file.name}' was replaced while it was read. Try again.")


def _inside(folder: Path, name: str) -> Path | None:
    """Follow `name` to a file that really lies in the folder, wherever links and dots lead."""
    try:
        root = folder.resolve()
        path = (root / name).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long, NUL, a loop of links
        return None


def _face(path: Path, index: int) -> FontFace:
    return FontFace(path, index, file_digest(path))


def _names(folder: Path) -> list[str]:
    return [path.name for path in visible_files(folder) if _inside(folder, path.name)]


def _built_in_font() -> Path:
    try:
        import noto_cjk

        return Path(noto_cjk.otc_path("sans"))
    except (ImportError, RuntimeError) as exc:
        raise WatermarkError(
            f"the built-in font {BUILT_IN_FONT} is not installed. Install it: pip install 'noto-cjk[sans]'."
        ) from exc


@lru_cache(maxsize=64)
def _font(face: FontFace, size_px: int) -> "FreeTypeFont":
    from PIL import ImageFont

    try:
        font = ImageFont.truetype(face.path, size_px, face.index)
    except OSError as exc:
        raise WatermarkError(f"font '{face.path.name}' cannot be read: {exc}.") from exc
    require_digest(face.path, face.digest)
    return font


@lru_cache(maxsize=64)
def _missing(face: FontFace, characters: str) -> str:
    """Find the characters that look just like one that no font has."""
    from PIL import ImageFont

    face.at(_GLYPH_CHECK_PX)
    font = ImageFont.truetype(face.path, _GLYPH_CHECK_PX, face.index, layout_engine=ImageFont.Layout.BASIC)

    def looks(character: str) -> tuple[float, bytes]:
        return font.getlength(character), bytes(font.getmask(character))

    missing_glyph = looks(_UNASSIGNED)
    return "".join(one for one in characters if one != " " and looks(one) == missing_glyph)
