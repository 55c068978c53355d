"""The pages at /catalogs, and the calls they make. All but the pages themselves need a key with the scope `review`."""

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from gateway.answers import answer
from gateway.errors import ServiceError
from gateway.galleries.service import Galleries
from gateway.http_face import HttpFace, json_object
from gateway.picture_file import PictureFile
from ops.review.file_names import file_stem
from resources.accounts import Scope
from resources.object_store import disposition

FOLDER = Path(__file__).parent / "page"
API = "/api/v1/catalogs"
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_NO_STORE = {"Cache-Control": "no-store"}
_A_WHILE = {"Cache-Control": "private, max-age=600"}
"""A redirection is good for less time than where it leads to."""


class GalleryCalls:
    """One method per call."""

    def __init__(self, face: HttpFace, page_headers: dict[str, str]) -> None:
        self._face = face
        self._galleries = Galleries(face.service)
        self._headers = page_headers
        self._files = {file.name: file.read_bytes() for file in FOLDER.iterdir() if file.suffix in _KINDS}

    async def index_page(self) -> Response:
        """The page that lists the catalogs."""
        return self._file("index.html")

    async def gallery_page(self, name: str) -> Response:
        """The page of one catalog, whichever: it asks for its rows itself."""
        return self._file("gallery.html")

    async def part(self, name: str) -> Response:
        """A file of the pages."""
        return self._file(name)

    async def index(self, request: Request, search: str = "", after: str = "") -> Response:
        """The registered catalogs."""
        await self._face.account(request, Scope.REVIEW)
        return answer(200, "ok", await self._face.call_store(self._galleries.index, search, after), _NO_STORE)

    async def gallery(self, request: Request, name: str) -> Response:
        """A catalog's rows."""
        await self._face.account(request, Scope.REVIEW)
        return answer(200, "ok", await self._face.call_store(self._galleries.gallery, name), _NO_STORE)

    async def state(self, request: Request, name: str, known: str = "") -> Response:
        """A catalog's verdicts, if they are others than those known, and how far its run is."""
        await self._face.account(request, Scope.REVIEW)
        return answer(200, "ok", await self._face.call_store(self._galleries.state, name, known), _NO_STORE)

    async def picture(self, request: Request, name: str, recipe: str) -> Response:
        """The recipe of a picture, and what was said of it."""
        await self._face.account(request, Scope.REVIEW)
        return answer(200, "ok", await self._face.call_store(self._galleries.picture, name, recipe), _NO_STORE)

    async def judge(self, request: Request, name: str) -> Response:
        """Keep verdicts on a catalog's pictures."""
        account = await self._face.account(request, Scope.REVIEW)
        given = json_object(await request.body())
        return answer(200, "recorded", await self._face.call_store(self._galleries.judge, account, name, given))

    async def file(self, name: str, file: str, token: str = "", save: str = "") -> Response:
        """A picture or thumbnail, for who has the page's token; with the id of its row, `save`, to be saved."""
        saved_as = f"{file_stem(save)}.{file.rpartition('.')[2]}" if save else ""

        def find() -> tuple[str, str]:
            key = self._galleries.file_key(name, file, token)
            return key, self._face.service.store_url(key, saved_as)

        key, url = await self._face.call_store(find)
        if not url.startswith("file:"):
            return RedirectResponse(url, 302, _A_WHILE)
        response = await self._face.call_store(PictureFile, url2pathname(urlsplit(url).path), key)
        if saved_as:
            response.headers["Content-Disposition"] = disposition(saved_as)
        return response

    def _file(self, name: str) -> Response:
        if name not in self._files:
            raise ServiceError(404, "There is no such file of the page.")
        kind = f"{_KINDS[Path(name).suffix]}; charset=utf-8"
        return Response(self._files[name], headers=self._headers, media_type=kind)


def gallery_routes(face: HttpFace, page_headers: dict[str, str]) -> APIRouter:
    """The routes of these calls."""
    calls = GalleryCalls(face, page_headers)
    router = APIRouter(include_in_schema=False)
    add = router.add_api_route
    add("/catalogs", calls.index_page, methods=["GET", "HEAD"])
    add("/catalogs/{name}", calls.gallery_page, methods=["GET", "HEAD"])
    add("/catalogs/{name}/file/{file}", calls.file, methods=["GET", "HEAD"])
    add("/galleries/{name}", calls.part, methods=["GET"])
    add(API, calls.index, methods=["GET"])
    add(f"{API}/{{name}}", calls.gallery, methods=["GET"])
    add(f"{API}/{{name}}/state", calls.state, methods=["GET"])
    add(f"{API}/{{name}}/picture/{{recipe}}", calls.picture, methods=["GET"])
    add(f"{API}/{{name}}/verdicts", calls.judge, methods=["POST"])
    return router
