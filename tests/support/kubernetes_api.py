"""What answers as Kubernetes' API does where Dagster's launcher calls it: jobs are checked, kept and told about."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import kubernetes_validate
import yaml

VERSION = "1.33"
"""Of the schemas that manifests and jobs are checked by."""
_POD = "-x7k2p"
"""What a pod's name has after its job's."""


def check(manifest: dict) -> None:
    """Raise ValidationError where a manifest says what Kubernetes does not know, or in another form."""
    kubernetes_validate.validate(manifest, VERSION, strict=True)


class KubernetesAPI:
    """One namespace's jobs.

    Attributes:
        jobs: what was created, by name.
        status: of each job; active as long as nothing else is set.
        pods: the jobs that still have their pod.
    """

    def __init__(self, folder: Path) -> None:
        self.jobs: dict[str, dict] = {}
        self.status: dict[str, dict] = {}
        self.pods: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.kubeconfig = folder / "kubeconfig"
        cluster = {"server": f"http://127.0.0.1:{self._server.server_port}"}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": cluster}],
            "users": [{"name": "us", "user": {}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "us"}}],
        }
        self.kubeconfig.write_text(yaml.safe_dump(document), encoding="utf-8")

    def answer(self, method: str, path: str, body: dict) -> tuple[int, dict]:
        """The HTTP status and the object."""
        place, _, query = path.partition("?")
        if place.endswith("/pods"):
            selected = unquote(query).partition("job-name=")[2].split("&")[0]
            return 200, {"kind": "PodList", "apiVersion": "v1", "items": [_pod(job) for job in self.pods & {selected}]}
        name = place.partition("/pods/")[2] or place.partition("/jobs/")[2].split("/")[0]
        if method == "POST":
            return self._create(body)
        if method == "DELETE" and "/pods/" in place:
            self.pods.discard(name.removesuffix(_POD))
            return 200, _pod(name.removesuffix(_POD))
        if name not in self.jobs:
            return 404, _status(404, "NotFound")
        if method == "DELETE":
            del self.jobs[name]
            return 200, _status(200, "")
        return 200, {**self.jobs[name], "status": self.status.get(name, {"active": 1})}

    def _create(self, job: dict) -> tuple[int, dict]:
        check(job)
        name = job["metadata"]["name"]
        if name in self.jobs:
            return 409, _status(409, "AlreadyExists")
        self.jobs[name] = job
        self.pods.add(name)
        return 201, job

    @contextmanager
    def serving(self) -> Iterator["KubernetesAPI"]:
        """Listen until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else {}
                status, answer = api.answer(self.command, self.path, body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = _answer

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


def _pod(job: str) -> dict:
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": f"{job}{_POD}", "labels": {"job-name": job}}}


def _status(code: int, reason: str) -> dict:
    outcome = "Success" if code < 400 else "Failure"
    return {"kind": "Status", "apiVersion": "v1", "status": outcome, "reason": reason, "code": code}
