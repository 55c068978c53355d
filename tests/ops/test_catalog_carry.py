"""What a catalog carries along, and what it says of its review."""

import json

import pytest

from ops.catalog.problems import CatalogError
from ops.catalog.reading import CARRY
from ops.catalog.registered import RegisteredCatalogs
from ops.catalog.rows import ReviewPolicy
from resources.local_store import LocalObjectStore
from tests.support.catalog_writer import REGISTRY, problems, read, write

PRODUCTS = "SKU,Title,Vendor,Note\nm1,a red mug,Ada,\nm2,a teal mug,Bob,“new”\n"


def carried(catalog):
    return [json.loads(cell) if cell else {} for cell in catalog.table[CARRY]]


@pytest.mark.parametrize(
    ("carry", "expected"),
    [
        ("[Vendor, Note]", [{"Vendor": "Ada"}, {"Vendor": "Bob", "Note": "“new”"}]),
        ("Vendor", [{"Vendor": "Ada"}, {"Vendor": "Bob"}]),
        (
            '"*"',
            [
                {"SKU": "m1", "Title": "a red mug", "Vendor": "Ada"},
                {"SKU": "m2", "Title": "a teal mug", "Vendor": "Bob", "Note": "“new”"},
            ],
        ),
    ],
)
def test_columns_of_a_table_travel_along(tmp_path, carry, expected) -> None:
    write(tmp_path, "products.csv", PRODUCTS)
    yaml = f'rows_from: products.csv\ntemplate: "{{Title}} on white"\ncolumns: {{id: SKU}}\ncarry: {carry}\n'
    assert carried(read(tmp_path, "shop.yaml", yaml)) == expected


def test_keys_of_rows_travel_along_and_change_no_picture(tmp_path) -> None:
    rows = "rows:\n- {id: a, text: a mug, Campaign: spring, seed: 3}\n- {id: b, text: a jug}\n"
    catalog = read(tmp_path, "shop.yaml", f"carry: [Campaign]\n{rows}")
    assert carried(catalog) == [{"Campaign": "spring"}, {}]
    plain = read(tmp_path, "plain.yaml", rows.replace("Campaign: spring, ", ""))
    assert list(catalog.requests()) == list(plain.requests())
    assert CARRY not in plain.table


def test_what_cannot_be_carried_or_reviewed_is_refused(tmp_path) -> None:
    write(tmp_path, "products.csv", PRODUCTS)
    table = 'rows_from: products.csv\ntemplate: "{Title}"\n'
    assert problems(tmp_path, "a.yaml", f"{table}carry: [Vendr]") == [
        "carry, Vendr: the table has no such column. Nearest: Vendor."
    ]
    found = problems(tmp_path, "b.yaml", f"{table}review: sometimes\nremake: 99\nowner: [a]")
    assert [one.partition(":")[0] for one in found] == ["review", "remake", "owner"]
    template = "template: '{c} mug'\naxes: {c: [red]}\ncarry: [c]"
    assert problems(tmp_path, "c.yaml", template) == ["carry: belongs to 'rows:' or 'rows_from:'"]


def test_what_is_set_of_a_catalog_holds_until_it_is_taken_back(tmp_path) -> None:
    catalogs = RegisteredCatalogs(LocalObjectStore(tmp_path / "store"), renew_after_s=60)
    file = write(tmp_path, "mugs.csv", "text\na mug\n")
    catalogs.register(file, REGISTRY)
    catalogs.give(
        "mugs", {"review": "required", "owner": "ann", "cron": "0 6 * * 1", "freshness_hours": "24"}, REGISTRY
    )
    catalogs.register(write(tmp_path, "mugs.csv", "text\na mug\na jug\n"), REGISTRY)
    known = catalogs.get("mugs")
    assert (known.review, known.freshness_hours) == (ReviewPolicy(required=True, owner="ann"), 24)
    assert known.schedule.cron == "0 6 * * 1"
    catalogs.give("mugs", {"cron": "", "remake": "2"}, REGISTRY)
    known = catalogs.get("mugs")
    assert (known.schedule, known.review) == (None, ReviewPolicy(required=True, remake=2, owner="ann"))
    with pytest.raises(CatalogError, match="unknown key. Nearest: review."):
        catalogs.give("mugs", {"reveiw": "required"}, REGISTRY)
    assert catalogs.get("mugs") == known
