"""Acquire: at once if a connection has room, in the queue otherwise, refused where that is hopeless."""

from __future__ import annotations

import pytest

from penstock._core.waiters import WaiterState
from penstock._events import CloseReason
from tests.support.story import Story


def test_an_idle_connection_is_handed_over_at_once_and_counts_as_taken() -> None:
    story = Story()
    number = story.idle()

    assert story.ask() == number
    assert story.told() == []
    assert story.states() == {number: "ACTIVE"}


def test_without_a_connection_a_dial_starts_and_serves_the_waiter() -> None:
    story = Story()
    assert story.ask() is None
    assert story.told() == ["dial 1"]

    assert story.connect(1) is True

    assert story.told() == ["deliver 1 to 1"]
    assert story.waiters[1].entry is story.entries[1]


def test_a_connection_of_another_origin_is_of_no_use() -> None:
    story = Story()
    story.idle("a")

    assert story.ask("b") is None
    assert story.told() == ["dial 2"]


def test_the_limit_of_an_endpoint_holds() -> None:
    story = Story(max_connections_per_host=2)
    for _ in range(3):
        story.ask()

    assert story.told() == ["dial 1", "dial 2"]


def test_the_limit_of_the_pool_holds_over_all_endpoints() -> None:
    story = Story(max_connections=2)
    for name in "abc":
        story.ask(name)

    assert story.told() == ["dial 1", "dial 2"]


def test_a_slot_is_held_until_the_connection_is_really_closed() -> None:
    story = Story(max_connections_per_host=1)
    story.active()
    story.ask()
    story.release(1, CloseReason.PROTOCOL_ERROR)
    assert story.told() == ["close 1: protocol_error"]

    story.closed(1)

    assert story.told() == ["dial 2"]


def test_nobody_barges_past_those_who_wait() -> None:
    story = Story(max_connections_per_host=1, max_connections=2)
    story.active()
    story.ask()
    story.release(1)
    assert story.told() == ["deliver 1 to 2"]
    story.ask()
    story.ask()

    story.release(1)

    assert story.told() == ["deliver 1 to 3"]


def test_too_many_waiters_are_refused() -> None:
    story = Story(max_connections=1, max_waiters=1)
    story.active()
    story.ask()

    assert story.ask("b") is None

    assert story.told() == ["fail 3: pool_full"]
    assert story.waiters[3].state is WaiterState.REJECTED


def test_a_deadline_that_has_passed_is_refused_unless_a_connection_is_there() -> None:
    story = Story()
    story.ask(wait=0.0)
    assert story.told() == ["fail 1: pool_timeout"]

    number = story.idle()
    assert story.ask(wait=0.0) == number


def test_a_waiter_fails_at_its_deadline_with_the_last_error_of_a_dial_as_the_cause() -> None:
    story = Story(max_connections=1, unhealthy_threshold=5)
    story.ask()
    story.fail(1, "no route")
    story.ask("a", wait=3.0)
    assert story.told() == ["dial 1", "fail 1: dial_failed", "dial 2"]
    assert story.wake_at == 3.0

    story.wake(3.0)

    assert story.told() == ["fail 2: pool_timeout"]
    assert str(story.causes[2]) == "no route"


def test_a_connection_with_room_serves_several() -> None:
    story = Story(max_connections=1)
    story.active(capacity=3)

    assert story.ask() == 1
    assert story.ask() == 1
    assert story.ask() is None
    assert story.told() == []
    assert story.entries[1].in_use == 3

    story.release(1)
    assert story.told() == ["deliver 1 to 4"]


def test_a_new_connection_serves_as_many_waiters_as_it_has_room_for() -> None:
    story = Story(max_connections=1)
    for _ in range(3):
        story.ask()

    story.connect(1, capacity=2)

    assert story.told() == ["dial 1", "deliver 1 to 1", "deliver 1 to 2"]


def test_a_connection_never_carries_more_requests_than_allowed() -> None:
    story = Story(max_connections=1, max_requests_per_connection=2)
    story.active(capacity=3)

    assert story.ask() == 1
    assert story.ask() is None


# ---- the last look ---------------------------------------------------------------------------------------------------


def test_a_connection_refused_by_the_last_look_is_replaced_by_another() -> None:
    story = Story()
    first, second = story.active(), story.active()
    story.release(first)
    story.release(second)
    assert story.ask() == second

    assert story.refuse(3) == first

    assert story.told() == ["close 2: peer_closed"]
    assert story.waiters[3].state is WaiterState.DELIVERED


def test_a_waiter_whose_connection_was_refused_stands_first_again() -> None:
    story = Story(max_connections=1)
    story.active()
    story.ask(tenant="x")
    story.ask(tenant="y")
    story.release(1)
    story.told()

    assert story.refuse(2) is None
    story.closed(1)
    story.connect(2)

    assert story.told() == ["close 1: peer_closed", "dial 2", "deliver 2 to 2"]


def test_a_refusal_after_the_deadline_ends_the_wait() -> None:
    story = Story()
    story.idle()
    story.ask(wait=1.0)
    story.now = 1.0

    assert story.refuse(2) is None

    assert story.told() == ["close 1: peer_closed", "fail 2: pool_timeout"]
    assert story.waiters[2].state is WaiterState.TIMED_OUT


def test_a_refusal_in_a_pool_that_drains_ends_the_wait() -> None:
    story = Story()
    story.active()
    story.machine.drain(story.now)

    assert story.refuse(1) is None

    assert story.told() == ["close 1: draining", "fail 1: pool_closed"]


def test_a_refusal_in_a_closed_pool_closes_nothing_twice() -> None:
    story = Story()
    story.active()
    story.machine.close(story.now)

    assert story.refuse(1) is None

    assert story.told() == ["close 1: pool_closed", "fail 1: pool_closed"]


def test_a_refused_connection_with_other_exchanges_lets_them_finish() -> None:
    story = Story()
    story.active(capacity=2)
    assert story.ask() == 1
    assert story.ask() is None
    story.told()

    story.refuse(2, CloseReason.UNSOLICITED_DATA)
    assert story.told() == ["dial 3"]
    assert story.states() == {1: "DRAINING", 2: "DIALING", 3: "DIALING"}

    story.release(1)
    assert story.told() == ["close 1: unsolicited_data"]


def test_two_refusals_of_one_connection_close_it_once() -> None:
    story = Story()
    story.active(capacity=2)
    story.ask()

    story.refuse(1, CloseReason.UNSOLICITED_DATA)
    story.refuse(2, CloseReason.IO_ERROR)

    assert story.told() == ["dial 2", "close 1: unsolicited_data", "dial 3"]


def test_a_server_that_accepts_and_hangs_up_is_left_alone_for_a_while() -> None:
    story = Story(unhealthy_threshold=2, dial_backoff=0.1)
    story.ask()
    for number in (1, 2):
        story.connect(number)
        story.refuse(1)
        story.closed(number)

    assert story.told() == [
        "dial 1",
        "deliver 1 to 1",
        "close 1: peer_closed",
        "dial 2",
        "deliver 2 to 1",
        "close 2: peer_closed",
    ]
    assert story.wake_at == pytest.approx(0.1)


# ---- fresh connections -----------------------------------------------------------------------------------------------


def test_who_wants_a_fresh_connection_closes_the_idle_ones_and_waits_for_a_dial() -> None:
    story = Story()
    story.idle()
    story.ask_fresh()
    assert story.told() == ["close 1: suspect", "dial 2"]

    story.connect(2)
    assert story.told() == ["deliver 2 to 2"]


def test_who_wants_a_fresh_connection_gets_no_used_one() -> None:
    story = Story(max_connections=2)
    first = story.active()
    story.ask_fresh()
    assert story.told() == ["dial 2"]

    story.release(first)
    assert story.told() == []
    assert story.ask() == first

    story.connect(2)
    assert story.told() == ["deliver 2 to 2"]


def test_who_wants_a_fresh_connection_comes_before_the_others() -> None:
    story = Story(max_connections=2)
    story.active()
    story.ask()
    story.ask_fresh()
    story.connect(2)

    assert story.told() == ["dial 2", "deliver 2 to 3"]


def test_a_full_endpoint_gives_a_released_connection_up_for_who_wants_a_fresh_one() -> None:
    story = Story(max_connections_per_host=1)
    story.active()
    story.ask_fresh()

    story.release(1)
    assert story.told() == ["close 1: suspect"]

    story.closed(1)
    assert story.told() == ["dial 2"]


def test_a_fresh_connection_with_room_serves_the_others_too() -> None:
    story = Story(max_connections=1)
    story.active()
    story.ask_fresh()
    story.ask_fresh()
    story.ask()
    story.release(1, CloseReason.IO_ERROR)
    story.closed(1)
    story.told()

    story.connect(2, capacity=3)

    assert story.told() == ["deliver 2 to 2", "deliver 2 to 3", "deliver 2 to 4"]


def test_a_fresh_connection_that_is_refused_is_not_replaced_by_an_idle_one() -> None:
    story = Story(max_connections=3)
    story.ask_fresh()
    story.connect(1)
    idle = story.active()
    story.release(idle)
    story.told()

    assert story.refuse(1) is None

    assert story.told() == ["close 1: peer_closed", "dial 3"]


def test_who_wants_a_fresh_connection_may_give_up_or_be_refused() -> None:
    story = Story(max_connections=1)
    story.active("b")
    story.ask_fresh("a", wait=5.0)
    story.ask_fresh("a")
    story.cancel(3)
    story.wake(5.0)
    assert story.told() == ["fail 2: pool_timeout"]

    story.machine.drain(story.now)
    story.ask_fresh("a")
    assert story.told() == ["fail 4: pool_closed"]


def test_a_connection_that_came_while_the_pool_was_suspended_is_not_fresh_any_more() -> None:
    story = Story(max_connections_per_host=1)
    story.ask_fresh()
    story.machine.suspend()
    story.connect(1)
    assert story.told() == ["dial 1"]

    story.machine.resume(story.now)
    assert story.told() == ["close 1: suspect"]

    story.closed(1)
    assert story.told() == ["dial 2"]


def test_a_connection_back_from_a_probe_makes_way_for_a_fresh_one() -> None:
    story = Story(max_connections_per_host=1, health_check_interval=10.0)
    story.ask_fresh()
    story.machine.suspend()
    story.connect(1)
    story.wake(10.0)
    story.machine.resume(story.now)
    assert story.told() == ["dial 1", "probe 1"]

    story.probed(1)

    assert story.told() == ["close 1: suspect"]
