"""What a fresh clone relies on: files that must agree with each other."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
MEGABYTE = 1_000_000


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def tracked_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_workspace_and_pyproject_name_the_same_code_location():
    (entry,) = yaml.safe_load((ROOT / "workspace.yaml").read_text(encoding="utf-8"))["load_from"]
    dg = project()["tool"]["dg"]["project"]
    assert entry["python_module"]["module_name"] == dg["code_location_target_module"]
    assert entry["python_module"]["location_name"] == dg["code_location_name"]


def test_ci_runs_the_command_that_the_readme_gives():
    assert re.search(r"^make test$", (ROOT / ".ci/run").read_text(encoding="utf-8"), re.MULTILINE)
    assert "$ make test" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_make_target_of_the_readme_exists():
    named = set(re.findall(r"(?:`|\$ )make ([a-z]+)\b", (ROOT / "README.md").read_text(encoding="utf-8")))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert named
    assert named <= targets


def test_every_dependency_is_pinned():
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    extras = project()["project"]["optional-dependencies"]
    needed = [*project()["project"]["dependencies"], *extras["dev"]]
    names = {re.split(r"[\[<>=]", need)[0].lower().replace("_", "-") for need in needed}
    assert names - pinned == set()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_no_file_names_a_path_of_a_machine():
    pattern = re.compile(rb"(?<![\w.])/(?:" + b"work|farm|root|home/[a-z]+" + rb")/")
    texts = [file for file in tracked_files() if file.suffix not in {".safetensors", ".webp", ".png"}]
    assert [str(file.relative_to(ROOT)) for file in texts if pattern.search(file.read_bytes())] == []


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_the_weights_stay_small():
    weights = [file for file in tracked_files() if file.suffix == ".safetensors"]
    assert sum(file.stat().st_size for file in weights) < 40 * MEGABYTE
    model = [file for file in tracked_files() if ROOT / "models/builtin/tiny" in file.parents]
    assert sum(file.stat().st_size for file in model) <= 16 * MEGABYTE
