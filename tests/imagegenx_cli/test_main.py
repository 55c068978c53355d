import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

TOOL = Path(sys.executable).with_name("imagegenx")


def test_help_loads_no_heavy_library():
    heavy = ("torch", "dagster", "pandas", "numpy", "PIL", "pydantic_settings")
    code = (
        "import atexit, sys; from imagegenx_cli.main import main; sys.argv = ['imagegenx', '--help']\n"
        f"atexit.register(lambda: print([m for m in {heavy} if m in sys.modules]))\n"
        "main()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.splitlines()[-1] == "[]"


def test_the_version_is_the_packages(imagegenx):
    assert imagegenx("--version") == (0, f"imagegenx {version('imagegenx')}\n", "")


def test_a_foreseen_error_is_one_paragraph_and_no_traceback(imagegenx):
    status, output, error = imagegenx("recipe", "nowhere.png")

    assert (status, output) == (1, "")
    assert error == "error: nowhere.png cannot be read: No such file or directory.\n"


def test_wrong_settings_are_listed_at_once(imagegenx, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_ENGINE__THREADS", "0")
    monkeypatch.setenv("IMAGEGENX_STORE__KIND", "tape")

    status, _, error = imagegenx("models", "list")

    assert status == 1
    assert error == (
        "error: store.kind: 'tape' is not one of local, s3.\nengine.threads: '0' is below the minimum of 1\n"
    )


def test_an_unknown_benchmark_names_the_known_ones(imagegenx):
    status, _, error = imagegenx("bench", "catalog_memry")

    assert status == 1
    assert error.startswith("error: benchmark 'catalog_memry' is not one of startup, catalog_memory, catalog_overhead")
    assert "Nearest: catalog_memory." in error
