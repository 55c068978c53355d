"""POST /api/v1/verify: marks of uploaded pictures."""

import io
import json

import pytest
from PIL import Image

from models.image import open_stored_picture
from ops.marking import Marker, user_step
from resources.accounts import Scope
from tests.models.marks.test_invisible import shape_picture
from tests.support.recipes import a_recipe

VERIFY = "/api/v1/verify"
LAYERS = ["c2pa", "iptc", "tc260", "invisible", "recipe"]


@pytest.fixture(scope="module")
def recipe(settings):
    return a_recipe(text="a red mug").with_step(user_step(settings, "ann"))


@pytest.fixture(scope="module")
def marked(settings, service, recipe):
    """A picture that was made here for Ann, as a file."""
    marker = Marker(settings)
    marker.keep(service.store, recipe, "20261130/img_a_256x256.png", "ann", "img_a~1")
    return marker.encode(Image.fromarray(shape_picture(1, 256)), "png", 95, recipe, embed=True)


def stripped(data):
    """What a messenger leaves of a picture."""
    file = io.BytesIO()
    open_stored_picture(data, 10**6).save(file, "JPEG", quality=80)
    return file.getvalue()


def verify(client, data, key=None):
    headers = {"X-API-Key": key} if key else {}
    answer = client.post(VERIFY, files={"file": ("a", data)}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_every_layer_is_told(client, marked):
    answer = verify(client, marked)

    assert answer["message"] == "marks found"
    assert [mark["layer"] for mark in answer["data"]["marks"]] == LAYERS
    assert all(mark["valid"] for mark in answer["data"]["marks"])
    assert answer["data"]["marks"][0]["own"]
    assert answer["data"]["lacks"] == []


def test_the_invisible_mark_alone_leads_the_owner_to_the_recipe_and_others_not(client, service, marked, recipe):
    key = service.accounts.create("ann")
    operator = service.accounts.create("olga", scopes=[Scope.READ, Scope.OPERATE])
    picture = stripped(marked)

    owners, others, operators = (verify(client, picture, who)["data"] for who in (key, None, operator))

    assert [mark["layer"] for mark in owners["marks"]] == ["invisible"]
    assert owners["records"][0]["recipe"] == json.loads(recipe.to_json())
    assert owners["records"] == operators["records"]
    assert others["records"][0]["produce_id"] == recipe.digest
    assert (others["records"][0]["recipe"], others["records"][0]["key"]) == (None, "")
    assert "red mug" not in str(others)


def test_a_strangers_picture_has_no_marks(client):
    file = io.BytesIO()
    Image.new("RGB", (300, 200), "teal").save(file, "BMP")

    answer = verify(client, file.getvalue())

    assert answer["message"].startswith("no marks found")
    assert (answer["data"]["marks"], answer["data"]["records"]) == ([], [])


def test_a_changed_file_is_told(client, marked):
    answer = verify(client, marked.replace(b'"Label":"1"', b'"Label":"2"'))

    wrong = {mark["layer"]: mark["says"] for mark in answer["data"]["marks"] if not mark["valid"]}
    assert wrong == {
        "c2pa": "not valid: assertion.dataHash.mismatch",
        "tc260": "its fields were changed: ReservedCode1 is not theirs",
    }


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"files": {"file": ("a", b"no picture")}}, 422),
        ({"files": {"picture": ("a", b"x")}}, 422),
        ({"files": {"file": ("a", b"x")}, "data": {"more": "1"}}, 422),
        ({"json": {}}, 400),
    ],
)
def test_what_is_no_picture_is_refused(client, form, code):
    assert client.post(VERIFY, **form).status_code == code


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "gif", "bmp"])
def test_a_picture_that_was_cut_off_is_refused_by_its_field(client, format):
    file = io.BytesIO()
    Image.fromarray(shape_picture(1, 256)).save(file, format)
    size = len(file.getvalue())
    for part in (size // 2, size - size // 8):
        answer = client.post(VERIFY, files={"file": ("a", file.getvalue()[:part])})
        assert answer.status_code in (200, 422), answer.text
        assert answer.status_code == 200 or answer.json()["data"]["problems"][0]["field"] == "file"


def test_a_key_is_needed_and_must_be_one_that_may_read(client, service, marked):
    submits = service.accounts.create("sue", scopes=[Scope.SUBMIT])

    for key, code in (("", 401), (submits, 403)):
        answer = client.post(VERIFY, files={"file": ("a", marked)}, headers={"X-API-Key": key})
        assert answer.status_code == code
