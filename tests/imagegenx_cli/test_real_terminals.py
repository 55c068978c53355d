"""The `imagegenx` program where output is full, closed or of another encoding, and where somebody presses Ctrl-C."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

TOOL = Path(sys.executable).with_name("imagegenx")


@pytest.fixture
def shell(home, tmp_path):
    """Runs a shell line, in which $0 is the program; returns its exit status, standard output and standard error."""

    def run(line, **environment):
        done = subprocess.run(
            ["bash", "-c", line, TOOL], env=os.environ | environment, cwd=tmp_path, capture_output=True, check=False
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        assert b"Exception ignored" not in done.stderr, done.stderr.decode()
        return done.returncode, done.stdout, done.stderr.decode()

    return run


@pytest.mark.parametrize("command", ["--version", "generate --help", "models list", "models list --json"])
def test_output_that_cannot_be_written_is_an_error_of_one_line(shell, command):
    for place, reason in ((">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")):
        assert shell(f'"$0" {command} {place}') == (1, b"", f"error: standard output cannot be written: {reason}.\n")


def test_a_reader_that_has_read_enough_is_no_error(shell):
    status, _, error = shell('set -o pipefail; "$0" generate --help | true')
    assert status in (0, 141)
    assert error == ""


def test_messages_that_cannot_be_written_are_lost_and_nothing_else(shell, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link.png").symlink_to("elsewhere/picture.png")

    status, output, _ = shell('umask 077; "$0" generate mug -o link.png --seed 1 --steps 2 <&- 2>&-')

    assert (status, output.decode()) == (0, "link.png: 64×64, seed 1\n")
    picture = tmp_path / "elsewhere/picture.png"
    assert (tmp_path / "link.png").is_symlink()
    assert picture.stat().st_mode & 0o777 == 0o600
    assert list((tmp_path / "elsewhere").iterdir()) == [picture]
    assert shell('"$0" generate mug -o mug.gif 2>/dev/full') == (1, b"", "")


@pytest.mark.parametrize("encoding", ["ascii", "gbk", "latin-1"])
def test_no_character_is_too_strange_for_a_terminal(shell, encoding):
    for command in ("--help", "generate --help", "catalog --help"):
        status, output, _ = shell(f'"$0" {command}', PYTHONIOENCODING=encoding)
        assert status == 0
        assert output.decode(encoding)
    status, _, error = shell('"$0" generate mug -o 🍵.gif', PYTHONIOENCODING=encoding)
    assert status == 1
    assert "is not the ending of a picture" in error


def test_a_recipe_goes_through_a_pipe_whatever_the_encoding(shell, imagegenx, tmp_path):
    prompt = "一只杯子 🍵 ©️"
    assert imagegenx("generate", prompt, "-o", "1.png", "--seed", 1, "--steps", 2)[0] == 0

    status, output, error = shell(
        '"$0" recipe 1.png | tee recipe.json | "$0" generate --recipe - -o 2.png', PYTHONIOENCODING="gbk"
    )

    assert status == 0, error
    assert output.decode("gbk", "replace").startswith("2.png: 64×64, seed 1")
    assert json.loads((tmp_path / "recipe.json").read_bytes().decode())["text"] == prompt
    with Image.open(tmp_path / "1.png") as first, Image.open(tmp_path / "2.png") as second:
        assert first.tobytes() == second.tobytes()  # signatures differ


def test_no_stray_module_of_the_working_folder_is_taken(shell, tmp_path):
    for name in ("resources", "models", "logging", "gql", "typing"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('stray')")

    assert shell('"$0" models list')[0] == 0


def test_ctrl_c_while_it_paints_ends_with_130_and_one_line(tmp_path):
    terminal, stderr = pty.openpty()
    options = ["--model", "tiny", "--steps", "200", "--resolution", "256x256", "-o", "x.png"]
    environment = os.environ | {"IMAGEGENX_HOME": str(tmp_path / "home"), "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen([TOOL, "generate", "mug", *options], stderr=stderr, env=environment, cwd=tmp_path) as tool:
        os.close(stderr)
        said = ""
        while " picture" not in said:
            part = read(terminal)
            assert part, said
            said += part
        tool.send_signal(signal.SIGINT)
        while part := read(terminal):
            said += part
        status = tool.wait(60)
    os.close(terminal)

    assert status == 130, said
    assert said.splitlines()[-1].endswith("interrupted.")
    assert "Traceback" not in said
    assert list(tmp_path.glob("*.png")) == []


def read(terminal):
    """What is written next to a terminal; nothing once nobody has it open any more."""
    try:
        return os.read(terminal, 1000).decode(errors="replace")
    except OSError:
        return ""


@pytest.mark.parametrize("place", [">/dev/full", ">&-", "| true"])
def test_a_key_that_nobody_has_seen_is_no_key(shell, imagegenx, place):
    status, _, _ = shell(f'set -o pipefail; sleep 0.2; "$0" keys create --user ann {place}')

    assert status != 0
    assert imagegenx("keys", "list")[1].splitlines()[1:] == []
    made, revoked = json.loads(imagegenx("audit", "--event", "key", "--json")[1])
    assert (made["event"], revoked["event"], made["key"]) == ("key.created", "key.revoked", revoked["key"])
