"""Every command in the documents: run where that takes seconds, else checked for what it names."""

import io
import json
import os
import re
import socket
import sys
from itertools import pairwise
from pathlib import Path

import click
import pytest
import typer.main
import yaml
from starlette.routing import Match

from configs.reference import REFERENCE
from configs.settings import Settings
from gateway.http_app import build_app
from gateway.main import open_service
from imagegenx_cli.main import app
from tests.docs.documents import ROOT, commands, documents, fences, files

PROGRAM = ".venv/bin/imagegenx"
RUN = [document for document in documents() if document.name != "README.zh.md"]
"""README.zh.md has the commands of README.md."""


def named(document):
    return str(document.relative_to(ROOT))


def is_setting(name):
    return f"`{name}`" in REFERENCE.read_text(encoding="utf-8")


def split_environment(words):
    """Assignments before a command, and the command."""
    count = next((at for at, word in enumerate(words) if not re.match(r"[A-Z_]+=", word)), len(words))
    return dict(word.split("=", 1) for word in words[:count]), words[count:]


def check_options(command: click.Command, words: list[str]) -> None:
    """The command takes these words; nothing of it is run."""
    context = click.Context(command)
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, f"no command {words[0]}"
        command, words = found, words[1:]
    command.make_context(command.name, list(words))


def check_docker(words):
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text(encoding="utf-8"))["services"]
    assert words[:2] == ["docker", "compose"]
    assert all((ROOT / "deploy" / file).is_file() for flag, file in pairwise(words) if flag == "-f")
    for place, word in enumerate(words):
        if word == "exec":
            assert words[place + 1] in services
            if words[place + 2] == "imagegenx":
                check_options(typer.main.get_command(app), words[place + 3 :])
        if word == "--profile":
            assert any(words[place + 1] in service.get("profiles", []) for service in services.values())
    copied = [word.split(":")[0] for word in words[3:] if words[2] == "cp" and ":" in word]
    assert set(copied) <= set(services)


@pytest.fixture(scope="module")
def routes(tmp_path_factory):
    """The calls that a gateway answers."""
    return build_app(open_service(Settings(home=tmp_path_factory.mktemp("home")))).routes


def check_curl(words, routes):
    (url,) = [word for word in words if word.startswith("http://127.0.0.1:8000")]
    method = words[words.index("-X") + 1] if "-X" in words else "POST" if {"-d", "-F", "--form"} & set(words) else "GET"
    scope = {"type": "http", "method": method, "path": url.removeprefix("http://127.0.0.1:8000").split("?")[0]}
    assert any(route.matches(scope)[0] is Match.FULL for route in routes), url


def check_dagster(words):
    from dagster._cli import create_dagster_cli

    check_options(create_dagster_cli(), words[1:])


def check(words, routes):
    """What the command names exists: programs, options, files, routes, settings."""
    given, words = split_environment(words)
    assert [name for name in given if not is_setting(name)] == []
    match words[0] if words else "":
        case "":
            return
        case "export":
            assert [word for word in words[1:] if not is_setting(word.split("=")[0])] == []
        case "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        case ".venv/bin/imagegenx":
            check_options(typer.main.get_command(app), words[1:])
        case "docker":
            check_docker(words)
        case "dagster":
            check_dagster(words)
        case "kubectl" | "helm":
            files = [after for flag, after in pairwise(words) if flag in ("--filename", "--values")]
            assert [file for file in files if not (ROOT / file).is_file()] == []
        case "ray":
            from ray.scripts.scripts import cli

            check_options(cli, words[1:])
        case "cat":
            assert [word for word in words[1 : words.index(">")] if not (ROOT / word).is_file()] == []
        case "curl":
            check_curl(words, routes)
        case "cd":
            assert (ROOT / words[1]).is_dir()
        case "cp":
            assert (ROOT / "deploy" / words[1]).is_file()
        case ".venv/bin/python" | "python":
            assert (ROOT / f"{words[2].replace('.', '/')}.py").is_file()
        case other:
            pytest.fail(f"nobody checks the command {other}")


@pytest.mark.parametrize("document", documents(), ids=named)
def test_every_command_names_what_exists(document, routes):
    for command in commands(document):
        for words in command.stages:
            check(words, routes)


def runnable(document):
    """Commands of ours up to an `export`, whose values are not real."""
    found = []
    for command in commands(document):
        if command.line.startswith("export"):
            break
        if not command.needs and all(PROGRAM in words for words in command.stages):
            found.append(command)
    return found


def with_folders_of_the_home(value):
    """A list of model folders, and before it the one that the home's default model is in."""
    return json.dumps([*json.loads(os.environ["IMAGEGENX_MODEL_FOLDERS"]), *json.loads(value)])


@pytest.mark.parametrize("document", [document for document in RUN if runnable(document)], ids=named)
def test_the_commands_that_take_seconds_work_in_their_order(document, imagegenx, tmp_path, monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("IMAGEGENX_GATEWAY__HTTP_PORT", str(probe.getsockname()[1]))
    for name, content in files(document).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    for command in runnable(document):
        output = ""
        for words in command.stages:
            given, words = split_environment(words)
            with monkeypatch.context() as patch:
                for name, value in given.items():
                    patch.setenv(name, with_folders_of_the_home(value.replace("/path/to", str(tmp_path))))
                patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(output.encode())))
                status, output, error = imagegenx(*words[1:])
            assert status == 0, f"{command.line}\n{output}{error}"


def test_both_readmes_have_the_same_commands_blocks_links_and_headings():
    english, chinese = (ROOT / "README.md", ROOT / "README.zh.md")
    assert commands(chinese) == commands(english)
    texts = [file.read_text(encoding="utf-8") for file in (english, chinese)]
    code = [[body for language, body in fences(text) if language in ("csv", "python")] for text in texts]
    assert code[0] == code[1]
    levels = [re.findall(r"^#+(?= )", text, re.MULTILINE) for text in texts]
    assert levels[0] == levels[1]
    targets = [re.findall(r"\]\(((?!#|README)[^)]+)\)", text) for text in texts]
    assert sorted(targets[0]) == sorted(targets[1])


@pytest.mark.parametrize("document", documents(), ids=named)
def test_every_link_to_a_file_leads_to_one(document):
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not re.match(r"https?:", target):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", documents(), ids=named)
def test_every_setting_and_variable_that_is_named_exists(document):
    text = document.read_text(encoding="utf-8")
    reference = REFERENCE.read_text(encoding="utf-8")
    for name in set(re.findall(r"\bIMAGEGENX_[A-Z_]+", text)):
        assert f"`{name}`" in reference or name == "IMAGEGENX_HOME", name
    sections = [name for name, field in Settings.model_fields.items() if hasattr(field.annotation, "model_fields")]
    for section, name in set(re.findall(rf"`({'|'.join(sections)})\.([a-z_]+)`", text)):
        assert name in Settings.model_fields[section].annotation.model_fields, f"{section}.{name}"


def test_files_of_a_document_are_found():
    shown = files(ROOT / "docs/catalogs.md")
    assert list(shown) == ["shelf.csv", "shirts.yaml"]
    assert shown["shelf.csv"].startswith("id,text")
    assert Path(ROOT / "docs/catalogs.md").is_file()
