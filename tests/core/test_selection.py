"""Which of the connections with room is taken next."""

from __future__ import annotations

import random

import pytest

from penstock._core.connection import ConnectionEntry
from penstock._core.selection import LeastLoaded, Packed
from penstock._http2_config import HTTP2Config
from tests.support.story import Story

ORDERS = ["lifo", "round_robin", "least_loaded"]


def three_idle(reuse: str) -> Story:
    """Connections 1, 2, 3, which came back in the order 2, 3, 1."""
    story = Story(reuse=reuse)
    for _ in range(3):
        story.active()
    for at, number in ((1.0, 2), (2.0, 3), (3.0, 1)):
        story.now = at
        story.release(number)
    return story


def test_lifo_takes_the_one_that_came_back_last() -> None:
    story = three_idle("lifo")

    assert [story.ask(), story.ask(), story.ask()] == [1, 3, 2]


def test_round_robin_takes_the_one_that_came_back_first() -> None:
    story = three_idle("round_robin")

    assert [story.ask(), story.ask(), story.ask()] == [2, 3, 1]


def test_least_loaded_takes_the_one_with_the_fewest_exchanges() -> None:
    story = three_idle("least_loaded")
    assert story.ask() == 1
    story.release(1)
    assert story.ask() == 2
    story.release(2)

    assert [story.ask(), story.ask(), story.ask()] == [3, 1, 2]


def test_lifo_packs_exchanges_on_one_connection() -> None:
    story = Story(reuse="lifo")
    story.machine.prewarm(story.now, story.endpoint(), 2)
    story.connect(1, capacity=2)
    story.connect(2, capacity=2)

    assert [story.ask() for _ in range(5)] == [1, 1, 2, 2, None]


@pytest.mark.parametrize("reuse", ["round_robin", "least_loaded"])
def test_the_others_spread_exchanges(reuse: str) -> None:
    story = Story(reuse=reuse)
    story.machine.prewarm(story.now, story.endpoint(), 2)
    story.connect(1, capacity=2)
    story.connect(2, capacity=2)

    assert [story.ask() for _ in range(5)] == [1, 2, 1, 2, None]


@pytest.mark.parametrize(("reuse", "expected"), [("lifo", [3, 2, 1]), ("round_robin", [1, 2, 3])])
def test_a_probe_makes_no_connection_look_newer(reuse: str, expected: list[int]) -> None:
    story = Story(reuse=reuse, health_check_interval=10.0)
    for _ in range(3):
        story.active()
    for number, at in ((1, 0.0), (2, 5.0), (3, 6.0)):
        story.now = at
        story.release(number)
    story.wake(10.0)
    assert story.told() == ["probe 1"]

    story.probed(1)

    assert [story.ask(), story.ask(), story.ask()] == expected


def test_least_loaded_keeps_its_place_over_a_probe() -> None:
    story = Story(reuse="least_loaded", health_check_interval=10.0)
    story.idle()
    story.wake(10.0)
    story.probed(1)

    assert story.ask() == 1


@pytest.mark.parametrize("reuse", ORDERS)
def test_what_is_unfit_is_passed_over_and_closed(reuse: str) -> None:
    story = Story(reuse=reuse, idle_timeout=10.0)
    for _ in range(3):
        story.active()
    for number, at in ((1, 0.0), (2, 1.0), (3, 8.0)):
        story.now = at
        story.release(number)
    story.now = 11.0

    assert story.ask() == 3

    closed = {"lifo": [], "round_robin": [1, 2], "least_loaded": [1, 2]}[reuse]
    assert story.told() == [f"close {number}: idle_expired" for number in closed]


@pytest.mark.parametrize("capacity", [1, 3])
def test_least_loaded_forgets_old_loads(capacity: int) -> None:
    story = Story(reuse="least_loaded")
    number = story.active(capacity=capacity)
    for _ in range(1000):
        story.release(number)
        assert story.ask() == number

    assert len(list(story.endpoint().ready)) == (capacity > 1)
    assert len(story.endpoint().order._heap) < 100


@pytest.mark.parametrize("order", [LeastLoaded(), Packed(2, ())])
def test_whatever_comes_and_goes_the_first_is_the_one_with_the_smallest_key(order: LeastLoaded) -> None:
    chance = random.Random(1)
    endpoint = Story().endpoint()
    entries = [ConnectionEntry(number, endpoint, generation=0) for number in range(1, 9)]
    listed: set[ConnectionEntry] = set()
    for _ in range(3000):
        entry = chance.choice(entries)
        what = chance.random()
        if what < 0.6:
            entry.in_use, entry.exchanges = chance.randrange(4), chance.randrange(3)
            order.add(entry)
            listed.add(entry)
        elif what < 0.8:
            order.discard(entry)
            listed.discard(entry)
        else:
            first = min(listed, key=order.key, default=None)
            assert order.pop(endpoint) is first
            listed.discard(first)
        assert set(order.all(endpoint)) == listed


def test_least_loaded_clears_up_when_connections_leave() -> None:
    story = Story(reuse="least_loaded", max_connections=200, max_connections_per_host=200, max_dials_per_host=200)
    for _ in range(200):
        story.active()
    for number in range(1, 201):
        story.release(number)
    for number in range(1, 200):
        story.lost(number)

    assert list(story.endpoint().ready) == [story.entries[200]]
    assert len(story.endpoint().order._heap) < 100
    assert story.ask() == 200


@pytest.mark.parametrize("reuse", ORDERS)
def test_what_is_not_ready_is_taken_out_without_a_word(reuse: str) -> None:
    story = Story(reuse=reuse)
    story.ask()
    story.machine.drain(story.now)

    assert story.told() == ["dial 1", "fail 1: pool_closed", "close 1: draining"]
    assert len(list(story.endpoint().ready)) == 0


# ---- connections that carry several exchanges ------------------------------------------------------------------------


def several(count: int, soft_streams: int, **settings: object) -> Story:
    """So many connections with room for four exchanges each."""
    story = Story(http2_config=HTTP2Config(soft_streams=soft_streams), **settings)
    story.machine.prewarm(story.now, story.endpoint(), count)
    story.listen()
    for number in range(1, count + 1):
        story.connect(number, capacity=4)
    story.told()
    return story


def test_the_oldest_are_filled_up_to_the_soft_limit_and_then_all_evenly() -> None:
    story = several(3, 2)

    assert [story.ask() for _ in range(13)] == [1, 1, 2, 2, 3, 3, 1, 2, 3, 1, 2, 3, None]


def test_what_is_given_back_to_an_old_connection_is_taken_there_again() -> None:
    story = several(2, 2)
    assert [story.ask() for _ in range(3)] == [1, 1, 2]
    story.release(1)
    assert story.ask() == 1


def test_surplus_connections_become_idle_and_expire() -> None:
    story = several(2, 2, idle_timeout=10.0)
    assert [story.ask() for _ in range(3)] == [1, 1, 2]
    story.release(2)
    for at in range(1, 12):
        story.wake(float(at))
        story.release(1)
        assert story.ask() == 1

    assert story.told() == ["close 2: idle_expired"]


def test_a_new_connection_is_opened_only_when_all_are_full() -> None:
    story = several(1, 2)
    assert [story.ask() for _ in range(4)] == [1, 1, 1, 1]
    assert story.told() == []

    assert story.ask() is None
    assert story.told() == ["dial 2"]


def test_connections_that_were_there_before_are_sorted_in_with_the_first_that_carries_several() -> None:
    story = Story()
    story.machine.prewarm(story.now, story.endpoint(), 3)
    story.listen()
    story.connect(1)
    story.connect(2)
    story.connect(3, capacity=4)

    assert [story.ask(), story.ask(), story.ask()] == [1, 2, 3]


def test_a_load_that_leaves_the_order_as_it_is_costs_nothing() -> None:
    story = several(2, 64)
    for _ in range(1000):
        assert story.ask() == 1
        story.release(1)

    assert len(story.endpoint().order._heap) == 1


def test_loads_of_the_past_are_forgotten() -> None:
    story = several(2, 1)
    for _ in range(1000):
        assert story.ask() == 1
        assert story.ask() == 2
        assert story.ask() == 1
        for number in (1, 1, 2):
            story.release(number)

    assert len(story.endpoint().order._heap) < 100
