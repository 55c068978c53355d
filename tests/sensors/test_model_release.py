import pytest
from dagster._core.execution.backfill import BulkActionStatus

from configs.settings import load_settings
from io_managers.image_set import read_image_set
from ops.review.verdicts import CatalogVerdicts, State, new_verdict
from resources.audit import open_audit
from sensors.model_release import RELEASE_TAG, model_release

NAMES = ["plain", "soft", "softer"]


@pytest.fixture
def shops(ticker, studio):
    """Three catalogs, two of which have a row with the LoRA."""
    ticker.instance.add_dynamic_partitions("catalogs", NAMES)
    studio.make("plain", studio.recipe("a mug"), studio.recipe("a hat"))
    studio.make("soft", studio.recipe("a bag", lora="soft"), studio.recipe("a hat"))
    studio.make("softer", studio.recipe("a lamp", lora="soft"), studio.recipe("a hat"))
    look(ticker)
    return studio


def look(ticker):
    """Two looks, of which the second takes what the first has found."""
    ticker.tick(model_release)
    return ticker.tick(model_release)


def remake(studio, catalog, text):
    studio.make(catalog, studio.recipe(text, lora="soft"), studio.recipe("a hat"))


def test_the_first_looks_observe_every_model_and_backfills_nothing(ticker, studio):
    result = look(ticker)

    observed = {event.partition: event.tags["dagster/data_version"] for event in result.asset_events}
    assert observed["own"]
    assert {"tiny", "upscaler"} <= set(observed)
    assert set(ticker.instance.get_dynamic_partitions("models")) == set(observed), "else its page shows none"
    assert ticker.backfills() == []


def test_a_new_lora_backfills_exactly_the_catalogs_that_used_it(ticker, shops):
    shops.replace("soft.safetensors", "second")

    result = look(ticker)

    assert [event.partition for event in result.asset_events] == ["own"]
    ((title, catalogs),) = ticker.backfills()
    assert catalogs == ["soft", "softer"]
    assert title.endswith(": 2 catalogs, 2 stale rows")
    (backfill,) = ticker.instance.get_backfills()
    assert backfill.tags[RELEASE_TAG] in title
    (event,) = open_audit(load_settings()).read()
    told = event["event"], event["backfill"], event["release"], event["catalogs"], event["rows"]
    assert told == ("release.rolled_out", backfill.backfill_id, backfill.tags[RELEASE_TAG], 2, 2)
    assert backfill.status is BulkActionStatus.REQUESTED


def test_a_clock_that_was_ahead_holds_up_no_later_roll_out(ticker, shops, monkeypatch):
    old = shops.recipe("a lamp", lora="soft")
    shops.replace("soft.safetensors", "second")
    look(ticker)
    for catalog in ("soft", "softer"):
        remake(shops, catalog, "a bag")
    with monkeypatch.context() as ahead:
        ahead.setattr("time.time", lambda: 4e9)
        ticker.tick(model_release)
    shops.make("plain", old)

    ticker.tick(model_release)

    assert [catalogs for _, catalogs in ticker.backfills()] == [["soft", "softer"], ["plain"]]


def test_a_model_whose_files_are_replaced_one_by_one_is_taken_when_it_is_whole(ticker, shops):
    shops.replace("own/model.safetensors", "second")
    first = ticker.tick(model_release)
    shops.replace("own/more.safetensors", "second")
    second = ticker.tick(model_release)
    assert [first.asset_events, second.asset_events, ticker.backfills()] == [[], [], []]
    assert second.skip_reason.skip_message.startswith("Something has changed: it is taken if the next look finds the")

    ticker.tick(model_release)

    ((title, catalogs),) = ticker.backfills()
    assert catalogs == NAMES
    assert title.endswith(": 3 catalogs, 6 stale rows")


def test_new_defaults_of_a_card_backfill_the_catalogs_that_have_the_old_ones(ticker, shops):
    shops.write_card(defaults={"steps": 4})
    look(ticker)
    shops.make("plain", shops.recipe("a mug", steps=9))
    remake(shops, "soft", "a bag")
    assert ticker.backfills() == []

    shops.write_card(defaults={"steps": 8})
    (observed,) = look(ticker).asset_events

    assert observed.partition == "own"
    ((title, catalogs),) = ticker.backfills()
    assert catalogs == ["soft"]
    assert title.endswith(": 1 catalogs, 2 stale rows")


def test_what_was_put_back_before_the_next_look_is_seen_for_the_first_time_when_it_comes_again(ticker, shops):
    for content in ("second", "first", "second"):
        shops.replace("soft.safetensors", content)
        ticker.tick(model_release)

    assert ticker.backfills() == []


@pytest.mark.parametrize("status", [BulkActionStatus.COMPLETED_FAILED, BulkActionStatus.CANCELED])
def test_a_release_is_backfilled_once_even_if_that_failed_or_was_cancelled(ticker, shops, status):
    shops.replace("soft.safetensors", "second")
    look(ticker)
    assert ticker.tick(model_release).asset_events == []
    ticker.end_backfills(status)

    result = look(ticker)

    assert len(ticker.backfills()) == 1
    assert result.skip_reason.skip_message.startswith("2 stale catalogs: backfilled for these releases already")


def test_a_tick_that_is_evaluated_twice_adds_one_backfill(ticker, shops):
    shops.replace("soft.safetensors", "second")
    before = dict(ticker.cursors)
    look(ticker)
    ticker.cursors = before

    look(ticker)

    assert len(ticker.backfills()) == 1


def test_going_back_and_forth_backfills_each_time_what_is_stale_then(ticker, shops):
    for content in ("second", "first", "second"):
        shops.replace("soft.safetensors", content)
        look(ticker)
        ticker.end_backfills(BulkActionStatus.COMPLETED_SUCCESS)
        remake(shops, "soft", "a bag")
        remake(shops, "softer", "a lamp")
        look(ticker)

    assert [catalogs for _, catalogs in ticker.backfills()] == [["soft", "softer"]] * 3


def test_a_staged_roll_out_takes_the_listed_catalogs_first_and_the_rest_when_told(ticker, shops, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_RELEASES__BACKFILL", "listed")
    monkeypatch.setenv("IMAGEGENX_RELEASES__CATALOGS", '["softer"]')
    shops.replace("soft.safetensors", "second")
    look(ticker)
    remake(shops, "softer", "a lamp")
    ticker.end_backfills(BulkActionStatus.COMPLETED_SUCCESS)
    look(ticker)
    assert [catalogs for _, catalogs in ticker.backfills()] == [["softer"]]

    monkeypatch.setenv("IMAGEGENX_RELEASES__BACKFILL", "all")
    look(ticker)

    assert [catalogs for _, catalogs in ticker.backfills()] == [["softer"], ["soft"]]


def test_a_share_is_always_the_same_catalogs_and_none_is_none(ticker, shops, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_RELEASES__BACKFILL", "none")
    shops.replace("own/model.safetensors", "second")
    look(ticker)
    assert ticker.backfills() == []

    monkeypatch.setenv("IMAGEGENX_RELEASES__BACKFILL", "share")
    monkeypatch.setenv("IMAGEGENX_RELEASES__SHARE", "0.65")
    look(ticker)

    ((_, catalogs),) = ticker.backfills()
    assert catalogs == ["plain"]


@pytest.mark.parametrize("become", ["", "what a person wrote", '1.0\n{"of": "another version"}'])
def test_a_memory_that_is_lost_rolls_no_release_out_again(ticker, shops, become):
    ticker.cursors.clear()
    ticker.record(look(ticker))
    shops.replace("soft.safetensors", "second")
    ticker.tick(model_release)
    ticker.record(ticker.tick(model_release))
    ticker.end_backfills(BulkActionStatus.CANCELED)
    assert len(ticker.backfills()) == 1
    ticker.cursors = dict.fromkeys(ticker.cursors, become)

    again = look(ticker)

    assert len(ticker.backfills()) == 1
    assert again.asset_events == []
    assert "backfilled for these releases already" in again.skip_reason.skip_message


def judge(studio, catalog, state, *, count):
    """Say this of the first pictures of a catalog that nobody has judged; returns their rows."""
    verdicts = CatalogVerdicts(studio.store, catalog)
    rows = [
        row
        for row in read_image_set(studio.store, "watermarked_images", catalog).rows()
        if row.recipe_digest not in verdicts.standings()
    ][:count]
    verdicts.record([new_verdict(row.recipe_digest, row.row_id, "ann", state=state) for row in rows])
    return [row.row_id for row in rows]


def test_a_release_on_trial_is_made_for_a_share_of_approved_rows_and_follows_their_verdicts(
    ticker, studio, monkeypatch
):
    for name, value in {"BACKFILL": "trial", "SHARE": "0.5", "CATALOGS": '["tried"]'}.items():
        monkeypatch.setenv(f"IMAGEGENX_RELEASES__{name}", value)
    ticker.instance.add_dynamic_partitions("catalogs", ["tried", "other"])
    texts = [f"mug {number}" for number in range(6)]
    studio.make("tried", *map(studio.recipe, texts))
    studio.make("other", studio.recipe("a hat"))
    approved = judge(studio, "tried", State.APPROVED, count=4)
    look(ticker)
    old = studio.recipe("mug 0")
    studio.replace("own/model.safetensors", "second")

    (run,) = look(ticker).run_requests

    rows = run.run_config["ops"]["generated_images"]["config"]["rows"]
    assert (run.partition_key, len(rows), set(rows) <= set(approved)) == ("tried", 2, True)
    recipes = [studio.recipe(text) for text in texts]
    kept = [one.model_copy(update={"release": old.release}) for one in recipes]
    studio.make("tried", *(recipes[n] if f"r{n}" in rows else kept[n] for n in range(len(texts))))
    result = ticker.tick(model_release)
    assert result.skip_reason.skip_message == "On trial: tried: 0 of 2 approved, 0 rejected, 2 wait."
    new, finished = CatalogVerdicts(studio.store, "tried"), read_image_set(studio.store, "watermarked_images", "tried")
    digests = {row.row_id: row.recipe_digest for row in finished.rows()}
    new.record([new_verdict(digests[row], row, "ann", state=State.APPROVED) for row in rows[:1]])
    new.record([new_verdict(digests[row], row, "ann", state=State.REJECTED) for row in rows[1:]])
    assert "1 of 2 approved, 1 rejected, 0 wait" in ticker.tick(model_release).skip_reason.skip_message
    assert ticker.backfills() == []
    new.record([new_verdict(digests[row], row, "ann", state=State.APPROVED) for row in rows[1:]])
    ticker.tick(model_release)
    ((title, catalogs),) = ticker.backfills()
    assert (catalogs, title.endswith("2 catalogs, 5 stale rows")) == (["other", "tried"], True)


def test_a_trial_of_catalogs_that_are_not_there_rolls_nothing_out(ticker, studio, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_RELEASES__BACKFILL", "trial")
    monkeypatch.setenv("IMAGEGENX_RELEASES__CATALOGS", '["gone"]')
    ticker.instance.add_dynamic_partitions("catalogs", ["other"])
    studio.make("other", studio.recipe("a hat"))
    look(ticker)
    studio.replace("own/model.safetensors", "second")
    assert "none of releases.catalogs is registered" in look(ticker).skip_reason.skip_message
    assert ticker.backfills() == []
