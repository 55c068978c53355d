from pathlib import Path

import pytest
from pydantic import BaseModel

from configs.settings import PACKAGE_ROOT, Settings, default_home, load_settings
from foundation.errors import ConfigError, ImageGenXError


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    import os

    for name in [name for name in os.environ if name.startswith("IMAGEGENX_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def configure(monkeypatch, tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    monkeypatch.setenv("IMAGEGENX_CONFIG", str(file))


def test_the_shipped_file_changes_no_default():
    assert load_settings().model_dump() == Settings().model_dump()


def test_data_lives_in_the_checkout_wherever_the_command_is_run():
    assert load_settings().home == PACKAGE_ROOT / "var"


@pytest.mark.parametrize(
    ("variable", "value", "field"),
    [
        ("HOME", "", "home"),
        ("HOME", " ", "home"),
        ("STORE__PATH", "", "store.path"),
        ("QUEUE__PATH", "", "queue.path"),
        ("CATALOG_FOLDER", "", "catalog_folder"),
        ("LOGO_FOLDER", "", "logo_folder"),
        ("FONTS_FOLDER", "", "fonts_folder"),
        ("UPSCALER", "", "upscaler"),
        ("MODEL_FOLDERS", '["models", ""]', "model_folders.1"),
        ("CATALOG_SOURCE__FOLDER", "", "catalog_source.folder"),
    ],
)
def test_an_empty_path_is_refused_and_never_the_working_folder(monkeypatch, variable, value, field):
    monkeypatch.setenv(f"IMAGEGENX_{variable}", value)
    with pytest.raises(ConfigError) as refused:
        load_settings()
    assert str(refused.value) == f"{field}: an empty path; name a folder or file, or leave the setting out"


@pytest.mark.parametrize(
    ("host", "listens", "local"),
    [
        ("::1", "[::1]", "[::1]"),
        ("[::1]", "[::1]", "[::1]"),
        ("::", "[::]", "[::1]"),
        ("0.0.0.0", "0.0.0.0", "127.0.0.1"),
        ("fe80::7", "[fe80::7]", "[fe80::7]"),
        ("gateway.intern", "gateway.intern", "gateway.intern"),
    ],
)
def test_a_host_stands_in_urls_as_urls_have_it(monkeypatch, host, listens, local):
    monkeypatch.setenv("IMAGEGENX_GATEWAY__HOST", host)
    gateway = load_settings().gateway
    assert (gateway.http_url, gateway.local_url) == (f"http://{listens}:8000", f"http://{local}:8000")


def test_an_empty_name_of_the_settings_file_is_refused(monkeypatch):
    monkeypatch.setenv("IMAGEGENX_CONFIG", "")
    with pytest.raises(ConfigError, match=r"^IMAGEGENX_CONFIG: empty; name a file, or unset it$"):
        load_settings()


def test_an_installed_package_keeps_data_below_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.setattr("configs.settings.PACKAGE_ROOT", tmp_path / "site-packages")
    assert default_home() == tmp_path / "var"


def test_relative_paths_are_below_home_and_a_relative_home_is_below_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGEGENX_HOME", "var")
    settings = load_settings()

    assert settings.home == tmp_path / "var"
    assert settings.store.path == tmp_path / "var/store"
    assert settings.catalog_folder == tmp_path / "var/catalogs"
    assert settings.logo_folder == tmp_path / "var/logos"
    assert settings.fonts_folder == tmp_path / "var/fonts"
    assert settings.upscaler == PACKAGE_ROOT / "models/builtin/upscaler.safetensors"


def test_absolute_paths_stay(monkeypatch, tmp_path):
    configure(monkeypatch, tmp_path, "home: /data\nstore: {path: /elsewhere}\nmodel_folders: [mine, /abs]\n")

    settings = load_settings()

    assert settings.store.path == Path("/elsewhere")
    assert settings.model_folders == (Path("/data/mine"), Path("/abs"))


def test_the_environment_wins_over_the_file(monkeypatch, tmp_path):
    configure(monkeypatch, tmp_path, "default_model: sdxl\nengine: {threads: 3, max_batch_size: 2}\n")
    monkeypatch.setenv("IMAGEGENX_ENGINE__THREADS", "7")
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path / "home"))

    settings = load_settings()

    assert settings.default_model == "sdxl"
    assert (settings.engine.threads, settings.engine.max_batch_size) == (7, 2)
    assert settings.home == tmp_path / "home"


def test_secrets_come_from_the_files_of_a_mounted_folder(monkeypatch, tmp_path):
    data = tmp_path / "..2026_11_30"  # as Kubernetes mounts a Secret: links to files of a hidden folder
    data.mkdir()
    (tmp_path / "..data").symlink_to(data.name)
    for name, value in {
        "STORE__ACCESS_KEY": "key",
        "STORE__SECRET_KEY": "5ec2e7\n",
        "QUEUE__URL": "redis://file",
    }.items():
        (data / f"IMAGEGENX_{name}").write_text(value, encoding="utf-8")
        (tmp_path / f"IMAGEGENX_{name}").symlink_to(f"..data/IMAGEGENX_{name}")
    monkeypatch.setenv("IMAGEGENX_SECRETS", str(tmp_path))
    monkeypatch.setenv("IMAGEGENX_QUEUE__URL", "redis://environment")

    settings = load_settings()

    assert settings.store.access_key.get_secret_value() == "key"
    assert settings.store.secret_key.get_secret_value() == "5ec2e7"
    assert settings.queue.url.get_secret_value() == "redis://environment"
    assert "5ec2e7" not in repr(settings)


@pytest.mark.parametrize("folder", ["", "/nowhere/at/all"])
def test_a_folder_of_secrets_that_is_not_there_is_told(monkeypatch, folder):
    monkeypatch.setenv("IMAGEGENX_SECRETS", folder)
    with pytest.raises(ConfigError, match=rf"^IMAGEGENX_SECRETS: '{folder}' is no folder; name that of the secrets"):
        load_settings()


def test_what_the_caller_names_wins_over_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGEGENX_HOME", "/elsewhere")

    assert Settings(home=tmp_path).home == tmp_path


def test_every_problem_of_file_and_environment_is_listed_at_once(monkeypatch, tmp_path):
    configure(
        monkeypatch,
        tmp_path,
        "defualt_model: tiny\nstore: {kind: ftp}\nengine: {device: gpu}\npictures: {thumbnail_px: 5}\n",
    )
    monkeypatch.setenv("IMAGEGENX_ENGINE__THREADS", "0")

    with pytest.raises(ConfigError) as caught:
        load_settings()

    assert isinstance(caught.value, ImageGenXError)
    assert sorted(str(caught.value).splitlines()) == [
        "defualt_model: unknown field. Nearest: default_model.",
        "engine.device: 'gpu': String should match pattern '^(auto|cpu|cuda(:\\d+)?)$'",
        "engine.threads: '0' is below the minimum of 1",
        "pictures.thumbnail_px: 5 is below the minimum of 16",
        "store.kind: 'ftp' is not one of local, s3.",
    ]


def test_secrets_come_only_from_the_environment(monkeypatch, tmp_path):
    configure(monkeypatch, tmp_path, "store: {secret_key: hunter2}\n")

    with pytest.raises(ConfigError) as caught:
        load_settings()

    assert str(caught.value) == (
        "store.secret_key: secrets never stand in mine.yaml; set the variable IMAGEGENX_STORE__SECRET_KEY"
    )


def test_an_s3_store_needs_endpoint_and_keys(monkeypatch):
    monkeypatch.setenv("IMAGEGENX_STORE__KIND", "s3")
    monkeypatch.setenv("IMAGEGENX_STORE__ACCESS_KEY", "me")

    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert str(caught.value) == "store: kind s3 also needs endpoint, secret_key"

    monkeypatch.setenv("IMAGEGENX_STORE__SECRET_KEY", "hunter2")
    monkeypatch.setenv("IMAGEGENX_STORE__ENDPOINT", "127.0.0.1:9000")
    settings = load_settings()
    assert settings.store.secret_key.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings)


def test_a_file_that_is_no_yaml_is_named(monkeypatch, tmp_path):
    configure(monkeypatch, tmp_path, "a: [1\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: not readable as YAML: "):
        load_settings()

    configure(monkeypatch, tmp_path, "- a\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: must hold settings by name$"):
        load_settings()

    monkeypatch.setenv("IMAGEGENX_CONFIG", str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match=r"none\.yaml: not readable as YAML: .*No such file"):
        load_settings()


def test_a_list_in_the_environment_that_is_no_json_is_a_clear_error(monkeypatch):
    monkeypatch.setenv("IMAGEGENX_MODEL_FOLDERS", "a,b")

    with pytest.raises(ConfigError, match="model_folders"):
        load_settings()


def test_settings_do_not_change_after_they_are_made():
    with pytest.raises(ValueError, match="frozen"):
        load_settings().default_model = "sdxl"


def test_every_setting_is_described_and_has_a_default():
    def check(section: type[BaseModel], prefix: str = "") -> None:
        for name, info in section.model_fields.items():
            kind = info.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                check(kind, f"{prefix}{name}.")
            else:
                assert info.description, prefix + name
            assert not info.is_required(), prefix + name

    check(Settings)
