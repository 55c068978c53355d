"""A moderator in front of what serving runs store."""

from configs.lifecycle_settings import CheckSettings
from foundation.errors import FailureCause
from resources.audit import open_audit
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


def test_the_verdict_on_a_painted_picture_is_in_the_audit_log_and_not_its_words(shop):
    checks = CheckSettings(moderation="tests.support.own_moderator:Refusing")
    shop.settings = shop.settings.model_copy(update={"checks": checks})
    shop.worker()

    rejected = shop.submit("a mug", owner="ben", resolution="64x64")
    (task,) = shop.ended(rejected)

    (event,) = open_audit(shop.settings).read()
    assert (task.status, task.cause) == (TaskStatus.FAILED, FailureCause.MODERATION)
    assert (event["event"], event["task"], event["user"]) == ("picture.rejected", rejected, "ben")
    assert rejected in event["key"]
    assert "mug" not in str(event)
