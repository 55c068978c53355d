"""A walk over the entrances of the running product: every picture that leaves has every mark.

`imagegenx dev` runs on a home of its own, with the built-in model and checkpoints of random weights. What it answers,
streams, stores and exports is read by C2PA's reader in a process of its own, by exiftool and by Python's XML parser.
The invisible mark nobody else reads; it must name the picture that the others name. Needs exiftool. Its store is a
folder, or the bucket that the environment names (`python -m tests.support.s3_server` prints one's settings).
"""

import base64
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urljoin
from urllib.request import urlopen
from xml.etree import ElementTree

import grpc
import httpx
import numpy as np
from PIL import Image

from benchmarks.processes import free_port, wait_for
from benchmarks.random_checkpoint import RandomCheckpoint, RandomCheckpointXL, random_pipeline, random_registry
from benchmarks.serving_stack import HOST
from configs.settings import Settings
from gateway.stubs import imagegenx_pb2 as pb2
from resources.object_store import ObjectStore
from resources.open_store import open_store

PICTURES = 1_000
LIMITS = dict.fromkeys(("without c2pa", "without iptc", "without tc260", "without the invisible one"), 0.0)
_PATIENCE_S = 1_800.0
_TOOL = str(Path(sys.executable).with_name("imagegenx"))
_FORMATS, _SIZES = ("png", "jpg", "webp"), ("128x128", "256x256", "192x256", "256x160")
_LARGE = ("512x512", "768x512", "640x896", "1024x1024")
_CHECKPOINTS = {"sd": RandomCheckpoint, "sdxl": RandomCheckpointXL}
_AI_MADE = re.compile(r"http://cv\.iptc\.org/newscodes/digitalsourcetype/(compositeWithT|t)rainedAlgorithmicMedia")
_AIGC = ".//{http://www.tc260.org.cn/ns/AIGC/1.0/}AIGC"
_API = "/api/v1/image"
_CARD = "{family: FAMILY, source: random-FAMILY, modes: [text2img], max_side_px: 2048, defaults: {steps: 1}}"
_CATALOG = """\
template: "a {colour} {product} on a white background"
axes: {product: [mug, dress, hat], colour: [red, teal], format: [png, jpg, webp], resolution: [128x128, 256x192]}
defaults: {steps: 2, super_resolution: 2x}
watermark: {text: shop, position: bottom-right}
review: required
"""
Files = Iterator[tuple[str, bytes]]


def run(pictures: int = PICTURES, without: int = 0) -> dict[str, float]:
    """How many pictures came from each entrance in each format, and how many lack a mark that they must have.

    Args:
        without: so many of the walk's parts are left out: the commands, the catalog, and the first rounds of requests.
    """
    with TemporaryDirectory() as place, _product(Path(place) / "home") as product:
        folder, counts = Path(place) / "pictures", Counter[str]()
        folder.mkdir()
        for (name, data), _ in zip(_files(product, without), range(pictures), strict=False):
            ending = str(Image.open(io.BytesIO(data)).format).lower()
            counts[f"{name}, {ending}"] += 1
            (folder / f"{name.replace(' ', '_')}-{counts.total()}.{ending}").write_bytes(data)
        tags = {Path(one["SourceFile"]).name: one for one in _answer("exiftool", "-json", "-G1", str(folder))}
        read = _answer(sys.executable, "-m", "benchmarks.marks_walk", str(folder))
    lacking = Counter[str]()
    for name, one in read.items():
        missing = list(_missing(one, tags[name]))
        lacking.update(missing)
        if missing:
            print(f"  {name}, {one['size']}: {', '.join(missing)}")
    return {**counts, "pictures": len(read), **{what: lacking[what] for what in LIMITS}}


def _missing(read: Mapping[str, Any], tags: Mapping[str, Any]) -> Iterator[str]:
    label = json.loads(tags.get("XMP-TC260:Aigc", "{}"))
    if not _AI_MADE.fullmatch(read["made"]):
        yield "without c2pa"
    if tags.get("XMP-iptcExt:DigitalSourceType") != read["made"]:
        yield "without iptc"
    if label.get("Label") != "1" or label != json.loads(read["aigc"]):
        yield "without tc260"
    if read["found"] != label.get("ProduceID", "")[:12]:
        yield "without the invisible one"


def _read(file: Path) -> dict[str, object]:
    """What a file says, by C2PA's reader and Python's XML parser; and its invisible mark."""
    import c2pa

    from models.marks.invisible import find_mark

    with Image.open(file) as image:
        packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp", "<none/>")
        found = find_mark(np.asarray(image.convert("RGB")), (1,))
        read: dict[str, object] = {"found": found.hex() if found else "", "size": image.size, "made": "nothing"}
        kind = Image.MIME[image.format or ""]
    read["aigc"] = ElementTree.fromstring(packet).findtext(_AIGC) or "{}"
    with suppress(c2pa.C2paError.ManifestNotFound), c2pa.Reader(kind, io.BytesIO(file.read_bytes())) as reader:
        report = json.loads(reader.json())
        said = {one["label"]: one["data"] for one in report["manifests"][report["active_manifest"]]["assertions"]}
        is_valid = report["validation_state"] == "Valid"
        read["made"] = said["c2pa.actions.v2"]["actions"][0]["digitalSourceType"] if is_valid else "not valid"
    return read


@dataclass(frozen=True)
class _Product:
    """The running product: its home folder and store, a client of its HTTP face, a channel to its gRPC face, a key."""

    home: Path
    store: ObjectStore
    http: httpx.Client
    grpc: grpc.Channel
    key: str

    def data(self, method: str, path: str, body: object = None) -> Any:
        """The data of an answer."""
        return self.http.request(method, path, json=body).raise_for_status().json()["data"]

    def tool(self, *arguments: str) -> str:
        """The last line that a command prints."""
        return subprocess.check_output([_TOOL, *arguments], text=True, env=_environment(self.home)).splitlines()[-1]

    def results(self, name: str, path: str) -> Files:
        """The files of a task's pictures, downloaded by their signed addresses, without a key."""
        wait_for(name, lambda: self.data("GET", path)["status"] not in ("waiting", "processing"), _PATIENCE_S)
        task = self.data("GET", path)
        if task["status"] != "success":
            raise RuntimeError(f"{name}: {task['error_msg']}")
        for one in task["result"]["pictures"]:
            yield name, httpx.get(one["original_url"]).content
            yield f"{name} thumbnail", httpx.get(one["thumb_url"]).content

    def called(self, method: str, request: Any, answer: Any) -> Any:
        """The answer of a call by gRPC."""
        call = self.grpc.unary_unary(
            f"/imagegenx.SchedulerService/{method}", type(request).SerializeToString, answer.FromString
        )
        return call(request)


def _files(product: _Product, without: int) -> Files:
    """Endlessly; each with the name of its entrance."""
    parts = (_commands(product), _catalog(product), *(_round(product, number) for number in range(PICTURES)))
    return chain.from_iterable(parts[without:])


def _commands(product: _Product) -> Files:
    for model, resolution, ending in (
        ("tiny", "256x256", "png"),
        ("tiny", "128x128", "jpg"),
        ("random-sd", "512x384", "webp"),
    ):
        file = product.home / f"generated.{ending}"
        product.tool("generate", "a mug", "--model", model, "--resolution", resolution, "--steps", "1", "-o", str(file))
        yield "generate", file.read_bytes()
    product.tool("demo")
    yield from _gallery(product, "demo")
    yield from _exports(product, "demo")


def _catalog(product: _Product) -> Files:
    """A reviewed catalog: its gallery, the files of the review page, exports, and what is published once approved."""
    (product.home / "inbox" / "shop.yaml").write_text(_CATALOG, encoding="utf-8")
    wait_for("the gallery", lambda: product.store.stat("galleries/shop/contact_sheet.png"), _PATIENCE_S)
    yield from _gallery(product, "shop")
    path = "/api/v1/catalogs/shop"
    view, verdicts = product.data("GET", path), list[dict[str, str]]()
    for row in (dict(zip(view["columns"], values, strict=True)) for values in view["rows"]):
        for file in (row["file"], row["thumbnail"]):
            yield "review page", product.http.get(f"/catalogs/shop/file/{file}?token={view['token']}").content
        said = {"recipe": row["recipe_digest"], "row": row["row_id"], "state": "approved"}
        verdicts.append({"id": f"walk-{len(verdicts):05}", **said})
    product.data("POST", f"{path}/verdicts", {"verdicts": verdicts})
    yield from _exports(product, "shop")
    wait_for("the publication", lambda: product.store.stat("published/shop/imagegenx-export.json"), _PATIENCE_S)
    for one in product.store.list("published/shop/"):
        if one.key.endswith(_FORMATS):
            yield "published", product.store.get(one.key)


def _gallery(product: _Product, catalog: str) -> Files:
    folder = f"galleries/{catalog}/"
    yield "contact sheet", product.store.get(f"{folder}contact_sheet.png")
    for rows in re.findall(r'class="rows">(.*?)</script>', product.store.get(f"{folder}index.html").decode()):
        for row in json.loads(rows):
            for name, link in zip(("gallery page", "gallery file"), row[10:], strict=True):
                yield name, urlopen(urljoin(product.store.url(folder + "index.html"), link)).read()


def _exports(product: _Product, catalog: str) -> Files:
    folder, unpacked = product.home / f"{catalog}-export", product.home / f"{catalog}-unpacked"
    product.tool("catalog", "export", catalog, "-o", str(folder))
    product.tool("catalog", "export", catalog, "-o", f"{folder}.zip")
    zipfile.ZipFile(f"{folder}.zip").extractall(unpacked)
    yield from _pictures_in("export", folder)
    yield from _pictures_in("zip", unpacked)


def _pictures_in(name: str, folder: Path) -> Files:
    return ((name, file.read_bytes()) for file in folder.iterdir() if file.suffix[1:] in _FORMATS)


def _round(product: _Product, number: int) -> Files:
    """A request of each kind over HTTP, in a batch, by gRPC and in OpenAI's form."""
    file = io.BytesIO()
    Image.effect_mandelbrot((256, 256), (-2, -1.5, 1, 1.5), 60).convert("RGB").save(file, "PNG")
    picture = file.getvalue()
    post = {"format": _FORMATS[number % len(_FORMATS)]}
    shared = {"seed": number, "steps": 2, "resolution": _SIZES[number % len(_SIZES)], "post_process": post}
    uri = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    several, large = shared | {"num_images": 4}, shared | {"post_process": post | {"super_resolution": "4x"}}
    own_size = shared | {"num_images": 2, "resolution": _LARGE[number % len(_LARGE)], "steps": 1}
    double = {"num_images": 1, "resolution": "1024x1024", "post_process": post | {"super_resolution": "2x"}}
    stamped = several | {"post_process": post | {"watermark": {"enable": True, "text": "shop"}}}
    kinds: dict[str, tuple[dict[str, object], dict[str, object]]] = {
        "text2img": (several, {}),
        "watermarked": (stamped, {}),
        "LoRA": (several | {"lora_name": "pastel"}, {}),
        "img2img": (several, {"image_url": uri}),
        "inpaint": (several, {"image_url": uri, "mask_url": uri}),
        "ControlNet": (several, {"control_image_url": uri}),
        "upscaled": (large, {}),
        **{name: (own_size, {"model_type": f"random-{name}"}) for name in _CHECKPOINTS},
        **({} if number % 4 else {"sdxl upscaled": (own_size | double, {"model_type": "random-sdxl"})}),
        "previewed": (shared | {"steps": 30, "resolution": "256x256"}, {}),
    }
    asked = {
        name: product.data("POST", f"{_API}/generate", {"text": "a red mug", "params": params, **given})["query_url"]
        for name, (params, given) in kinds.items()
    }
    yield from _previews(product, asked["previewed"])
    for name, path in asked.items():
        yield from product.results(name, path)
    own = product.data("GET", asked["text2img"])["result"]["original_url"]
    items = [{"text": "a mug"}, {"text": "a hat", "image_url": own}]
    batch = product.data("POST", f"{_API}/batch-generate", {"items": items, "params": shared})
    for task in batch["task_ids"]:
        yield from product.results("batch", f"{_API}/task/{task}")
    yield from _by_grpc(product, shared)
    yield from _openai(product, picture, {"jpg": "jpeg"}.get(post["format"], post["format"]))


def _previews(product: _Product, path: str) -> Files:
    with product.http.stream("GET", f"{path}/events?previews=true") as stream:
        for line in stream.iter_lines():
            if found := re.search(r"data:image/jpeg;base64,([^\"]+)", line):
                yield "preview", base64.b64decode(found[1])


def _by_grpc(product: _Product, shared: dict[str, Any]) -> Files:
    params = pb2.TaskParams(
        resolution=shared["resolution"], steps=2, post_process=pb2.PostProcess(**shared["post_process"])
    )
    request = pb2.SubmitTaskRequest(api_key=product.key, text="a mug", params=params)
    task = product.called("SubmitTask", request, pb2.SubmitTaskResponse).task_id
    asked = partial(product.called, "QueryTask", pb2.QueryTaskRequest(task_id=task, api_key=product.key))
    wait_for("gRPC", lambda: asked(pb2.QueryTaskResponse).status.original_url, _PATIENCE_S)
    yield "gRPC", httpx.get(asked(pb2.QueryTaskResponse).status.original_url).content
    yield "gRPC thumbnail", httpx.get(asked(pb2.QueryTaskResponse).status.thumb_url).content


def _openai(product: _Product, picture: bytes, format: str) -> Files:
    asked = {"prompt": "a mug", "size": "256x256", "output_format": format, "steps": 2}
    post = partial(product.http.post, "/v1/images/generations")
    yield "OpenAI url", httpx.get(post(json=asked).json()["data"][0]["url"]).content
    answer = post(json=asked | {"response_format": "b64_json"})
    yield "OpenAI b64", base64.b64decode(answer.json()["data"][0]["b64_json"])
    form = {name: str(value) for name, value in asked.items()} | {"response_format": "b64_json"}
    answer = product.http.post("/v1/images/edits", data=form, files={"image": picture})
    yield "OpenAI edit", base64.b64decode(answer.json()["data"][0]["b64_json"])
    streamed = post(json=asked | {"steps": 30, "stream": True, "partial_images": 3}).text
    for kind, content in re.findall(r'"type":"image_generation.(\w+)".*?"b64_json":"([^"]+)', streamed):
        yield f"OpenAI {kind}", base64.b64decode(content)


@contextmanager
def _product(home: Path) -> Iterator[_Product]:
    """`imagegenx dev` on this home, and beside it checkpoints of random weights."""
    _write_checkpoints(home.with_name("cards"))
    (home / "inbox").mkdir(parents=True)
    ports = {name: str(free_port()) for name in ("http", "grpc", "ui")}
    options = [text for name, port in ports.items() for text in (f"--{name}-port", port)]
    log = home / "dev.log"
    with log.open("wb") as output:
        dev = subprocess.Popen([_TOOL, "dev", *options], stdout=output, stderr=output, env=_environment(home))
    try:
        wait_for("imagegenx dev", lambda: dev.poll() is not None or b"Ctrl-C" in log.read_bytes(), _PATIENCE_S)
        address, channel = f"http://{HOST}:{ports['http']}", grpc.insecure_channel(f"{HOST}:{ports['grpc']}")
        with httpx.Client(base_url=address, timeout=_PATIENCE_S, follow_redirects=True) as client, channel:
            product = _Product(home, open_store(Settings(home=home).store), client, channel, "")
            key = product.tool("keys", "create", "--user", "walk", "--qps", "10000", "--scopes", "submit,read,review")
            client.headers["X-API-Key"] = key
            yield replace(product, key=key)
    finally:
        dev.terminate()
        dev.wait()


def _write_checkpoints(folder: Path) -> None:
    import torch

    registry = random_registry(small=True, dtype="float32")
    for name, family in _CHECKPOINTS.items():
        card = registry.card(f"{name}-eager")
        pipeline = random_pipeline(card, torch.float32, "cpu", family.pipelines, family.pipeline_options)
        pipeline.save_pretrained(folder / f"random-{name}")
        (folder / f"random-{name}.yaml").write_text(_CARD.replace("FAMILY", name), encoding="utf-8")


def _environment(home: Path) -> dict[str, str]:
    given = {"HOME": home, "MODEL_FOLDERS": json.dumps([str(home.with_name("cards"))])}
    given |= {"SERVING__PREVIEW_EVERY_S": 0.1, "CATALOG_SOURCE__INTERVAL_S": 2, "GATEWAY__SYNC_TIMEOUT_S": _PATIENCE_S}
    return os.environ | {f"IMAGEGENX_{name}": str(value) for name, value in given.items()}


def _answer(*command: str) -> Any:
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


if __name__ == "__main__":
    print(json.dumps({file.name: _read(file) for file in Path(sys.argv[1]).iterdir()}))
