"""A listener of the engine that tests wait for."""

import threading
import time


class Waiting:
    """A listener to wait for."""

    def __init__(self) -> None:
        self.results = {}
        self.steps = []
        self.changed = threading.Condition()

    def stepped(self, job_id, done, total) -> None:
        with self.changed:
            self.steps.append((job_id, done, total))
            self.changed.notify_all()

    def ended(self, result) -> None:
        with self.changed:
            assert result.id not in self.results
            self.results[result.id] = result
            self.changed.notify_all()

    def wait_for(self, condition) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, 120)

    @staticmethod
    def until(condition) -> None:
        """Wait for what no call tells."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)
