import os
import shutil
import subprocess
import sys
from pathlib import Path

from configs.settings import PACKAGE_ROOT
from imagegenx_cli.embedded_dagster import INSTANCE_TEMPLATE
from resources.dagster_names import STAGES

HEAVY = ("torch", "diffusers", "transformers", "pandas", "numpy", "PIL", "minio")


LOADED = f"""
import sys
from imagegenx_assets.definitions import defs
print([m for m in {HEAVY} if m in sys.modules])
print(len(list(defs.resolve_asset_graph().get_all_asset_keys())))
"""


def test_loading_imports_no_heavy_library_reads_no_settings_and_reaches_nothing():
    nowhere = {"IMAGEGENX_CONFIG": "/nowhere.yaml", "IMAGEGENX_STORE__KIND": "s3"}
    command = [sys.executable, "-c", LOADED]

    done = subprocess.run(command, env=os.environ | nowhere, capture_output=True, text=True, check=True, timeout=120)

    assert done.stdout.split() == ["[]", "10"]


def test_the_assets_follow_each_other_as_in_the_diagram():
    from imagegenx_assets.definitions import defs

    graph = defs.resolve_asset_graph()
    nodes = {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}
    parents = {name: {parent.to_user_string() for parent in node.parent_keys} for name, node in nodes.items()}

    assert parents == {
        "model_releases": set(),
        "catalog_files": set(),
        "on_demand_images": set(),
        "prompt_catalog": {"catalog_files"},
        "generated_images": {"prompt_catalog", "model_releases"},
        "upscaled_images": {"generated_images"},
        "watermarked_images": {"upscaled_images"},
        "thumbnails": {"watermarked_images"},
        "gallery": {"watermarked_images", "thumbnails"},
        "published_images": {"watermarked_images", "thumbnails"},
    }


def test_every_asset_has_a_description_an_owner_a_kind_and_partitions():
    from imagegenx_assets.definitions import defs

    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description
        assert node.owners == ["team:imagegenx"]
        assert any(tag.startswith("dagster/kind/") for tag in node.tags)
        assert (node.group_name, getattr(node.partitions_def, "name", None)) in {
            ("catalogs", "catalogs"),
            ("published", "catalogs"),
            ("sources", "catalogs"),
            ("sources", "models"),
            ("on_demand", None),
        }


def owner(definition):
    """Who answers for a job, sensor or schedule; asset jobs and automation sensors say so in a tag."""
    return definition.owners or [definition.tags["owner"]]


def test_every_job_has_a_description_an_owner_a_part_and_ops_that_say_what_they_are():
    from imagegenx_assets.definitions import defs

    jobs = {job.name: job for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}

    assert {name: job.tags["imagegenx/part"] for name, job in jobs.items()} == {
        "catalog_pictures": "lifecycle",
        "serving_run": "serving",
        "dagster_upkeep": "operations",
        "store_upkeep": "operations",
    }
    assert all(job.description and owner(job) == ["team:imagegenx"] for job in jobs.values())
    ops = [node.definition for name in ("serving_run", "dagster_upkeep", "store_upkeep") for node in jobs[name].nodes]
    assert all(op.description and op.tags["dagster/kind"] for op in ops)


def test_every_sensor_and_schedule_has_a_description_an_owner_a_part_and_a_target_and_is_on():
    from imagegenx_assets.definitions import defs

    timed = [*defs.sensors, *defs.schedules]

    assert {one.name: one.tags["imagegenx/part"] for one in timed} == {
        "queue_sensor": "serving",
        "catalog_source": "lifecycle",
        "catalog_schedule": "lifecycle",
        "model_release": "lifecycle",
        "asked_changes": "lifecycle",
        "catalog_freshness": "lifecycle",
        "catalog_automation": "lifecycle",
        "reviews": "lifecycle",
        "run_failure_alert": "operations",
        "starting_runs": "operations",
        "daily_upkeep": "operations",
        "nightly_collection": "operations",
    }
    assert all(one.description and owner(one) == ["team:imagegenx"] for one in timed)
    assert {one.default_status.value for one in timed} == {"RUNNING"}
    without_target = {one.name for one in defs.sensors if not one.targets and one.asset_selection is None}
    assert without_target == {"run_failure_alert", "starting_runs"}


def test_every_check_has_a_description_and_blocks():
    from imagegenx_assets.definitions import defs

    graph = defs.resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.asset_check_keys]

    quality = {f"{asset}:quality" for asset in STAGES}
    assert {node.key.to_user_string() for node in nodes} == quality | {
        "published_images:reviewed",
        "catalog_files:accepted",
    }
    assert {node.key.to_user_string() for node in nodes if node.blocking} == quality
    assert all(node.description for node in nodes)


def test_dagsters_own_checks_pass(tmp_path, monkeypatch):
    tool = Path(sys.executable).with_name("dg")  # which calls `dagster definitions validate`
    # On our storage: Dagster's own makes no instance in an environment whose path has a %.
    shutil.copy(INSTANCE_TEMPLATE, tmp_path / "dagster.yaml")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    result = subprocess.run([tool, "check", "defs"], capture_output=True, text=True, timeout=280, cwd=PACKAGE_ROOT)

    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
