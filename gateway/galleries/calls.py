"""The pages at /catalogs, and the calls they make. All but the pages themselves need a key with the scope `review`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from starlette.responses import RedirectResponse, Response

from gateway.answers import answer
from gateway.documentation import KEY
from gateway.errors import ServiceError
from gateway.galleries import documentation
from gateway.galleries.documentation import documented_call
from gateway.galleries.service import Galleries
from gateway.http_face import HttpFace, json_object, known_query
from gateway.picture_file import PictureFile
from ops.file_names import file_stem
from ops.review.catalog_view import NOW
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

    async def compare_page(self, name: str) -> Response:
        """The page that shows two versions of a catalog side by side."""
        return self._file("compare.html")

    async def part(self, name: str) -> Response:
        """A file of the pages."""
        return self._file(name)

    async def index(self, request: Request, search: str = "", after: str = "") -> Response:
        """The registered catalogs."""
        await self._face.account(Scope.REVIEW)
        return answer(200, "ok", await self._face.call_store(self._galleries.index, search, after), _NO_STORE)

    async def gallery(self, request: Request, name: str, of: str = NOW) -> Response:
        """A catalog's rows, as they are or as an earlier version (`of`) has them."""
        await self._face.account(Scope.REVIEW)
        return answer(200, "ok", await self._face.call_store(self._galleries.gallery, name, of), _NO_STORE)

    async def versions(self, request: Request, name: str) -> Response:
        """The versions of a catalog that are kept: what it can be compared with, and go back to."""
        await self._face.account(Scope.REVIEW)
        return answer(200, "ok", await self._face.call_store(self._galleries.versions, name), _NO_STORE)

    async def edit(self, request: Request, name: str) -> Response:
        """Let rows have other prompts from the next edition on, which is made now; the file's wins once it changes."""
        return await self._wish(request, name, "edit")

    async def reseed(self, request: Request, name: str) -> Response:
        """Make rows, or all, again now, with new seeds."""
        return await self._wish(request, name, "reseed")

    async def roll_back(self, request: Request, name: str) -> Response:
        """Give rows, or all, the seeds and prompts that they had: their pictures are stored and come back."""
        return await self._wish(request, name, "roll-back")

    async def _wish(self, request: Request, name: str, what: str) -> Response:
        account = await self._face.account(Scope.REVIEW)
        given = json_object(await request.body())
        return answer(200, "asked", await self._face.call_store(self._galleries.wish, account, name, what, given))

    async def state(self, request: Request, name: str, known: str = "") -> Response:
        """A catalog's verdicts, if they are others than those known, and how far its run is."""
        await self._face.account(Scope.REVIEW)
        return answer(200, "ok", await self._face.call_store(self._galleries.state, name, known), _NO_STORE)

    async def picture(self, request: Request, name: str, recipe: str) -> Response:
        """The recipe of a picture, and what was said of it."""
        await self._face.account(Scope.REVIEW)
        return answer(200, "ok", await self._face.call_store(self._galleries.picture, name, recipe), _NO_STORE)

    async def judge(self, request: Request, name: str) -> Response:
        """Keep verdicts on a catalog's pictures."""
        account = await self._face.account(Scope.REVIEW)
        given = json_object(await request.body())
        return answer(200, "recorded", await self._face.call_store(self._galleries.judge, account, name, given))

    async def file(self, name: str, file: str, token: str = "", save: str = "", of: str = NOW) -> Response:
        """A picture or thumbnail, for who has the page's token; with the id of its row, `save`, to be saved."""
        saved_as = f"{file_stem(save)}.{file.rpartition('.')[2]}" if save else ""

        def find() -> tuple[str, str]:
            key = self._galleries.file_key(name, file, token, of)
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
    router = APIRouter()
    pages: dict[str, Callable[..., Any]] = {"/catalogs": calls.index_page, "/catalogs/{name}": calls.gallery_page}
    pages |= {"/catalogs/{name}/compare": calls.compare_page, "/catalogs/{name}/file/{file}": calls.file}
    for path, page in pages.items():
        router.add_api_route(path, page, methods=["GET", "HEAD"], include_in_schema=False)
    router.add_api_route("/galleries/{name}", calls.part, methods=["GET"], include_in_schema=False)

    def add(method: str, path: str, call: Callable[..., Any], gives: type[BaseModel], **takes: type[BaseModel]) -> None:
        described = documented_call(gives, **takes)
        router.add_api_route(
            f"{API}{path}", call, methods=[method], dependencies=[KEY, Depends(known_query)], **described
        )

    add("GET", "", calls.index, documentation.CatalogIndex)
    add("GET", "/{name}", calls.gallery, documentation.CatalogGallery)
    add("GET", "/{name}/state", calls.state, documentation.CatalogState)
    add("GET", "/{name}/versions", calls.versions, documentation.CatalogVersions)
    add("GET", "/{name}/picture/{recipe}", calls.picture, documentation.CatalogPicture)
    add("POST", "/{name}/verdicts", calls.judge, documentation.Recorded, body=documentation.Verdicts)
    add("POST", "/{name}/edit", calls.edit, documentation.Wished, body=documentation.Edit)
    add("POST", "/{name}/reseed", calls.reseed, documentation.Wished, body=documentation.Reseed)
    add("POST", "/{name}/roll-back", calls.roll_back, documentation.Wished, body=documentation.RollBack)
    return router
