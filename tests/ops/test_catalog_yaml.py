"""YAML catalogs."""

from pathlib import Path

import pytest

from configs.lifecycle_settings import CheckSettings
from configs.settings import Settings
from ops.catalog.home_folder import open_catalogs
from ops.catalog.rows import CatalogSchedule
from ops.catalog.schedules import catalog_freshness_hours, freshness_hours
from resources.local_store import LocalObjectStore
from tests.support.catalog_writer import problems, read

WATERMARK = ["watermark_text", "watermark_image", "watermark_position"]


def test_rows_take_the_defaults_they_do_not_name(tmp_path: Path) -> None:
    catalog = read(
        tmp_path,
        "a.yaml",
        "defaults: {steps: 12, format: png}\nrows:\n- text: a mug\n- {text: a hat, steps: 30, format: jpeg}\n",
    )
    assert catalog.table[["steps", "format"]].to_numpy().tolist() == [[12, "png"], [30, "jpg"]]


def test_values_are_taken_to_the_letter(tmp_path: Path) -> None:
    text = 'rows:\n- text: no\n- text: 2024-01-01\n- text: 1e3\n- text: "null"\n- {text: NA, seed: null}\n'
    assert read(tmp_path, "a.yml", text).table["text"].tolist() == ["no", "2024-01-01", "1e3", "null", "NA"]


def test_a_default_does_not_change_the_seed_of_a_row(tmp_path: Path) -> None:
    rows = "rows:\n- text: a mug\n- text: a hat\n"
    before, after = read(tmp_path, "a.yaml", rows), read(tmp_path, "b.yaml", f"defaults: {{format: png}}\n{rows}")
    assert before.table["seed"].tolist() == after.table["seed"].tolist()


def test_a_watermark_marks_every_row_that_does_not_bring_its_own(tmp_path: Path) -> None:
    catalog = read(
        tmp_path,
        "a.yaml",
        "watermark: {text: 春, position: tile, font_size: 24}\n"
        "rows:\n- text: a\n- {text: b, watermark_text: 夏}\n- {text: c, watermark_image: logo.png}\n"
        "- {text: d, watermark_text: ''}\n",
    )
    marks = catalog.table[WATERMARK].to_numpy().tolist()
    assert marks == [["春", "", "tile"], ["夏", "", "tile"], ["", "logo.png", "tile"], ["", "", "tile"]]
    requests = [request.params.post_process.watermark for _, request in catalog.requests()]
    assert [(mark.enable, mark.type, mark.font_size) for mark in requests] == [
        *[(True, "text", 24), (True, "text", 24), (True, "image", None), (False, "text", None)]
    ]


def test_a_watermark_that_is_not_enabled_marks_nothing(tmp_path: Path) -> None:
    catalog = read(tmp_path, "a.yaml", "watermark: {enable: false, text: 春}\nrows: [{text: a}]\n")
    assert catalog.table["watermark_text"].tolist() == [""]


def test_a_row_has_one_kind_of_watermark(tmp_path: Path) -> None:
    row = "{text: a, watermark_text: b, watermark_image: c.png}"
    rule = "row 1 (line 1), watermark_image: give watermark_text or watermark_image, not both"
    assert problems(tmp_path, "a.yaml", f"rows: [{row}]") == [rule]


def test_a_default_holds_where_it_has_an_effect(tmp_path: Path) -> None:
    (tmp_path / "mug.png").write_bytes(b"a picture")
    text = "defaults: {strength: 0.4, lora_name: sketch, lora_weight: 0.5}\nrows:\n- {text: a, image: mug.png}\n"
    catalog = read(tmp_path, "a.yaml", text + "- text: b\n- {text: c, lora_name: ''}\n- {text: d, loras: 'pastel:2'}\n")

    assert catalog.table["strength"].tolist() == [0.4, 0.75, 0.75, 0.75]
    assert catalog.table["lora_weight"].tolist() == [0.5, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "defaults: {strength: 0.4}\nrows: [{text: a}]",
            "defaults, strength: has no effect: no row has a cell for image",
        ),
        (
            "rows: [{text: a, strength: 0.4}]",
            "row 1 (line 1), strength: has no effect without an input picture. Leave it out, or give one",
        ),
        (
            "rows: [{text: a, watermark_position: center}]",
            "row 1 (line 1), watermark_position: has no effect without enable. Leave it out, or say enable: true",
        ),
    ],
)
def test_what_has_no_effect_on_any_row_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, "a.yaml", text) == [problem]


def test_a_shared_mistake_is_reported_once(tmp_path: Path) -> None:
    text = (
        "defaults: {steps: 999, id: a}\nwatermark: {text: x, color: reddish, colour: red}\n"
        "rows:\n- {text: a, size: 1}\n- {text: b, size: 1}\n"
    )
    assert problems(tmp_path, "a.yaml", text) == [
        "watermark, colour: unknown key. Nearest: color.",
        "defaults, id: every row needs an id of its own, so there is no default for it",
        "row 1 (line 4), size: unknown column. Nearest: resolution.",
        "defaults, steps: 999 is above the maximum of 200",
        "defaults, watermark_color: 'reddish' is neither #RRGGBB nor r,g,b with 0 to 255 each",
    ]


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("{type: image}", "watermark, image_path: required by watermark type 'image'"),
        ("{position: tile}", "watermark, text: required by watermark type 'text'"),
        ("{text: a, type: logo}", "watermark, type: 'logo' is not one of text, image."),
        ("{text: a, enable: maybe}", "watermark, enable: 'maybe' is not one of true, false."),
        ("{text: [a]}", "watermark, text: must be a single value, not a list or mapping"),
        ("yes", "watermark: must be a mapping of names to values"),
    ],
)
def test_a_wrong_watermark_is_explained(tmp_path: Path, block: str, problem: str) -> None:
    assert problem in problems(tmp_path, "a.yaml", f"watermark: {block}\nrows: [{{text: a}}]")


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("0 6 * * *", CatalogSchedule("0 6 * * *", "UTC", "changed")),
        ("'@daily'", CatalogSchedule("@daily", "UTC", "changed")),
        (
            "{cron: 30 7 * * MON-FRI, timezone: Asia/Shanghai, policy: reseed}",
            CatalogSchedule("30 7 * * MON-FRI", "Asia/Shanghai", "reseed"),
        ),
    ],
)
def test_a_schedule_is_read(tmp_path: Path, schedule: str, expected: CatalogSchedule) -> None:
    assert read(tmp_path, "a.yaml", f"schedule: {schedule}\nrows: [{{text: a}}]").terms.schedule == expected


def test_a_wrong_schedule_lists_everything(tmp_path: Path) -> None:
    text = "schedule: {cron: at six, timezone: Mars/Olympus, policy: new, when: never}\nrows: [{text: a}]"
    assert problems(tmp_path, "a.yaml", text) == [
        "schedule, when: unknown key. Known: cron, timezone, policy.",
        "schedule, cron: 'at six' is not five fields like '0 6 * * *', nor @daily and the like",
        "schedule, timezone: 'Mars/Olympus' is not a time zone like 'Asia/Shanghai'",
        "schedule, policy: 'new' is not one of changed, reseed.",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rows: []", "the catalog has no rows"),
        ("rows:", "the catalog has no rows"),
        ("rows: a mug", "rows: must be a list of rows"),
        ("rows: [a mug]", "row 1: must be a mapping of columns, such as '- text: a red mug'"),
        ("rows: [{text: [a, b]}]", "row 1 (line 1), text: must be a single value, not a list or mapping"),
        ("rows: [{text: a}]\naxes: {a: [1]}", "axes: axes belong to a 'template:', not to 'rows:'"),
        ("row: [{text: a}]", "row: unknown key. Nearest: rows."),
        ("", "the file must hold keys, 'rows:' or 'template:' and 'axes:' among them"),
        ("- text: a", "the file must hold keys, 'rows:' or 'template:' and 'axes:' among them"),
        ("defaults: {}", "exactly one of 'rows:', 'rows_from:' and 'template:' (with 'axes:') must be given"),
        ("rows: [{text: a}]\nrows: []", "line 2: the key 'rows' is named twice"),
        ("rows:\n- text: a\n  text: b", "line 3: the key 'text' is named twice"),
        ("a: &a [x]\nrows: *a", "line 2: aliases are not used in catalogs; write shared columns under 'defaults:'"),
        ("rows: !!python/object:os.system [x]", "the tag 'tag:yaml.org,2002:python/object:os.system' is not used"),
        ("rows: [{text: a}]\n---\nrows: []", "line 2: a second document starts; a catalog is one document"),
        ("? [a, b]\n: c", "line 1: a key must be plain text"),
        ("rows: " + "[" * 10_000, "line 1: nested more than 8 deep"),
        ("rows: [{text: a}", "did not find expected ',' or ']'"),
        ("rows: \x07", "control characters are not allowed"),
    ],
)
def test_what_is_no_catalog_is_explained(tmp_path: Path, text: str, problem: str) -> None:
    assert any(problem in found for found in problems(tmp_path, "a.yaml", text))


def test_a_bomb_of_aliases_is_refused_at_once(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    rule = "line 2: aliases are not used in catalogs; write shared columns under 'defaults:'"
    assert problems(tmp_path, "a.yaml", bomb) == [rule]


@pytest.mark.parametrize("hours", ["soon", "-1", "1e3", "nan", "[24]", "'24 h'"])
def test_freshness_hours_are_a_number(tmp_path: Path, hours: str) -> None:
    found = problems(tmp_path, "a.yaml", f"freshness_hours: {hours}\nrows: [{{text: a mug}}]\n")
    assert found == ["freshness_hours: must be a number of hours like 24; 0 for never stale"]


def test_freshness_hours_of_a_registered_catalog_win_over_the_settings(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, checks=CheckSettings(freshness_hours=24))
    (tmp_path / "catalogs").mkdir()
    (tmp_path / "catalogs/own.yaml").write_text("freshness_hours: 0.5\nrows: [{text: a mug}]\n")
    (tmp_path / "catalogs/plain.csv").write_text("text\nfreshness_hours: 3\n")

    catalogs = open_catalogs(settings, LocalObjectStore(tmp_path / "store"))
    asked = {name: catalog_freshness_hours(settings, catalogs, name) for name in ("own", "plain", "retired")}

    assert asked == {"own": 0.5, "plain": 24, "retired": 24}
    assert dict(freshness_hours(settings, catalogs)) == {"own": 0.5}
