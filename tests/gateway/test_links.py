"""URLs that open a picture without a key."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.kept_secret import LostSecretError, kept_secret
from gateway.errors import ServiceError
from gateway.links import PictureLinks
from resources.queue import Task, TaskPicture, TaskStatus

PICTURE = TaskPicture(
    **{"original_key": "20260101/img_a_64x64.webp", "thumb_key": "20260101/img_a.thumb_64x64.webp", "seed": 1},
    **{"width_px": 64, "height_px": 64, "format": "webp", "size_bytes": 9, "recipe": ""},
)
NOW_S = 4_000_000_000.0
"""After now, so that nothing here has expired."""


def task(ended_s: float = NOW_S) -> Task:
    return Task(
        **{"id": "img_a", "owner": "ada", "status": TaskStatus.SUCCESS, "progress": 100, "request": {}, "error": ""},
        **{"batch_id": None, "callback_url": None, "created_at_s": ended_s, "updated_at_s": ended_s, "result": None},
        deliveries=1,
    )


def links(secret: bytes = b"secret", ttl_s: int = 60) -> PictureLinks:
    return PictureLinks(secret, "http://127.0.0.1:8000/", ttl_s)


def token(url: str) -> str:
    return url.partition("?token=")[2]


def test_a_url_names_the_picture_and_opens_it() -> None:
    url = links().url(task(), PICTURE, "original")
    assert url.startswith("http://127.0.0.1:8000/api/v1/image/file/img_a/original?token=")
    assert links().key("img_a", "original", token(url)) == PICTURE.original_key


def test_another_gateway_with_the_same_secret_opens_it(tmp_path: Path) -> None:
    url = links(kept_secret(tmp_path / "new" / "secret")).url(task(), PICTURE, "thumb", "https://pictures.example")
    assert url.startswith("https://pictures.example/api/v1/image/file/img_a/thumb?token=")
    assert links(kept_secret(tmp_path / "new" / "secret")).key("img_a", "thumb", token(url)) == PICTURE.thumb_key
    assert (tmp_path / "new" / "secret").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["secret"]
    with pytest.raises(ServiceError, match="does not belong"):
        links(b"another").key("img_a", "thumb", token(url))


def test_nothing_is_signed_with_a_secret_that_a_crash_has_emptied(tmp_path) -> None:
    (tmp_path / "secret").touch()
    with pytest.raises(LostSecretError, match=r"secret is lost: the file is empty\. Remove it"):
        kept_secret(tmp_path / "secret")


def test_a_url_ends_some_time_after_its_task() -> None:
    with pytest.raises(ServiceError, match="This picture URL has expired. Ask for the task again") as refused:
        links().key("img_a", "original", token(links().url(task(ended_s=1_000.0), PICTURE, "original")))
    assert refused.value.code == 403


@given(st.text(), st.integers(0, 200))
def test_no_changed_token_opens_anything(garbage: str, place: int) -> None:
    good = token(links().url(task(), PICTURE, "original"))
    for changed in (garbage, good[:place] + garbage + good[place:], good[:place], f"{garbage}.{garbage}.{garbage}"):
        if changed != good:
            with pytest.raises(ServiceError) as refused:
                links().key("img_a", "original", changed)
            assert refused.value.code == 403
