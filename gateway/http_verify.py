"""`POST /api/v1/verify`: what the marks of an uploaded picture say."""

import json
from dataclasses import asdict

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from gateway import documentation as docs
from gateway.answers import answer
from gateway.errors import ServiceError, bad_field
from gateway.guard import about_path
from gateway.http_face import HttpFace, is_multipart
from resources.accounts import Scope
from resources.mark_records import MarkRecord
from resources.verification import NO_MARKS

VERIFY = "/api/v1/verify"
_FIELD = "file"
_FILE = {"type": "string", "format": "binary", "description": "PNG, JPEG or WebP"}


def verify_routes(face: HttpFace) -> APIRouter:
    """The route of this call."""

    async def verify(request: Request) -> Response:
        """Read every mark of a picture, sent as the form's `file`, and look it up by its invisible mark.

        A record is shown whole to who asked for the picture, and to keys that may operate.
        """
        account = await face.account(Scope.READ)
        if not is_multipart(request):
            raise ServiceError(400, f"The body is not a form. Send the picture as its field '{_FIELD}'.")
        async with face.form(request, account, files=1) as (texts, pictures):
            if texts or list(pictures) != [_FIELD]:
                raise bad_field(_FIELD, "the form takes one file under this name, and nothing else")
            found = await face.call_marks(face.service.verify, account, pictures[_FIELD])
        data = {
            "marks": [asdict(mark) for mark in found.marks],
            "records": [_record(record) for record in found.records],
            "lacks": found.lacks(face.service.settings),
        }
        return answer(200, "marks found" if found.marks else NO_MARKS, data)

    router = APIRouter(tags=["marks"], dependencies=[docs.KEY, Depends(about_path)])
    form = {"requestBody": {"required": True, "content": docs.form_body({_FIELD: _FILE}, [_FIELD])}}
    router.add_api_route(VERIFY, verify, methods=["POST"], **docs.described(docs.Verified, form))
    return router


def _record(record: MarkRecord) -> dict[str, object]:
    return {**record.model_dump(exclude={"owner"}), "recipe": json.loads(record.recipe) if record.recipe else None}
