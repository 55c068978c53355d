"""Models fetched from a model hub: by commit, resumable, every file checked, safetensors and text only.

Speaks the two calls of the Hugging Face hub that this takes. Its own client forgets what it has of a file when its
process ends, and tries for half a minute where there is no network.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from foundation.error_text import cause_text
from foundation.private_folder import make_private
from models.errors import ModelLoadError
from models.family_table import FAMILIES
from models.model_files import INDEX, index_parts

if TYPE_CHECKING:
    import httpx

    from models.card import ModelCard

OnBytes = Callable[[str, int, int], None]
"""Called while a file comes in, with its path, the bytes that are here and the bytes it has."""

_TEXT = (".json", ".txt")
_WEIGHTS = re.compile(r"(diffusion_pytorch_model|model)(-\d{5}-of-\d{5})?\.safetensors")
"""The weights themselves; other names are variants of them or other formats."""

_WITHOUT_WEIGHTS = ("Tokenizer", "Scheduler", "Processor", "Extractor")
_ATTEMPTS = 5
_CHUNK_BYTES = 1 << 20
_CONNECT_S, _SILENT_S = 5.0, 30.0


@dataclass(frozen=True)
class HubFile:
    """One file of a repository; `digest` is the sha256 of a large file, the git object id of a small one."""

    path: str
    size_bytes: int
    digest: str
    is_large: bool


def fetch_missing(card: "ModelCard", on_bytes: OnBytes | None = None) -> None:
    """Fetch what a card names by hub id and is not here yet; without a network it takes seconds to say so.

    Safe for processes: the second one waits for the first. A folder appears under its name only when all its files
    are here and checked; files that came in half stay beside it and are continued.

    Raises:
        ModelLoadError: if it cannot be had; the text says why and what to do.
    """
    unused = FAMILIES[card.family].unused_parts
    if _misses_source(card):
        _fetch(card.source, card.revision, card.hub_copy, unused, on_bytes)
    if card.controlnet and _misses_controlnet(card):
        _fetch(card.controlnet, card.controlnet_revision, card.controlnet_hub_copy, unused, on_bytes)


def is_missing(card: "ModelCard") -> bool:
    """Whether something that the card names by hub id is not here yet."""
    return _misses_source(card) or _misses_controlnet(card)


def _misses_source(card: "ModelCard") -> bool:
    return card.is_on_hub and card.path is None


def _misses_controlnet(card: "ModelCard") -> bool:
    return card.controlnet_is_on_hub and card.controlnet_path is None


def _fetch(source: str, revision: str, folder: Path, unused: Iterable[str], on_bytes: OnBytes | None) -> None:
    import httpx

    unfinished = folder.with_suffix(".part")
    make_private(unfinished)
    with _locked(folder.with_suffix(".lock")):
        if folder.is_dir():
            return
        try:
            with _client() as client:
                _fetch_files(_Repository(client, source, revision), unfinished, unused, on_bytes)
        except httpx.HTTPStatusError as exc:
            raise ModelLoadError(_refused(source, revision, exc.response)) from exc
        except httpx.TransportError as exc:
            raise ModelLoadError(_unreachable(source, revision, exc)) from exc
        unfinished.rename(folder)


@dataclass(frozen=True)
class _Repository:
    """One commit of a repository on the hub."""

    client: "httpx.Client"
    source: str
    revision: str

    def files(self) -> dict[str, HubFile]:
        """All files by path."""
        url: str | None = f"/api/models/{self.source}/tree/{self.revision}?recursive=true"
        found: dict[str, HubFile] = {}
        while url:
            response = self.client.get(url)
            response.raise_for_status()
            found.update((file.path, file) for file in map(_hub_file, response.json()) if file)
            url = response.links.get("next", {}).get("url")
        return found

    def download(self, file: HubFile, folder: Path, on_bytes: OnBytes | None) -> Path:
        """The file's checked content in `folder`; continues what is there. ModelLoadError if it is not what it was."""
        import httpx

        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_file():
            return target
        part = target.with_name(target.name + ".part")
        for attempt in range(_ATTEMPTS):
            before = part.stat().st_size if part.exists() else 0
            try:
                self._receive(file, part, on_bytes)
                break
            except httpx.TransportError:
                # A line that breaks in the middle is worth another try; one that brings nothing is not.
                if attempt == _ATTEMPTS - 1 or not part.exists() or part.stat().st_size == before:
                    raise
        _check(file, part, self.source)
        return part.rename(target)

    def _receive(self, file: HubFile, part: Path, on_bytes: OnBytes | None) -> None:
        here = part.stat().st_size if part.exists() else 0
        if here >= file.size_bytes:
            part.touch()
            return
        url = f"/{self.source}/resolve/{self.revision}/{quote(file.path)}"
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={here}-"} if here else {})
        with self.client.stream("GET", url, headers=headers) as response:
            response.raise_for_status()
            here = here if response.status_code == 206 else 0
            with part.open("ab" if here else "wb") as opened:
                for chunk in response.iter_bytes(_CHUNK_BYTES):
                    opened.write(chunk)
                    here += len(chunk)
                    if on_bytes:
                        on_bytes(file.path, here, file.size_bytes)


def _fetch_files(repository: _Repository, folder: Path, unused: Iterable[str], on_bytes: OnBytes | None) -> None:
    files = repository.files()
    index = None
    if INDEX in files:
        index = json.loads(repository.download(files[INDEX], folder, on_bytes).read_bytes())
    wanted = [files[path] for path in wanted_files(files, index, unused, repository.source)]
    missing_bytes = sum(file.size_bytes for file in wanted if not (folder / file.path).exists())
    if missing_bytes > (free_bytes := shutil.disk_usage(folder).free):
        raise ModelLoadError(
            f"{repository.source} needs {missing_bytes / 1e9:.1f} GB, but {folder} has {free_bytes / 1e9:.1f} GB free."
        )
    for file in wanted:
        repository.download(file, folder, on_bytes)


def wanted_files(
    paths: Iterable[str], index: Mapping[str, Any] | None, unused: Iterable[str], source: str
) -> list[str]:
    """The files of a repository that are needed: configurations, vocabularies and one set of weights per part.

    Args:
        index: the content of `model_index.json`; None for a repository that is a single network.
        unused: parts to leave out.
    Raises:
        ModelLoadError: if a part has no weights in safetensors.
    """
    parts = {"": source} if index is None else {INDEX: ""} | index_parts(index, unused)
    wanted: list[str] = []
    for part, kind in parts.items():
        inside = [path for path in paths if path == part or Path(path).parent == Path(part)]
        chosen = [path for path in inside if path.endswith(_TEXT) or _WEIGHTS.fullmatch(Path(path).name)]
        has_weights = any(_WEIGHTS.fullmatch(Path(path).name) for path in chosen)
        if kind and not has_weights and not any(mark in kind for mark in _WITHOUT_WEIGHTS):
            raise ModelLoadError(f"{source} has no weights (.safetensors) for {part or 'its network'}; ask for another")
        wanted += chosen
    return sorted(wanted)


def _hub_file(entry: Mapping[str, Any]) -> HubFile | None:
    if entry.get("type") != "file" or not _stays_inside(str(entry["path"])):
        return None
    large = entry.get("lfs")
    digest = large["oid"] if large else entry["oid"]
    return HubFile(entry["path"], int(large["size"] if large else entry["size"]), digest, large is not None)


def _stays_inside(path: str) -> bool:
    """Whether a path that a hub tells leads to a place below the folder it is put into."""
    parts = path.split("/")
    return "\\" not in path and "\0" not in path and not any(part in ("", ".", "..") for part in parts)


def _check(file: HubFile, part: Path, source: str) -> None:
    """Compare with what the hub says of the file; what is wrong is deleted, so that the next try begins anew."""
    size_bytes = part.stat().st_size
    digest = hashlib.sha256() if file.is_large else hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)
    with part.open("rb") as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            digest.update(chunk)
    if size_bytes != file.size_bytes or digest.hexdigest() != file.digest:
        part.unlink()
        raise ModelLoadError(f"{file.path} of {source} came in damaged (its digest is another one). Fetch it again.")


def _client() -> "httpx.Client":
    import httpx

    token = os.environ.get("HF_TOKEN")
    return httpx.Client(
        base_url=os.environ.get("HF_ENDPOINT") or "https://huggingface.co",
        headers={"Authorization": f"Bearer {token}"} if token else None,
        timeout=httpx.Timeout(_SILENT_S, connect=_CONNECT_S),
        follow_redirects=True,
    )


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield


def _unreachable(source: str, revision: str, exc: Exception) -> str:
    return (
        f"{source} at {revision[:12]} is not here, and the hub cannot be reached: {cause_text(exc)}. "
        "Fetch it where there is a network (imagegenx models fetch), or name a folder with its files as `source`."
    )


def _refused(source: str, revision: str, response: "httpx.Response") -> str:
    reasons = {
        401: "it needs a token in HF_TOKEN, or does not exist",
        403: "it needs its licence accepted and HF_TOKEN",
    }
    reason = reasons.get(response.status_code, "there is no such repository, commit or file")
    if response.status_code >= 500:
        reason = "the hub has a problem; try again later"
    return f"{source} at {revision[:12]} cannot be fetched: HTTP {response.status_code}, {reason}."
