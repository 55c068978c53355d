"""The checks of `imagegenx doctor`: each looks at one component and tells what it finds."""

import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from configs.settings import Settings
from foundation.private_folder import make_private
from imagegenx_cli.doctor_dagster import dagster
from imagegenx_cli.doctor_finding import Finding, State

if TYPE_CHECKING:
    from models.card import ModelCard

_TIMEOUT_S = 3
_LITTLE_BYTES = 1_000_000_000
_LONG_WAIT_S = 60
_SAMPLE_TEXT = "春日 Spring 30 %"


def home(settings: Settings) -> Iterator[Finding]:
    """The home folder can be written to and has room."""
    folder = settings.home
    try:
        make_private(folder)
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
    from resources.open_store import open_store

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
        depth, workers, policy = requests.depth(), requests.workers(), requests.eviction_policy()
    finally:
        requests.close()
    place = "the configured Redis" if settings.queue.url.get_secret_value() else "the private Redis"
    waiting = sum(depth.waiting.values())
    found = f"{place} answers; {waiting} requests wait, {depth.processing} in work, {len(workers)} serving runs"
    yield Finding("queue", State.OK, found)
    if policy != "noeviction":
        remedy = "Set maxmemory-policy noeviction: a full Redis then refuses requests, with 503, and loses none."
        yield Finding("queue", State.NOTE, f"Redis drops keys when its memory is full ({policy}).", remedy)
    if waiting and not workers and depth.oldest_waiting_s > _LONG_WAIT_S:
        remedy = "Start `imagegenx dev`, or `python -m imagegenx_cli.daemon`, and look at the last runs of serving_run."
        yield Finding("queue", State.BAD, f"nobody works; the oldest waits {depth.oldest_waiting_s:.0f} s.", remedy)
    if depth.dead:
        remedy = "Their tasks' errors say why; look for failed runs of serving_run."
        yield Finding("queue", State.NOTE, f"{depth.dead} requests were given up after ending their workers.", remedy)


def catalogs(settings: Settings) -> Iterator[Finding]:
    """Where catalogs come from is there, and none waits to be corrected."""
    from ops.catalog.source import PROBLEMS

    source = settings.catalog_source
    if source.folder and not source.folder.is_dir():
        remedy = "Make it, or bring its share back; catalogs that are put there are made by themselves."
        yield Finding("catalogs", State.NOTE, f"the watched folder {source.folder} is not there.", remedy)
        return
    refused = sorted(source.folder.glob(f"*{PROBLEMS}")) if source.folder else []
    if refused:
        names = ", ".join(file.name.removesuffix(PROBLEMS) for file in refused)
        remedy = f"The file NAME{PROBLEMS} beside each says what is wrong with it."
        yield Finding("catalogs", State.NOTE, f"refused in {source.folder}: {names}.", remedy)
    watched = [str(source.folder)] if source.folder else []
    watched += [f"keys below {source.prefix}"] if source.prefix else []
    said = f"watched: {', '.join(watched)}" if watched else "no folder and no prefix is watched"
    yield Finding("catalogs", State.OK, said)


def models(settings: Settings) -> Iterator[Finding]:
    """The files of every model are here, and the default one finds its device."""
    from models.placement import choose_placement
    from models.registry import open_registry

    registry = open_registry(settings)
    for bad in registry.bad_cards:
        yield Finding("models", State.BAD, f"{bad}.", f"Correct or remove {bad.file}; its model is left out.")
    for name in registry.names:
        state = State.BAD if name == registry.default_model else State.NOTE
        for found, remedy in _absent(registry.card(name)):
            yield Finding("models", state, f"{name}: not here: {found.removesuffix('.')}.", remedy)
    if registry.default_model not in registry.names:
        return
    default = registry.card(registry.default_model)
    kind = choose_placement(default, settings.engine).kind(default.default_resolution)
    yield Finding("models", State.OK, f"{default.name} (the default) runs as {kind}")


def _absent(card: "ModelCard") -> Iterator[tuple[str, str]]:
    """What of a model is missing, and what to do about it; files are not opened, as `models verify` does."""
    from models.errors import ModelLoadError

    place = f"Put it there, or correct {card.folder / card.name}.yaml."
    parts = [(card.source, card.path, card.is_on_hub)]
    if card.controlnet:
        parts.append((card.controlnet, card.controlnet_path, card.controlnet_is_on_hub))
    named = {name: choice.source for name, choice in card.controlnets.items()}
    parts += [(source, card.controlnet_paths[name], False) for name, source in named.items() if "#" not in source]
    to_fetch = [source for source, path, is_on_hub in parts if is_on_hub and path is None]
    if to_fetch:
        yield ", ".join(to_fetch), f"`imagegenx models fetch {card.name}` fetches it."
    for _, path, _ in parts:
        if path is not None:
            for missing in _without_weights(path):
                yield str(missing), place
    for lora in card.loras:
        try:
            card.lora_path(lora)
        except ModelLoadError as exc:
            yield str(exc), place


def _without_weights(path: Path) -> Iterator[Path]:
    """A file or folder that is not there, and the parts of a folder in the diffusers layout that have no weights."""
    from models.visible_files import visible_files

    if not path.exists():
        yield path
        return
    for config in sorted((*path.glob("config.json"), *path.glob("*/config.json"))):
        if not any(file.suffix == ".safetensors" for file in visible_files(config.parent)):
            yield config.parent / "*.safetensors"


def gpus(settings: Settings) -> Iterator[Finding]:
    """What NVIDIA's management library tells, and whether PyTorch can use it."""
    import torch

    from models.gpus import read_gpu_loads

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
    """The super-resolution networks can be read."""
    from models.upscaling.reading import read_network
    from resources.weight_store import fetch_upscaler

    fetch_upscaler(settings)
    for network in (settings.upscaler, *settings.upscalers.values()):
        read_network(network)
        yield Finding("upscaler", State.OK, network.name)


def fonts(settings: Settings) -> Iterator[Finding]:
    """The built-in font draws Chinese."""
    from models.shaping import shape_line, shaping_identity
    from models.watermark_files import find_font

    missing = shape_line(_SAMPLE_TEXT, find_font("", settings.fonts_folder), 12).missing
    if missing:
        remedy = "pip install 'noto-cjk[sans]'"
        yield Finding("fonts", State.BAD, f"the built-in font has no {' '.join(missing)}", remedy)
    else:
        yield Finding("fonts", State.OK, f"watermarks can be Chinese; text is shaped by {shaping_identity()}")


def moderation(settings: Settings) -> Iterator[Finding]:
    """The moderator that is named can be made; it judges nothing here."""
    from ops.moderation import open_moderation
    from resources.open_store import open_store

    opened = open_moderation(settings.checks, open_store(settings.store))
    if opened:
        yield Finding("moderation", State.OK, f"{opened.stamp} sees every picture before it is published")
    else:
        yield Finding("moderation", State.NOTE, "off; checks.moderation switches it on")


def scorers(settings: Settings) -> Iterator[Finding]:
    """Whatever scores reviewed catalogs' pictures is there."""
    from ops.scores.scorers import open_scorers

    yield Finding("scorers", State.OK, f"reviewed catalogs' pictures: {', '.join(open_scorers(settings.checks))}")


def gateway(settings: Settings) -> Iterator[Finding]:
    """The gateway answers where it should listen, and where clients reach it."""
    place = settings.gateway
    local = place.local_url
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
    "catalogs": catalogs,
    "models": models,
    "gpu": gpus,
    "upscaler": upscaler,
    "fonts": fonts,
    "moderation": moderation,
    "scorers": scorers,
    "gateway": gateway,
    "alerts": alerts,
}
"""All checks, in the order in which they run."""
