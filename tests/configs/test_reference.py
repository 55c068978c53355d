import re

from configs.reference import REFERENCE, reference
from configs.settings import PACKAGE_ROOT, Settings


def test_the_reference_is_up_to_date():
    assert REFERENCE.read_text(encoding="utf-8") == reference(), "run: python -m configs.reference"


def test_every_setting_stands_in_it_with_its_variable_and_what_it_is():
    page = reference()
    for section, field in Settings.model_fields.items():
        for name in getattr(field.annotation, "model_fields", {}):
            (row,) = re.findall(rf"^\| `{section}\.{name}` \|.*$", page, re.MULTILINE)
            assert f"`IMAGEGENX_{section.upper()}__{name.upper()}`" in row
            assert row.split(" | ")[-1].removesuffix(" |"), row


def test_nothing_in_it_depends_on_the_machine():
    assert str(PACKAGE_ROOT) not in reference()
