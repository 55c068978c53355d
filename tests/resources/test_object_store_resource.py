"""The object store inside Dagster: shared by assets and IO managers, and nothing happens while definitions load."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from dagster import (
    AssetsDefinition,
    ConfigurableIOManager,
    Definitions,
    InputContext,
    OutputContext,
    ResourceDependency,
    asset,
)

from resources.local_store import LocalObjectStore
from resources.object_store import StoreUnavailableError
from resources.object_store_resource import ObjectStoreResource
from resources.s3_store import S3ObjectStore
from resources.settings_resource import SettingsResource
from tests.support.faulty_network import closed_port
from tests.support.s3_server import S3Server

pytestmark = [  # raised by Dagster's own code
    pytest.mark.filterwarnings("ignore:The `__fields__` attribute is deprecated"),
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated"),
]
REPOSITORY = Path(__file__).resolve().parent.parent.parent


class BytesIOManager(ConfigurableIOManager):
    """Keeps an asset's bytes in the store."""

    objects: ResourceDependency[ObjectStoreResource]

    def handle_output(self, context: OutputContext, obj: bytes) -> None:
        self.objects.store.put(f"assets/{context.asset_key.path[-1]}", obj, content_type="text/plain")

    def load_input(self, context: InputContext) -> bytes:
        return self.objects.store.get(f"assets/{context.asset_key.path[-1]}")


def definitions() -> Definitions:
    @asset
    def first(objects: ObjectStoreResource) -> bytes:
        objects.store.put("seen", b"seen", content_type="text/plain")
        return b"first"

    @asset
    def second(first: bytes) -> bytes:
        return first + b" second"

    assets: list[AssetsDefinition] = [first, second]
    objects = ObjectStoreResource(settings=SettingsResource())
    return Definitions(assets=assets, resources={"objects": objects, "io_manager": BytesIOManager(objects=objects)})


def run(loaded: Definitions) -> None:
    assert loaded.resolve_implicit_global_asset_job_def().execute_in_process().success


def test_assets_and_io_managers_share_the_local_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path))
    loaded = definitions()
    assert list(tmp_path.iterdir()) == []
    run(loaded)
    store = LocalObjectStore(tmp_path / "store")
    assert [found.key for found in store.list()] == ["assets/first", "assets/second", "seen"]
    assert store.get("assets/second") == b"first second"


def test_the_same_assets_run_on_s3_and_make_the_bucket(monkeypatch: pytest.MonkeyPatch, s3_server: S3Server) -> None:
    for name, value in (s3_server.environment() | {"IMAGEGENX_STORE__BUCKET": "made-by-dagster"}).items():
        monkeypatch.setenv(name, value)
    run(definitions())
    store = S3ObjectStore(s3_server.settings(bucket="made-by-dagster"))
    assert store.get("assets/second") == b"first second"


def test_a_store_that_is_down_fails_the_run_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, s3_server: S3Server
) -> None:
    endpoint = closed_port()
    for name, value in (s3_server.environment() | {"IMAGEGENX_STORE__ENDPOINT": endpoint}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreUnavailableError, match=rf"^S3 service at '{endpoint}': no connection"):
        run(definitions())


def test_the_resource_shows_dagster_no_setting_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEGENX_STORE__SECRET_KEY", "top-secret")
    resource = ObjectStoreResource(settings=SettingsResource())
    assert set(type(resource).model_fields) == {"settings"}
    assert "top-secret" not in repr(resource)


def test_loading_the_resource_imports_no_client_and_reads_no_setting() -> None:
    code = (
        "import json, os, sys\n"
        "from resources.object_store_resource import ObjectStoreResource\n"
        "from resources.settings_resource import SettingsResource\n"
        "ObjectStoreResource(settings=SettingsResource())\n"
        "json.dump([name for name in ('minio', 'urllib3', 'torch') if name in sys.modules], sys.stdout)\n"
    )
    environment = {"IMAGEGENX_CONFIG": "/does/not/exist"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []
