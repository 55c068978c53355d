import threading

from resources.progress import report_pictures, report_step, watching


class Notes:
    def __init__(self):
        self.seen = []

    def pictures(self, asset, done, total):
        self.seen.append((asset, done, total))

    def step(self, picture_id, step, steps):
        self.seen.append((picture_id, step, steps))


def test_a_watcher_sees_what_happens_inside_its_block_and_nothing_after():
    notes = Notes()

    with watching(notes):
        report_step("a", 1, 20)
        report_pictures("generated_images", 1, 8)
    report_step("a", 2, 20)

    assert notes.seen == [("a", 1, 20), ("generated_images", 1, 8)]


def test_watchers_of_different_threads_do_not_mix():
    notes = Notes()

    with watching(notes):
        other = threading.Thread(target=report_step, args=("b", 1, 20))
        other.start()
        other.join()

    assert notes.seen == []


def test_without_a_watcher_reports_go_nowhere():
    report_step("a", 1, 20)
    report_pictures("generated_images", 1, 8)
