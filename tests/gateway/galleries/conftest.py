from collections.abc import Iterator

import httpx
import pytest

from configs.settings import Settings
from gateway.main import open_service
from tests.support.running_gateway import RunningGateway, running_gateway


@pytest.fixture
def reviewing(settings, tmp_path) -> Iterator[RunningGateway]:
    """A gateway over an empty store of its own."""
    queue = settings.queue.model_copy(update={"namespace": f"review-{tmp_path.name}"})
    service = open_service(Settings(home=tmp_path, queue=queue, gateway=settings.gateway))
    service.store.check()
    with running_gateway(service) as gateway:
        yield gateway
    service.queue.close()


@pytest.fixture
def person(reviewing):
    """Makes HTTP clients of people with a key that has these scopes."""
    opened = []

    def client(user="ann", scopes=("review",)):
        key = reviewing.service.accounts.create(user, scopes=scopes)
        opened.append(httpx.Client(base_url=reviewing.url, headers={"X-API-Key": key}, timeout=60))
        return opened[-1]

    yield client
    for one in opened:
        one.close()
