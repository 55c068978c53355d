import json
import os

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from ops.catalog.refused import refused_files
from resources.dagster_names import CATALOG_FILES
from resources.local_store import LocalObjectStore
from resources.object_store import StoreAccessError, StoreUnavailableError
from sensors.catalog_source import catalog_source

GOOD = "id,text,model_type\na,a mug,own\n"


@pytest.fixture
def inbox(tmp_path, studio):
    folder = tmp_path / "home/inbox"
    folder.mkdir(parents=True)
    return folder


def look_twice(ticker):
    ticker.tick(catalog_source)
    return ticker.tick(catalog_source)


def partitions(ticker):
    return sorted(ticker.instance.get_dynamic_partitions("catalogs"))


def test_a_dropped_catalog_becomes_a_partition_and_a_run(ticker, inbox):
    (inbox / "shop.csv").write_text(GOOD)

    result = look_twice(ticker)

    assert partitions(ticker) == ["shop"]
    assert [request.partition_key for request in result.run_requests] == ["shop"]
    (observation,) = result.asset_events
    assert (observation.partition, observation.metadata["state"].value) == ("shop", "registered")


def test_many_changed_catalogs_share_a_backfill(ticker, inbox):
    names = [f"c{number}" for number in range(5)]
    for name in names:
        (inbox / f"{name}.csv").write_text(GOOD)

    result = look_twice(ticker)

    assert result.run_requests == []
    assert ticker.backfills() == [("5 new or changed catalogs", names)]


def test_an_edited_catalog_is_run_again_also_when_it_comes_back_to_what_it_was(ticker, inbox):
    keys = []
    for text in (GOOD, GOOD.replace("mug", "cup"), GOOD):
        (inbox / "shop.csv").write_text(text)
        (request,) = look_twice(ticker).run_requests
        keys.append(request.run_key)

    assert len(set(keys)) == 3


def test_a_tick_that_is_evaluated_twice_asks_for_the_same_run(ticker, inbox):
    (inbox / "shop.csv").write_text(GOOD)
    ticker.tick(catalog_source)
    before = dict(ticker.cursors)
    first = ticker.tick(catalog_source)
    ticker.cursors = before

    assert ticker.tick(catalog_source).run_requests == first.run_requests


def test_a_refused_catalog_is_observed_once_with_its_problems_and_named_in_every_tick(ticker, inbox):
    (inbox / "bad.csv").write_text("id,text,steps\na,,many\n")
    (inbox / "good.csv").write_text(GOOD)

    result = look_twice(ticker)
    after = ticker.tick(catalog_source)

    refused = next(event for event in result.asset_events if getattr(event, "partition", "") == "bad")
    assert refused.metadata["count"].value == 2
    problems = [record.data for record in refused.metadata["problems"].records]
    assert [(one["place"], one["column"]) for one in problems] == [("line 2", "text"), ("line 2", "steps")]
    assert "'many' is not a whole number" in problems[1]["problem"]
    assert partitions(ticker) == ["good"]
    assert after.asset_events == []
    assert after.skip_reason.skip_message == "Refused: bad.csv: catalog 'bad': 2 problems"


def accepted(result):
    return [event for event in result.asset_events if isinstance(event, dg.AssetCheckEvaluation)]


def test_the_check_accepted_fails_while_a_file_is_refused_and_passes_once_it_is_right(ticker, inbox, tmp_path):
    store = LocalObjectStore(tmp_path / "home/store")
    (inbox / "good.csv").write_text(GOOD)
    assert accepted(look_twice(ticker)) == []
    (inbox / "bad.csv").write_text("id,text,steps\na,,many\n")
    (inbox / "photo.csv").write_text("id,text,model_type,image\na,a mug,own,later.png\n")
    (found,) = accepted(look_twice(ticker))
    assert (found.asset_key, found.check_name) == (dg.AssetKey(CATALOG_FILES), "accepted")
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "bad.csv: catalog 'bad': 2 problems" in found.description
    assert {file: one.waits for file, one in refused_files(store).items()} == {"bad.csv": False, "photo.csv": True}
    assert accepted(ticker.tick(catalog_source)) == []
    (inbox / "bad.csv").unlink()
    (waiting,) = accepted(ticker.tick(catalog_source))
    assert (waiting.passed, waiting.severity) == (False, dg.AssetCheckSeverity.WARN)
    (inbox / "photo.csv").unlink()
    (passed,) = accepted(ticker.tick(catalog_source))
    assert passed.passed
    assert refused_files(store) == {}


def test_a_catalog_whose_file_is_gone_loses_its_partition(ticker, inbox):
    (inbox / "shop.csv").write_text(GOOD)
    look_twice(ticker)
    (inbox / "shop.csv").unlink()

    look_twice(ticker)

    assert partitions(ticker) == []


def test_a_catalog_in_a_backfill_keeps_its_partition_until_that_has_ended(ticker, inbox):
    for name in "abcd":
        (inbox / f"{name}.csv").write_text(GOOD)
    look_twice(ticker)
    (inbox / "a.csv").unlink()
    look_twice(ticker)
    assert partitions(ticker) == ["a", "b", "c", "d"]

    ticker.end_backfills(BulkActionStatus.COMPLETED_SUCCESS)
    ticker.tick(catalog_source)

    assert partitions(ticker) == ["b", "c", "d"]


def test_between_two_looks_nothing_is_looked_at(ticker, inbox):
    ticker.tick(catalog_source)
    (inbox / "shop.csv").write_text(GOOD)
    cursor = ticker.cursors["catalog_source"]

    from dagster import build_sensor_context

    with build_sensor_context(
        instance=ticker.instance,
        cursor=cursor,
        repository_def=ticker.repository,
        sensor_name="catalog_source",
        resources=ticker.resources,
    ) as context:
        result = catalog_source(context)

    assert result.skip_reason.skip_message == "The next look is not due yet."
    assert result.cursor is None


def test_the_cursor_stays_short_and_an_earlier_versions_cursor_is_read(ticker, inbox, tmp_path):
    names = [f"c{number}" for number in range(40)]
    for name in names:
        (inbox / f"{name}.csv").write_text(GOOD)
    look_twice(ticker)
    assert len(ticker.cursors["catalog_source"]) < 100
    (kept,) = [
        file for file in (tmp_path / "home/store/sensors/catalog_source").iterdir() if "digest" in file.read_text()
    ]
    state = json.loads(kept.read_text())
    assert sorted(state[f"folder:{inbox}"]["known"]) == sorted(f"{name}.csv" for name in names)

    ticker.cursors["catalog_source"] = f"0.000\n{kept.read_text()}"
    again = ticker.tick(catalog_source)

    assert again.skip_reason.skip_message == "No catalog has changed."
    assert len(ticker.cursors["catalog_source"]) < 100


@pytest.fixture
def prefix_too(ticker, monkeypatch):
    """A watched prefix beside the folder, which the store does not list."""
    monkeypatch.setenv("IMAGEGENX_CATALOG_SOURCE__PREFIX", "catalogs/")
    listed = LocalObjectStore.list

    def away(store, prefix=""):
        if prefix == "catalogs/":
            raise StoreUnavailableError("the store is away")
        return listed(store, prefix)

    monkeypatch.setattr(LocalObjectStore, "list", away)


@pytest.mark.usefixtures("prefix_too")
def test_a_source_that_is_away_holds_up_no_other_and_fails_the_ticks_that_find_nothing_else(ticker, inbox):
    (inbox / "shop.csv").write_text(GOOD)

    waiting = ticker.tick(catalog_source)
    taken = ticker.tick(catalog_source)

    assert waiting.skip_reason.skip_message == "Failed: the store is away"
    assert [request.partition_key for request in taken.run_requests] == ["shop"]
    with pytest.raises(StoreUnavailableError, match="the store is away"):
        ticker.tick(catalog_source)


SECRET = "id,text\na,the safe opens with 4711\n"


def test_a_link_out_of_the_inbox_is_refused_and_nothing_of_its_file_is_told(ticker, inbox, tmp_path):
    (tmp_path / "secret").write_text(SECRET)
    (inbox / "shop.csv").symlink_to(tmp_path / "secret")
    (inbox / "notes.yaml").symlink_to(tmp_path / "secret")

    result = look_twice(ticker)

    rule = "is a link that leads out of the catalog's folder; put the file itself there"
    observed = [event for event in result.asset_events if isinstance(event, dg.AssetObservation)]
    assert sorted(event.metadata["file"].value for event in observed) == ["notes.yaml", "shop.csv"]
    assert (inbox / "shop.csv.problems.txt").read_text() == f"catalog 'shop': 1 problem\n  'shop.csv' {rule}\n"
    told = [file.read_text() for file in inbox.iterdir() if not file.is_symlink()]
    assert "4711" not in "".join(told) + str(result.asset_events) + str(result.skip_reason)
    assert partitions(ticker) == []


def test_a_link_in_the_place_of_the_note_of_problems_is_not_written_through(ticker, inbox, tmp_path):
    (tmp_path / "precious").write_text("mine")
    (inbox / "shop.csv.problems.txt").symlink_to(tmp_path / "precious")
    (inbox / "shop.csv").write_text("id\n1\n")

    look_twice(ticker)

    assert (tmp_path / "precious").read_text() == "mine"
    assert "required, but there is no such column" in (inbox / "shop.csv.problems.txt").read_text()
    (inbox / "shop.csv").write_text(GOOD)
    look_twice(ticker)
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize(
    ("link", "place"),
    [
        ("shop.pictures", "shop.pictures/shoe.png"),
        ("shoe.png", "shoe.png"),
        ("shop.pictures/shoe.png", "shop.pictures/shoe.png"),
    ],
)
def test_a_linked_picture_is_never_copied_from_outside(ticker, inbox, tmp_path, link, place):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/shoe.png").write_bytes(b"secret")
    (inbox / link).parent.mkdir(exist_ok=True)
    (inbox / link).symlink_to(tmp_path / ("outside/shoe.png" if link.endswith("png") else "outside"))
    (inbox / "shop.csv").write_text("id,text,model_type,image\na,a mug,own,shoe.png\n")

    look_twice(ticker)

    problems = (inbox / "shop.csv.problems.txt").read_text()
    assert f"'{place}' is a link that leads out of the catalog's folder" in problems
    assert partitions(ticker) == []
    assert not list((inbox.parent / "catalogs").rglob("*"))


def test_links_within_the_inbox_are_followed(ticker, inbox):
    (inbox / ".versions").mkdir()
    (inbox / ".versions/today.csv").write_text(GOOD)
    (inbox / "shop.csv").symlink_to(".versions/today.csv")

    look_twice(ticker)

    assert partitions(ticker) == ["shop"]


def test_a_pipe_in_the_inbox_holds_nobody_up(ticker, inbox):
    os.mkfifo(inbox / "shop.csv")
    os.mkfifo(inbox / "shoe.png")
    (inbox / "good.csv").write_text("id,text,model_type,image\na,a mug,own,shoe.png\n")
    (inbox / "fine.csv").write_text(GOOD)

    look_twice(ticker)

    assert "fine" in partitions(ticker)


MANY = [f"c{number}" for number in range(40)]


@pytest.fixture
def taken(ticker, inbox, tmp_path):
    """So many catalogs that the memory is an object; returns the folder of the memory."""
    for name in MANY:
        (inbox / f"{name}.csv").write_text(GOOD)
    ticker.tick(catalog_source)
    ticker.record(ticker.tick(catalog_source))
    assert len(ticker.backfills()) == 1
    return tmp_path / "home/store/sensors/catalog_source"


def lose(folder):
    for file in folder.iterdir():
        file.unlink()


def damage(folder):
    for file in folder.iterdir():
        file.write_text(file.read_text()[: file.stat().st_size // 2])


@pytest.mark.parametrize("become", [lose, damage, "", "what a person wrote", '1.0\n{"inbox": {}}', "1.0\n[]"])
def test_a_memory_that_is_lost_makes_no_catalog_again(ticker, inbox, taken, become):
    if isinstance(become, str):
        ticker.cursors = dict.fromkeys(ticker.cursors, become)
    else:
        become(taken)
    (inbox / "c7.csv").write_text(GOOD.replace("mug", "cup"))
    (inbox / "c8.csv").unlink()
    (inbox / "new.csv").write_text(GOOD)

    results = [ticker.record(ticker.tick(catalog_source)) for _ in range(3)]

    assert sorted(request.partition_key for result in results for request in result.run_requests) == ["c7", "new"]
    assert len(ticker.backfills()) == 1
    ticker.end_backfills(BulkActionStatus.COMPLETED_SUCCESS)
    ticker.tick(catalog_source)
    assert partitions(ticker) == sorted({*MANY, "new"} - {"c8"})


def test_a_memory_that_cannot_be_read_fails_the_tick(ticker, taken):
    for file in list(taken.iterdir()):
        file.unlink()
        file.symlink_to("nowhere")

    with pytest.raises(StoreAccessError):
        ticker.tick(catalog_source)
    assert len(ticker.backfills()) == 1


def test_catalogs_that_an_earlier_version_observed_are_not_made_again(ticker, inbox, taken):
    for record in ticker.instance.fetch_observations(dg.AssetKey(CATALOG_FILES), limit=100).records:
        observation = record.event_log_entry.dagster_event.asset_observation_data.asset_observation
        metadata = {name: value for name, value in observation.metadata.items() if name not in ("source", "file")}
        ticker.instance.report_runless_asset_event(observation._replace(metadata=metadata))
    ticker.cursors.clear()

    results = [ticker.tick(catalog_source) for _ in range(3)]

    assert [request for result in results for request in result.run_requests] == []
    assert len(ticker.backfills()) == 1
