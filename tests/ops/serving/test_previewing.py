import base64
import io
import json

from PIL import Image

from models.image import marks_in


def test_who_watches_sees_the_picture_before_a_quarter_of_it_is_done(shop):
    task_id = shop.submit(resolution="128x64", steps=100)
    shop.queue.watch(task_id)
    shop.worker(preview_every_s=0.01)
    (preview,) = shop.until(lambda: list(shop.queue.previews(task_id).values()))
    assert preview.number == 1
    assert 0 < preview.progress <= 25
    data = base64.b64decode(preview.jpeg)
    with Image.open(io.BytesIO(data)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (256, 128))
    (task,) = shop.ended(task_id)
    (record,) = [shop.store.get(found.key) for found in shop.store.list("marks/")]
    told = {one.layer: one for one in marks_in(data, 10**6, "")}
    assert set(told) == {"c2pa", "iptc", "tc260", "invisible"}
    assert all(one.valid for one in told.values())
    assert told["invisible"].value == json.loads(record)["identifier"]
    assert task.previews > 0
    assert shop.queue.previews(task_id) == {}


def test_nothing_is_shown_to_nobody_or_where_it_is_turned_off(shop):
    unwatched, watched = shop.submit(steps=30), shop.submit(steps=30)
    shop.queue.watch(watched)
    shop.worker(preview_every_s=0)
    assert [task.previews for task in shop.ended(unwatched, watched)] == [0, 0]
