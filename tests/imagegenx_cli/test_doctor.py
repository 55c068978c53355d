"""`imagegenx doctor` where nothing runs, and where what is configured does not work."""

import json
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from imagegenx_cli import doctor

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


def test_servers_that_never_answer_do_not_hold_it_up(home, monkeypatch):
    (home / "dagster").mkdir(parents=True)
    shutil.copyfile(DEPLOYED, home / "dagster/dagster.yaml")
    impatient = "import imagegenx_cli.doctor as doctor; doctor.PATIENCE_S = 4.0; doctor.examine(as_json=True)"
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
    assert found["dagster"][0]["found"] == "no answer within 4 s."
    assert states(found, "queue") == ["bad"]
    assert states(found, "gateway") == ["note", "bad"]
    assert "5ec2e7" not in ended.stdout + ended.stderr


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
