import threading
import time

from ops.map_ahead import WINDOW, map_ahead


def test_answers_come_in_order_each_with_its_item():
    def slow_square(number):
        time.sleep(0.002 * (number % 5))
        return number * number

    assert list(map_ahead(slow_square, range(300))) == [(number, number * number) for number in range(300)]


def test_many_are_asked_about_at_the_same_time():
    together = threading.Barrier(8, timeout=60)

    answers = list(map_ahead(lambda number: together.wait() is not None, range(16)))

    assert len(answers) == 16


def test_no_more_than_a_window_is_read_ahead():
    taken = []

    def items():
        for number in range(10 * WINDOW):
            taken.append(number)
            yield number

    answers = map_ahead(lambda number: number, items())
    next(answers)

    assert len(taken) == WINDOW
    answers.close()
