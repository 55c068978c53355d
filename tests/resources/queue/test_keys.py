from resources.object_store import check_key
from resources.queue import Task, TaskStatus, original_key, thumb_key


def task(id="img_a", created_at_s=1_795_391_999.9):  # the last moment of 22 November 2026 in UTC
    return Task(
        id=id,
        owner="ann",
        status=TaskStatus.PROCESSING,
        progress=0,
        request={},
        batch_id=None,
        callback_url=None,
        created_at_s=created_at_s,
        updated_at_s=created_at_s + 60,
        result=None,
        error="",
        deliveries=1,
    )


def test_a_picture_lies_under_the_day_its_task_was_created_and_its_own_size():
    original = original_key(task(), 1, 1024, 768, "jpg")

    assert original == "20261122/img_a_1024x768.jpg"
    assert thumb_key(task(), 1, 256, 192) == "20261122/img_a_256x192.webp"
    check_key(original)


def test_further_pictures_are_numbered():
    original = original_key(task(), 2, 64, 64, "png")

    assert original == "20261122/img_a~2_64x64.png"
    assert thumb_key(task(), 2, 64, 64) == "20261122/img_a~2_64x64.webp"
    check_key(original)


def test_no_task_can_have_the_keys_of_another():
    mine = [original_key(task("a"), n, 64, 64, "webp") for n in (1, 2, 3)]
    theirs = [original_key(task(id), 1, 64, 64, "webp") for id in ("a-2", "a.2", "a_2", "a_thumb", "a2")]

    assert not {*mine, thumb_key(task("a"), 1, 64, 64)} & set(theirs)
