import dagster as dg
import pandas as pd
import pytest

from io_managers.table_io_manager import TableIOManager
from resources.object_store import ObjectNotFoundError
from resources.object_store_resource import ObjectStoreResource
from resources.settings_resource import SettingsResource

TABLE = pd.DataFrame({"id": ["a", "b"], "text": ["红色T恤", ""], "steps": [20, 50], "cfg_scale": [4.0, 7.5]})


@pytest.fixture
def tables(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path))
    return TableIOManager(object_store=ObjectStoreResource(settings=SettingsResource()))


def test_a_table_comes_back_as_it_was_stored(tables):
    tables.handle_output(dg.build_output_context(asset_key="prompt_catalog", partition_key="春装"), TABLE)

    loaded = tables.load_input(dg.build_input_context(asset_key="prompt_catalog", partition_key="春装"))

    pd.testing.assert_frame_equal(loaded, TABLE)


def test_the_metadata_has_the_true_key_and_size(tables):
    context = dg.build_output_context(asset_key="prompt_catalog", partition_key="春装")

    tables.handle_output(context, TABLE)

    metadata = {name: value.value for name, value in context.consume_logged_metadata().items()}
    assert metadata["table"] == "tables/prompt_catalog/春装.parquet"
    assert metadata["dagster/uri"].endswith("/store/tables/prompt_catalog/%E6%98%A5%E8%A3%85.parquet")
    assert metadata["dagster/partition_row_count"] == 2
    assert [record.data for record in metadata["preview"].records] == [
        {"id": "a", "text": "红色T恤"},
        {"id": "b", "text": ""},
    ]
    assert metadata["bytes"] == tables.object_store.store.stat(metadata["table"]).size_bytes


def test_a_table_that_was_never_made_is_a_clear_error(tables):
    with pytest.raises(ObjectNotFoundError, match=r"no object 'tables/prompt_catalog/spring\.parquet'"):
        tables.load_input(dg.build_input_context(asset_key="prompt_catalog", partition_key="spring"))
