"""How requests name input pictures: by URL, by a data URI, or by a picture that the caller has made here before."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from foundation.problems import Problem, shown
from gateway.errors import ServiceError, bad_field
from gateway.links import Kind, PictureLinks
from models.errors import InvalidRequestError
from models.request import INPUT_FIELDS, STORED, input_references, with_references
from resources.outbound import UrlRefusedError
from resources.outbound.urls import UrlRules
from resources.queue import TASK_ID

_DATA_URI = re.compile(r"data:image/[a-z0-9.+-]{1,40};base64,", re.IGNORECASE)
_NUMBER = re.compile(r"[1-9]\d?", re.ASCII)
INPUT_NAMES = dict(zip(("image", "mask", "control_image"), INPUT_FIELDS, strict=True))
"""What an input picture of a request is called in forms, and after a task's id: `img_…/image`."""
_CONTROL = re.compile(r"controls\.\d\.image", re.ASCII)
"""What several control pictures are called after a task's id: `img_…/controls.0.image`."""


class OwnPictures(Protocol):
    """The pictures of one caller; ServiceError where there is none."""

    def key(self, task_id: str, kind: Kind, number: int) -> str:
        """The object key of a picture that a task made."""
        ...

    def input(self, task_id: str, field: str) -> str:
        """What a task's request says in this field: a URL, or a reference to a stored picture."""
        ...


@dataclass(frozen=True)
class References:
    """A request without the pictures that it names otherwise than by a URL to fetch, and these, by request field.

    Attributes:
        stored: references to pictures that are here already.
        carried: the content of data URIs.
    """

    data: Mapping[str, object]
    stored: Mapping[str, str]
    carried: Mapping[str, bytes]


def read_references(data: Mapping[str, object], links: PictureLinks, own: OwnPictures) -> References:
    """Find the pictures of a request that are here already, or that it carries as data URIs.

    A task's id stands for its first picture, `id/2` for its second, `id/mask` for its own mask. A URL of this gateway
    is good for who has its token, and without one for the picture's owner.

    Raises:
        ServiceError: 422 naming the field, for a data URI or a picture of one's own that is not to be had.
    """
    changed: dict[str, str | None] = {}
    stored: dict[str, str] = {}
    carried: dict[str, bytes] = {}
    for field, given in input_references(data):
        if not isinstance(given, str):
            continue
        try:
            if given[:5].lower() == "data:":
                carried[field] = _carried(given)
            elif (reference := _own(given, links, own)).startswith(STORED):
                stored[field] = reference
            else:
                changed[field] = reference or given
                continue
        except ServiceError as exc:
            raise bad_field(field, exc.message) from exc
        changed[field] = None
    return References(with_references(data, changed), stored, carried)


def _carried(uri: str) -> bytes:
    if not (head := _DATA_URI.match(uri)):
        raise ServiceError(422, f"{shown(uri[:60])} is no data URI of a picture like data:image/png;base64,…")
    try:
        return base64.b64decode(uri[head.end() :], validate=True)
    except ValueError:
        raise ServiceError(422, "the data URI's content is not base64") from None


def _own(given: str, links: PictureLinks, own: OwnPictures) -> str:
    """The reference to a picture that is here, or the URL that a task of the caller's names; "" for any other."""
    task_id, _, which = given.partition("/")
    if TASK_ID.fullmatch(task_id) and (which in INPUT_NAMES or _CONTROL.fullmatch(which)):
        return own.input(task_id, INPUT_NAMES.get(which, which))
    if TASK_ID.fullmatch(task_id) and _NUMBER.fullmatch(which or "1"):
        return STORED + own.key(task_id, "original", int(which or 1))
    place = links.place(given)
    if place is None or not (place.token or place.is_here):
        return ""
    try:
        if place.token:
            return STORED + links.key(place.task_id, place.kind, place.token)
        return STORED + own.key(place.task_id, place.kind, place.number)
    except ServiceError:
        if place.is_here:
            raise
        return ""  # another gateway's, to be fetched


def check_urls(data: Mapping[str, object], rules: UrlRules) -> None:
    """Refuse URLs that are not http or https, or that name a private address outright.

    Raises:
        InvalidRequestError: naming every such field.
    """
    problems = []
    for field, url in (*input_references(data), ("callback_url", data.get("callback_url"))):
        if isinstance(url, str) and url:
            try:
                rules.check(url)
            except UrlRefusedError as exc:
                problems.append(Problem(field, str(exc)))
    if problems:
        raise InvalidRequestError(problems)
