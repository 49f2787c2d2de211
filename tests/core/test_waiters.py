"""Who waits, and who is next: classes, tenants, arrival; leaving costs the same wherever one stands."""

from __future__ import annotations

import pytest

from penstock._core.waiters import WaiterState
from tests.support.story import Story


def full(**settings: int) -> Story:
    """A pool whose one connection is in use."""
    story = Story(max_connections=1, **settings)
    story.active()
    return story


def served(story: Story, count: int) -> list[int]:
    """The numbers of the next waiters served, by releasing the one connection again and again."""
    order = []
    for _ in range(count):
        story.release(1)
        (told,) = story.told()
        order.append(int(told.rpartition(" ")[2]))
    return order


def test_first_come_first_served() -> None:
    story = full()
    for _ in range(4):
        story.ask()

    assert served(story, 4) == [2, 3, 4, 5]


def test_the_lower_class_is_served_first() -> None:
    story = full()
    for priority in (0, 5, -1, 0, -1):
        story.ask(priority=priority)

    assert served(story, 5) == [4, 6, 2, 5, 3]


def test_tenants_of_one_class_take_turns() -> None:
    story = full()
    for tenant in ("x", "x", "x", "y", "y", None):
        story.ask(tenant=tenant)

    assert served(story, 6) == [2, 5, 7, 3, 6, 4]


def test_a_tenant_that_comes_back_stands_behind_the_others() -> None:
    story = full()
    story.ask(tenant="x")
    story.ask(tenant="y")
    assert served(story, 1) == [2]

    story.ask(tenant="x")
    story.ask(tenant="y")

    assert served(story, 3) == [3, 4, 5]


@pytest.mark.parametrize("leaving", [2, 3, 4])
def test_one_that_gives_up_leaves_the_others_in_order(leaving: int) -> None:
    story = full()
    for _ in range(3):
        story.ask()

    story.cancel(leaving)

    assert served(story, 2) == [number for number in (2, 3, 4) if number != leaving]
    assert story.waiters[leaving].state is WaiterState.CANCELLED
    assert story.machine.waiting == 0


def test_giving_up_twice_or_too_late_does_nothing() -> None:
    story = full()
    story.ask()
    story.ask()
    story.cancel(3)
    story.cancel(3)
    assert served(story, 1) == [2]

    story.cancel(2)

    assert story.waiters[2].state is WaiterState.DELIVERED
    assert story.endpoint().counters.cancelled == 1


def test_the_last_of_a_class_or_tenant_leaves_nothing_behind() -> None:
    story = full()
    for priority in range(50):
        story.ask(priority=priority, tenant=str(priority))
    for number in range(2, 52):
        story.cancel(number)

    queue = story.endpoint().upstream.queue
    assert len(queue) == 0
    assert list(queue) == []
    assert queue._classes == {}
    assert queue._priorities == []
    assert queue.oldest_uncovered is None


def test_the_queue_is_listed_in_order_of_service_with_those_who_want_a_fresh_one_first() -> None:
    story = full()
    story.ask(priority=1)
    story.ask()
    story.ask_fresh()

    assert [waiter.number for waiter in story.endpoint().upstream.queue] == [4, 3, 2]


def test_a_deadline_ends_the_wait_of_one_and_passes_its_dial_on() -> None:
    story = Story(max_connections=1)
    story.ask(wait=5.0)
    story.ask(wait=9.0)

    story.wake(5.0)
    story.connect(1)

    assert story.told() == ["dial 1", "fail 1: pool_timeout", "deliver 1 to 2"]


def test_the_time_in_the_queue_is_counted() -> None:
    story = full()
    story.ask()
    story.now = 2.5
    served(story, 1)

    counters = story.endpoint().counters
    assert (counters.waited, counters.waited_seconds) == (2, 2.5)
