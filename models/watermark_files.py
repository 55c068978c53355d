"""The fonts and logos of watermarks: files that the operator put into two folders, and one built-in font."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from foundation.errors import FailureCause, ImageGenXError
from foundation.problems import nearest, shown
from models.digests import file_digest
from models.visible_files import visible_files

BUILT_IN_FONT = "NotoSansCJK-Regular"
_BUILT_IN_SIMPLIFIED_CHINESE = 2
_FONT_ENDINGS = ("", ".ttf", ".otf", ".ttc")


class WatermarkError(ImageGenXError):
    """A watermark cannot be drawn as asked."""

    cause = FailureCause.WATERMARK


@dataclass(frozen=True)
class FontFace:
    """A font file, which of its faces, and the sha256 of the file."""

    path: Path
    index: int
    digest: str

    def read(self) -> bytes:
        """The file's content. Raises WatermarkError if it is another file by now."""
        data = self.path.read_bytes()
        if hashlib.sha256(data).hexdigest() != self.digest:
            raise WatermarkError(f"font '{self.path.name}' was replaced while it was read. Try again.")
        return data


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
