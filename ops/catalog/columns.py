"""The columns of a catalog, and how their cells become the fields of a request."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from foundation.problems import nearest, shown
from models.lora import LoraChoice
from models.request import ControlChoice, ImageFormat, Position, Sampler, Scale, Schedule, StepCache

PICTURE_COLUMNS = ("image", "mask", "control_image", "controls")


@dataclass(frozen=True)
class Column:
    """One column: the dotted request field it sets, and how its cells are read.

    `prose` is kept to the letter, `word` is stripped; a cell that is no number stays text for the request to refuse.
    One of `choices` may be written in any case, and with spaces for its hyphens.
    """

    name: str
    field: str
    kind: Literal["prose", "word", "integer", "number", "loras", "controls"] = "word"
    choices: tuple[str, ...] = ()

    def value(self, cell: str) -> object:
        """The cell as the request wants it."""
        word = cell.strip()
        if self.kind == "loras":
            return [_lora(one.strip()) for one in word.split(";") if one.strip()]
        if self.kind == "controls":
            return read_controls(word)
        if self.choices:
            return next((choice for choice in self.choices if _folded(choice) == _folded(word)), word)
        if self.kind in ("integer", "number") and re.fullmatch(r"[+-]?\d{1,20}(\.0{1,20})?", word, re.ASCII):
            return int(word.partition(".")[0])
        if self.kind in ("integer", "number") and re.fullmatch(_NUMBER, word, re.ASCII):
            return float(word)
        return cell if self.kind == "prose" else word

    def with_point(self, cell: str) -> str:
        """A number with a decimal comma, with a point."""
        is_number = self.kind in ("integer", "number") and re.fullmatch(r"[+-]?\d{1,20},\d{1,20}", cell.strip())
        return cell.replace(",", ".") if is_number else cell


def _lora(word: str) -> dict[str, object]:
    """`ink:0.8`, or `ink` at full weight."""
    name, colon, weight = word.rpartition(":")
    if colon and re.fullmatch(_NUMBER, weight.strip(), re.ASCII):
        return {"name": name.strip(), "weight": float(weight)}
    return {"name": word}


def loras_cell(loras: Sequence[LoraChoice]) -> str:
    """The cell that names these LoRAs."""
    return "; ".join(f"{lora.name}:{lora.weight!r}" for lora in loras)


def read_controls(cell: str) -> list[dict[str, object]]:
    """`edges.png; depth=map.png:0.5:0:0.8`: pictures, ControlNets before them, weights, starts and ends behind."""
    return [_control(one.strip()) for one in cell.split(";") if one.strip()]


def named_pictures(column: str, cell: str) -> list[str]:
    """The references to pictures in a cell of one of `PICTURE_COLUMNS`."""
    if column == "controls":
        return [str(control["image"]) for control in read_controls(cell)]
    return [cell.strip()] if cell.strip() else []


def _control(word: str) -> dict[str, object]:
    name, _, rest = word.partition("=") if "=" in word else ("", "", word)
    numbers = list[float]()
    while len(numbers) < len(_LEADS) and (found := re.fullmatch(rf"(.+):\s*({_NUMBER})\s*", rest, re.ASCII | re.S)):
        rest, numbers = found[1], [float(found[2]), *numbers]
    model = {"model": name.strip()} if name.strip() else {}
    return {"image": rest.strip(), **model, **dict(zip(_LEADS, numbers, strict=False))}


_LEADS = ("weight", "start", "end")


def controls_cell(controls: Sequence[ControlChoice]) -> str:
    """The cell that names these ControlNets and pictures."""
    named = (f"{one.model}=" if one.model or "=" in one.image else "" for one in controls)
    cells = zip(named, controls, strict=True)
    return "; ".join(f"{name}{one.image}:{one.weight!r}:{one.start!r}:{one.end!r}" for name, one in cells)


def _folded(word: str) -> str:
    return re.sub(r"[\s_-]+", "", word.casefold())


_NUMBER = r"[+-]?(\d{1,20}\.?\d{0,20}|\.\d{1,20})([eE][+-]?\d{1,2})?"
_POST = "params.post_process"
MARK = f"{_POST}.watermark"

COLUMNS: Mapping[str, Column] = {
    column.name: column
    for column in (
        Column("id", ""),
        Column("text", "text", "prose"),
        Column("negative_text", "params.negative_text", "prose"),
        Column("model_type", "model_type"),
        Column("resolution", "params.resolution"),
        Column("steps", "params.steps", "integer"),
        Column("cfg_scale", "params.cfg_scale", "number"),
        Column("sampler", "params.sampler", choices=tuple(Sampler)),
        Column("schedule", "params.schedule", choices=tuple(Schedule)),
        Column("step_cache", "params.step_cache", choices=get_args(StepCache)),
        Column("seed", "params.seed", "integer"),
        Column("strength", "params.strength", "number"),
        Column("lora_name", "params.lora_name"),
        Column("lora_weight", "params.lora_weight", "number"),
        Column("loras", "params.loras", "loras"),
        Column("image", "image_url"),
        Column("mask", "mask_url"),
        Column("control_image", "control_image_url"),
        Column("control_weight", "params.control_weight", "number"),
        Column("control_start", "params.control_start", "number"),
        Column("control_end", "params.control_end", "number"),
        Column("controls", "controls", "controls"),
        Column("super_resolution", f"{_POST}.super_resolution", choices=get_args(Scale)),
        Column("upscaler", f"{_POST}.upscaler"),
        Column("watermark_text", f"{MARK}.text", "prose"),
        Column("watermark_position", f"{MARK}.position", choices=get_args(Position)),
        Column("watermark_color", f"{MARK}.color"),
        Column("watermark_transparency", f"{MARK}.transparency", "number"),
        Column("watermark_image", f"{MARK}.image_path"),
        Column("watermark_font", f"{MARK}.font"),
        Column("watermark_font_size", f"{MARK}.font_size", "integer"),
        Column("watermark_margin", f"{MARK}.margin", "integer"),
        Column("watermark_scale", f"{MARK}.scale", "number"),
        Column("format", f"{_POST}.format", choices=(*get_args(ImageFormat), "jpeg")),
    )
}
"""INTERFACES.md §10, and the rest of a watermark's fields."""

_COLUMN_OF_FIELD = {column.field: column.name for column in COLUMNS.values()} | {_POST: "super_resolution"}

_OTHER_WORDS = {
    "prompt": "text",
    "description": "text",
    "negative_prompt": "negative_text",
    "model": "model_type",
    "size": "resolution",
    "guidance": "cfg_scale",
    "guidance_scale": "cfg_scale",
    "scheduler": "sampler",
    "lora": "lora_name",
    "upscale": "super_resolution",
    "watermark": "watermark_text",
    "sku": "id",
    "name": "id",
    "control": "control_image",
}


_NOT_CELLS = ("#ref!", "#n/a", "#value!", "#div/0!", "#name?", "#num!", "#null!", "#spill!", "#calc!", "n/a", "nan")
_LISTED_COLUMNS = 5


def column_named(name: str) -> str | None:
    """The column that a header's cell names, in any case and with spaces for its underscores; None if there is none."""
    word = re.sub(r"[\s-]+", "_", name.strip().casefold())
    return word if word in COLUMNS else None


def cell_rule(cell: str) -> str:
    """The rule that a cell of any column breaks, or "": what spreadsheets write where they have no value is none."""
    word = cell.strip()
    if word.casefold() in _NOT_CELLS:
        return f"{shown(word)} is a spreadsheet's word for no value; write the value, or leave the cell empty"
    if word.startswith("=") and len(word) > 1:
        return f"{shown(word)} is a formula; save the sheet with its values"
    return ""


def unknown_column(name: str) -> str:
    """The rule text for a column that is none of ours."""
    return f"unknown column.{_hint(name) or ' Known: ' + ', '.join(COLUMNS) + '.'}"


def unknown_columns(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(column, rule text) for columns that are none of ours; many that resemble none are told as one."""
    strange = [name for name in names if not _hint(name)]
    listed = strange if len(strange) <= 1 else []
    for name in names:
        if name not in strange or name in listed:
            yield name[:80], unknown_column(name)
    if not listed and strange:
        first = ", ".join(shown(name) for name in strange[:_LISTED_COLUMNS])
        more = f" and {len(strange) - _LISTED_COLUMNS} more" if len(strange) > _LISTED_COLUMNS else ""
        advice = "Remove them, or keep the table and name it in a YAML catalog's rows_from."
        yield "", f"unknown columns: {first}{more}. {advice} Known: {', '.join(COLUMNS)}."


def _hint(name: str) -> str:
    """What may be meant by an unknown column, as a sentence with its leading space; "" if nothing is like it."""
    meant = _OTHER_WORDS.get(name.strip().casefold())
    return f" Nearest: {meant}." if meant else nearest(name, COLUMNS)


def column_of(field: str) -> str:
    """The column that a problem with this request field belongs to; the field itself if there is none."""
    lists = {"params.loras.": "loras", "controls.": "controls"}
    named = next((column for start, column in lists.items() if field.startswith(start)), field)
    return _COLUMN_OF_FIELD.get(field, named)


def request_data(cells: Mapping[str, str]) -> dict[str, object]:
    """The nested data of a request from cells by column; blank cells set nothing. Catalog requests are bulk ones."""
    data: dict[str, object] = {"text": "", "priority": "bulk"}
    for name, cell in cells.items():
        if cell.strip() and name != "id":
            _set(data, COLUMNS[name].field, COLUMNS[name].value(cell))
    if mark := _watermark_type(cells):
        _set(data, f"{MARK}.type", mark)
    if mark or "watermark_text" in cells or "watermark_image" in cells:
        _set(data, f"{MARK}.enable", bool(mark))
    return data


def _watermark_type(cells: Mapping[str, str]) -> str:
    if cells.get("watermark_image", "").strip():
        return "image"
    return "text" if cells.get("watermark_text", "").strip() else ""


def _set(data: dict[str, object], field: str, value: object) -> None:
    *parents, leaf = field.split(".")
    for parent in parents:
        child = data.setdefault(parent, {})
        assert isinstance(child, dict)
        data = child
    data[leaf] = value


_ONE_OF_TWO = (("watermark_text", "watermark_image"), ("lora_name", "loras"), ("control_image", "controls"))


OPTIONS = {
    "strength": "image",
    "lora_weight": "lora_name",
    **dict.fromkeys(("control_weight", "control_start", "control_end"), "control_image"),
    "upscaler": "super_resolution",
    **dict.fromkeys(("watermark_font", "watermark_color", "watermark_font_size"), "watermark_text"),
    "watermark_scale": "watermark_image",
}
"""Columns that say how something is done, by the one that asks for it."""


def layered(base: Mapping[str, str], over: Mapping[str, str]) -> dict[str, str]:
    """`base` with the cells of `over` in their places; a watermark, or LoRAs, of one kind take the other's place.

    What `base` says of how to do something is left out where that is not asked for.
    """
    cells = {**base, **over}
    for kind, other in (pair for one in _ONE_OF_TWO for pair in (one, one[::-1])):
        if over.get(kind, "").strip() and other not in over:
            cells.pop(other, None)
    for name in (OPTIONS.keys() & base.keys()) - over.keys():
        if not cells.get(OPTIONS[name], "").strip():
            del cells[name]
    return cells
