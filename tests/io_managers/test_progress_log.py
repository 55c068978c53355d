import re
from queue import Queue

from io_managers.image_set import Status
from io_managers.progress_log import ProgressLog


def test_a_line_says_what_is_made_waits_and_failed_and_how_long_it_takes():
    progress = ProgressLog(print, "generated_images", 300, 10)
    assert progress.line() == "generated_images: 0 of 300 made, 300 waiting; none finished in the last minute."

    for status in [Status.MADE] * 100 + [Status.REUSED] * 30 + [Status.FAILED] * 2:
        progress.count(status)

    begins = "generated_images: 100 of 300 made, 30 reused, 2 failed, 168 waiting; "
    assert re.fullmatch(re.escape(begins) + r"[\d,]+ a minute, about \d+ s to go\.", progress.line())


def test_lines_come_while_nothing_does_and_end_with_the_work():
    said: Queue[str] = Queue()

    with ProgressLog(said.put, "thumbnails", 2, 0.001):
        first = said.get(timeout=60)
    before = said.qsize()

    assert first.startswith("thumbnails: 0 of 2 made")
    assert said.qsize() == before


def test_a_line_that_cannot_be_told_ends_no_later_one():
    said: Queue[str] = Queue()

    def say(line):
        said.put(line)
        raise OSError("the database is away")

    with ProgressLog(say, "thumbnails", 2, 0.001):
        lines = [said.get(timeout=60) for _ in range(2)]

    assert len(lines) == 2


def test_the_end_is_told_also_by_a_run_that_was_too_quick_to_say_anything():
    told: list[object] = []

    with ProgressLog(print, "thumbnails", 2, 3600, told.append):
        pass

    assert told == [None]
