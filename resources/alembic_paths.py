"""Dagster's migrations, in whatever folder Dagster is installed.

alembic takes a `%` in the path of its configuration file for the beginning of a variable, so that Dagster could make no
database in an environment below such a folder. Importing this module mends that.
"""

from alembic.config import Config
from dagster._core.storage import sql


def configuration(file: str) -> Config:
    """alembic's configuration in a file, whose folder it calls `here`."""
    config = Config(file)
    here = config.file_config.defaults()["here"]
    config.file_config.set("DEFAULT", "here", here.replace("%", "%%"))
    return config


sql.Config = configuration  # type: ignore[attr-defined, assignment]
