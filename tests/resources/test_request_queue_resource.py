import subprocess
import sys

from dagster import asset, materialize_to_memory

from resources.request_queue_resource import RequestQueueResource
from resources.settings_resource import SettingsResource
from tests.resources.queue.conftest import new_task


def test_an_asset_uses_the_private_queue_of_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path))

    @asset
    def sent(requests: RequestQueueResource):
        task = requests.queue.submit(new_task(), owner="ann")
        return [claim.id for claim in requests.queue.claim("w", 1)] == [task.id]

    resource = RequestQueueResource(settings=SettingsResource())

    assert materialize_to_memory([sent], resources={"requests": resource}).output_for_node("sent")
    assert (tmp_path / "redis" / "appendonly.aof").exists() or (tmp_path / "redis" / "appendonlydir").exists()


def test_importing_it_loads_no_client_and_reaches_nothing():
    modules = "resources.request_queue_resource, resources.accounts"
    code = f"import sys, {modules}; print({{'redis', 'limits'}} & set(sys.modules))"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout == "set()\n"
