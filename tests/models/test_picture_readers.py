"""What readers that we did not write find in our files; `docs/interoperability.md` has the same table."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import piexif
import piexif.helper
import pytest
from PIL import ExifTags, Image

from configs.settings import PACKAGE_ROOT
from models.encoding import encode_picture
from models.picture_metadata import AI_MADE, parameters_text
from tests.support.exiftool import exiftool
from tests.support.recipes import a_recipe

FORMATS = {"JPEG": "jpg", "WebP": "webp", "PNG": "png"}
PROMPTS = {
    "plain": "a red mug",
    "chinese": "青花瓷杯，白色背景",
    "emoji": "a cat 🐱 on a mat 👩‍🚀",
    "lines": "a mug\non a table\n\nby a window",
    "separators": 'the sign says "Open, at last": {a|b} \\ 100 %, Steps: many',
    "accents": "Crème brûlée à la Müller",
}
RECIPE = a_recipe(text=PROMPTS["chinese"], negative_text="blurry", model="my, model: 1")


@pytest.fixture
def file(tmp_path, request):
    """A picture of this recipe, as a file of this format."""
    recipe, format = request.param
    path = tmp_path / f"picture.{FORMATS[format]}"
    path.write_bytes(encode_picture(np.zeros((8, 8, 3), np.uint8), FORMATS[format], 95, recipe))
    return path


def exiftool_reads_the_comment(path: Path) -> None:
    found = exiftool(path)
    name = "PNG:Parameters" if path.suffix == ".png" else "ExifIFD:UserComment"
    assert found[name] == parameters_text(RECIPE)


def exiftool_reads_the_ai_mark(path: Path) -> None:
    found = exiftool(path)
    assert (found["XMP-iptcExt:DigitalSourceType"], found["XMP-xmp:CreatorTool"]) == (AI_MADE, "ImageGenX")


def exiftool_reads_the_recipe(path: Path) -> None:
    found = exiftool(path)
    name = "PNG:Imagegenx" if path.suffix == ".png" else "XMP-imagegenx:Recipe"
    assert found[name] == RECIPE.to_json()


def piexif_reads_the_comment(path: Path) -> None:
    comment = piexif.load(str(path))["Exif"][piexif.ExifIFD.UserComment]
    assert piexif.helper.UserComment.load(comment) == parameters_text(RECIPE)


def pillow_reads_the_comment(path: Path) -> None:
    with Image.open(path) as picture:
        if path.suffix == ".png":
            assert picture.info["parameters"] == parameters_text(RECIPE)
        else:
            comment = picture.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment]
            assert comment == b"UNICODE\0" + parameters_text(RECIPE).encode("utf-16-be")


def pillow_reads_the_ai_mark(path: Path) -> None:
    with Image.open(path) as picture:
        assert AI_MADE.encode() in picture.info["xmp"]


def a1111_reads_prompts_and_settings(path: Path) -> None:
    prompt, negative, settings = a1111_form(a1111_text(path))
    assert (prompt, negative) == (RECIPE.text, RECIPE.negative_text)
    assert settings["Model"] == "my, model: 1"
    assert {name: settings[name] for name in ("Steps", "Sampler", "CFG scale", "Seed", "Size")} == {
        "Steps": "4",
        "Sampler": "DDIM",
        "CFG scale": "4",
        "Seed": "7",
        "Size": "64x64",
    }


READS = {
    ("exiftool", "JPEG", "`UserComment`: prompt and settings"): exiftool_reads_the_comment,
    ("exiftool", "WebP", "`UserComment`: prompt and settings"): exiftool_reads_the_comment,
    ("exiftool", "PNG", "`Parameters`: prompt and settings"): exiftool_reads_the_comment,
    ("exiftool", "JPEG", "XMP `DigitalSourceType`, `CreatorTool`"): exiftool_reads_the_ai_mark,
    ("exiftool", "WebP", "XMP `DigitalSourceType`, `CreatorTool`"): exiftool_reads_the_ai_mark,
    ("exiftool", "PNG", "XMP `DigitalSourceType`, `CreatorTool`"): exiftool_reads_the_ai_mark,
    ("exiftool", "JPEG", "XMP `Recipe`: the whole recipe"): exiftool_reads_the_recipe,
    ("exiftool", "WebP", "XMP `Recipe`: the whole recipe"): exiftool_reads_the_recipe,
    ("exiftool", "PNG", "`Imagegenx`: the whole recipe"): exiftool_reads_the_recipe,
    ("piexif", "JPEG", "`UserComment`, by `helper.UserComment.load`"): piexif_reads_the_comment,
    ("piexif", "WebP", "`UserComment`, by `helper.UserComment.load`"): piexif_reads_the_comment,
    ("Pillow", "JPEG", "`UserComment`, as UTF-16 after its character code"): pillow_reads_the_comment,
    ("Pillow", "WebP", "`UserComment`, as UTF-16 after its character code"): pillow_reads_the_comment,
    ("Pillow", "PNG", "text `parameters`"): pillow_reads_the_comment,
    ("Pillow", "JPEG", '`info["xmp"]`, with the mark of AI-made media'): pillow_reads_the_ai_mark,
    ("Pillow", "WebP", '`info["xmp"]`, with the mark of AI-made media'): pillow_reads_the_ai_mark,
    ("Pillow", "PNG", '`info["xmp"]`, with the mark of AI-made media'): pillow_reads_the_ai_mark,
    ("A1111's rules", "JPEG", "prompt, negative prompt, every setting"): a1111_reads_prompts_and_settings,
    ("A1111's rules", "WebP", "prompt, negative prompt, every setting"): a1111_reads_prompts_and_settings,
    ("A1111's rules", "PNG", "prompt, negative prompt, every setting"): a1111_reads_prompts_and_settings,
}


@pytest.mark.parametrize(
    ("file", "read"),
    [((RECIPE, row[1]), check) for row, check in READS.items()],
    indirect=["file"],
    ids=map(" ".join, READS),
)
def test_other_readers_find_what_the_document_says(file, read):
    read(file)


def test_the_document_says_what_is_tested():
    text = (PACKAGE_ROOT / "docs/interoperability.md").read_text(encoding="utf-8")
    table = text.split("## Pictures")[1].split("\n## ")[0]
    rows = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in table.splitlines() if "|" in line]
    assert rows[2:] == list(READS)


@pytest.mark.parametrize(
    ("file", "prompt"),
    [((a_recipe(text=text, negative_text=text), name), text) for text in PROMPTS.values() for name in FORMATS],
    indirect=["file"],
    ids=[f"{kind}-{name}" for kind in PROMPTS for name in FORMATS],
)
def test_prompts_come_back_through_a1111_s_rules(file, prompt):
    assert a1111_form(a1111_text(file))[:2] == (prompt, prompt)


@pytest.mark.parametrize("file", [(RECIPE, "WebP"), (RECIPE, "PNG")], indirect=True)
def test_exiftool_finds_nothing_to_object_to(file):
    exiftool(file)
    done = subprocess.run(["exiftool", "-validate", "-s3", str(file)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "OK"


def a1111_text(path: Path) -> str:
    """What A1111's rules take for the text of a file: a PNG's `parameters`, else EXIF's user comment by piexif."""
    with Image.open(path) as picture:
        if "parameters" in picture.info:
            return str(picture.info["parameters"])
        exif = piexif.load(picture.info["exif"])
    return str(piexif.helper.UserComment.load(exif["Exif"][piexif.ExifIFD.UserComment]))


def a1111_form(text: str) -> tuple[str, str, dict[str, str]]:
    """Prompt, negative prompt and settings by A1111's rules.

    The last line holds the settings, as `name: value` between commas, where a value in quotes is JSON; the negative
    prompt begins at the line that says so.
    """
    *lines, last = text.strip().split("\n")
    prompt, _, negative = "\n".join(lines).partition("Negative prompt: ")
    settings = {}
    for name, value in re.findall(r'([\w /-]+): ("(?:[^"\\]|\\.)*"|[^,]*)(?:, |$)', last):
        settings[name.strip()] = json.loads(value) if value.startswith('"') else value
    assert len(settings) >= 3
    return prompt.rstrip("\n"), negative, settings
