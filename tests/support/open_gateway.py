"""The gateway's service over a real private Redis, and a worker that ends its tasks."""

import uuid
from pathlib import Path

from configs.settings import Settings
from gateway.main import open_service
from gateway.service import GatewayService
from resources.queue import RequestQueue, TaskPicture, TaskResult


def new_settings(home: Path, **sections: dict) -> Settings:
    """Settings of an empty queue; those of one home share a Redis."""
    queue = {"namespace": f"test-{uuid.uuid4().hex}", "lease_s": 30}
    gateway = {"http_port": 8123, "grpc_port": 0, "public_url": "https://pictures.example"}
    given = {"queue": queue | sections.pop("queue", {}), "gateway": gateway | sections.pop("gateway", {})}
    return Settings(home=home, **given, **sections)


def new_service(home: Path, **sections: dict) -> GatewayService:
    """A service with an empty queue."""
    return open_service(new_settings(home, **sections))


def close(service: GatewayService) -> None:
    """Close the connections; the last one stops the private Redis."""
    service.queue.close()
    service.accounts._link.close()


RESULT = TaskResult(
    pictures=(
        TaskPicture(
            original_key="20260101/cat_512x512.webp",
            thumb_key="20260101/cat_256x256.webp",
            width_px=512,
            height_px=512,
            format="webp",
            size_bytes=1234,
            seed=7,
            recipe='{"text":"a cat"}',
        ),
    )
)


def end_tasks(queue: RequestQueue, count: int = 1, error: str = "") -> None:
    """Do waiting tasks as a worker does: with success, or with this error."""
    ended = 0
    while ended < count:
        claims = queue.claim("test-worker", count - ended, block_s=5)
        assert claims, "nothing to claim"
        for claim in claims:
            assert queue.fail(claim, error) if error else queue.succeed(claim, RESULT)
        ended += len(claims)
