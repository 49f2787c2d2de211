"""Dials belong to the pool: who gets one, who inherits it, and whom it serves in the end."""

from __future__ import annotations

from penstock._core.sizing import Hindrance
from tests.support.story import Story


def test_a_waiter_is_served_by_whatever_comes_first() -> None:
    story = Story(max_connections=2)
    first = story.active()
    story.ask()
    assert story.told() == ["dial 2"]

    story.release(first)

    assert story.told() == ["deliver 1 to 2"]
    story.connect(2)
    assert story.told() == []
    assert story.states() == {1: "ACTIVE", 2: "IDLE"}


def test_the_next_waiter_inherits_the_dial_of_one_that_was_served() -> None:
    story = Story(max_connections=2)
    first = story.active()
    story.ask()
    story.ask()
    assert story.told() == ["dial 2"]

    story.release(first)
    story.fail(2)

    assert story.told() == ["deliver 1 to 2", "fail 3: dial_failed"]


def test_the_next_waiter_inherits_the_dial_of_one_that_gave_up() -> None:
    story = Story(max_connections=1)
    story.ask()
    story.ask()
    story.cancel(1)
    story.connect(1)

    assert story.told() == ["dial 1", "deliver 1 to 2"]


def test_a_dial_whose_waiter_gave_up_serves_the_next_that_comes() -> None:
    story = Story()
    story.ask()
    story.cancel(1)
    story.ask()
    story.connect(1)

    assert story.told() == ["dial 1", "deliver 1 to 2"]


def test_a_waiter_whose_dial_ended_takes_over_a_dial_that_runs_for_nobody() -> None:
    story = Story(max_dials_per_host=2)
    story.ask()
    story.ask()
    story.cancel(2)
    assert story.told() == ["dial 1", "dial 2"]

    story.machine.renew(story.now)
    story.connect(1)
    assert story.told() == ["close 1: generation"]

    story.fail(2)
    assert story.told() == ["fail 1: dial_failed"]


def test_a_waiter_that_took_over_a_dial_may_be_spared_its_failure() -> None:
    story = Story()
    story.ask()
    story.ask()
    story.cancel(1)
    story.cancel(2)
    story.ask(connect=5.0)
    assert story.told() == ["dial 1", "dial 2"]

    story.fail(1, "took too long for who began it", allowed=4.0)
    assert story.told() == []

    story.fail(2)
    assert story.told() == ["fail 3: dial_failed"]


def test_the_longest_idle_connection_of_another_endpoint_makes_room() -> None:
    story = Story(max_connections=2)
    story.idle("a")
    story.now = 1.0
    story.idle("b")

    story.ask("c")
    assert story.told() == ["close 1: stalled_group"]

    story.closed(1)
    assert story.told() == ["dial 3"]


def test_room_is_made_again_for_the_second_that_lacks_it() -> None:
    story = Story(max_connections=2)
    first, second = story.active("a"), story.active("a")
    story.release(first)
    story.release(second)
    story.ask("b")
    story.ask("c")
    assert story.told() == ["close 1: stalled_group"]

    story.closed(1)
    assert story.told() == ["dial 3", "close 2: stalled_group"]

    story.closed(2)
    assert story.told() == ["dial 4"]


def test_a_connection_that_becomes_idle_makes_room_for_another_endpoint() -> None:
    story = Story(max_connections=1)
    number = story.active("a")
    story.ask("b")
    assert story.told() == []

    story.release(number)

    assert story.told() == ["close 1: stalled_group"]


def test_a_suspended_pool_closes_nothing_to_make_room() -> None:
    story = Story(max_connections=2)
    first, second = story.active("a"), story.active("a")
    story.ask("b")
    story.machine.suspend()

    story.release(first)
    story.release(second)
    assert story.told() == []

    story.machine.resume(story.now)
    assert story.told() == ["close 1: stalled_group"]


def test_an_origin_without_a_connection_is_not_starved_by_a_busy_one() -> None:
    story = Story(max_connections=1)
    number = story.active("a")
    story.ask("a")
    story.ask("b")
    story.ask("a")

    story.release(number)
    assert story.told() == ["deliver 1 to 2"]

    story.release(number)
    assert story.told() == ["close 1: stalled_group"]

    story.closed(number)
    story.connect(2)
    assert story.told() == ["dial 2", "deliver 2 to 3"]


def test_origins_that_have_connections_take_none_from_each_other() -> None:
    story = Story(max_connections=2)
    number, _ = story.active("a"), story.active("b")
    story.ask("b")
    story.ask("a")

    story.release(number)

    assert story.told() == ["deliver 1 to 4"]


# ---- why a waiter has no dial ----------------------------------------------------------------------------------------


def why(story: Story, waiter: int) -> Hindrance | None:
    return story.machine.hindrance(story.now, story.waiters[waiter])


def test_a_waiter_with_a_dial_is_not_held_up() -> None:
    story = Story()
    story.ask()

    assert why(story, 1) is None


def test_every_limit_says_that_it_holds_a_waiter_up() -> None:
    story = Story(max_connections=3, max_connections_per_host=2, max_dials_per_host=1)
    story.ask("a")
    story.ask("a")
    assert why(story, 2) is Hindrance.DIAL_LIMIT

    story.connect(1)
    story.connect(2)
    story.ask("a")
    assert why(story, 3) is Hindrance.ENDPOINT_LIMIT

    story.active("b")
    story.ask("b")
    assert why(story, 5) is Hindrance.TOTAL_LIMIT

    story.machine.suspend()
    assert why(story, 5) is Hindrance.SUSPENDED


def test_nobody_starves_behind_one_that_is_stuck_and_one_that_is_busy() -> None:
    story = Story(max_connections=2)
    story.active("stuck")
    busy = story.active("busy")
    story.ask("stuck")
    story.ask("busy")
    story.ask("starving")
    story.ask("busy")

    story.release(busy)
    assert story.told() == ["deliver 2 to 4"]

    story.release(busy)
    # The slot goes to the oldest waiter, which is not yet theirs; the next one that is given up is.
    assert story.told() == ["close 2: stalled_group"]
    story.closed(2)
    assert story.told() == ["dial 3"]


def test_an_origin_whose_waiters_gave_up_starves_no_more() -> None:
    story = Story(max_connections=1)
    number = story.active("busy")
    story.ask("starving")
    story.ask("busy")
    story.cancel(2)

    story.release(number)

    assert story.told() == ["deliver 1 to 3"]


def test_who_starves_after_an_older_one_gave_up_counts_from_the_own_turn() -> None:
    story = Story(max_connections=1)
    number = story.active("busy")
    story.ask("starving")
    story.ask("busy")
    story.ask("starving")
    story.ask("busy")
    story.cancel(2)

    story.release(number)
    assert story.told() == ["deliver 1 to 3"]

    story.release(number)
    assert story.told() == ["close 1: stalled_group"]
    story.closed(number)
    assert story.told() == ["dial 2"]


def test_who_starves_is_found_among_records_of_those_who_gave_up() -> None:
    story = Story(max_connections=1)
    number = story.active("busy")
    for _ in range(200):
        story.ask("starving")
        story.cancel(story.machine.arrivals)
    assert len(story.machine._starving.notes) < 80
    story.ask("starving")
    story.ask("busy")

    story.release(number)

    assert story.told() == ["close 1: stalled_group"]


def test_an_origin_stays_in_line_when_its_oldest_waiter_gives_up() -> None:
    story = Story(max_connections=1)
    number = story.active("a")
    story.ask("b")
    story.ask("b")
    story.cancel(2)

    story.release(number)
    assert story.told() == ["close 1: stalled_group"]

    story.closed(number)
    story.connect(2)
    assert story.told() == ["dial 2", "deliver 2 to 3"]
