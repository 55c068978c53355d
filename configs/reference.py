"""The reference of all settings, made from the settings themselves: `python -m configs.reference` writes it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from configs.settings import PACKAGE_ROOT, Settings

REFERENCE = PACKAGE_ROOT / "docs" / "settings.md"

_HEAD = """\
# Settings

*Made from the settings themselves: `python -m configs.reference` writes this page, and a test checks it.*

A setting comes from the environment, else from the YAML file that `IMAGEGENX_CONFIG` names (default:
[configs/application.yaml](../configs/application.yaml)), else it has its default. In the file, sections nest
(`engine: {threads: 2}`); in the environment, two underscores do (`IMAGEGENX_ENGINE__THREADS=2`). Lists and lists of
objects are JSON there (`IMAGEGENX_MODEL_FOLDERS='["/models"]'`). Secrets come from the environment alone, or from files
of their own. Everything is checked at the start, and all problems are told at once.

| variable beside the settings | what it does |
|---|---|
| `IMAGEGENX_CONFIG` | the YAML file of settings |
| `IMAGEGENX_SECRETS` | a folder with a file for each secret, named like its variable; the environment wins |
| `DAGSTER_HOME` | the folder of `dagster.yaml`; `dagster` below `home` if not set |
| `DAGSTER_POSTGRES_URL`, `DAGSTER_S3_URL` | where [deploy/dagster.yaml](../deploy/dagster.yaml) keeps runs and logs |
| `RAY_API_SERVER_ADDRESS` | where [deploy/ray/run_launcher.yaml](../deploy/ray/run_launcher.yaml) finds Ray's head |
| `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` | with which rights it keeps the logs |
"""
_BOUNDS: dict[type, tuple[str, str]] = {
    Ge: ("ge", "≥ {}"),
    Gt: ("gt", "> {}"),
    Le: ("le", "≤ {}"),
    Lt: ("lt", "< {}"),
    MinLen: ("min_length", "at least {} long"),
    MaxLen: ("max_length", "at most {} long"),
}
_NAMES = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "Path": "path"}


def reference() -> str:
    """The whole page, in Markdown."""
    return "\n".join([_HEAD, *_section("", "General", Settings), *_sections()]).rstrip() + "\n"


def main() -> None:
    """Write the page; with `--check`, end with status 1 if it is not up to date."""
    if "--check" in sys.argv[1:]:
        sys.exit(0 if REFERENCE.read_text(encoding="utf-8") == reference() else f"{REFERENCE} is not up to date.")
    REFERENCE.write_text(reference(), encoding="utf-8")


def _sections() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        if (model := _model(field.annotation)) is not None:
            yield from _section(name, f"`{name}`", model)
        elif (item := _item(field)) is not None:
            yield from _section(f"{name}[]", f"`{name}`, each", item)


def _section(prefix: str, title: str, model: type[BaseModel]) -> Iterator[str]:
    yield f"\n## {title}\n"
    if prefix:
        yield f"{_first_line(model)}\n"
    yield "| setting | environment | type | default | what it is |\n|---|---|---|---|---|"
    for name, field in model.model_fields.items():
        if _model(field.annotation) is None:
            yield _row(prefix, name, field)


def _row(prefix: str, name: str, field: FieldInfo) -> str:
    setting = f"{prefix}.{name}" if prefix else name
    variable = "" if "[]" in prefix else f"`IMAGEGENX_{setting.upper().replace('.', '__')}`"
    cells = [f"`{setting}`", variable, _type(field), _default(field), field.description or ""]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _type(field: FieldInfo) -> str:
    bounds = [text.format(_number(getattr(rule, name))) for rule in field.metadata for name, text in _rules(rule)]
    return ", ".join([_type_name(field.annotation), *bounds])


def _rules(rule: object) -> list[tuple[str, str]]:
    return [found] if (found := _BOUNDS.get(type(rule))) else []


def _type_name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if get_origin(kind) is Annotated:
        return _type_name(kind.__origin__)
    parts = [part for part in get_args(kind) if part not in (type(None), Ellipsis)]
    if get_origin(kind) is tuple:
        return f"list of {'objects' if _model(parts[0]) else _type_name(parts[0])}"
    if get_origin(kind) is dict:
        return f"{_type_name(parts[1])} by name"
    if parts:
        return f"{_type_name(parts[0])} or none"
    if kind is SecretStr:
        return "secret"
    name: str = kind.__name__
    return _NAMES.get(name, name)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "`var`"
    value = field.default
    if value is None or value in ((), {}) or (isinstance(value, SecretStr) and not value.get_secret_value()):
        return "none"
    if isinstance(value, Path):
        inside = value.is_absolute() and value.is_relative_to(PACKAGE_ROOT)
        return f"`{value.relative_to(PACKAGE_ROOT) if inside else value}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{_number(value)}`" if value != "" else "none"


def _number(value: object) -> str:
    return f"{value:,}".replace(",", "_") if isinstance(value, int) and abs(value) >= 1_000_000 else f"{value}"


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _model(kind: Any) -> type[BaseModel] | None:
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _item(field: FieldInfo) -> type[BaseModel] | None:
    return next((item for part in get_args(field.annotation) if (item := _model(part))), None)


if __name__ == "__main__":
    main()
