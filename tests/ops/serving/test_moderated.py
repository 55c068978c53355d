"""A moderator in front of what serving runs store."""

from configs.errors import FailureCause
from configs.lifecycle_settings import CheckSettings
from resources.queue import TaskStatus


def test_a_rejected_picture_fails_its_task_and_is_only_in_quarantine(shop):
    checks = CheckSettings(moderation="blocklist", blocked_words=("gun",))
    shop.settings = shop.settings.model_copy(update={"checks": checks})
    shop.worker()

    rejected, fine = shop.submit("a gun", resolution="64x64"), shop.submit("a mug", resolution="64x64")
    tasks = {task.id: task for task in shop.ended(rejected, fine)}

    assert (tasks[rejected].status, tasks[rejected].cause) == (TaskStatus.FAILED, FailureCause.MODERATION)
    assert "rejected by moderator 'blocklist': the prompt has the blocked word 'gun'" in tasks[rejected].error
    assert tasks[fine].status is TaskStatus.SUCCESS
    kept = [found.key for found in shop.store.list() if rejected in found.key]
    assert len(kept) == 2
    assert all(key.startswith("quarantine/2") for key in kept)
