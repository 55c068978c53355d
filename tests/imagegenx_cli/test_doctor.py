"""`imagegenx doctor` where nothing runs, and where what is configured does not work."""

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus
from redis import Redis

from configs.settings import Settings
from imagegenx_cli import doctor
from imagegenx_cli.doctor_dagster import placement
from imagegenx_cli.doctor_finding import State
from imagegenx_cli.embedded_dagster import dagster_instance
from tests.support.redis_server import running_redis

ROOT = Path(__file__).parent.parent.parent
DEPLOYED = ROOT / "deploy" / "dagster.yaml"


@pytest.fixture
def findings(imagegenx):
    """Runs the command and returns its status and its findings by the component they are about."""

    def examine():
        status, output, _ = imagegenx("doctor", "--json")
        return status, by_check(json.loads(output))

    return examine


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch):
    """No gateway of somebody else is found, and patience is short."""
    monkeypatch.setenv("IMAGEGENX_GATEWAY__HTTP_PORT", str(free_port()))
    monkeypatch.setattr(doctor, "PATIENCE_S", 5.0)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def silent_server():
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener.getsockname()[1]


def by_check(findings):
    found = {}
    for finding in findings:
        found.setdefault(finding["check"], []).append(finding)
    return found


def states(found, check):
    return [finding["state"] for finding in found[check]]


def test_a_fresh_machine_where_nothing_runs_is_in_order(findings, home):
    status, found = findings()
    assert status == 0
    assert [check for check in found if "bad" in states(found, check)] == []
    assert states(found, "home") == states(found, "store") == states(found, "queue") == states(found, "fonts") == ["ok"]
    assert states(found, "dagster") == states(found, "gateway") == states(found, "alerts") == ["note"]
    assert re.fullmatch(r"\w+ \(the default\) runs as \w+/(cpu|cuda)/\w+", found["models"][-1]["found"])
    assert list((home / "store").rglob("*.txt")) == []  # it leaves nothing behind
    assert not (home / "redis/redis.sock").exists()


def test_the_text_names_what_to_do(imagegenx):
    status, output, _ = imagegenx("doctor")
    assert status == 0
    assert "ok    home: " in output
    assert "note  gateway: nothing listens on" in output
    assert output.endswith("Everything that is configured works.\n")


def test_wrong_settings_are_all_listed(findings, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_ENGINE__MAX_BATCH_SIZE", "0")
    monkeypatch.setenv("IMAGEGENX_STORE__KIND", "ftp")
    status, found = findings()
    assert status == 1
    assert list(found) == ["settings"]
    assert {finding["found"].split(":")[0] for finding in found["settings"]} == {"engine.max_batch_size", "store.kind"}
    assert all(finding["remedy"] for finding in found["settings"])


def test_a_redis_and_a_store_that_are_down_are_told_and_nothing_else_suffers(findings, monkeypatch):
    port = free_port()
    monkeypatch.setenv("IMAGEGENX_QUEUE__URL", f"redis://:5ec2e7@127.0.0.1:{port}/0")
    monkeypatch.setenv("IMAGEGENX_STORE__KIND", "s3")
    monkeypatch.setenv("IMAGEGENX_STORE__ENDPOINT", f"127.0.0.1:{port}")
    monkeypatch.setenv("IMAGEGENX_STORE__SECURE", "false")
    monkeypatch.setenv("IMAGEGENX_STORE__ACCESS_KEY", "key")
    monkeypatch.setenv("IMAGEGENX_STORE__SECRET_KEY", "5ec2e7")
    status, found = findings()
    assert status == 1
    assert [check for check in found if "bad" in states(found, check)] == ["store", "queue"]
    assert f"127.0.0.1:{port}" in found["queue"][0]["found"]
    assert "5ec2e7" not in json.dumps(found)


def test_a_redis_that_is_full_is_told_with_what_to_do(findings, monkeypatch, tmp_path):
    with running_redis(tmp_path) as redis:
        monkeypatch.setenv("IMAGEGENX_QUEUE__URL", redis.url)
        redis.order("CONFIG", "SET", "maxmemory", 1)
        status, found = findings()

    assert (status, states(found, "queue")) == (1, ["bad"])
    assert f"Redis at {redis.endpoint} is full: its maxmemory is used up" in found["queue"][0]["found"]
    assert "Raise maxmemory there." in found["queue"][0]["found"]


def test_a_redis_that_drops_keys_when_it_is_full_is_told(findings, monkeypatch, tmp_path):
    with running_redis(tmp_path) as redis, Redis.from_url(redis.url, protocol=2) as client:
        monkeypatch.setenv("IMAGEGENX_QUEUE__URL", redis.url)
        client.config_set("maxmemory-policy", "allkeys-lru")
        _, found = findings()
        client.config_set("maxmemory-policy", "noeviction")
        _, corrected = findings()

    assert (states(found, "queue"), states(corrected, "queue")) == (["ok", "note"], ["ok"])
    assert found["queue"][1]["found"] == "Redis drops keys when its memory is full (allkeys-lru)."
    assert found["queue"][1]["remedy"].startswith("Set maxmemory-policy noeviction: ")


def test_servers_that_never_answer_do_not_hold_it_up(home, monkeypatch):
    (home / "dagster").mkdir(parents=True)
    shutil.copyfile(DEPLOYED, home / "dagster/dagster.yaml")
    # Only those that ask servers: PyTorch, imported beside them, would hold up their own imports.
    impatient = (
        "import httpx, imagegenx_cli.doctor as doctor; doctor.PATIENCE_S = 4.0; "
        "doctor.CHECKS = {name: doctor.CHECKS[name] for name in ('queue', 'dagster', 'gateway')}; "
        "doctor.examine(as_json=True)"
    )
    with silent_server() as port:
        monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", f"postgresql+psycopg2://dagster:5ec2e7@127.0.0.1:{port}/dagster")
        monkeypatch.setenv("DAGSTER_S3_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("IMAGEGENX_STORE__BUCKET", "imagegenx")
        monkeypatch.setenv("IMAGEGENX_STORE__REGION", "us-east-1")
        monkeypatch.setenv("IMAGEGENX_QUEUE__URL", f"redis://127.0.0.1:{port}/0")
        monkeypatch.setenv("IMAGEGENX_GATEWAY__PUBLIC_URL", f"http://127.0.0.1:{port}")
        # In a process of its own, which ends what still hangs in it.
        ended = subprocess.run([sys.executable, "-c", impatient], capture_output=True, text=True, cwd=ROOT, check=True)
    found = by_check(json.loads(ended.stdout))
    # The driver's word or doctor's, whichever is first on this machine.
    assert re.search("timeout expired|no answer within 4 s", found["dagster"][0]["found"])
    assert states(found, "queue") == ["bad"]
    assert states(found, "gateway") == ["note", "bad"]
    assert "5ec2e7" not in ended.stdout + ended.stderr


@pytest.fixture
def deployed(home, monkeypatch):
    """Dagster as deploy/dagster.yaml sets it up, with its compute logs at an address where nobody listens."""
    (home / "dagster").mkdir(parents=True)
    shutil.copyfile(DEPLOYED, home / "dagster/dagster.yaml")
    values = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "5ec2e7", "IMAGEGENX_STORE__BUCKET": "imagegenx"}
    values |= {"DAGSTER_HOME": str(home / "dagster"), "DAGSTER_S3_URL": f"http://127.0.0.1:{free_port()}"}
    for name, value in (values | {"IMAGEGENX_STORE__REGION": "us-east-1"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(doctor, "PATIENCE_S", 30.0)


def test_a_database_that_refuses_says_why_at_once_and_what_to_correct(findings, deployed, postgres_server, monkeypatch):
    url = postgres_server.url().replace("://", "+psycopg2://")
    wrong = url.replace(postgres_server.password, "5ec2e7")
    said = []
    for given in (
        wrong,
        f"{url}_missing",
        postgres_server.url(),
        url.replace(str(postgres_server.port), str(free_port())),
    ):
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", given)
        (told,) = findings()[1]["dagster"]
        assert told["state"] == "bad"
        said.append(told)

    found = [one["found"] for one in said]
    assert "password authentication failed" in found[0]
    assert said[0]["remedy"] == "Start PostgreSQL, or correct DAGSTER_POSTGRES_URL and its password."
    assert "does not exist" in found[1]
    assert found[2] == "PostgreSQL: DAGSTER_POSTGRES_URL cannot be used: ModuleNotFoundError: No module named 'psycopg'"
    assert "Connection refused" in found[3]
    assert "5ec2e7" not in json.dumps(said)


def test_compute_logs_that_go_nowhere_are_told(findings, deployed, postgres_server, s3_server, monkeypatch):
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", postgres_server.new_database().replace("://", "+psycopg2://"))
    nowhere = findings()[1]
    server = s3_server.own_bucket()
    monkeypatch.setenv("DAGSTER_S3_URL", f"http://{server.endpoint}")
    for name in ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"):
        monkeypatch.setenv(name, "when_required")
    refused = findings()[1]
    for name, value in (server.environment() | {"IMAGEGENX_STORE__PREFIX": "pictures"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
    whole = findings()[1]

    assert whole["compute logs"][0]["found"].endswith(": put and delete work")
    assert [states(found, "compute logs") for found in (nowhere, refused, whole)] == [["bad"], ["bad"], ["ok"]]
    assert "EndpointConnectionError" in nowhere["compute logs"][0]["found"]
    assert "DAGSTER_S3_URL" in nowhere["compute logs"][0]["remedy"]
    assert "PostgresRunStorage answers" in whole["dagster"][0]["found"]
    assert states(whole, "daemon") == ["bad"]


def test_a_switched_off_sensor_and_settings_that_name_no_catalog_are_told(findings, home, monkeypatch):
    location = RemoteRepositoryOrigin(GrpcServerCodeLocationOrigin("here", port=4000), "main")
    with dagster_instance(home) as instance:
        origin = location.get_instigator_origin("queue_sensor")
        instance.add_instigator_state(InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.STOPPED))
    monkeypatch.delenv("DAGSTER_HOME")
    monkeypatch.setenv("IMAGEGENX_SCHEDULES", json.dumps([{"catalog": "sprung", "cron": "0 6 * * *"}]))
    monkeypatch.setenv("IMAGEGENX_RELEASES__CATALOGS", json.dumps(["sumer"]))

    status, found = findings()

    assert status == 0
    assert [one["found"] for one in found["daemon"]][1:] == ["switched off: queue_sensor."]
    said = [one["found"] for one in found["catalogs"] if one["state"] == "note"]
    assert said[:2] == ["schedules: no catalog sprung.", "releases.catalogs: no catalog sumer."]


@pytest.mark.parametrize(
    ("launcher", "named", "coordinator", "state", "said"),
    [
        ("ray", "RayRunLauncher", "PlacedRunCoordinator", State.OK, "runs are placed by RayRunLauncher"),
        ("kubernetes", "K8sRunLauncher", "PlacedRunCoordinator", State.OK, "runs are placed by K8sRunLauncher"),
        ("ray", "RayRunLauncher", "QueuedRunCoordinator", State.BAD, "no worker asks for a GPU"),
        ("none", "RayRunLauncher", "PlacedRunCoordinator", State.BAD, "placement.launcher is none"),
        ("kubernetes", "", "PlacedRunCoordinator", State.BAD, "not named"),
    ],
)
def test_a_launcher_whose_tags_no_run_carries_is_told(home, launcher, named, coordinator, state, said):
    configured = {"run_launcher": {"class": named}, "run_coordinator": {"class": coordinator}}

    (found,) = placement(configured, Settings(home=home, placement={"launcher": launcher}, engine={"fleet": True}))

    assert (found.state, bool(found.remedy)) == (state, state is State.BAD)
    assert said in found.found


def test_runs_that_stay_on_this_machine_need_no_launcher(home):
    assert list(placement({}, Settings(home=home))) == []


def test_refused_catalogs_and_a_watched_folder_that_is_away_are_told(findings, home):
    _, away = findings()
    (home / "inbox").mkdir()
    (home / "inbox/bad.csv.problems.txt").touch()
    status, found = findings()

    assert "inbox is not there." in away["catalogs"][0]["found"]
    assert status == 0
    assert found["catalogs"][0]["found"] == f"refused in {home / 'inbox'}: bad.csv."
    assert states(found, "catalogs") == ["note", "ok"]


def test_parts_of_a_model_that_are_not_here_are_named(findings, monkeypatch, tmp_path):
    cards = tmp_path / "cards"
    shutil.copytree(ROOT / "models/builtin/tiny", cards / "tiny")
    (cards / "tiny/unet/diffusion_pytorch_model.safetensors").unlink()
    card = f"family: sd\nsource: tiny\ndefault_resolution: 128×128\nloras: {{soft: {cards / 'soft.safetensors'}}}\n"
    (cards / "shop.yaml").write_text(card, encoding="utf-8")
    (cards / "gone.yaml").write_text(f"family: sd\nsource: {tmp_path / 'gone'}\n", encoding="utf-8")
    monkeypatch.setenv("IMAGEGENX_MODEL_FOLDERS", json.dumps([str(cards)]))
    monkeypatch.setenv("IMAGEGENX_DEFAULT_MODEL", "shop")

    _, found = findings()

    told = {one["found"]: one for one in found["models"] if one["found"].startswith(("shop", "gone"))}
    unet, lora, gone = (
        f"shop: not here: {cards / 'tiny/unet/*.safetensors'}.",
        f"shop: not here: LoRA 'soft' of model 'shop': no file {cards / 'soft.safetensors'}.",
        f"gone: not here: {tmp_path / 'gone'}.",
    )
    assert [told[one]["state"] for one in (unet, lora, gone)] == ["bad", "bad", "note"]
    assert told[gone]["remedy"] == f"Put it there, or correct {cards / 'gone.yaml'}."


def test_a_moderator_that_cannot_be_made_is_told(findings, monkeypatch):
    assert states(findings()[1], "moderation") == ["note"]
    monkeypatch.setenv("IMAGEGENX_CHECKS__MODERATION", "no_such_module:Judge")
    status, found = findings()
    assert (status, states(found, "moderation")) == (1, ["bad"])
    assert "no_such_module" in found["moderation"][0]["found"]


def test_a_missing_default_model_and_upscaler_say_how_to_get_them(findings, home, monkeypatch, tmp_path):
    cards = tmp_path / "cards"
    cards.mkdir()
    revision = "a" * 40
    (cards / "far.yaml").write_text(f"family: sd\nsource: someone/far\nrevision: {revision}\n", encoding="utf-8")
    monkeypatch.setenv("IMAGEGENX_MODEL_FOLDERS", json.dumps([str(cards)]))
    monkeypatch.setenv("IMAGEGENX_DEFAULT_MODEL", "far")
    monkeypatch.setenv("IMAGEGENX_UPSCALER", "nowhere.safetensors")
    status, found = findings()
    (model,) = [finding for finding in found["models"] if finding["state"] == "bad"]
    assert status == 1
    assert model["found"] == "far: not here: someone/far."
    assert model["remedy"] == "`imagegenx models fetch far` fetches it."
    assert states(found, "upscaler") == ["bad"]


def test_something_else_on_the_gateways_port_is_told(findings, monkeypatch):
    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Other)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        monkeypatch.setenv("IMAGEGENX_GATEWAY__HTTP_PORT", str(server.server_port))
        status, found = findings()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert status == 1
    assert found["gateway"][0]["found"].endswith("answers, but is not the gateway.")


def test_a_home_that_cannot_be_written_to_is_told(findings, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path / "file/home"))
    status, found = findings()
    assert status == 1
    assert states(found, "home") == ["bad"]
    assert "cannot be written to: Not a directory." in found["home"][0]["found"]
