import shutil
from pathlib import Path

from dagster._core.storage import sql
from dagster._core.storage.runs.sqlite import sqlite_run_storage

import resources.alembic_paths  # noqa: F401 what is tested


def test_migrations_are_found_below_a_folder_with_a_percent_sign(tmp_path):
    """As in a checkout `shop%20new/`, whose environment holds Dagster."""
    folder = tmp_path / "shop%20new" / "50%"
    shutil.copytree(Path(sqlite_run_storage.__file__).parent, folder)

    config = sql.get_alembic_config(str(folder / "sqlite_run_storage.py"))

    assert config.get_section("alembic")["here"] == str(folder / "alembic")
    assert config.get_main_option("script_location") == "dagster:_core/storage/alembic"
