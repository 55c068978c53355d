"""Verdicts on pictures, in a local store and in a real S3."""

import threading
import time
import uuid

import pytest

from configs.lifecycle_settings import RetentionSettings
from ops.review.verdicts import CatalogVerdicts, State, merge_verdicts, new_verdict, rejections
from ops.store_life.collecting import collect_garbage
from ops.store_life.retention import Retention
from ops.store_life.tasks import TaskReferences
from resources.local_store import LocalObjectStore
from resources.s3_store import S3ObjectStore


@pytest.fixture(params=["local", "s3"])
def store(request, tmp_path):
    if request.param == "local":
        return LocalObjectStore(tmp_path)
    server = request.getfixturevalue("s3_server")
    store = S3ObjectStore(server.settings(prefix=f"verdicts-{uuid.uuid4().hex}"))
    store.check()
    return store


def said(store, catalog="mugs"):
    return {
        recipe: (one.state.value, one.star, one.reason, one.by)
        for recipe, one in CatalogVerdicts(store, catalog).standings().items()
    }


def test_the_last_word_holds_and_a_star_is_a_word_of_its_own(store) -> None:
    verdicts = CatalogVerdicts(store, "mugs")
    verdicts.record([new_verdict("a", "1", "ann", state=State.REJECTED, reason="blurred, 模糊")])
    verdicts.record([new_verdict("a", "1", "bob", star=True), new_verdict("b", "2", "bob", state=State.APPROVED)])
    assert said(store) == {"a": ("rejected", True, "blurred, 模糊", "ann"), "b": ("approved", False, "", "bob")}
    verdicts.record([new_verdict("a", "1", "bob", state=State.UNREVIEWED)])
    assert said(store)["a"] == ("unreviewed", True, "", "bob")
    assert said(store, "cups") == {}


def test_the_last_word_holds_also_over_one_by_a_clock_that_was_ahead(store, monkeypatch) -> None:
    with monkeypatch.context() as ahead:
        ahead.setattr("ops.review.verdicts.time.time", lambda: 4e9)
        CatalogVerdicts(store, "mugs").record([new_verdict("a", "1", "ann", state=State.APPROVED)])
    for state, by in ((State.REJECTED, "bob"), (State.UNREVIEWED, "ann"), (State.REJECTED, "cid")):
        CatalogVerdicts(store, "mugs").record([new_verdict("a", "1", by, state=state)])
        assert said(store)["a"] == (state.value, False, "", by)


def test_many_people_at_once_lose_nothing_while_their_verdicts_are_merged(store) -> None:
    def review(person):
        verdicts = CatalogVerdicts(store, "mugs")
        for n in range(8):
            verdicts.record([new_verdict(f"{person}-{n}", str(n), person, state=State.APPROVED)])

    people = [threading.Thread(target=review, args=(f"p{n}",)) for n in range(4)]
    reader, ended = CatalogVerdicts(store, "mugs"), threading.Event()
    seen: list[int] = []

    def read() -> None:
        while not ended.is_set():
            merge_verdicts(store, at_least=5)
            seen.append(len(reader.standings()))

    reading = threading.Thread(target=read)
    for thread in (*people, reading):
        thread.start()
    for thread in people:
        thread.join()
    ended.set()
    reading.join()
    assert seen == sorted(seen), "a reader saw a verdict go"
    merge_verdicts(store, at_least=2)
    assert len(list(store.list("verdicts/mugs/"))) == 1
    assert len(said(store)) == len(reader.standings()) == 32


def test_a_verdict_sent_twice_is_one_and_the_version_tells_of_news(store) -> None:
    verdicts = CatalogVerdicts(store, "mugs")
    assert verdicts.version() == ""
    one = new_verdict("a", "1", "ann", id="sent-1", state=State.REJECTED)
    verdicts.record([one])
    before = verdicts.version()
    verdicts.record([one])
    assert verdicts.version() != before
    assert verdicts.all() == [one] == CatalogVerdicts(store, "mugs").all()
    assert rejections(verdicts.all()) == {"1": {"a"}}


def test_verdicts_stay_when_everything_else_of_a_retired_catalog_has_gone(store) -> None:
    CatalogVerdicts(store, "mugs").record([new_verdict("a", "1", "ann", state=State.APPROVED)])
    later = Retention(RetentionSettings(), time.time() + 1000 * 24 * 3600, None)
    for _ in range(2):
        collect_garbage(store, later, registered=lambda: {"cups"}, tasks=TaskReferences())
    assert said(store) == {"a": ("approved", False, "", "ann")}
