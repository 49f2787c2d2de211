"""Who comes back because the server refused to serve it keeps the place that it had."""

from __future__ import annotations

from penstock._core.waiters import WaiterState
from tests.support.story import Story


def order(story: Story, name: str = "a") -> list[int]:
    return [waiter.number for waiter in story.endpoint(name).upstream.queue]


def test_those_who_come_back_stand_before_the_others_in_their_first_order() -> None:
    story = Story(max_connections_per_host=1)
    for _ in range(5):
        story.ask()
    for place in (3, 1, 2):
        story.cancel(place)
        story.ask(stands_for=place)

    # 6 stands for 3, 7 for 1 and 8 for 2.
    assert order(story) == [7, 8, 6, 4, 5]


def test_they_come_back_behind_those_of_a_more_urgent_class() -> None:
    story = Story(max_connections_per_host=1)
    story.ask(priority=-1)
    story.ask(priority=0)
    story.ask(priority=0, stands_for=1)

    assert order(story) == [1, 3, 2]


def test_who_comes_back_is_not_turned_away_from_a_full_queue() -> None:
    story = Story(max_connections_per_host=1, max_waiters=1)
    story.ask()
    story.ask()
    story.ask(stands_for=1)

    assert [story.waiters[number].state for number in (1, 2, 3)] == [
        WaiterState.QUEUED,
        WaiterState.REJECTED,
        WaiterState.QUEUED,
    ]


def test_a_slot_goes_to_who_came_back_although_the_one_before_it_left() -> None:
    story = Story(max_connections=2, max_dials_per_host=1, multiplexes=True)
    story.ask_fresh("a")
    story.connect(1, capacity=5)
    story.ask("a")
    story.ask("b")
    story.ask_fresh("b")
    story.going_away(1)
    story.ask("a")
    story.refuse(1)
    assert (order(story, "a"), order(story, "b")) == ([1, 5], [4, 3])
    story.told()

    story.cancel(5)
    story.fail(2)

    # 3 failed with the dial; of those that are left, 1 has waited longer than 4.
    assert story.told() == ["fail 3: dial_failed", "dial 3"]
    assert story.entries[3].endpoint is story.endpoint("a")
