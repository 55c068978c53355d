"""Pictures in an S3 service: the gateway sends their readers there."""

import io
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image

from configs.settings import Settings
from gateway.main import open_service
from tests.support.painter import Painter
from tests.support.running_gateway import RunningGateway, running_gateway
from tests.support.s3_server import S3Server
from tests.support.waiting import wait_until


@pytest.fixture
def on_s3(settings: Settings, s3_server: S3Server) -> Iterator[RunningGateway]:
    service = open_service(settings.model_copy(update={"store": s3_server.own_bucket().settings()}))
    service.store.check()
    with running_gateway(service) as gateway, Painter(service.queue, service.store):
        yield gateway
    service.queue.close()


def test_a_picture_url_leads_to_a_freshly_signed_one(on_s3) -> None:
    key = {"X-API-Key": on_s3.service.accounts.create("ada")}
    body = {"text": "a red mug", "params": {"resolution": "128×96", "post_process": {"format": "png"}}}
    query_url = httpx.post(f"{on_s3.url}/api/v1/image/generate", json=body, headers=key).json()["data"]["query_url"]
    query = on_s3.url + query_url
    wait_until(lambda: httpx.get(query, headers=key).json()["data"]["status"] == "success")
    result = httpx.get(query, headers=key).json()["data"]["result"]
    answer = httpx.get(result["original_url"])
    assert answer.status_code == 302
    assert answer.headers["cache-control"] == "no-store"
    assert "X-Amz-Signature=" in answer.headers["location"]
    picture = httpx.get(result["original_url"], follow_redirects=True)
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
    assert Image.open(io.BytesIO(picture.content)).size == (128, 96)
    assert len(picture.content) == result["size"]
    store = on_s3.service.settings.store
    policy = httpx.get(on_s3.url).headers["content-security-policy"]
    assert f"img-src 'self' data: blob: http://{store.endpoint};" in policy
