"""The checks of `imagegenx doctor`: each looks at one component and tells what it finds."""

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from configs.logs import without_secrets
from configs.settings import Settings
from imagegenx_cli.embedded_dagster import dagster_instance

if TYPE_CHECKING:
    from dagster import DagsterInstance

_TIMEOUT_S = 3
_LITTLE_BYTES = 1_000_000_000
_STALE_HEARTBEAT_S = 120
_LONG_WAIT_S = 60
_SAMPLE_TEXT = "春日 Spring 30 %"


class State(StrEnum):
    """Works; works but worth knowing, or not in use; does not work though it is configured."""

    OK = "ok"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """What a check found, and what to do about it."""

    check: str
    state: State
    found: str
    remedy: str = ""

    def as_data(self) -> dict[str, str]:
        """The finding for JSON."""
        found = without_secrets(self.found)
        return {"check": self.check, "state": self.state.value, "found": found, "remedy": self.remedy}


def home(settings: Settings) -> Iterator[Finding]:
    """The home folder can be written to and has room."""
    folder = settings.home
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".doctor-{secrets.token_hex(4)}"
        probe.write_bytes(b"doctor")
        probe.unlink()
    except OSError as exc:
        remedy = "Give this user the folder, or set IMAGEGENX_HOME to another."
        yield Finding("home", State.BAD, f"{folder} cannot be written to: {exc.strerror}.", remedy)
        return
    free = shutil.disk_usage(folder).free
    found = f"{folder}, {free / 1e9:.1f} GB free"
    if free < _LITTLE_BYTES:
        yield Finding("home", State.BAD, f"{found}.", "Make room: `imagegenx store gc` removes what nothing refers to.")
    else:
        yield Finding("home", State.OK, found)


def store(settings: Settings) -> Iterator[Finding]:
    """The object store takes an object, gives it back, presigns it and deletes it."""
    from resources.object_store import open_store

    objects = open_store(settings.store)
    objects.check()
    key, content = f"doctor/{secrets.token_hex(8)}.txt", secrets.token_bytes(64)
    objects.put(key, content, content_type="text/plain")
    try:
        whole = objects.get(key) == content
        url = objects.url(key, 60)
        fetched = url.startswith("file:") or _fetched(url) == content
    finally:
        objects.delete(key)
    if not whole or objects.stat(key) is not None:
        remedy = "Check that no cache or proxy stands between, and use another S3 service if not."
        yield Finding("store", State.BAD, "what was written is not what is read, or deleting has no effect.", remedy)
    elif not fetched:
        remedy = "Check IMAGEGENX_STORE__REGION and the clock; a proxy must not change the header Host."
        yield Finding("store", State.BAD, "a presigned URL does not download.", remedy)
    else:
        place = settings.store
        where = place.path if place.kind == "local" else f"s3 {place.endpoint}, bucket {place.bucket}"
        yield Finding("store", State.OK, f"{where}: put, get, URL and delete work")


def _fetched(url: str) -> bytes:
    import httpx

    try:
        return httpx.get(url, timeout=_TIMEOUT_S, trust_env=False).content
    except httpx.HTTPError:
        return b""


def queue(settings: Settings) -> Iterator[Finding]:
    """Redis answers; who waits, who works, what was given up."""
    from resources.queue import open_queue

    requests = open_queue(settings)
    try:
        requests.check()
        depth, workers = requests.depth(), requests.workers()
    finally:
        requests.close()
    place = "the configured Redis" if settings.queue.url.get_secret_value() else "the private Redis"
    waiting = sum(depth.waiting.values())
    found = f"{place} answers; {waiting} requests wait, {depth.processing} in work, {len(workers)} serving runs"
    yield Finding("queue", State.OK, found)
    if waiting and not workers and depth.oldest_waiting_s > _LONG_WAIT_S:
        remedy = "Start the daemon (`imagegenx dev`, or dagster-daemon), and look at the last runs of serving_run."
        yield Finding("queue", State.BAD, f"nobody works; the oldest waits {depth.oldest_waiting_s:.0f} s.", remedy)
    if depth.dead:
        remedy = "Their tasks' errors say why; look for failed runs of serving_run."
        yield Finding("queue", State.NOTE, f"{depth.dead} requests were given up after ending their workers.", remedy)


def dagster(settings: Settings) -> Iterator[Finding]:
    """The storage of Dagster's instance answers, and its daemon is alive where one is expected."""
    deployed = bool(os.environ.get("DAGSTER_HOME"))
    if not deployed and not (settings.home / "dagster" / "dagster.yaml").is_file():
        yield Finding("dagster", State.NOTE, "no instance yet; `imagegenx demo` or `imagegenx dev` makes one.")
        return
    with dagster_instance(settings.home) as instance:
        runs, storage = instance.get_runs_count(), type(instance.run_storage).__name__
        yield Finding("dagster", State.OK, f"{storage} answers; {runs} runs")
        yield _daemon(instance, deployed=deployed)


def _daemon(instance: "DagsterInstance", *, deployed: bool) -> Finding:
    beats = instance.get_daemon_heartbeats().values()
    failing = [beat for beat in beats if beat.errors]
    age_s = time.time() - max((beat.timestamp for beat in beats), default=0.0)
    if age_s > _STALE_HEARTBEAT_S:
        found = "the daemon does not run: no sensor, schedule, backfill or queued run is looked after."
        return Finding(
            "daemon", State.BAD if deployed else State.NOTE, found, "Start `imagegenx dev` or dagster-daemon."
        )
    if failing:
        said = " ".join((failing[0].errors or [])[0].message.split())
        return Finding("daemon", State.BAD, f"{failing[0].daemon_type}: {said}", "Look at the daemon's log.")
    return Finding("daemon", State.OK, f"last heartbeat {age_s:.0f} s ago")


def models(settings: Settings) -> Iterator[Finding]:
    """The files of every model are here, and the default one finds its device."""
    from models.placement import choose_placement
    from models.registry import open_registry

    registry = open_registry(settings)
    for name in registry.names:
        card = registry.card(name)
        parts = {card.source: card.path} | ({card.controlnet: card.controlnet_path} if card.controlnet else {})
        absent = [source for source, path in parts.items() if path is None or not path.exists()]
        if absent:
            state = State.BAD if name == registry.default_model else State.NOTE
            remedy = f"`imagegenx models fetch {name}` fetches it."
            yield Finding("models", state, f"{name}: not here: {', '.join(absent)}.", remedy)
    default = registry.card(registry.default_model)
    placement = choose_placement(default, settings.engine)
    yield Finding("models", State.OK, f"{default.name} (the default) runs as {placement.kind}")


def gpus(settings: Settings) -> Iterator[Finding]:
    """What NVIDIA's management library tells, and whether PyTorch can use it."""
    import torch

    from models.gpu_load import read_gpu_loads

    loads = read_gpu_loads()
    usable = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for load in loads:
        used, total = load.memory_used_bytes / 1e9, load.memory_total_bytes / 1e9
        yield Finding("gpu", State.OK, f"{load.device_id}: {load.utilization:.0f} % busy, {used:.1f} of {total:.1f} GB")
    if usable and not loads:
        remedy = "pip install 'imagegenx[gpu]'"
        yield Finding("gpu", State.NOTE, f"PyTorch sees {usable}, but their load cannot be read.", remedy)
    if not usable and (loads or Path("/proc/driver/nvidia").exists()):
        remedy = "Install a build of torch for CUDA, and give the container the GPU."
        yield Finding("gpu", State.NOTE, "the driver is here, but PyTorch cannot use it.", remedy)
    if not usable and not loads:
        yield Finding("gpu", State.NOTE, "none; pictures are computed on the CPU")
    if usable and settings.serving.gpu_slots > usable:
        remedy = "Lower it, unless serving runs start on other machines."
        yield Finding("gpu", State.NOTE, f"serving.gpu_slots {settings.serving.gpu_slots} is above {usable}.", remedy)


def upscaler(settings: Settings) -> Iterator[Finding]:
    """The super-resolution network can be read."""
    from models.rrdb_weights import read_network

    read_network(settings.upscaler)
    yield Finding("upscaler", State.OK, settings.upscaler.name)


def fonts(settings: Settings) -> Iterator[Finding]:
    """The built-in font draws Chinese."""
    from ops.watermark_files import find_font

    missing = find_font("", settings.fonts_folder).missing(_SAMPLE_TEXT)
    if missing:
        remedy = "pip install 'noto-cjk[sans]'"
        yield Finding("fonts", State.BAD, f"the built-in font has no {missing}", remedy)
    else:
        yield Finding("fonts", State.OK, "watermarks can be Chinese")


def gateway(settings: Settings) -> Iterator[Finding]:
    """The gateway answers where it should listen, and where clients reach it."""
    place = settings.gateway
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(place.host, place.host)
    local = f"http://{host}:{place.http_port}"
    yield _health(local) or Finding("gateway", State.NOTE, f"nothing listens on {local}; `imagegenx dev` starts it.")
    if place.public_url and place.public_url.rstrip("/") != local:
        remedy = "Check the proxy in front of the gateway, or correct IMAGEGENX_GATEWAY__PUBLIC_URL."
        absent = Finding("gateway", State.BAD, f"{place.public_url} does not answer.", remedy)
        yield _health(place.public_url.rstrip("/")) or absent


def _health(url: str) -> Finding | None:
    import httpx

    try:
        answer = httpx.get(f"{url}/health", timeout=_TIMEOUT_S, trust_env=False)
        status = str(answer.json()["data"]["status"])
    except httpx.HTTPError:
        return None
    except (ValueError, KeyError, TypeError):
        remedy = "Something else listens there; set gateway.http_port to a free port."
        return Finding("gateway", State.BAD, f"{url} answers, but is not the gateway.", remedy)
    if status == "healthy":
        return Finding("gateway", State.OK, f"{url} is healthy")
    return Finding("gateway", State.BAD, f"{url} is {status}.", "The findings above, or its log, say why.")


def alerts(settings: Settings) -> Iterator[Finding]:
    """Where failed runs are told; the receiver is not called."""
    from urllib.parse import urlsplit

    url = settings.alerts.webhook_url
    if url:
        yield Finding("alerts", State.OK, f"failed runs are told to {urlsplit(url).hostname}")
    else:
        yield Finding("alerts", State.NOTE, "off; alerts.webhook_url switches them on")


CHECKS: Mapping[str, Callable[[Settings], Iterator[Finding]]] = {
    "home": home,
    "store": store,
    "queue": queue,
    "dagster": dagster,
    "models": models,
    "gpu": gpus,
    "upscaler": upscaler,
    "fonts": fonts,
    "gateway": gateway,
    "alerts": alerts,
}
"""All checks, in the order in which they run."""
