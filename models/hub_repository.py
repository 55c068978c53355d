"""One commit of a repository on the Hugging Face hub.

Speaks the two calls that this takes. The hub's own client forgets what it has of a file when its process ends, and
tries for half a minute where there is no network.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from foundation.error_text import cause_text
from models.errors import ModelLoadError
from models.remote_files import CHUNK_BYTES, RemoteFile, stays_inside

if TYPE_CHECKING:
    import httpx

_CONNECT_S, _SILENT_S = 5.0, 30.0


@dataclass(frozen=True)
class HubRepository:
    """See `Repository`."""

    client: "httpx.Client"
    source: str
    revision: str

    is_file: bool = False

    @property
    def outages(self) -> tuple[type[Exception], ...]:
        """See `Repository.outages`."""
        import httpx

        return (httpx.TransportError,)

    def files(self) -> dict[str, RemoteFile]:
        """See `Repository.files`."""
        url: str | None = f"/api/models/{self.source}/tree/{self.revision}?recursive=true"
        found: dict[str, RemoteFile] = {}
        while url:
            response = self.client.get(url)
            response.raise_for_status()
            found.update((file.path, file) for file in map(_hub_file, response.json()) if file)
            url = response.links.get("next", {}).get("url")
        return found

    @contextmanager
    def read(self, file: RemoteFile, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """See `Repository.read`."""
        url = f"/{self.source}/resolve/{self.revision}/{quote(file.path)}"
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with self.client.stream("GET", url, headers=headers) as response:
            response.raise_for_status()
            yield start if response.status_code == 206 else 0, response.iter_bytes(CHUNK_BYTES)


@contextmanager
def hub_repository(source: str, revision: str) -> Iterator[HubRepository]:
    """The repository while the block runs; what goes wrong with it there is told as ModelLoadError."""
    import httpx

    try:
        with _client() as client:
            yield HubRepository(client, source, revision)
    except httpx.HTTPStatusError as exc:
        raise ModelLoadError(_refused(source, revision, exc.response)) from exc
    except httpx.TransportError as exc:
        raise ModelLoadError(_unreachable(source, revision, exc)) from exc


def _hub_file(entry: Mapping[str, Any]) -> RemoteFile | None:
    if entry.get("type") != "file" or not stays_inside(str(entry["path"])):
        return None
    large = entry.get("lfs")
    digest = large["oid"] if large else entry["oid"]
    return RemoteFile(entry["path"], int(large["size"] if large else entry["size"]), digest, large is None)


def _client() -> "httpx.Client":
    import httpx

    token = os.environ.get("HF_TOKEN")
    return httpx.Client(
        base_url=os.environ.get("HF_ENDPOINT") or "https://huggingface.co",
        headers={"Authorization": f"Bearer {token}"} if token else None,
        timeout=httpx.Timeout(_SILENT_S, connect=_CONNECT_S),
        follow_redirects=True,
    )


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
