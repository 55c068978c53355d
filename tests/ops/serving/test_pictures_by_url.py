"""Input pictures by URL, through a whole worker: what is refused fails its request with the reason, and no other."""

import io

import pytest
from PIL import Image

from configs.errors import FailureCause
from resources.queue import TaskStatus
from tests.gateway.test_uploads import bomb
from tests.web_server import redirect, reply, running_web_server


def png():
    target = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(target, "PNG")
    return target.getvalue()


@pytest.fixture
def web(shop):
    """A web server whose port the operator allows, and no other of this machine."""
    with running_web_server() as server:
        gateway = shop.settings.gateway.model_copy(update={"allow_private_hosts": (server.netloc,)})
        shop.settings = shop.settings.model_copy(update={"gateway": gateway})
        yield server


def test_only_the_requests_whose_picture_is_refused_fail_and_each_says_why(shop, web):
    web.answers |= {
        "/good.png": reply(body=png()),
        "/inside.png?token=hush": redirect("http://127.0.0.1:8000/secret.png"),
        "/cloud.png": redirect("http://169.254.169.254/latest/meta-data"),
        "/bomb.png": reply(body=bomb(30_000, 30_000)),
        "/huge.png": reply(body=bomb(12_000, 12_000)),
        "/page.html": reply(body=b"<html>secret</html>"),
    }
    reasons = {
        f"{web.url}/inside.png?token=hush": f"{web.url} redirects to",
        f"{web.url}/cloud.png": f"{web.url} redirects to",
        f"{web.url}/bomb.png": "900,000,000 pixels are above the maximum of 33,554,432",
        f"{web.url}/huge.png": "144,000,000 pixels are above the maximum of 33,554,432",
        f"{web.url}/page.html": "is not one of",
        f"{web.url}/nothing": "answered HTTP 404",
        "http://127.0.0.1:8001/other.png": "host '127.0.0.1' is not on the public internet",
    }
    good = shop.submit(image_url=f"{web.url}/good.png", resolution="64x64", strength=0.5)
    bad = {shop.submit(image_url=url, resolution="64x64"): reason for url, reason in reasons.items()}
    shop.worker()

    tasks = {task.id: task for task in shop.ended(good, *bad)}

    assert tasks[good].status is TaskStatus.SUCCESS, tasks[good].error
    for id, reason in bad.items():
        assert (tasks[id].status, tasks[id].cause) == (TaskStatus.FAILED, FailureCause.INPUT_PICTURE)
        assert reason in tasks[id].error
        assert "hush" not in tasks[id].error
    assert {call.path for call in web.calls} == {*web.answers, "/nothing"}
