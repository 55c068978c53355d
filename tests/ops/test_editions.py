"""Editions of a catalog."""

import pandas as pd
import pytest

from io_managers.image_set import manifest_key
from ops.editions import (
    IMAGE_SETS,
    Made,
    RowChange,
    Wanted,
    begin_edition,
    edited,
    edition_folder,
    edition_seed,
    finish_edition,
    made_edition,
    request_changes,
    request_edition,
    reseeded,
    wanted_edition,
)
from ops.gallery_page import contact_sheet_key, gallery_key
from resources.local_store import LocalObjectStore


@pytest.fixture
def store(tmp_path):
    return LocalObjectStore(tmp_path)


def publish(store, content):
    """What a run of a whole catalog leaves."""
    for key in (*(manifest_key(asset, "shop") for asset in IMAGE_SETS), contact_sheet_key("shop"), gallery_key("shop")):
        store.put(key, content, content_type="text/plain")


def make(store, *, asked_by, keep=2):
    """Ask for an edition and make it."""
    request_edition(store, "shop", asked_by)
    number = begin_edition(store, "shop")
    publish(store, f"edition {number}".encode())
    finish_edition(store, "shop", keep=keep)
    return number


def editions(store):
    return {key.key.split("/")[1] for key in store.list("editions/") if key.key.endswith("index.html")}


def test_a_catalog_begins_with_edition_0_and_its_own_seeds(store):
    table = pd.DataFrame({"id": ["a"], "seed": [7]})

    assert begin_edition(store, "shop") == 0
    assert reseeded(table, Wanted())["seed"].tolist() == [7]
    finish_edition(store, "shop", keep=1)
    assert list(store.list("editions/")) == []


def test_every_edition_has_other_seeds_that_stay_the_same():
    seeds = [edition_seed(seed, edition) for seed in (0, 7, 2**53 - 1) for edition in (1, 2)]

    assert len(set(seeds)) == 6
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert edition_seed(7, 1) == 3617640167


def test_asking_again_under_the_same_name_or_before_an_edition_is_complete_adds_none(store):
    assert request_edition(store, "shop", "monday") == 1
    assert request_edition(store, "shop", "monday") == 1
    assert request_edition(store, "shop", "tuesday") == 1
    begin_edition(store, "shop")
    finish_edition(store, "shop", keep=2)
    assert request_edition(store, "shop", "wednesday") == 2
    assert begin_edition(store, "shop") == 2


def test_the_previous_edition_is_kept_whole_from_before_the_first_new_picture(store):
    publish(store, b"edition 0")
    request_edition(store, "shop", "monday")

    begin_edition(store, "shop")
    publish(store, b"edition 1, half of it")
    begin_edition(store, "shop")  # the run failed and is run again

    folder = edition_folder("shop", 0)
    kept = {one.key: store.get(one.key) for one in store.list(folder)}
    assert set(kept) == {f"{folder}{name}" for name in ("index.html", "contact_sheet.png")} | {
        f"{folder}{asset}.parquet" for asset in IMAGE_SETS
    }
    assert set(kept.values()) == {b"edition 0"}
    assert made_edition(store, "shop") == Made(0, (0,))


def test_copies_beyond_retention_go_when_a_newer_edition_is_complete(store):
    publish(store, b"edition 0")
    assert make(store, asked_by="1") == 1
    assert editions(store) == {"shop@0"}
    assert make(store, asked_by="2") == 2
    assert editions(store) == {"shop@1"}
    assert store.get(f"{edition_folder('shop', 1)}index.html") == b"edition 1"
    assert make(store, asked_by="3", keep=3) == 3
    assert editions(store) == {"shop@1", "shop@2"}
    assert make(store, asked_by="4", keep=1) == 4
    assert editions(store) == set()
    assert made_edition(store, "shop") == Made(4, ())


def test_an_edition_asked_for_during_a_run_is_made_by_the_next_beside_a_copy_of_what_that_run_made(store):
    begin_edition(store, "shop")
    request_edition(store, "shop", "monday")
    publish(store, b"edition 0")
    finish_edition(store, "shop", keep=2)
    assert made_edition(store, "shop") == Made(0, ())

    assert begin_edition(store, "shop") == 1
    publish(store, b"edition 1")
    finish_edition(store, "shop", keep=2)

    assert made_edition(store, "shop") == Made(1, (0,))
    assert store.get(f"{edition_folder('shop', 0)}index.html") == b"edition 0"


class Killed(LocalObjectStore):
    """A store whose process ends before it changes one more of such keys."""

    def __init__(self, root, ending):
        super().__init__(root)
        self.ending = ending

    def put(self, key, data, *, content_type):
        if key.endswith(self.ending):
            raise KeyboardInterrupt
        return super().put(key, data, content_type=content_type)


def test_a_run_that_is_killed_between_the_copies_and_their_record_leaves_none_behind(tmp_path, store):
    publish(store, b"edition 0")
    request_edition(store, "shop", "monday")
    with pytest.raises(KeyboardInterrupt):
        begin_edition(Killed(tmp_path, "@made.json"), "shop")
    assert begin_edition(store, "shop") == 1
    assert made_edition(store, "shop") == Made(0, (0,))

    publish(store, b"edition 1")
    with pytest.raises(KeyboardInterrupt):
        finish_edition(Killed(tmp_path, "@made.json"), "shop", keep=1)
    finish_edition(store, "shop", keep=1)

    assert made_edition(store, "shop") == Made(1, ())
    assert {one.key for one in store.list("editions/")} == {"editions/shop@made.json", "editions/shop@wanted.json"}


def seeds(store, table):
    return reseeded(table, wanted_edition(store, "shop"))["seed"].tolist()


def texts(store, table):
    return edited(table, wanted_edition(store, "shop"))["text"].tolist()


TABLE = pd.DataFrame({"id": ["a", "b"], "seed": [7, 8], "text": ["a mug", "a jug"]})


def test_an_edited_prompt_is_a_new_edition_that_reseeds_no_row(store):
    make(store, asked_by="1")
    before = seeds(store, TABLE)

    number = request_changes(store, "shop", {"a": RowChange(text="a red mug", shown="a mug")}, "wish-1")

    assert (number, request_changes(store, "shop", {"a": RowChange(reseed=True)}, "wish-1")) == (2, 2)
    assert texts(store, TABLE) == ["a red mug", "a jug"]
    assert seeds(store, TABLE) == before
    begin_edition(store, "shop")
    finish_edition(store, "shop", keep=2)
    assert made_edition(store, "shop") == Made(2, (1,))


def test_an_edit_lapses_once_the_file_has_another_prompt_and_can_be_taken_back(store):
    request_changes(store, "shop", {"a": RowChange(text="a red mug", shown="a mug")}, "wish-1")
    request_changes(store, "shop", {"a": RowChange(text="a blue mug", shown="a red mug")}, "wish-2")
    assert texts(store, TABLE) == ["a blue mug", "a jug"]
    assert texts(store, TABLE.assign(text=["a green mug", "a jug"])) == ["a green mug", "a jug"]

    request_changes(store, "shop", {"a": RowChange(text="a mug", shown="a blue mug")}, "wish-3")

    assert wanted_edition(store, "shop").texts == {}


def test_a_row_gets_a_seed_back_and_from_there_new_ones(store):
    request_changes(store, "shop", {"a": RowChange(reseed=True)}, "wish-1")
    first = seeds(store, TABLE)
    assert (first[0] != 7, first[1]) == (True, 8)
    request_changes(store, "shop", {"a": RowChange(seed=7)}, "wish-2")
    assert seeds(store, TABLE) == [7, 8]
    request_changes(store, "shop", {"a": RowChange(reseed=True)}, "wish-3")
    assert seeds(store, TABLE) == first


def test_new_seeds_for_all_that_are_asked_for_beside_an_edit_are_not_lost(store):
    request_changes(store, "shop", {"a": RowChange(text="a red mug", shown="a mug")}, "wish-1")
    assert request_edition(store, "shop", "monday") == 1
    assert not set(seeds(store, TABLE)) & {7, 8}
    assert texts(store, TABLE) == ["a red mug", "a jug"]


def test_going_back_and_forth_never_gives_a_number_or_a_seed_twice(store):
    publish(store, b"0")
    seen = [seeds(store, TABLE)]
    for number, back in ((1, None), (2, 7), (3, None)):
        if back:
            request_changes(store, "shop", {"a": RowChange(seed=7), "b": RowChange(seed=8)}, "back")
            assert seeds(store, TABLE) == [7, 8]
        assert make(store, asked_by=f"{number}", keep=9) == number
        seen.append(seeds(store, TABLE))
    assert len({tuple(one) for one in seen}) == 4
