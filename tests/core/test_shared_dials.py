"""One dial for many: nobody knows how many exchanges a connection carries before the first one is there."""

from __future__ import annotations

import pytest

from penstock._core.timers import INF
from tests.support.story import Story


def cold(count: int, **settings: int) -> Story:
    """A server of unknown protocol, and so many who came at once."""
    settings.setdefault("max_waiters", 2000)
    story = Story(multiplexes=True, **settings)
    for _ in range(count):
        story.ask()
    return story


def dials(story: Story) -> list[int]:
    """The dials that were started since the last look; what else was told is dropped."""
    return [int(told.removeprefix("dial ")) for told in story.told() if told.startswith("dial ")]


def failed(story: Story) -> list[int]:
    """Who failed since the last look."""
    return [int(told.split(":")[0].removeprefix("fail ")) for told in story.told() if told.startswith("fail ")]


def test_a_cold_burst_makes_one_dial() -> None:
    story = cold(500)

    assert story.told() == ["dial 1"]


def test_a_burst_at_http_1_fans_out_when_that_is_known() -> None:
    story = cold(20, max_connections_per_host=10, max_dials_per_host=4)
    assert dials(story) == [1]

    story.connect(1, capacity=1)
    assert dials(story) == [2, 3, 4, 5]
    story.connect(2, capacity=1)
    assert dials(story) == [6]
    assert [len(story.entries[number].covered) for number in (3, 4, 5, 6)] == [1, 1, 1, 1]


def test_a_thousand_at_a_hundred_each_make_ten_connections() -> None:
    story = cold(1000, max_connections_per_host=10, max_dials_per_host=4)
    assert dials(story) == [1]
    story.connect(1, capacity=100)
    running = dials(story)
    assert running == [2, 3, 4, 5]

    while running:
        story.connect(running.pop(0), capacity=100)
        running += dials(story)
        assert len(running) <= 4
    assert len(story.states()) == 10
    assert story.machine.waiting == 0


def test_as_many_dials_as_the_rest_needs_and_no_more() -> None:
    story = cold(250)
    story.connect(1, capacity=100)

    assert dials(story) == [1, 2, 3]


def test_connections_that_carry_fewer_requests_than_exchanges_are_counted_by_that() -> None:
    story = cold(50, max_requests_per_connection=10)
    story.connect(1, capacity=100)

    assert dials(story) == [1, 2, 3, 4, 5]


def test_a_server_that_allows_nothing_says_nothing_about_the_next_connection() -> None:
    story = cold(10)
    story.connect(1, capacity=3)
    assert story.endpoint().expected == 3
    story.connect(2, capacity=0)
    assert story.endpoint().expected == INF


def test_what_multiplexes_not_has_one_waiter_for_each_dial() -> None:
    story = Story()
    for _ in range(3):
        story.ask()
    assert dials(story) == [1, 2, 3]
    story.connect(1, capacity=100)

    assert story.endpoint().expected == 1


def test_a_prewarm_dials_connections_and_they_cover_who_comes() -> None:
    story = Story(multiplexes=True)
    story.machine.prewarm(story.now, story.endpoint(), 3)
    story.ask()
    story.ask()
    assert dials(story) == [1, 2, 3]
    assert [len(story.entries[number].covered) for number in (1, 2, 3)] == [2, 0, 0]

    # It speaks HTTP/1.1: each dial that runs is for one.
    story.ask()
    story.ask()
    story.ask()
    story.connect(3, capacity=1)
    assert story.told() == ["deliver 3 to 1", "dial 4", "dial 5"]
    assert [len(story.entries[number].covered) for number in (1, 2, 4, 5)] == [1, 1, 1, 1]


def test_dials_that_run_cover_more_when_connections_turn_out_to_carry_more() -> None:
    story = cold(4, max_dials_per_host=2)
    story.connect(1, capacity=1)
    assert dials(story) == [1, 2, 3]
    story.connect(2, capacity=2)
    # Two were served, and the one that had no dial is covered by that which runs.
    assert dials(story) == []
    assert len(story.entries[3].covered) == 1
    for _ in range(2):
        story.ask()

    assert dials(story) == [4]


# ---- when it fails ---------------------------------------------------------------------------------------------------


def test_a_shared_dial_that_fails_fails_all_who_were_there() -> None:
    story = Story(multiplexes=True, max_connections=1, unhealthy_threshold=9)
    story.active("b")
    for _ in range(3):
        story.ask("a")
    story.release(1)
    story.closed(1)
    assert story.told() == ["close 1: stalled_group", "dial 2"]

    story.fail(2)

    assert failed(story) == [2, 3, 4]
    assert len({id(story.causes[number]) for number in (2, 3, 4)}) == 1


def test_who_joined_later_gets_another_dial_and_shares_it() -> None:
    story = cold(3, unhealthy_threshold=9)
    story.fail(1)
    assert story.told() == ["dial 1", "fail 1: dial_failed", "dial 2"]

    story.fail(2)
    assert failed(story) == [2, 3]


def test_who_came_back_to_the_queue_has_joined_late() -> None:
    story = cold(1, max_connections=3)
    story.connect(1, capacity=1)
    story.ask()
    assert dials(story) == [1, 2]
    story.endpoint().expected = INF
    assert story.refuse(1) is None
    story.fail(2)

    assert failed(story) == [2]


@pytest.mark.parametrize(("allowed", "spared"), [(2.0, [2, 3]), (5.0, [3]), (None, [])])
def test_those_who_allow_more_time_are_spared_by_a_shorter_limit(allowed: float | None, spared: list[int]) -> None:
    story = Story(multiplexes=True, max_connections=1, unhealthy_threshold=9)
    story.active("b")
    for connect in (1.0, 5.0, None):
        story.ask("a", connect=connect)
    story.release(1)
    story.closed(1)
    story.told()
    numbers = {waiter: waiter - 1 for waiter in (2, 3, 4)}

    story.fail(2, "took too long", allowed=allowed)

    told = story.told()
    assert [numbers[waiter] for waiter in (2, 3, 4) if f"fail {waiter}: dial_failed" not in told] == spared
    assert ("dial 3" in told) == bool(spared)


def test_the_first_who_is_covered_says_how_long_the_dial_may_take() -> None:
    story = cold(2)
    story.listen()
    first, second = story.waiters[1], story.waiters[2]
    assert story.entries[1].waiter is first
    story.cancel(1)
    assert story.entries[1].waiter is second
    story.cancel(2)
    assert story.entries[1].waiter is None


def test_a_shortage_makes_room_once_for_all_of_them() -> None:
    story = Story(multiplexes=True, max_connections=2)
    for number in (story.active("b"), story.active("b")):
        story.release(number)
    for _ in range(2):
        story.ask("a")
    assert story.told() == ["close 1: stalled_group"]
    story.closed(1)
    story.listen()
    story.fail(3, "no more descriptors", local=True)
    assert story.told() == ["dial 3", "close 2: resource_exhausted", "dial 4"]

    story.closed(2)
    story.fail(4, "no more descriptors", local=True)
    assert failed(story) == [3, 4]


def test_a_shared_dial_that_is_left_by_some_serves_the_others() -> None:
    story = cold(3)
    story.cancel(2)
    story.connect(1, capacity=2)

    assert story.told() == ["dial 1", "deliver 1 to 1", "deliver 1 to 3"]
