"""Dagster's migrations, in whatever folder Dagster is installed, and read once by a process.

alembic takes a `%` in the path of its configuration file for the beginning of a variable, so that Dagster could make no
database in an environment below such a folder. And it reads the hundred files of the migrations anew for each database
that is opened or made, which is one for every run. Importing this module mends both.
"""

from alembic.config import Config
from alembic.script import ScriptDirectory
from dagster._core.storage import sql


def configuration(file: str) -> Config:
    """alembic's configuration in a file, whose folder it calls `here`."""
    config = Config(file)
    here = config.file_config.defaults()["here"]
    config.file_config.set("DEFAULT", "here", here.replace("%", "%%"))
    return config


_read = ScriptDirectory.from_config
_known: dict[str | None, ScriptDirectory] = {}


def migrations(config: Config) -> ScriptDirectory:
    """The migrations that a configuration is for: Dagster's databases of all kinds have the same."""
    place = config.get_main_option("script_location")
    if place not in _known:
        _known[place] = _read(config)
    return _known[place]


sql.Config = configuration  # type: ignore[attr-defined, assignment]
ScriptDirectory.from_config = migrations  # type: ignore[method-assign]
