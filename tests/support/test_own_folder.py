import os
import subprocess

from tests.support.own_folder import own_folder


def test_what_a_killed_process_left_goes_with_the_next_and_what_a_living_one_has_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / f"imagegenx-instance-{dead.pid}-abcd").mkdir()
    (tmp_path / "imagegenx-instance-abcd").mkdir()  # of no process that is named
    first = own_folder("instance")

    second = own_folder("instance")

    assert first.name.startswith(f"imagegenx-instance-{os.getpid()}-")
    assert sorted(tmp_path.iterdir()) == sorted([first, second, tmp_path / "imagegenx-instance-abcd"])
