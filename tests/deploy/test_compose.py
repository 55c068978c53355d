"""The deployment's files against the code they run: no container engine is needed, and none is asked."""

import re
import subprocess
import tomllib
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
import yaml
from pydantic import BaseModel

from configs.settings import Settings, load_settings

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
OUR_SERVICES = ("code-location", "web-server", "daemon", "gateway")
ADDRESSES = {"IMAGEGENX_GATEWAY__PUBLIC_URL", "IMAGEGENX_ALERTS__UI_URL", "DAGSTER_S3_URL"}
"""URLs without a password in them."""
CHOICES = {"EXTRAS", "TORCH_INDEX_URL", "GPU_SLOTS", "WORKER_MEMORY"}
"""Variables with a default that anybody may know."""


def compose(name: str = "compose.yaml") -> dict:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def services() -> dict[str, dict]:
    return compose()["services"]


def text(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def variables(model: type[BaseModel] = Settings, prefix: str = "IMAGEGENX_") -> set[str]:
    """Every environment variable that the settings read."""
    names = set()
    for name, field in model.model_fields.items():
        names.add(prefix + name.upper())
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names |= variables(field.annotation, f"{prefix}{name.upper()}__")
    return names


@cache
def commands() -> dict[str, click.Command]:
    """The command lines that our image's services may call."""
    return {
        "dagster": import_module("dagster._cli").create_dagster_cli(),
        "dagster-daemon": import_module("dagster._daemon.cli").create_dagster_daemon_cli(),
        "imagegenx_cli.daemon": import_module("dagster._daemon.cli").run_command,
        "imagegenx_cli.code_server": import_module("dagster._cli.api").grpc_command,
        "imagegenx_cli.web_server": import_module("dagster_webserver.cli").dagster_webserver,
    }


def options_of(words: list[str]) -> tuple[set[str], list[str]]:
    """The options that a command line's command takes, and those that it is given."""
    command, rest = commands()[words[0]], words[1:]
    while isinstance(command, click.Group):
        command, rest = command.commands[rest[0]], rest[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    return known, [word for word in rest if word.startswith("-")]


@pytest.mark.parametrize("file", ["compose.yaml", "compose.gpu.yaml", "Containerfile"])
def test_every_variable_of_ours_is_a_setting(file):
    named = set(re.findall(r"\bIMAGEGENX_[A-Z_]+", text(file)))
    assert named
    assert named <= variables()


def test_every_image_of_others_is_pinned_to_a_release():
    for name, service in services().items():
        _, _, tag = service["image"].rpartition(":")
        assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?", tag), f"{name}: {service['image']}"


def test_our_image_carries_the_version_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {services()[name]["image"] for name in OUR_SERVICES} == {f"imagegenx:{project['version']}"}


def test_every_port_is_open_on_this_machine_only():
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_every_service_has_a_health_check_and_starts_again():
    for name, service in services().items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name


def test_every_container_is_confined_and_has_time_to_end():
    for name, service in services().items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert "/tmp:mode=1777" in service["tmpfs"], name
        assert service["pids_limit"] <= 4096, name
        assert re.search(r"\d+g", service["mem_limit"]), name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name
        assert not service.get("privileged"), name
        assert "cap_add" not in service, name
    graces = {name: services()[name].get("stop_grace_period") for name in OUR_SERVICES}
    assert graces == {"code-location": "2m", "web-server": "30s", "daemon": "45s", "gateway": "30s"}


def test_each_container_gets_the_secrets_that_it_needs_and_no_others():
    dagster = {"DAGSTER_POSTGRES_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    pictures = {"IMAGEGENX_STORE__ACCESS_KEY", "IMAGEGENX_STORE__SECRET_KEY", "IMAGEGENX_QUEUE__URL"}
    needed = {
        "s3": {"ROOT_ACCESS_KEY_ID", "ROOT_SECRET_ACCESS_KEY"},
        "redis": {"REDIS_PASSWORD"},
        "postgres": {"POSTGRES_PASSWORD"},
        "code-location": dagster | pictures | {"IMAGEGENX_ALERTS__SECRET", "IMAGEGENX_ALERTS__WEBHOOK_URL"},
        "web-server": dagster,
        "daemon": dagster,
        "gateway": pictures | {"IMAGEGENX_GATEWAY__URL_SECRET", "IMAGEGENX_CALLBACKS__SECRET"},
        "prometheus": set(),
        "grafana": {"GF_SECURITY_ADMIN_PASSWORD"},
    }
    secret = re.compile(r"\$\{\w*(PASSWORD|SECRET|ACCESS_KEY|WEBHOOK_URL)")
    given = {
        name: {key for key, value in service.get("environment", {}).items() if secret.search(str(value))}
        for name, service in services().items()
    }
    assert given == needed


def test_services_wait_for_services_and_mount_volumes_that_exist():
    document = compose()
    for name, service in document["services"].items():
        assert set(service.get("depends_on", {})) <= set(document["services"]), name
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert (DEPLOY / source).is_file() if source.startswith("./") else source in document["volumes"], mount


def test_no_secret_has_a_default():
    secret = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|_URL$")
    for service in services().values():
        for name, value in service.get("environment", {}).items():
            if secret.search(name) and name not in ADDRESSES:
                assert re.search(r"\$\{[A-Z_]+(:\?|:-\})", str(value)), name
    assert re.findall(r"^(?:\w*(?:PASSWORD|SECRET|KEY))=(.+)$", text("env.example"), re.MULTILINE) == []


def test_the_example_names_every_variable_that_compose_asks_for_and_no_other():
    asked = set(re.findall(r"\$\{([A-Z_]+)", text("compose.yaml") + text("compose.gpu.yaml"))) - CHOICES
    given = set(re.findall(r"^([A-Z_]+)=", text("env.example"), re.MULTILINE)) - CHOICES
    assert given == asked


@pytest.mark.parametrize("name", OUR_SERVICES)
def test_every_command_exists_and_takes_its_options(name):
    command = services()[name]["command"]
    if command == ["python", "-m", "gateway"]:
        assert find_spec("gateway.__main__")
        return
    known, given = options_of(command[2:] if command[0] == "python" else command)
    assert given
    assert set(given) <= known


@pytest.mark.parametrize("name", OUR_SERVICES)
def test_every_health_check_of_ours_exists(name):
    _, *check = services()[name]["healthcheck"]["test"]
    if check[0] == "python":
        compile(check[2], "health check", "exec")
    else:
        known, given = options_of(check)
        assert set(given) <= known


def test_the_gpu_goes_to_the_container_that_runs_pictures():
    added = compose("compose.gpu.yaml")["services"]
    assert list(added) == ["code-location"]
    (device,) = added["code-location"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(added["code-location"]["build"]["args"]["EXTRAS"].split(",")) <= set(extras)
    assert added["code-location"]["build"]["args"]["SYSTEM_PACKAGES"].split() == ["gcc", "libc6-dev"]
    # One tag, one set of arguments.
    assert added["code-location"]["image"] == f"{services()['code-location']['image']}-gpu"
    # No device is named: each run that computes takes a GPU of its own.
    assert list(added["code-location"]["environment"]) == ["IMAGEGENX_SERVING__GPU_SLOTS"]


@pytest.mark.parametrize("name", OUR_SERVICES)
def test_the_settings_load_with_a_filled_in_environment(name, monkeypatch):
    given = {"CALLBACKS_SECRET": f"whsec_{'A' * 43}=", "ALERTS_SECRET": f"whsec_{'B' * 43}="}
    given["ALERTS_WEBHOOK_URL"] = "https://ops.example.com/alerts"

    def filled(match: re.Match) -> str:
        return given.get(match[1], "given" if match[2] == "?" else match[3])

    for variable, value in services()[name]["environment"].items():
        if variable.startswith("IMAGEGENX_"):
            monkeypatch.setenv(variable, re.sub(r"\$\{([A-Z_]+):([-?])([^}]*)\}", filled, value))
    settings = load_settings()
    assert settings.logs.format == "json"
    if name in ("code-location", "gateway"):
        assert settings.store.kind == "s3"
        assert settings.store.prefix  # compute logs lie beside the pictures, not among them
        assert settings.queue.url.get_secret_value().startswith("redis://:")


def test_every_service_of_ours_takes_other_settings_from_one_file_that_may_be_missing():
    assert [services()[name]["env_file"] for name in OUR_SERVICES] == [
        [{"path": "settings.env", "required": False}]
    ] * 4


def test_an_example_that_is_not_filled_in_is_refused():
    required = set(re.findall(r"\$\{([A-Z_]+):\?", text("compose.yaml")))
    empty = set(re.findall(r"^([A-Z_]+)=$", text("env.example"), re.MULTILINE))
    assert required == empty - {"ALERTS_WEBHOOK_URL", "ALERTS_SECRET", "TORCH_INDEX_URL"}


def test_the_image_holds_every_package_and_runs_as_no_root():
    lines = text("Containerfile")
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    for package in packages["find"]["include"]:
        name = package.rstrip("*")
        assert f"COPY {name} {name}\n" in lines
    assert re.findall(r"^USER (\S+)$", lines, re.MULTILINE) == ["10001:0"]
    assert "install -d -o imagegenx -g 0 -m 0770 /data" in lines
    # Nothing is imported from where data lies.
    assert re.findall(r"^WORKDIR (\S+)$", lines, re.MULTILINE)[-1] == "/opt/dagster"
    assert "PYTHONSAFEPATH=1" in lines
    assert "--constraint constraints.txt" in lines
    assert re.search(r"^ARG PYTHON=\d+\.\d+\.\d+-", lines, re.MULTILINE)
    assert re.search(r"^torch==\d", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+)$", lines, re.MULTILINE) for word in line.split()[:-1]]
    files = [word for word in copied if not word.startswith("--")]
    assert [file for file in files if not (ROOT / file).exists()] == []
    let_in = {line[1:] for line in text("Containerfile.dockerignore").splitlines() if line.startswith("!")}
    assert let_in == set(files)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_an_installed_package_has_every_file_that_is_not_code():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    packages = [name.rstrip("*") for name in setuptools["packages"]["find"]["include"]]
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *packages]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    kept = {
        str(file.relative_to(ROOT))
        for package, patterns in setuptools["package-data"].items()
        for pattern in patterns
        for file in (ROOT / package).glob(pattern)
    }
    assert [name for name in names if name and not name.endswith(".py") and name not in kept] == []


def test_the_code_location_is_the_one_of_the_project():
    (entry,) = yaml.safe_load(text("workspace.yaml"))["load_from"]
    server = entry["grpc_server"]
    command = services()[server["host"]]["command"]
    dg = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["dg"]["project"]
    assert str(server["port"]) == command[command.index("-p") + 1]
    assert server["location_name"] == dg["code_location_name"]
    assert command[command.index("--module-name") + 1] == dg["code_location_target_module"]
