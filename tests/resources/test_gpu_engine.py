import subprocess
import sys

import pytest

from foundation.errors import ConfigError
from resources.gpu_engine import GPUEngine
from resources.settings_resource import SettingsResource


def test_a_handle_costs_nothing_until_it_is_used(monkeypatch):
    monkeypatch.setenv("IMAGEGENX_DEFAULT_MODEL", "nowhere")
    handle = GPUEngine(settings=SettingsResource())

    with pytest.raises(ConfigError, match="no model 'nowhere'"):
        _ = handle.registry


def test_handles_of_one_process_share_its_warm_models(monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path))
    from models.pipeline_pool import process_pool

    first, second = GPUEngine(settings=SettingsResource()), GPUEngine(settings=SettingsResource())

    assert first.engine is first.engine
    assert first.engine is not second.engine
    assert process_pool() is process_pool()


def test_the_registry_and_the_engine_need_no_pytorch_before_a_picture_is_planned():
    code = (
        "import sys; from resources.gpu_engine import GPUEngine; "
        "from resources.settings_resource import SettingsResource; "
        "g = GPUEngine(settings=SettingsResource()); g.registry.names; g.engine; "
        "print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "False"
