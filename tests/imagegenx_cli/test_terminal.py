import io
import json
import os
import re
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from imagegenx_cli import terminal
from imagegenx_cli.terminal import ProgressBars
from models.encoding import encode_picture
from models.recipe import Recipe
from tests.support.hostile_text import ACTING, ACTS, CATALOG, FORGED_LINE, HOSTILE
from tests.support.recipes import a_recipe


def shown(bars):
    return [(task.description.strip(), task.completed, task.total) for task in bars.tasks]


def test_one_bar_per_asset_and_one_for_the_step_of_the_picture_in_work():
    with Progress(console=Console(file=io.StringIO())) as bars:
        progress = ProgressBars(bars)
        assert shown(bars) == [("loading", 0, None)]

        progress.pictures("generated_images", 0, 8)
        progress.step("tee-red", 3, 20)
        assert shown(bars) == [("tee-red", 3, 20), ("generated images", 0, 8)]

        progress.pictures("generated_images", 8, 8)
        progress.pictures("thumbnails", 2, 8)
        assert shown(bars) == [("generated images", 8, 8), ("thumbnails", 2, 8)]


def test_a_run_that_computes_nothing_leaves_no_loading_bar():
    with Progress(console=Console(file=io.StringIO())) as bars:
        progress = ProgressBars(bars)

        progress.pictures("generated_images", 0, 8)
        progress.pictures("generated_images", 8, 8)

        assert shown(bars) == [("generated images", 8, 8)]


@pytest.mark.parametrize(
    "words",
    [
        ["catalog", "validate", "named.csv"],
        ["catalog", "validate", f"worse{ACTING[:8]}.csv"],
        ["catalog", "add", "named.csv"],
        ["recipe", "picture.png"],
        ["models", "list"],
        ["models", "list", "--json"],
        ["doctor"],
        ["doctor", "--json"],
        ["demo", "--catalog", HOSTILE],
        ["generate", HOSTILE, "-o", "out.png", "--model", HOSTILE],
        ["keys", "create", "--user", HOSTILE],
    ],
    ids=lambda words: " ".join(words)[:20],
)
def test_what_comes_from_outside_does_not_move_the_terminal(imagegenx, tmp_path, monkeypatch, words):
    for name in ("named.csv", f"worse{ACTING[:8]}.csv"):
        (tmp_path / name).write_text(CATALOG, encoding="utf-8")
    if words[0] in ("doctor", "models"):
        (tmp_path / "cards").mkdir()
        card = {"family": "sd", "source": f"[red]{HOSTILE}", "license": HOSTILE}
        (tmp_path / "cards" / "hostile.yaml").write_text(json.dumps(card), encoding="utf-8")
        folders = [*json.loads(os.environ["IMAGEGENX_MODEL_FOLDERS"]), str(tmp_path / "cards")]
        monkeypatch.setenv("IMAGEGENX_MODEL_FOLDERS", json.dumps(folders))
    picture = encode_picture(Image.new("RGB", (64, 64)), "png", 95, a_recipe(text=HOSTILE))
    (tmp_path / "picture.png").write_bytes(picture)

    _, out, err = imagegenx(*words)

    assert not ACTS.search(out + err)
    assert f"\n{FORGED_LINE}" not in out + err


def test_a_recipe_that_is_printed_is_still_the_recipe(imagegenx, tmp_path):
    recipe = a_recipe(text=HOSTILE)
    (tmp_path / "picture.png").write_bytes(encode_picture(Image.new("RGB", (64, 64)), "png", 95, recipe))

    assert Recipe.from_json(imagegenx("recipe", "picture.png")[1]) == recipe


def test_every_command_prints_json_in_the_one_way_that_is_utf_8():
    files = Path(terminal.__file__).parent.glob("*.py")
    assert [file.name for file in files if re.search(r"(echo|say)\(json\.dumps", file.read_text("utf-8"))] == []
