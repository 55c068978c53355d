"""A moderator in front of what serving runs store."""

from configs.errors import FailureCause
from configs.lifecycle_settings import CheckSettings
from resources.queue import TaskStatus


def test_words_that_were_blocked_after_a_request_was_taken_fail_it_before_it_is_painted(shop):
    checks = CheckSettings(moderation="blocklist", blocked_words=("gun",))
    shop.settings = shop.settings.model_copy(update={"checks": checks})
    shop.worker()

    rejected, fine = shop.submit("a gun", resolution="64x64"), shop.submit("a mug", resolution="64x64")
    tasks = {task.id: task for task in shop.ended(rejected, fine)}

    assert (tasks[rejected].status, tasks[rejected].cause) == (TaskStatus.FAILED, FailureCause.MODERATION)
    assert tasks[rejected].error == "text: has the blocked word 'gun'"
    assert tasks[fine].status is TaskStatus.SUCCESS
    assert [found.key for found in shop.store.list() if rejected in found.key] == []
