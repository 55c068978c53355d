"""A real S3 server for tests, from the Python index: OpenStack Swift with its S3 face, on a free loopback port.

In tests, use the `s3_server` fixture. By hand, `python -m tests.support.s3_server` prints the settings that make
ImageGenX use the server and serves until Ctrl-C; everything it stored is gone then.
"""

import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import xattr  # type: ignore[import-untyped]

from configs.settings import StoreSettings

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
MIN_FREE_BYTES = 1 << 30
REPOSITORY = Path(__file__).resolve().parent.parent.parent

SWIFT_CONF = """\
[swift-hash]
swift_hash_path_suffix = imagegenx
[storage-policy:0]
name = one
default = yes
"""
SERVER_CONF = """\
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
log_level = WARNING
log_custom_handlers = tests.support.swift_process.log_to_stderr
[pipeline:main]
pipeline = {pipeline}
"""
STORAGE_CONF = """\
[app:{name}-server]
use = egg:swift#{name}
"""
PROXY_FILTERS = ("catch_errors", "memory", "listing_formats", "s3api", "tempauth", "copy", "slo", "dlo")
PROXY_CONF = """\
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
error_suppression_interval = 0
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:memory]
paste.filter_factory = tests.support.swift_process:memory_filter
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
max_bucket_listing = 20
[filter:tempauth]
use = egg:swift#tempauth
user_imagegenx_owner = {secret_key} .admin
user_imagegenx_stranger = {secret_key}
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""


class S3ServerError(Exception):
    """The server did not start; the text holds its log."""


@dataclass(frozen=True)
class S3Server:
    """A running server. `stranger_key` is a second account's access key: same secret, no rights."""

    endpoint: str
    secret_key: str
    pid: int
    log: Path
    access_key: str = "imagegenx:owner"
    stranger_key: str = "imagegenx:stranger"
    bucket: str = "pictures"
    region: str = "us-east-1"

    def own_bucket(self) -> "S3Server":
        """The same server with a bucket that no other test uses; it is not made yet."""
        return replace(self, bucket=f"pictures-{secrets.token_hex(6)}")

    def settings(self, **changes: object) -> StoreSettings:
        """Settings of a store on this server; the bucket is not made yet."""
        fields: dict[str, object] = {
            "kind": "s3",
            "endpoint": self.endpoint,
            "bucket": self.bucket,
            "region": self.region,
            "secure": False,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
        }
        return StoreSettings.model_validate(fields | changes)

    def environment(self) -> dict[str, str]:
        """The same as environment variables of an ImageGenX process."""
        return {
            "IMAGEGENX_STORE__KIND": "s3",
            "IMAGEGENX_STORE__ENDPOINT": self.endpoint,
            "IMAGEGENX_STORE__BUCKET": self.bucket,
            "IMAGEGENX_STORE__REGION": self.region,
            "IMAGEGENX_STORE__SECURE": "false",
            "IMAGEGENX_STORE__ACCESS_KEY": self.access_key,
            "IMAGEGENX_STORE__SECRET_KEY": self.secret_key,
        }


@contextmanager
def running_s3_server() -> Iterator[S3Server]:
    """Start a server in a folder of its own; on exit, end it and remove the folder.

    Raises:
        S3ServerError: if it does not start, with its log.
    """
    folder = Path(tempfile.mkdtemp(prefix="imagegenx-s3-", dir=_suitable_folder()))
    secret_key = secrets.token_urlsafe(24)
    try:
        _write_configuration(folder, secret_key)
        log = folder / "server.log"
        with _process(folder, log) as process:
            port = _wait_until_ready(process, log)
            yield S3Server(endpoint=f"127.0.0.1:{port}", secret_key=secret_key, pid=process.pid, log=log)
            if process.poll() is not None:
                raise S3ServerError(f"the S3 server ended by itself ({process.returncode}):\n{_text(log)}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # the server has done so, if it ran


def _suitable_folder() -> Path:
    """Swift keeps metadata in extended attributes and syncs much: memory is best, then any disk that can."""
    candidates = [Path("/dev/shm"), Path(tempfile.gettempdir()), Path("/var/tmp"), Path.home()]
    for folder in candidates:
        if _is_suitable(folder):
            return folder
    names = ", ".join(map(str, candidates))
    raise S3ServerError(f"none of {names} has 1 GiB free and extended attributes. Set TMPDIR to a folder that has.")


def _is_suitable(folder: Path) -> bool:
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            xattr.setxattr(file.fileno(), "user.swift.metadata", b"x" * 1000)
        return shutil.disk_usage(folder).free >= MIN_FREE_BYTES
    except OSError:
        return False


def _write_configuration(folder: Path, secret_key: str) -> None:
    (folder / "devices" / "disk").mkdir(parents=True)
    (folder / "swift.conf").write_text(SWIFT_CONF)
    for name in ("account", "container", "object"):
        text = SERVER_CONF.format(folder=folder, pipeline=f"{name}-server") + STORAGE_CONF.format(name=name)
        (folder / f"{name}.conf").write_text(text)
    pipeline = " ".join((*PROXY_FILTERS, "proxy-server"))
    text = SERVER_CONF.format(folder=folder, pipeline=pipeline) + PROXY_CONF.format(secret_key=secret_key)
    (folder / "proxy.conf").write_text(text)


@contextmanager
def _process(folder: Path, log: Path) -> Iterator["subprocess.Popen[str]"]:
    """Swift in a session of its own, so that Ctrl-C reaches only us; it ends when its input closes."""
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.support.swift_process", str(folder)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            assert process.stdin
            process.stdin.close()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(process: "subprocess.Popen[str]", log: Path) -> int:
    assert process.stdout
    readable, _, _ = select.select([process.stdout], [], [], START_TIMEOUT_S)
    line = process.stdout.readline() if readable else ""
    if not line.startswith("ready "):
        raise S3ServerError(f"the S3 server did not start within {START_TIMEOUT_S} s:\n{_text(log)}")
    return int(line.split()[1])


def _text(log: Path) -> str:
    return log.read_text(errors="replace")


def main() -> None:
    """Serve until Ctrl-C or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with running_s3_server() as server:
        notes = ["# An S3 server for tests is running; Ctrl-C ends it.", f"# Its files: {server.log.parent}"]
        lines = [f"export {name}={value}" for name, value in server.environment().items()]
        sys.stdout.write("\n".join([*notes, *lines, ""]))
        sys.stdout.flush()
        stop.wait()


if __name__ == "__main__":
    main()
