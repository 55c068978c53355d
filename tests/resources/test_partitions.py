"""Partitions that two processes add at once."""

from dagster import DagsterInstance
from sqlalchemy.exc import IntegrityError

from resources.partitions import add_partitions


def test_partitions_that_another_process_adds_meanwhile_are_no_error(tmp_path, monkeypatch):
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        add, met = instance.add_dynamic_partitions, []

        def overtaken(definition, keys):
            """Dagster's own insertion, after another process has inserted one of the keys."""
            if not met:
                met.append(keys)
                add(definition, ["b"])
                raise IntegrityError("INSERT", {}, Exception("UNIQUE constraint failed"))
            add(definition, keys)

        monkeypatch.setattr(instance, "add_dynamic_partitions", overtaken)
        add_partitions(instance, "catalogs", ["a", "b", "c"])
        assert sorted(instance.get_dynamic_partitions("catalogs")) == ["a", "b", "c"]


def test_partitions_that_are_there_already_stay(tmp_path):
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        for _ in range(2):
            add_partitions(instance, "catalogs", ["a"])
        assert list(instance.get_dynamic_partitions("catalogs")) == ["a"]
