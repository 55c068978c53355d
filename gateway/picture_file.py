"""A stored picture as an answer: whole, in part (RFC 9110 §14), or not at all if the caller has it already (§13)."""

from pathlib import Path, PurePosixPath

from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.types import Message, Receive, Scope, Send

from gateway.answers import refusal
from gateway.errors import ServiceError
from models.encoding import CONTENT_TYPES

_CONTENT_TYPES = {f".{name}": kind for name, kind in CONTENT_TYPES.items()}
_A_DAY = {"Cache-Control": "private, max-age=86400, immutable", "X-Content-Type-Options": "nosniff"}
_KEPT_BY_304 = ("cache-control", "etag", "last-modified")


class PictureFile(FileResponse):
    """The file of a picture under its object key. Raises ServiceError (404) if it is gone."""

    def __init__(self, path: str, key: str) -> None:
        name = PurePosixPath(key)
        try:
            status = Path(path).stat()
        except OSError as exc:
            raise ServiceError(404, "The picture is no longer stored.") from exc
        super().__init__(
            path, 200, _A_DAY, _CONTENT_TYPES[name.suffix], None, name.name, status, content_disposition_type="inline"
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what the caller's headers ask for."""
        if self._is_known(Headers(scope=scope).get("if-none-match", "")):
            kept = {name: self.headers[name] for name in _KEPT_BY_304}
            await Response(status_code=304, headers=kept)(scope, receive, send)
            return
        refused: dict[str, str] | None = None

        async def without_refusals(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] >= 400:
                refused = dict(Headers(raw=message["headers"]))
                error = ServiceError(message["status"], "The header Range asks for bytes that this picture has not.")
                headers = {"Content-Range": refused["content-range"]} if "content-range" in refused else None
                await refusal(error, headers)(scope, receive, send)
            elif refused is None:
                await send(message)

        await super().__call__(scope, receive, without_refusals)

    def _is_known(self, if_none_match: str) -> bool:
        tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
        return "*" in tags or self.headers["etag"] in tags
