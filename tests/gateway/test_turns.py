"""Calls begin in turn by user."""

import asyncio

import pytest

from gateway.turns import Turns


async def begun(turns, users, upto):
    """The users of calls that came in this order, as they begin, until one of `upto` has begun."""
    order = []

    async def call(user):
        await turns.begin(user)
        order.append(user)

    calls = [asyncio.create_task(call(user)) for user in users]
    while upto not in order:
        await asyncio.sleep(0)
    for one in calls:
        one.cancel()
    return order


@pytest.mark.parametrize("others", [1, 500])
def test_a_users_calls_begin_before_most_of_anothers_that_came_first(others):
    assert asyncio.run(begun(Turns(), ["a"] * others + ["b"], "b")) == ["a", "b"]


def test_every_call_begins_and_users_take_turns():
    assert asyncio.run(begun(Turns(), [*"aaab", "c"], "c"))[:3] == ["a", "b", "c"]

    async def all_of(users):
        turns = Turns()
        await asyncio.wait_for(asyncio.gather(*(turns.begin(user) for user in users)), 60)

    asyncio.run(all_of(["a", "b"] * 300))


def test_who_has_hung_up_takes_no_turn():
    async def order():
        turns, order = Turns(round_s=0.01), []

        async def call(name):
            await turns.begin("a")
            order.append(name)

        calls = {name: asyncio.create_task(call(name)) for name in ("first", "gone", "next")}
        await asyncio.sleep(0)
        calls["gone"].cancel()
        await asyncio.wait_for(calls["next"], 60)
        return order

    assert asyncio.run(order()) == ["first", "next"]


def test_a_round_lasts():
    async def rounds():
        turns, loop = Turns(round_s=0.05), asyncio.get_running_loop()
        began_s = loop.time()
        for _ in range(4):
            await turns.begin("a")
        return loop.time() - began_s

    assert asyncio.run(rounds()) > 2 * 0.05
