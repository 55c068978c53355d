"""Input pictures by URL, through a whole worker: what is refused fails its request with the reason, and no other."""

import io
import time

import pytest
from PIL import Image

from foundation.errors import FailureCause
from ops.serving.preparing import THREADS_PER_OWNER
from resources.queue import TaskStatus
from tests.gateway.test_uploads import bomb
from tests.support.web_server import redirect, reply, running_web_server


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


def drip(handler):
    """A picture whose bytes come one by one, without an end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        handler.wfile.write(b".")
        time.sleep(0.02)


def test_one_owners_dripping_pictures_hold_up_nobody_else(shop, web):
    """They go on dripping for longer than the test lasts."""
    web.answers |= {f"/{n}": drip for n in range(60)} | {"/good.png": reply(body=png())}
    greedy = [shop.submit(owner="greedy", image_url=f"{web.url}/{n}", resolution="64x64") for n in range(60)]
    shop.worker()
    shop.until(lambda: web.calls, THREADS_PER_OWNER)

    mine = [shop.submit(owner="anna", resolution="64x64", steps=1) for _ in range(20)]
    mine.append(shop.submit(owner="anna", image_url=f"{web.url}/good.png", resolution="64x64", steps=1))

    assert {task.status for task in shop.ended(*mine)} == {TaskStatus.SUCCESS}
    assert not any(task.status.ended for task in shop.queue.tasks(greedy))
    assert sum(call.path != "/good.png" for call in web.calls) == THREADS_PER_OWNER
    claimed = sum(task.status is TaskStatus.PROCESSING for task in shop.queue.tasks(greedy))
    assert claimed <= shop.settings.engine.max_batch_size + shop.settings.serving.claim_ahead


def test_what_is_cancelled_is_not_fetched_and_what_is_being_fetched_ends(shop, web):
    web.answers |= {f"/{n}": drip for n in range(6)}
    tasks = [shop.submit(image_url=f"{web.url}/{n}", resolution="64x64") for n in range(6)]
    shop.worker()
    shop.until(lambda: web.calls, THREADS_PER_OWNER)

    for task in reversed(tasks):  # those that wait for a thread first
        shop.queue.cancel(task)
    after = shop.submit(image_url=f"{web.url}/none", resolution="64x64")

    assert {task.status for task in shop.ended(*tasks)} == {TaskStatus.CANCELLED}
    assert "answered HTTP 404" in shop.ended(after)[0].error
    assert len(web.calls) == THREADS_PER_OWNER + 1


def test_all_pictures_of_a_request_share_one_time_limit(shop, web):
    def slow(handler):
        time.sleep(0.7)
        reply(body=png())(handler)

    gateway = shop.settings.gateway.model_copy(update={"fetch_timeout_s": 1.0})
    shop.settings = shop.settings.model_copy(update={"gateway": gateway})
    web.answers |= {"/image": slow, "/mask": slow}
    task = shop.submit(image_url=f"{web.url}/image", mask_url=f"{web.url}/mask", resolution="64x64")
    shop.worker()

    assert shop.ended(task)[0].error == f"{web.url}: not finished after 1 s."


def test_all_pictures_of_a_request_share_one_limit_of_pixels(shop, web):
    pictures = shop.settings.pictures.model_copy(update={"max_input_pixels": 6_000})
    shop.settings = shop.settings.model_copy(update={"pictures": pictures})
    web.answers["/a.png"] = reply(body=png())
    task = shop.submit(image_url=f"{web.url}/a.png", mask_url=f"{web.url}/a.png", resolution="64x64")
    shop.worker()

    assert "the input pictures have 8,192 pixels together, above the maximum of 6,000" in shop.ended(task)[0].error
