"""A gateway over a real Redis and a local store, with a worker that paints plain colours."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from configs.gateway_settings import GatewaySettings
from configs.queue_settings import QueueSettings
from configs.settings import Settings
from gateway.main import open_service
from gateway.service import GatewayService
from tests.support.painter import Painter
from tests.support.running_gateway import RunningGateway, running_gateway

PAGE_TOKEN = SecretStr("start-up-token")


@pytest.fixture(scope="session")
def redis_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a private Redis that all tests here share; each has a namespace of its own."""
    folder = tmp_path_factory.mktemp("redis")
    service = open_service(Settings(home=folder, queue=QueueSettings(path=folder)))
    service.queue.check()
    yield folder
    service.queue.close()


@pytest.fixture(scope="module")
def settings(redis_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of one module of tests."""
    queue = QueueSettings(path=redis_folder, namespace=f"test-{uuid.uuid4().hex[:12]}", default_qps=10_000)
    gateway = GatewaySettings(page_token=PAGE_TOKEN, http_port=0, grpc_port=0, sync_timeout_s=5)
    return Settings(home=tmp_path_factory.mktemp("home"), queue=queue, gateway=gateway)


@pytest.fixture(scope="module")
def service(settings: Settings) -> Iterator[GatewayService]:
    """The service, without a server."""
    service = open_service(settings)
    yield service
    service.queue.close()


@pytest.fixture(scope="module")
def gateway(service: GatewayService) -> Iterator[RunningGateway]:
    """The HTTP face, listening."""
    with running_gateway(service) as gateway:
        yield gateway


@pytest.fixture
def user() -> str:
    """Somebody no other test knows."""
    return f"ada-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def key(service: GatewayService, user: str) -> str:
    """An API key of this user."""
    return service.accounts.create(user)


@pytest.fixture
def client(gateway: RunningGateway, key: str) -> Iterator[httpx.Client]:
    """An HTTP client with this key."""
    with httpx.Client(base_url=gateway.url, headers={"X-API-Key": key}, timeout=120) as client:
        yield client


@pytest.fixture
def stranger(gateway: RunningGateway, service: GatewayService) -> Iterator[httpx.Client]:
    """An HTTP client of somebody else."""
    key = service.accounts.create(f"eve-{uuid.uuid4().hex[:12]}")
    with httpx.Client(base_url=gateway.url, headers={"X-API-Key": key}, timeout=120) as client:
        yield client


@pytest.fixture
def painter(service: GatewayService) -> Iterator[Painter]:
    """A worker that does what the queue holds."""
    with Painter(service.queue, service.store) as painter:
        yield painter


@pytest.fixture
def local(settings: Settings, tmp_path: Path) -> Iterator[RunningGateway]:
    """A gateway of one's own machine, with nothing made yet."""
    queue = settings.queue.model_copy(update={"namespace": f"local-{tmp_path.name}"})
    service = open_service(settings.model_copy(update={"queue": queue, "home": tmp_path}))
    with running_gateway(service) as gateway:
        yield gateway
    service.queue.close()
