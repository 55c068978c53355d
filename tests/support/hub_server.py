"""A model hub on this machine: the two calls that fetching takes, with failures on request."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

REPOSITORY = "owner/model"
COMMIT = "c0ffee" + "0" * 34
LARGE_BYTES = 1000


class HubServer:
    """Serves the files of a folder as one commit of a repository; files above `LARGE_BYTES` as large ones.

    Attributes:
        requests: every path asked for, with its range.
        cut_after: bytes of an answer after which the line breaks, by path, once each.
        damaged: paths whose content comes with other bytes.
        held: by path, what its answer waits for.
        token: that clients must show; "" for none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[tuple[str, str | None]] = []
        self.cut_after: dict[str, int] = {}
        self.damaged: set[str] = set()
        self.held: dict[str, threading.Event] = {}
        self.token = ""
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def entries(self) -> list[dict[str, object]]:
        files = sorted(file for file in self.folder.rglob("*") if file.is_file())
        folders = [{"type": "directory", "path": "unet", "oid": "0", "size": 0}]
        return [*folders, *(self._entry(file) for file in files)]

    def _entry(self, file: Path) -> dict[str, object]:
        data = file.read_bytes()
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        entry = {"type": "file", "path": file.relative_to(self.folder).as_posix(), "oid": blob, "size": len(data)}
        if len(data) > LARGE_BYTES:
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 1}
        return entry

    def downloads(self) -> list[tuple[str, str | None]]:
        mark = f"/{REPOSITORY}/resolve/{COMMIT}/"
        return [(path.removeprefix(mark), bytes) for path, bytes in self.requests if path.startswith(mark)]


class _Handler(BaseHTTPRequestHandler):
    hub: ClassVar[HubServer]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        hub = self.hub
        path, _, query = self.path.partition("?")
        hub.requests.append((path, self.headers.get("Range")))
        tree, files = f"/api/models/{REPOSITORY}/tree/{COMMIT}", f"/{REPOSITORY}/resolve/{COMMIT}/"
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._answer(401, b"")
        elif path == tree:
            self._tree(query)
        elif path.startswith(files) and (hub.folder / path.removeprefix(files)).is_file():
            self._file(path.removeprefix(files))
        else:
            self._answer(404, b"")

    def _tree(self, query: str) -> None:
        """In pages of three entries, as long lists come."""
        start = int(query.partition("cursor=")[2] or 0)
        entries = self.hub.entries()
        more = f'<{self.hub.url}{self.path.partition("?")[0]}?recursive=true&cursor={start + 3}>; rel="next"'
        headers = {"Link": more} if start + 3 < len(entries) else {}
        self._answer(200, json.dumps(entries[start : start + 3]).encode(), headers)

    def _file(self, name: str) -> None:
        data = (self.hub.folder / name).read_bytes()
        if name in self.hub.held:
            self.hub.held[name].wait(60)
        if name in self.hub.damaged:
            data = bytes(len(data))
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        body = data[start:]
        cut = self.hub.cut_after.pop(name, len(body))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])
        if cut < len(body):
            self.wfile.flush()
            self.close_connection = True

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        pass
