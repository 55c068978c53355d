import stat
import subprocess
import sys
from pathlib import Path

import pytest

from foundation.private_folder import make_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_are_made_for_their_user_alone(tmp_path):
    make_private(tmp_path / "a/b/c")

    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/c")] == [0o700] * 3


def test_a_folder_that_is_there_loses_the_rights_of_others_and_keeps_those_of_its_group(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o2775)

    make_private(tmp_path / "shared")

    assert mode(tmp_path / "shared") == 0o2770


def test_a_file_in_its_place_is_told(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(FileExistsError):
        make_private(tmp_path / "file")


@pytest.mark.parametrize("command", [["doctor"], ["keys", "list"], ["catalog", "add", "shop.csv"]])
def test_what_a_command_leaves_in_a_new_home_cannot_be_reached_by_other_users(tmp_path, monkeypatch, command):
    home, store = tmp_path / "fresh/home", tmp_path / "elsewhere/store"
    (tmp_path / "shop.csv").write_text("text\na mug\n")
    monkeypatch.setenv("IMAGEGENX_HOME", str(home))
    monkeypatch.setenv("IMAGEGENX_STORE__PATH", str(store))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)

    imagegenx = Path(sys.executable).with_name("imagegenx")
    subprocess.run([imagegenx, *command], cwd=tmp_path, check=False, stdout=subprocess.DEVNULL, timeout=200)

    assert home.exists()
    assert [mode(folder) for folder in (home, store) if folder.exists() and mode(folder) & 0o077] == []
