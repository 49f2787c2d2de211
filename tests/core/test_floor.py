"""The floor: `min_idle` for endpoints in use, and what a prewarm asks for."""

from __future__ import annotations

import pytest

from penstock._events import CloseReason
from tests.support.story import Story


def test_a_declared_endpoint_is_dialled_up_to_its_floor_at_once() -> None:
    story = Story(min_idle=2)
    story.endpoint(declared=True)

    assert story.told() == ["dial 1", "dial 2"]


def test_an_endpoint_may_have_a_floor_and_a_limit_of_its_own() -> None:
    story = Story(min_idle=2)
    endpoint = story.endpoint(declared=True, min_idle=5, max_connections=3)

    assert story.told() == ["dial 1", "dial 2", "dial 3"]
    assert endpoint.min_idle == 3


def test_an_endpoint_has_its_floor_once_it_is_used() -> None:
    story = Story(min_idle=2)
    endpoint = story.endpoint()
    assert story.told() == []

    story.ask()
    assert story.told() == ["dial 1", "dial 2"]
    assert endpoint.floor(59.0, 60.0) == 2
    assert endpoint.floor(60.0, 60.0) == 0


def test_a_waiter_takes_over_what_was_dialled_for_the_floor() -> None:
    story = Story(min_idle=2)
    story.endpoint(declared=True)
    story.ask()
    assert story.told() == ["dial 1", "dial 2"]

    story.connect(1)

    assert story.told() == ["deliver 1 to 1"]


def test_a_connection_in_use_counts_for_the_floor() -> None:
    story = Story(min_idle=1)
    story.endpoint(declared=True)
    story.told()
    story.connect(1)

    assert story.ask() == 1
    assert story.told() == []


def test_a_floor_connection_that_is_closed_is_replaced_when_its_slot_is_free() -> None:
    story = Story(min_idle=1)
    story.endpoint(declared=True)
    story.told()
    story.connect(1)

    story.lost(1)
    assert story.told() == ["close 1: peer_closed"]
    story.closed(1)
    assert story.told() == ["dial 2"]


def test_floor_connections_do_not_expire_by_idleness_but_those_beyond_do() -> None:
    story = Story(min_idle=1, idle_timeout=60.0)
    story.endpoint(declared=True)
    story.told()
    story.connect(1)
    story.now = 1.0
    first = story.ask()
    second = story.active()
    story.release(first)
    story.release(second)

    story.wake(61.0)

    assert story.told() == ["close 1: idle_expired"]
    story.closed(1)
    story.wake(61.0 + 60.0)
    assert story.told() == []
    assert story.states() == {2: "IDLE"}


def test_a_floor_connection_still_ends_by_its_longest_life() -> None:
    story = Story(min_idle=1, keep_alive_timeout=100.0)
    story.endpoint(declared=True)
    story.told()
    story.connect(1)

    for at in (60.0, 100.0):
        story.wake(at)

    assert story.told() == ["close 1: max_age"]


def test_the_floor_is_given_up_when_the_endpoint_is_out_of_use() -> None:
    story = Story(min_idle=1, idle_timeout=60.0)
    story.active()
    story.now = 50.0
    story.release(1)

    story.wake(110.0)

    assert story.told() == ["close 1: idle_expired"]
    story.closed(1)
    assert story.told() == []


def test_an_endpoint_out_of_use_is_forgotten_with_its_counts_kept() -> None:
    story = Story(idle_timeout=60.0)
    endpoint = story.endpoint()
    story.idle()

    story.wake(60.0)
    assert story.told() == ["close 1: idle_expired"]
    assert list(story.machine.endpoints.values()) == [endpoint]
    story.closed(1)
    story.wake(120.0)

    assert story.machine.endpoints == {}
    assert story.machine.forgotten.acquires == 1
    assert story.machine.forgotten.closed == 1


def test_a_declared_endpoint_is_never_forgotten() -> None:
    story = Story(min_idle=1, dial_backoff=10.0, unhealthy_threshold=1)
    endpoint = story.endpoint(declared=True)
    story.told()
    story.fail(1)

    story.wake(10.0)
    story.wake(1000.0)

    assert list(story.machine.endpoints.values()) == [endpoint]


def test_a_floor_waits_for_a_slot_of_the_total_and_closes_nothing_for_it() -> None:
    story = Story(max_connections=1)
    story.idle("a")
    story.endpoint("b", declared=True, min_idle=1)
    assert story.told() == []

    story.lost(1)
    story.closed(1)

    assert story.told() == ["close 1: peer_closed", "dial 2"]


def test_a_waiter_comes_before_the_floors() -> None:
    story = Story(max_connections=1)
    story.active("a")
    story.endpoint("b", declared=True, min_idle=1)
    story.ask("c")

    story.release(1, CloseReason.PROTOCOL_ERROR)
    story.closed(1)

    assert story.told() == ["close 1: protocol_error", "dial 2"]
    assert story.entries[2].endpoint.origin.host == "c"


def test_a_floor_never_dials_more_than_may_be_idle() -> None:
    story = Story(max_idle_connections=1, min_idle=2)
    story.endpoint(declared=True)
    assert story.told() == ["dial 1"]

    story.connect(1)

    assert story.told() == []
    assert story.states() == {1: "IDLE"}


def test_there_is_no_floor_where_nothing_may_be_idle() -> None:
    story = Story(max_idle_connections=0, min_idle=1)
    story.endpoint(declared=True)

    assert story.told() == []


# ---- a peer that is down ---------------------------------------------------------------------------------------------


def test_a_floor_tries_up_to_the_threshold_and_then_only_after_each_pause() -> None:
    story = Story(min_idle=1, unhealthy_threshold=3, dial_backoff=0.1)
    story.endpoint(declared=True)
    for number in (1, 2):
        story.fail(number)
    assert story.told() == ["dial 1", "dial 2", "dial 3"]

    story.fail(3)
    assert story.told() == []
    assert story.wake_at == pytest.approx(0.1)

    story.wake(story.wake_at)
    assert story.told() == ["dial 4"]
    story.fail(4)
    assert story.told() == []
    assert story.wake_at == pytest.approx(0.1 + 0.2)


def test_the_floor_is_restored_one_dial_at_a_time_when_the_peer_is_back() -> None:
    story = Story(min_idle=2, unhealthy_threshold=1, dial_backoff=0.1)
    story.endpoint(declared=True)
    story.told()
    story.fail(1)
    story.fail(2)

    story.wake(0.1)
    assert story.told() == ["dial 3"]
    story.connect(3)
    assert story.told() == ["dial 4"]
    story.connect(4)

    assert story.states() == {3: "IDLE", 4: "IDLE"}


def test_a_floor_held_up_by_a_shortage_of_this_machine_is_tried_again() -> None:
    story = Story(min_idle=1, dial_backoff=0.1)
    story.endpoint(declared=True)
    story.told()

    story.fail(1, local=True)
    assert story.told() == []
    assert story.wake_at == pytest.approx(0.1)

    story.wake(story.wake_at)
    assert story.told() == ["dial 2"]
    story.fail(2, local=True)
    assert story.wake_at == pytest.approx(0.1 + 0.2)


# ---- prewarm ---------------------------------------------------------------------------------------------------------


def test_a_prewarm_dials_what_is_missing() -> None:
    story = Story()
    story.idle()

    story.machine.prewarm(story.now, story.endpoint(), 3)

    assert story.told() == ["dial 2", "dial 3"]


def test_a_prewarm_is_bounded_by_every_limit() -> None:
    story = Story(max_connections=3, max_connections_per_host=4, max_dials_per_host=2)
    endpoint = story.endpoint()
    story.machine.prewarm(story.now, endpoint, 10)
    assert story.told() == ["dial 1", "dial 2"]

    story.connect(1)
    assert story.told() == ["dial 3"]
    story.connect(2)
    story.connect(3)

    assert story.told() == []
    assert endpoint.target == 0


def test_a_prewarm_of_what_is_there_does_nothing() -> None:
    story = Story()
    story.idle()

    story.machine.prewarm(story.now, story.endpoint(), 1)

    assert story.told() == []
    assert story.endpoint().target == 0


def test_a_smaller_prewarm_does_not_call_a_larger_one_off() -> None:
    story = Story(max_dials_per_host=1)
    endpoint = story.endpoint()
    story.machine.prewarm(story.now, endpoint, 3)
    story.machine.prewarm(story.now, endpoint, 1)

    for number in (1, 2, 3):
        story.connect(number)

    assert story.told() == ["dial 1", "dial 2", "dial 3"]


def test_a_dial_that_fails_ends_the_wish_of_a_prewarm() -> None:
    story = Story(max_dials_per_host=1)
    endpoint = story.endpoint()
    story.machine.prewarm(story.now, endpoint, 3)
    story.told()

    story.fail(1)

    assert story.told() == []
    assert endpoint.target == 0


def test_a_prewarm_that_nothing_may_be_idle_for_does_not_dial_for_ever() -> None:
    story = Story(max_idle_connections=1)
    endpoint = story.endpoint()
    story.machine.prewarm(story.now, endpoint, 3)
    assert story.told() == ["dial 1"]
    assert endpoint.target == 1

    story.connect(1)

    assert story.told() == []
    assert endpoint.target == 0


def test_a_prewarm_where_nothing_more_may_be_idle_is_over_at_once() -> None:
    story = Story(max_idle_connections=1)
    story.idle("b")
    endpoint = story.endpoint("a")

    story.machine.prewarm(story.now, endpoint, 3)

    assert story.told() == []
    assert endpoint.target == 0


def test_a_floor_does_not_wait_for_exchanges_that_may_take_long() -> None:
    story = Story(min_idle=1)
    story.endpoint(declared=True)
    story.told()
    story.connect(1)
    assert story.ask() == 1

    story.machine.renew(story.now)

    assert story.told() == ["dial 2"]
    assert story.states() == {1: "DRAINING", 2: "DIALING"}


def test_an_endpoint_is_in_use_even_if_nobody_could_wait() -> None:
    story = Story(min_idle=1, max_waiters=1)
    story.ask("a")
    story.told()
    story.ask("b")

    assert story.told() == ["fail 2: pool_full", "dial 2"]
