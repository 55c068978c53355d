"""Catalogs at a web address: who may see them, what they show, and that no verdict is lost."""

import json
import time
from urllib.parse import quote

import httpx
import pytest

from gateway.main import open_service
from io_managers.image_set import manifest_key
from io_managers.live_progress import publish_progress
from ops.catalog.rows import ReviewPolicy
from ops.review.verdicts import CatalogVerdicts
from resources.dagster_names import THUMBNAILS
from tests.support.reviewed_catalog import store_reviewed
from tests.support.running_gateway import running_gateway

API = "/api/v1/catalogs"


def verdict(row, n=0, **said):
    return {"id": f"verdict-{row.row_id}-{n}", "recipe": row.recipe_digest, "row": row.row_id, **said}


def judge(client, catalog, *verdicts):
    return client.post(f"{API}/{catalog}/verdicts", json={"verdicts": list(verdicts)})


@pytest.mark.parametrize(
    ("path", "method"),
    [("", "GET"), ("/mugs", "GET"), ("/mugs/state", "GET"), ("/mugs/picture/00", "GET"), ("/mugs/verdicts", "POST")],
)
def test_only_a_key_with_the_scope_sees_a_catalog(reviewing, person, path, method) -> None:
    store_reviewed(reviewing.service.store, "mugs", 2)
    assert httpx.request(method, f"{reviewing.url}{API}{path}").status_code == 401
    answer = person("bob", ("submit", "read")).request(method, f"{API}{path}")
    assert answer.status_code == 403
    assert "has not the scope 'review'" in answer.json()["message"]


def test_the_pages_themselves_hold_nothing_and_run_only_their_own_scripts(reviewing) -> None:
    for path in ("/catalogs", "/catalogs/nobody-knows", "/galleries/gallery.js", "/galleries/galleries.css"):
        answer = httpx.get(reviewing.url + path)
        assert answer.status_code == 200
        assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert httpx.get(f"{reviewing.url}/galleries/secret.js").status_code == 404


def test_the_index_shows_each_catalog_with_its_review_and_its_run(reviewing, person) -> None:
    store, ann = reviewing.service.store, person()
    rows = store_reviewed(store, "mugs", 5, review=ReviewPolicy(required=True, owner="ann@shop.example"))
    store_reviewed(store, "春装", 2, failed=0)
    judge(ann, "mugs", verdict(rows[0], state="approved"), verdict(rows[1], state="rejected", star=True))
    publish_progress(store, "mugs", "generated_images", {"made": 3, "failed": 1, "total": 10})
    found = ann.get(API).json()["data"]
    assert [one["name"] for one in found["catalogs"]] == ["mugs", "春装"]
    mugs = found["catalogs"][0]
    expected = {"rows": 5, "pictures": 4, "failed": 1, "unreviewed": 2, "approved": 1, "rejected": 1, "starred": 1}
    assert mugs["counts"] == expected
    assert mugs["review"] == {"required": True, "remake": 0, "owner": "ann@shop.example", "flagged": False}
    assert (mugs["progress"]["made"], mugs["progress"]["total"]) == (3, 10)
    assert len(mugs["covers"]) == 4
    assert [one["name"] for one in ann.get(API, params={"search": "春"}).json()["data"]["catalogs"]] == ["春装"]
    assert ann.get(API, params={"serach": "春"}).status_code == 422
    publish_progress(store, "mugs", "generated_images", None)
    assert ann.get(API).json()["data"]["catalogs"][0]["progress"] is None


def test_a_gallery_opens_its_pictures_and_saves_them_by_their_rows(reviewing, person) -> None:
    ann, rows = person(), store_reviewed(reviewing.service.store, "春装", 3)
    told = ann.get(f"{API}/{quote('春装')}").json()["data"]
    shown = [dict(zip(told["columns"], values, strict=True)) for values in told["rows"]]
    assert [one["row_id"] for one in shown] == ["mug-0", "mug-1", "mug-2"]
    assert (shown[2]["status"], shown[2]["error"], shown[2]["file"]) == ("failed", "the mask is empty", "")
    assert json.loads(shown[1]["carry"]) == {"Kind": "jug"}
    path = f"{reviewing.url}/catalogs/{quote('春装')}/file/{shown[0]['file']}"
    picture = httpx.get(path, params={"token": told["token"], "save": "Mug 1/2 «红»"})
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/webp")
    assert picture.headers["content-disposition"].startswith("attachment; filename*=UTF-8''Mug%201_2%20")
    assert picture.content == reviewing.service.store.get(rows[0].key)
    other = f"{reviewing.url}/catalogs/mugs/file/{shown[0]['file']}"
    for url, token in ((path, ""), (path, told["token"][:-1] + "0"), (other, told["token"])):
        assert httpx.get(url, params={"token": token}).status_code == 403
    missing = f"{reviewing.url}/catalogs/{quote('春装')}/file/other.webp"
    assert httpx.get(missing, params={"token": told["token"]}).status_code == 404


def test_a_gallery_leads_to_dagster_where_that_is_said(reviewing, person, monkeypatch) -> None:
    store_reviewed(reviewing.service.store, "春装", 1)
    address, ann, settings = f"{API}/{quote('春装')}", person(), reviewing.service.settings
    assert ann.get(address).json()["data"]["dagster_url"] == ""
    alerts = settings.alerts.model_copy(update={"ui_url": "https://dagster.example/"})
    monkeypatch.setattr(reviewing.service, "settings", settings.model_copy(update={"alerts": alerts}))
    told = ann.get(address).json()["data"]["dagster_url"]
    assert told == "https://dagster.example/assets/gallery?partition=%E6%98%A5%E8%A3%85"


def test_a_new_picture_is_not_shown_with_the_thumbnail_of_the_one_before(reviewing, person) -> None:
    store, ann = reviewing.service.store, person()
    store_reviewed(store, "mugs", 2, failed=0)
    small = store.get(manifest_key(THUMBNAILS, "mugs"))
    new = store_reviewed(store, "mugs", 2, failed=0, edition=1)
    store.put(manifest_key(THUMBNAILS, "mugs"), small, content_type="application/octet-stream")
    told = ann.get(f"{API}/mugs").json()["data"]
    assert [row[-2:] for row in told["rows"]] == [[row.key.rpartition("/")[2], ""] for row in new]


def test_verdicts_are_told_to_others_with_who_and_when_and_outlive_the_gateway(reviewing, person) -> None:
    ann, bob = person("ann"), person("bob")
    rows = store_reviewed(reviewing.service.store, "mugs", 3)
    assert ann.get(f"{API}/mugs/state").json()["data"]["verdicts_version"] == ""
    began = time.time()
    assert judge(ann, "mugs", verdict(rows[0], state="rejected", reason="blurred")).json()["data"] == {"recorded": 1}
    judge(bob, "mugs", verdict(rows[0], 1, state="approved"), verdict(rows[1], star=True))
    given = [one for one in reviewing.service.audit.read() if one["event"] == "verdicts.given"]
    assert [(one["who"], one["catalog"]) for one in given] == [("ann", "mugs"), ("bob", "mugs")]
    state = bob.get(f"{API}/mugs/state").json()["data"]
    first = state["verdicts"][rows[0].recipe_digest]
    assert (first[:4], began <= first[4] <= time.time()) == (["approved", False, "", "bob"], True)
    assert "verdicts" not in bob.get(f"{API}/mugs/state", params={"known": state["verdicts_version"]}).json()["data"]
    told = ann.get(f"{API}/mugs/picture/{rows[0].recipe_digest}").json()["data"]
    assert [(one["by"], one["state"], one["reason"]) for one in told["history"]] == [
        ("bob", "approved", ""),
        ("ann", "rejected", "blurred"),
    ]
    assert json.loads(told["recipe"])["seed"] == 0
    restarted = open_service(reviewing.service.settings)
    with running_gateway(restarted) as another:
        key = {"X-API-Key": ann.headers["X-API-Key"]}
        again = httpx.get(f"{another.url}{API}/mugs/state", headers=key).json()["data"]
        assert again["verdicts"] == state["verdicts"]
    restarted.queue.close()


def test_a_picture_that_comes_back_keeps_what_was_said_of_it(reviewing, person) -> None:
    store, ann = reviewing.service.store, person()
    rows = store_reviewed(store, "mugs", 3, failed=0)
    judge(ann, "mugs", *(verdict(row, state="approved") for row in rows))
    store_reviewed(store, "mugs", 3, failed=0, edition=1)
    assert ann.get(API).json()["data"]["catalogs"][0]["counts"]["unreviewed"] == 3
    store_reviewed(store, "mugs", 3, failed=0)
    assert ann.get(API).json()["data"]["catalogs"][0]["counts"]["approved"] == 3


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "verdicts"),
        ({"verdicts": []}, "verdicts"),
        ({"verdicts": [], "by": "somebody else"}, "by"),
        ({"verdicts": [7]}, "verdicts.0"),
        ({"verdicts": [{"id": "12345678", "recipe": "../../x", "row": "1", "state": "approved"}]}, "verdicts.0.recipe"),
        ({"verdicts": [{"id": "12345678", "recipe": "0" * 64, "row": "1", "state": "fine"}]}, "verdicts.0.state"),
        ({"verdicts": [{"id": "12345678", "recipe": "0" * 64, "row": "1"}]}, "verdicts.0.state"),
        ({"verdicts": [{"id": "12345678", "recipe": "0" * 64, "row": "1", "star": 1}]}, "verdicts.0.star"),
        ({"verdicts": [{"id": "12345678", "recipe": "0" * 64, "row": "", "star": True}]}, "verdicts.0.row"),
        (
            {"verdicts": [{"id": "12345678", "recipe": "0" * 64, "row": "1", "star": True, "reason": "x" * 501}]},
            "verdicts.0.reason",
        ),
    ],
)
def test_a_verdict_that_cannot_be_is_refused_by_its_field(reviewing, person, given, field) -> None:
    store_reviewed(reviewing.service.store, "mugs", 2)
    answer = person().post(f"{API}/mugs/verdicts", json=given)
    assert answer.status_code == 422
    assert answer.json()["data"]["problems"][0]["field"] == field
    assert CatalogVerdicts(reviewing.service.store, "mugs").all() == []


@pytest.mark.parametrize("name", ["nobody", "..", "a%2Fb", "x" * 300])
def test_a_catalog_that_is_not_there_is_a_404(reviewing, person, name) -> None:
    for answer in (person().get(f"{API}/{name}"), judge(person(), name)):
        assert answer.status_code == 404
