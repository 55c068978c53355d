"""YAML catalogs: defaults, watermark, schedule, freshness, and rows or a template with axes."""

import re
from collections.abc import Iterable, Iterator, Mapping

from foundation.cron import cron_rule, timezone_rule
from foundation.problems import nearest, one_of
from ops.catalog.columns import COLUMNS, MARK, layered, unknown_column
from ops.catalog.pictures import CatalogFiles, CatalogPicture
from ops.catalog.problems import ProblemList
from ops.catalog.rows import CatalogSchedule, CatalogTerms, RawCatalog, RawRow, ReviewPolicy
from ops.catalog.rows_from import RowsFrom, open_table
from ops.catalog.template import Template, check_braces
from ops.catalog.yaml_file import YamlMapping, YamlSyntaxError, YamlValue, read_yaml

REVIEW_KEYS = ("review", "remake", "owner")
_KEYS = (
    "defaults",
    "watermark",
    "schedule",
    "freshness_hours",
    "rows",
    "template",
    "axes",
    "rows_from",
    "columns",
    "where",
    "join",
    "carry",
    *REVIEW_KEYS,
)
MAX_REMAKE = 20
_REVIEWS = ("none", "required", "flagged")
_OF_TABLES = ("columns", "where", "join")
_POLICIES = ("changed", "reseed")
_WATERMARK_COLUMNS = {
    column.field.removeprefix(f"{MARK}."): name for name, column in COLUMNS.items() if column.field.startswith(MARK)
}
"""By the keys of the block."""


def read_document(text: str, files: CatalogFiles, problems: ProblemList) -> RawCatalog:
    """The catalog in YAML `text`; rows are named by their number, from 1, and their line.

    Args:
        files: where the table is looked for that its rows may come from.
    """
    try:
        document = read_yaml(text)
    except YamlSyntaxError as exc:
        problems.add("", "", str(exc))
        return RawCatalog()
    if not isinstance(document, YamlMapping):
        problems.add("", "", "the file must hold keys, 'rows:' or 'template:' and 'axes:' among them")
        return RawCatalog()
    unknown_keys("", document, _KEYS, problems)
    rows, read = _all_rows(document, files, problems)
    watermark = _watermark(document.get("watermark", ""), problems)
    defaults = layered(watermark, _defaults(document.get("defaults", ""), problems))
    return RawCatalog(rows, defaults, read_terms(document, problems), read)


def read_terms(document: YamlMapping, problems: ProblemList) -> CatalogTerms:
    """What a YAML catalog says of when it is made, and of its review."""
    schedule = read_schedule(document.get("schedule", ""), problems)
    hours = read_hours(document.get("freshness_hours", ""), problems)
    return CatalogTerms(schedule, hours, read_review({key: document.get(key, "") for key in REVIEW_KEYS}, problems))


def read_review(given: Mapping[str, YamlValue], problems: ProblemList) -> ReviewPolicy:
    """Whether the catalog is reviewed, how often rejected pictures are made again, and who is asked."""
    words = {key: value.strip() if isinstance(value, str) else "?" for key, value in given.items()}
    review, remake, owner = (words.get(key, "") for key in REVIEW_KEYS)
    if review not in ("", *_REVIEWS):
        problems.add("review", "", one_of(review, _REVIEWS))
    if not re.fullmatch(r"\d{0,2}", remake, re.ASCII) or int(remake or 0) > MAX_REMAKE:
        problems.add("remake", "", f"must be how often a rejected picture is made again, 0 to {MAX_REMAKE}")
        remake = ""
    if len(owner) > 128 or not owner.isprintable() or not isinstance(given.get("owner", ""), str):
        problems.add("owner", "", "must be a name or address of at most 128 letters")
    return ReviewPolicy(review in ("required", "flagged"), int(remake or 0), owner, flagged=review == "flagged")


def unknown_keys(row: str, given: Iterable[str], known: Iterable[str], problems: ProblemList) -> None:
    """Note the keys that are not known, with the nearest that is."""
    for key in given:
        if key not in known:
            problems.add(row, key[:80], f"unknown key.{nearest(key, known) or ' Known: ' + ', '.join(known) + '.'}")


def _cells(row: str, given: YamlMapping, problems: ProblemList) -> dict[str, str]:
    """The columns among `given`; what is no column or no single value is noted."""
    cells = {}
    for name, value in given.items():
        if name not in COLUMNS:
            problems.add_unknown(row, name[:80], unknown_column(name))
        elif not isinstance(value, str):
            problems.add(row, name, "must be a single value, not a list or mapping")
        else:
            cells[name] = value
    return cells


def _mapping(key: str, value: YamlValue, problems: ProblemList) -> YamlMapping:
    if isinstance(value, YamlMapping):
        return value
    if value:
        problems.add(key, "", "must be a mapping of names to values")
    return YamlMapping(0)


def _defaults(value: YamlValue, problems: ProblemList) -> dict[str, str]:
    cells = _cells("defaults", _mapping("defaults", value, problems), problems)
    if cells.pop("id", None) is not None:
        problems.add("defaults", "id", "every row needs an id of its own, so there is no default for it")
    return cells


def _watermark(value: YamlValue, problems: ProblemList) -> dict[str, str]:
    """The block as cells of the watermark columns; none of them if it is not enabled."""
    given = _mapping("watermark", value, problems)
    unknown_keys("watermark", given, (*_WATERMARK_COLUMNS, "enable", "type"), problems)
    cells = {}
    for key, item in given.items():
        if not isinstance(item, str):
            problems.add("watermark", key[:80], "must be a single value, not a list or mapping")
        elif key in _WATERMARK_COLUMNS:
            cells[_WATERMARK_COLUMNS[key]] = item
    enabled = _choice("enable", given.get("enable") or "true", ("true", "false"), problems) == "true"
    kind = _choice("type", given.get("type") or ("image" if given.get("image_path") else "text"), _KINDS, problems)
    if not enabled or kind not in _KINDS:
        return {}
    cells.pop("watermark_text" if kind == "image" else "watermark_image", None)
    if given and not cells.get(f"watermark_{kind}", "").strip():
        problems.add("watermark", "text" if kind == "text" else "image_path", f"required by watermark type '{kind}'")
    return cells


_KINDS = ("text", "image")


def _choice(key: str, value: YamlValue, choices: tuple[str, ...], problems: ProblemList) -> str:
    word = value.lower() if isinstance(value, str) else ""
    if word not in choices and isinstance(value, str):
        problems.add("watermark", key, one_of(value, choices))
    return word


def read_schedule(value: YamlValue, problems: ProblemList) -> CatalogSchedule | None:
    """When the catalog is made by itself; None if nothing is said."""
    given = YamlMapping(0)
    if isinstance(value, str):
        if not value:
            return None
        given["cron"] = value
    else:
        given = _mapping("schedule", value, problems)
    unknown_keys("schedule", given, ("cron", "timezone", "policy"), problems)
    words = {key: item.strip() for key, item in given.items() if isinstance(item, str)}
    schedule = CatalogSchedule(words.get("cron", ""), words.get("timezone", "UTC"), words.get("policy", "changed"))
    for key, rule in _schedule_rules(schedule):
        problems.add("schedule", key, rule)
    return schedule


def _schedule_rules(schedule: CatalogSchedule) -> Iterator[tuple[str, str]]:
    if rule := cron_rule(schedule.cron):
        yield "cron", rule
    if rule := timezone_rule(schedule.timezone):
        yield "timezone", rule
    if schedule.policy not in _POLICIES:
        yield "policy", one_of(schedule.policy, _POLICIES)


def read_hours(value: YamlValue, problems: ProblemList) -> float | None:
    """The number of hours; None if there is none."""
    if not value:
        return None
    text = value.strip() if isinstance(value, str) else ""
    if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text, re.ASCII):
        return float(text)
    problems.add("freshness_hours", "", "must be a number of hours like 24; 0 for never stale")
    return None


def _all_rows(
    document: YamlMapping, files: CatalogFiles, problems: ProblemList
) -> tuple[Iterable[RawRow], tuple[CatalogPicture, ...]]:
    """The rows, and the files that they come from."""
    ways = [key for key in ("rows", "template") if key in document]
    if "rows_from" in document:
        return _rows_from_table(document, files, problems)
    for key in _OF_TABLES:
        if key in document:
            problems.add(key, "", "belongs to 'rows_from:'")
    if len(ways) != 1:
        problems.add("", "", "exactly one of 'rows:', 'rows_from:' and 'template:' (with 'axes:') must be given")
        return [], ()
    if ways == ["rows"]:
        return _rows(document, problems), ()
    if "carry" in document:
        problems.add("carry", "", "belongs to 'rows:' or 'rows_from:'")
    before = problems.total
    template = _template(document, problems)
    template.check(problems)
    return template.rows() if problems.total == before else [], ()


def _rows_from_table(
    document: YamlMapping, files: CatalogFiles, problems: ProblemList
) -> tuple[Iterable[RawRow], tuple[CatalogPicture, ...]]:
    for key in ("rows", "axes"):
        if key in document:
            problems.add(key, "", "cannot be given beside 'rows_from:'")
    made = _rows_made(document, problems)
    reference = document["rows_from"]
    if not isinstance(reference, str) or not reference.strip():
        problems.add("rows_from", "", "must be the name of a table beside the catalog, such as products.csv")
        return [], ()
    opened = open_table(files, reference.strip(), problems)
    if opened is None:
        return [], ()
    sheet, file = opened
    return made.rows(sheet, problems), (file,)


def _rows_made(document: YamlMapping, problems: ProblemList) -> RowsFrom:
    """What is to be made of each row of a table."""
    patterns = _patterns(document.get("template", ""), problems)
    columns = _cells("columns", _mapping("columns", document.get("columns", ""), problems), problems)
    for name in patterns.keys() & columns.keys():
        problems.add("columns", name, "the template sets this column too; keep one of them")
    if "text" not in patterns and "text" not in columns:
        problems.add("template", "", "needed beside 'rows_from:', such as '{Title} on white', or 'text' in 'columns:'")
    for name, pattern in patterns.items():
        check_braces(name, pattern, problems)
    join = document.get("join", "")
    if not isinstance(join, str):
        problems.add("join", "", "must be one column of the table")
        join = ""
    where = dict(_lists("where", _mapping("where", document.get("where", ""), problems), problems))
    return RowsFrom(patterns, columns, where, join.strip(), _carry(document, problems))


def _carry(document: YamlMapping, problems: ProblemList) -> tuple[str, ...]:
    """The names of the columns that travel along."""
    given = document.get("carry", "")
    names = given if isinstance(given, list) else [given] if given else []
    if not all(isinstance(name, str) and name.strip() for name in names):
        problems.add("carry", "", "must be a list of columns, such as [Vendor, Type]; * for all of a table")
    return tuple(name.strip() for name in names if isinstance(name, str) and name.strip())


def _rows(document: YamlMapping, problems: ProblemList) -> Iterator[RawRow]:
    rows, carry = document["rows"], _carry(document, problems)
    if "axes" in document:
        problems.add("axes", "", "axes belong to a 'template:', not to 'rows:'")
    if rows and not isinstance(rows, list):
        problems.add("rows", "", "must be a list of rows")
        return
    for number, row in enumerate(rows, start=1):
        if isinstance(row, YamlMapping):
            where = f"row {number} (line {row.line})"
            own = YamlMapping(row.line)
            own.update({name: value for name, value in row.items() if name not in carry or name in COLUMNS})
            carried = {name: value for name in carry if isinstance(value := row.get(name, ""), str) and value}
            yield RawRow(where, _cells(where, own, problems), carried=carried)
        else:
            problems.add(f"row {number}", "", "must be a mapping of columns, such as '- text: a red mug'")


def _template(document: YamlMapping, problems: ProblemList) -> Template:
    patterns = _patterns(document["template"], problems)
    return Template(patterns, dict(_axes(_mapping("axes", document.get("axes", ""), problems), problems)))


def _patterns(value: YamlValue, problems: ProblemList) -> dict[str, str]:
    """The patterns of a template by column; one alone is the text's."""
    if isinstance(value, str):
        return {"text": value} if value else {}
    return _cells("template", _mapping("template", value, problems), problems)


def _axes(given: YamlMapping, problems: ProblemList) -> Iterator[tuple[str, list[str]]]:
    if not given:
        problems.add("axes", "", "a template needs at least one axis, such as 'colour: [red, green]'")
    if "id" in given:
        problems.add("axes", "id", "ids are made from the other axes; write 'id' in the template to shape them")
    return _lists("axes", given, problems)


def _lists(key: str, given: YamlMapping, problems: ProblemList) -> Iterator[tuple[str, list[str]]]:
    """(name, its values) of a mapping whose values are lists, or single ones."""
    for name, value in given.items():
        values = value if isinstance(value, list) else [value]
        texts = [item for item in values if isinstance(item, str)]
        if len(texts) < len(values):
            problems.add(key, name[:80], "must be a list of single values")
        yield name, texts
