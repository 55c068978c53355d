"""Error texts are short, clean and ours, whatever they are made from."""

import importlib
import json
import logging
import pickle
import re
from collections.abc import Iterator

import pytest
import torch
from safetensors.torch import save_file

from configs.log_settings import LogSettings
from configs.settings import PACKAGE_ROOT
from foundation.error_text import MAX_CAUSE_CHARS, MAX_CHARS, cause_text, error_text
from foundation.errors import ImageGenXError, told
from foundation.logs import set_up_logs
from foundation.problems import Problem
from io_managers.image_set import ManifestRow, Status
from io_managers.settling import failed_row
from models.adapters.adapter_switch import AdapterSwitch
from models.batching.failures import failed
from models.card import read_card
from models.errors import InvalidRequestError, ModelLoadError
from models.families.loading import load_failure
from models.lora import LoraUse
from models.placement import Placement
from models.registry import open_registry
from models.upscaling.reading import read_network
from tests.support.recipes import a_recipe

PACKAGES = (
    "foundation",
    "configs",
    "models",
    "resources",
    "io_managers",
    "ops",
    "sensors",
    "imagegenx_assets",
    "gateway",
    "imagegenx_cli",
)
LONG = "size mismatch for \x1b[31mlayer\x1b[0m:\n\t copying\x00 a param with \u202eshape\r\n" * 5_000


def every_error() -> Iterator[type[ImageGenXError]]:
    for package in PACKAGES:
        for file in (PACKAGE_ROOT / package).rglob("*.py"):
            if re.search(r"^class \w+Error\(", file.read_text(encoding="utf-8"), re.MULTILINE):
                importlib.import_module(".".join(file.relative_to(PACKAGE_ROOT).with_suffix("").parts))
    waiting = [ImageGenXError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__.partition(".")[0] in PACKAGES:
            yield kind


def is_fit(text: str, *, is_list: bool = False) -> bool:
    parts = text.split("\n") if is_list else [text]
    return all(len(part) <= MAX_CHARS and part.replace("\n", " ").isprintable() for part in parts)


def test_no_error_of_ours_is_long_or_holds_control_characters():
    errors = [kind.__new__(kind, LONG) for kind in every_error()]

    assert len(errors) > 45
    assert [type(one) for one in errors if not is_fit(str(one), is_list=one.lists)] == []
    assert [type(one) for one in errors if not str(one)] == []


def test_a_list_of_problems_names_them_all_and_each_is_short():
    text = str(InvalidRequestError(Problem(f"field{number}", LONG) for number in range(100)))

    assert len(text.split("\n")) == 100
    assert is_fit(text, is_list=True)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("no space left", "no space left"),
        ("", "RuntimeError"),
        ("\x1b[1;31mred\x1b[0m \x1b]0;title\x07text\x9b2J", "red text"),
        ("one\n\ttwo\r\nthree\x00\u2028four\u202e", "one two three\\u0000 four\\u202e"),
    ],
)
def test_a_cause_is_one_clean_line(said, text):
    assert cause_text(RuntimeError(said)) == text


def test_a_cause_is_cut_between_words():
    text = cause_text(RuntimeError("word " * 9999))

    assert MAX_CAUSE_CHARS - 10 < len(text) <= MAX_CAUSE_CHARS
    assert text.endswith("word …")
    assert len(cause_text(RuntimeError("x" * 9999))) <= MAX_CAUSE_CHARS


def test_our_own_errors_are_told_whole_inside_of_others():
    assert told(ModelLoadError("a sentence of ours. " * 20)) == "a sentence of ours. " * 20
    assert len(told(RuntimeError("a sentence of theirs. " * 99))) <= MAX_CAUSE_CHARS


def test_lines_that_do_not_fit_are_counted():
    assert error_text("\n".join([f"{number} is wrong" for number in range(999)])).endswith("\n… and 952 more.")


class _Evil:
    def __reduce__(self):
        return print, ("painted",)


def test_weights_that_are_code_are_refused_without_advice_to_load_them_all_the_same(tmp_path):
    torch.save({"params": _Evil()}, tmp_path / "net.pth")
    with pytest.raises(pickle.UnpicklingError, match="weights_only") as theirs:
        torch.load(tmp_path / "net.pth", weights_only=True)

    with pytest.raises(ModelLoadError) as ours:
        read_network(tmp_path / "net.pth")

    assert "weights_only" in str(theirs.value)
    assert str(ours.value) == (
        "upscaling network 'net.pth' cannot be read: Weights only load failed: the file holds more, and calls print"
    )


def paths(tmp_path) -> Iterator[str]:
    """What users read of a library's error, one text for each way to them."""
    yield failed_row(ManifestRow("1", Status.MADE), LONG).error
    card, placement = (
        open_registry(importlib.import_module("configs.settings").Settings()).card("tiny"),
        Placement("cpu", "float32", "eager"),
    )
    yield str(load_failure(card, placement, RuntimeError(LONG)))
    yield failed("1", a_recipe(), RuntimeError(LONG)).error
    yield failed("1", a_recipe(), ModelLoadError(LONG)).error
    huge = {f"lora_unet_{'x' * 9999}.{end}": torch.ones(1, 1) for end in ("lora_up.weight", "lora_down.weight")}
    save_file(huge, tmp_path / "huge.safetensors")
    with pytest.raises(ModelLoadError) as misfit:
        AdapterSwitch(object(), "tiny", in_place=False, room_bytes=0).use([LoraUse(tmp_path / "huge.safetensors", 1.0)])
    yield str(misfit.value)
    (tmp_path / "odd.yaml").write_text(f"a: [{'x' * 9999}\n{{", encoding="utf-8")
    yield from map(str, read_card(tmp_path / "odd.yaml", tmp_path))
    (tmp_path / "net.pth").write_bytes(b"\x1b[31m" * 9999)
    with pytest.raises(ModelLoadError) as unreadable:
        read_network(tmp_path / "net.pth")
    yield str(unreadable.value)


def test_what_libraries_say_is_cut_on_every_way_to_the_user(tmp_path):
    texts = list(paths(tmp_path))

    assert len(texts) == 7
    assert [text for text in texts if not is_fit(text)] == []


@pytest.mark.parametrize("form", ["text", "json"])
def test_log_lines_are_short_and_clean(form, capsys):
    root = logging.getLogger()
    before = list(root.handlers)
    set_up_logs(LogSettings(format=form))
    try:
        logger = logging.getLogger("models.test")
        logger.error("it failed: %s", LONG)
        try:
            raise RuntimeError(LONG)
        except RuntimeError:
            logger.exception("it failed")
    finally:
        root.handlers = before

    said = capsys.readouterr().err
    lines = said.splitlines()
    if form == "json":
        lines = [line for one in lines for part in json.loads(one).values() for line in part.splitlines()]
    assert len(lines) < 200
    assert max(map(len, lines)) <= MAX_CHARS + 60
    assert "\x1b" not in said
