import threading
import time

from foundation.map_ahead import AHEAD, map_ahead


def test_answers_come_in_order_each_with_its_item():
    def slow_square(number):
        time.sleep(0.002 * (number % 5))
        return number * number

    assert list(map_ahead(slow_square, range(300))) == [(number, number * number) for number in range(300)]


def test_many_are_asked_about_at_the_same_time():
    together = threading.Barrier(8, timeout=60)

    answers = list(map_ahead(lambda number: together.wait() is not None, range(16)))

    assert len(answers) == 16


def test_an_answer_that_is_there_is_given_before_all_items_are_taken():
    answered = threading.Event()

    def items():
        yield 1
        answered.wait(60)
        yield 2

    answers = map_ahead(lambda number: answered.set(), items())

    assert next(answers) == (1, None)


def test_only_so_many_are_taken_ahead():
    taken, release = [], threading.Event()

    def items():
        for number in range(10 * AHEAD):
            taken.append(number)
            if number == AHEAD - 1:
                release.set()
            yield number

    answers = map_ahead(lambda number: release.wait(60), items())
    next(answers)

    assert len(taken) == AHEAD
    answers.close()


def test_leaving_early_drops_what_has_not_begun():
    begun = []

    def work(number):
        begun.append(number)
        time.sleep(0.05)

    answers = map_ahead(work, range(50), threads=1, ahead=40)
    next(answers)
    answers.close()

    assert len(begun) < 10
