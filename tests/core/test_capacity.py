"""Connections that carry several exchanges: how many, who takes them, and what ends with them."""

from __future__ import annotations

import pytest

from penstock._core.sizing import Hindrance
from penstock._events import CapacityChanged, CloseReason, ConnectionRetired, ConnectionReturned
from penstock._http2_config import HTTP2Config
from tests.support.story import Story

BARRED = HTTP2Config(barred_timeout=30.0)


def test_a_new_connection_serves_as_many_as_it_has_room_for() -> None:
    story = Story(max_connections=1)
    for _ in range(4):
        story.ask()
    story.connect(1, capacity=3)

    assert story.told() == ["dial 1", "deliver 1 to 1", "deliver 1 to 2", "deliver 1 to 3"]
    story.release(1)
    assert story.told() == ["deliver 1 to 4"]


# ---- the server changes its limit ------------------------------------------------------------------------------------


def test_a_limit_lowered_below_what_is_in_flight_is_paid_off_before_the_next_exchange() -> None:
    story = Story(max_connections=1)
    number = story.active(capacity=10)
    for _ in range(5):
        assert story.ask() == number
    story.capacity(number, 4)
    assert story.ask() is None

    story.release(number)
    story.release(number)
    assert story.told() == []
    story.release(number)
    assert story.told() == ["deliver 1 to 7"]


def test_a_limit_raised_serves_who_waits() -> None:
    story = Story(max_connections=1)
    number = story.active()
    for _ in range(3):
        story.ask()

    story.capacity(number, 3)

    assert story.told() == ["deliver 1 to 2", "deliver 1 to 3"]


def test_a_limit_that_is_what_it_was_is_no_news() -> None:
    story = Story(observed=True)
    number = story.active(capacity=2)
    story.capacity(number, 2)
    story.capacity(number, 5)
    story.capacity(number, 1)
    story.listen()

    told = [event.capacity for event in story.events if isinstance(event, CapacityChanged)]
    assert told == [5, 1]


def test_a_limit_of_a_connection_that_takes_nothing_more_is_noted_and_changes_nothing() -> None:
    story = Story(max_connections=1)
    number = story.active()
    story.going_away(number)
    story.ask()
    story.capacity(number, 0)
    story.capacity(number, 5)

    assert story.entries[number].capacity == 5
    assert story.states() == {number: "DRAINING"}
    assert story.told() == []


@pytest.mark.parametrize("gone", [False, True])
def test_a_limit_that_comes_too_late_is_not_even_noted(gone: bool) -> None:
    story = Story()
    number = story.idle()
    story.lost(number)
    if gone:
        story.closed(number)
    story.capacity(number, 5)
    story.going_away(number)
    story.broken(number)

    assert story.entries[number].capacity == 1
    assert story.told() == ["close 1: peer_closed"]


def test_a_probed_connection_is_taken_again_if_the_server_still_allows_it() -> None:
    story = Story(health_check_interval=10.0)
    story.idle()
    story.wake(10.0)
    assert story.told() == ["probe 1"]
    story.capacity(1, 0)
    story.probed(1)
    assert story.ask() is None

    story.capacity(1, 1)
    assert story.told() == ["deliver 1 to 2"]


def test_a_limit_raised_during_a_probe_waits_for_its_end() -> None:
    story = Story(health_check_interval=10.0, max_connections_per_host=1)
    story.idle()
    story.wake(10.0)
    story.capacity(1, 2)
    story.ask()
    assert story.told() == ["probe 1"]

    story.probed(1)
    assert story.told() == ["deliver 1 to 2"]


# ---- resets that the server may not have seen ------------------------------------------------------------------------


def test_a_reset_exchange_holds_its_place_until_the_server_has_seen_it() -> None:
    story = Story(max_connections=1)
    number = story.active(capacity=2)
    assert story.ask() == number
    story.ask()

    story.release(number, resetting=True)
    assert story.told() == []

    story.resets_seen(number)
    assert story.told() == ["deliver 1 to 3"]


def test_a_connection_without_exchanges_is_idle_even_if_resets_fill_it() -> None:
    story = Story(max_connections_per_host=1, idle_timeout=10.0)
    number = story.active()
    story.release(number, resetting=True)
    assert story.states() == {number: "IDLE"}
    assert story.ask() is None

    story.cancel(2)
    story.wake(10.0)
    assert story.told() == ["close 1: idle_expired"]


def test_several_resets_are_seen_at_once() -> None:
    story = Story(max_connections_per_host=1)
    number = story.active(capacity=3)
    assert [story.ask(), story.ask()] == [number, number]
    for _ in range(3):
        story.release(number, resetting=True)
        story.ask()

    story.resets_seen(number, 2)

    assert story.told() == ["deliver 1 to 4", "deliver 1 to 5"]


def test_a_reset_may_be_seen_before_its_exchange_is_given_back() -> None:
    story = Story(max_connections=1)
    number = story.active()
    story.ask()

    story.resets_seen(number)
    assert story.told() == ["deliver 1 to 2"]

    story.release(number, resetting=True)
    assert story.entries[number].resetting == 0
    assert story.ask() is None


def test_resets_of_a_connection_that_takes_nothing_more_are_only_counted() -> None:
    story = Story(max_connections=1)
    number = story.active(capacity=2)
    assert story.ask() == number
    story.going_away(number)
    story.release(number, resetting=True)
    story.ask()
    story.resets_seen(number)
    assert story.told() == []

    story.release(number, resetting=True)
    story.closed(number)
    story.resets_seen(number)
    assert story.entries[number].resetting == 0


# ---- the server takes no more, or is gone ----------------------------------------------------------------------------


def test_a_connection_that_goes_away_finishes_what_it_carries() -> None:
    story = Story(observed=True)
    origin = story.endpoint().origin
    number = story.active(capacity=10)
    assert story.ask() == number
    story.going_away(number)
    story.listen()
    assert story.events[-1] == ConnectionRetired(0.0, origin, number, CloseReason.GOAWAY)

    story.ask()
    story.release(number)
    assert story.told() == ["dial 2"]
    story.release(number)
    assert story.told() == ["close 1: goaway"]
    assert not [event for event in story.events if isinstance(event, ConnectionReturned)]


def test_an_idle_connection_that_goes_away_is_closed() -> None:
    story = Story()
    number = story.idle()
    story.going_away(number)
    story.going_away(number)

    assert story.told() == ["close 1: goaway"]


def test_a_floor_is_restored_at_once_when_a_connection_goes_away() -> None:
    story = Story(min_idle=1)
    story.endpoint()
    story.listen()
    story.ask()
    story.connect(1, capacity=10)
    story.told()

    story.going_away(1)

    assert story.told() == ["dial 2"]


def test_a_broken_connection_is_closed_with_all_it_carries() -> None:
    story = Story(max_connections=1)
    number = story.active(capacity=2)
    assert story.ask() == number
    story.ask()

    story.broken(number, CloseReason.PING_TIMEOUT)
    assert story.told() == ["close 1: ping_timeout"]
    story.closed(number)
    assert story.told() == ["dial 2"]

    story.release(number, CloseReason.PING_TIMEOUT)
    story.release(number, CloseReason.PING_TIMEOUT, resetting=True)
    with pytest.raises(RuntimeError):
        story.release(number)
    assert story.endpoint().counters.released == 2


def test_a_connection_that_goes_away_may_break_before_its_end_and_keeps_its_reason() -> None:
    story = Story()
    number = story.active()
    story.going_away(number)
    story.broken(number)

    assert story.told() == ["close 1: goaway"]


def test_a_connection_that_breaks_while_idle_teaches_the_servers_limit() -> None:
    story = Story(idle_timeout=60.0)
    for at in (0.0, 100.0, 200.0):
        story.now = at
        number = story.idle()
        story.now = at + 20.0
        story.broken(number, CloseReason.PEER_CLOSED)
        story.closed(number)

    assert story.endpoint().lesson.limit == pytest.approx(18.0)


def test_a_connection_that_breaks_in_use_or_by_another_cause_teaches_nothing() -> None:
    story = Story()
    number = story.active()
    story.now = 20.0
    story.broken(number, CloseReason.PEER_CLOSED)
    number = story.idle()
    story.now = 40.0
    story.broken(number, CloseReason.IO_ERROR)

    assert story.endpoint().lesson is None


def test_an_endpoint_is_kept_while_somebody_holds_an_exchange_of_it() -> None:
    story = Story(idle_timeout=10.0)
    number = story.active()
    endpoint = story.endpoint()
    story.broken(number)
    story.closed(number)

    story.wake(10.0)
    story.wake(20.0)
    assert story.machine.endpoints[endpoint.origin] is endpoint

    story.release(number)
    story.wake(30.0)
    story.wake(40.0)
    assert endpoint.origin not in story.machine.endpoints
    assert story.machine.forgotten.released == 1


# ---- health ----------------------------------------------------------------------------------------------------------


def test_a_connection_that_breaks_under_many_is_one_failure() -> None:
    story = Story(unhealthy_threshold=2)
    number = story.active(capacity=10)
    for _ in range(4):
        story.ask()
    story.broken(number)
    for _ in range(5):
        story.release(number, CloseReason.IO_ERROR, succeeded=False)

    assert story.endpoint().health.exchange_failures == 1
    assert not story.endpoint().health.is_unhealthy


def test_the_exchange_that_ends_a_connection_and_those_that_end_with_it_are_one_failure() -> None:
    story = Story(unhealthy_threshold=2)
    number = story.active(capacity=10)
    for _ in range(4):
        story.ask()
    for _ in range(5):
        story.release(number, CloseReason.PROTOCOL_ERROR, succeeded=False)

    assert story.endpoint().health.exchange_failures == 1


def test_exchanges_that_fail_each_by_itself_are_as_many_failures() -> None:
    story = Story(unhealthy_threshold=9)
    number = story.active(capacity=10)
    for _ in range(2):
        story.ask()
    for _ in range(3):
        story.release(number, succeeded=False)

    assert story.endpoint().health.exchange_failures == 3


# ---- the rules of one exchange, with others beside it ----------------------------------------------------------------


def test_a_connection_past_its_longest_life_takes_nothing_more_however_busy() -> None:
    story = Story(keep_alive_timeout=100.0)
    number = story.active(capacity=10)
    assert story.ask() == number
    story.now = 100.0

    assert story.ask() is None
    assert story.states()[number] == "DRAINING"
    story.release(number)
    story.release(number)
    assert story.told() == ["dial 2", "close 1: max_age"]


def test_a_connection_past_its_longest_life_is_found_out_when_an_exchange_ends() -> None:
    story = Story(keep_alive_timeout=100.0)
    number = story.active(capacity=10)
    assert story.ask() == number
    story.now = 100.0
    story.release(number)

    assert story.states() == {number: "DRAINING"}


def test_a_connection_past_its_longest_life_is_found_out_when_its_capacity_grows() -> None:
    story = Story(keep_alive_timeout=100.0, max_connections=1)
    number = story.active()
    story.ask()
    story.now = 100.0
    story.capacity(number, 2)

    assert story.told() == []
    assert story.states() == {number: "DRAINING"}


def test_requests_are_counted_as_they_are_taken() -> None:
    story = Story(max_requests_per_connection=3)
    number = story.active(capacity=10)
    assert [story.ask(), story.ask()] == [number, number]
    assert story.ask() is None
    assert story.told() == ["dial 2"]

    story.release(number)
    assert story.states()[number] == "DRAINING"
    story.release(number)
    story.release(number)
    assert story.told() == ["close 1: max_requests"]


def test_a_request_that_was_not_sent_may_be_another() -> None:
    story = Story(max_requests_per_connection=3, max_connections=1)
    number = story.active(capacity=10)
    assert [story.ask(), story.ask()] == [number, number]
    story.ask()

    story.put_back(number)

    assert story.told() == ["deliver 1 to 4"]


def test_a_hint_for_the_idle_does_not_concern_a_connection_in_use() -> None:
    story = Story()
    number = story.active(capacity=2)
    assert story.ask() == number
    story.release(number, idle_hint=1.0)
    assert story.states() == {number: "ACTIVE"}
    story.now = 5.0
    assert story.ask() == number

    story.release(number)
    story.release(number, idle_hint=10.0)
    assert story.wake_at == 13.0


def test_a_last_look_that_fails_beside_others_teaches_nothing_of_idle_times() -> None:
    story = Story()
    story.active(capacity=2)
    story.now = 30.0
    assert story.ask() == 1

    story.refuse(2)
    assert story.endpoint().lesson is None
    assert story.states()[1] == "DRAINING"
    assert not story.endpoint().health.exchange_failures
    story.release(1)
    assert story.told() == ["dial 2", "close 1: peer_closed"]


def test_a_server_that_accepts_and_hangs_up_on_many_failed_once() -> None:
    story = Story(unhealthy_threshold=9, multiplexes=True)
    for _ in range(3):
        story.ask()
    story.connect(1, capacity=10)
    story.broken(1, CloseReason.PEER_CLOSED)
    for waiter in (1, 2, 3):
        assert story.refuse(waiter) is None

    assert story.endpoint().health.exchange_failures == 1
    # One dial for all of them again.
    assert story.told() == [
        "dial 1", "deliver 1 to 1", "deliver 1 to 2", "deliver 1 to 3", "close 1: peer_closed", "dial 2",
    ]  # fmt: skip


def test_one_of_several_that_is_put_back_changes_no_idle_time() -> None:
    story = Story(idle_timeout=10.0)
    number = story.active(capacity=2)
    assert story.ask() == number
    story.now = 4.0
    story.release(number)
    story.now = 6.0
    story.put_back(number)

    assert story.entries[number].idle_since == 4.0
    assert story.entries[number].exchanges == 1
    assert story.entries[number].idle_until == 14.0


def test_one_of_several_that_is_put_back_beside_others_leaves_the_connection_in_use() -> None:
    story = Story(idle_timeout=10.0)
    number = story.active(capacity=2)
    assert story.ask() == number
    story.now = 6.0
    story.put_back(number)

    assert story.states() == {number: "ACTIVE"}
    story.now = 8.0
    story.release(number)
    assert story.entries[number].idle_since == 8.0
    assert story.entries[number].idle_until == 18.0


# ---- origins that have no slot ---------------------------------------------------------------------------------------


def test_an_origin_without_a_connection_is_not_starved_by_one_that_is_never_idle() -> None:
    story = Story(max_connections=1)
    number = story.active("a", capacity=10)
    assert story.ask("a") == number
    story.ask("b")

    story.release(number)
    assert story.states() == {number: "DRAINING"}
    story.ask("a")
    assert story.told() == []

    story.release(number)
    assert story.told() == ["close 1: stalled_group"]
    story.closed(number)
    assert story.told() == ["dial 2"]
    assert story.entries[2].endpoint is story.endpoint("b")


def test_one_connection_with_others_in_flight_is_given_up_at_a_time() -> None:
    story = Story(max_connections=2)
    first = story.active("a", capacity=2)
    assert story.ask("a") == first
    second = story.active("a", capacity=2)
    assert story.ask("a") == second
    story.ask("b")

    story.release(first)
    story.release(second)
    assert story.states() == {first: "DRAINING", second: "ACTIVE"}

    story.release(first)
    story.closed(first)
    story.connect(3)
    assert story.told() == ["close 1: stalled_group", "dial 3", "deliver 3 to 5"]
    story.ask("c")
    assert story.ask("a") == second
    story.release(second)
    assert story.states() == {second: "DRAINING", 3: "ACTIVE"}


def test_who_has_waited_longer_here_comes_before_who_starves_elsewhere() -> None:
    story = Story(max_connections=1)
    number = story.active("a", capacity=2)
    assert story.ask("a") == number
    story.ask("a")
    story.ask("b")

    story.release(number)

    assert story.told() == ["deliver 1 to 3"]


# ---- a server that allows nothing ------------------------------------------------------------------------------------


def test_no_dial_goes_out_to_a_server_that_allows_nothing() -> None:
    story = Story(http2_config=BARRED, multiplexes=True)
    story.ask()
    story.connect(1, capacity=0)
    assert story.states() == {1: "IDLE"}
    story.ask()

    assert story.told() == ["dial 1"]
    for waiter in (1, 2):
        assert story.machine.hindrance(story.now, story.waiters[waiter]) is Hindrance.BARRED
    story.capacity(1, 1)
    assert story.told() == ["deliver 1 to 1", "dial 2"]


def test_a_connection_that_stays_barred_is_given_up_and_another_one_tried() -> None:
    story = Story(http2_config=BARRED, multiplexes=True, idle_timeout=600.0)
    story.ask()
    story.ask()
    story.connect(1, capacity=0)
    assert story.wake_at == 30.0
    story.wake(30.0)
    assert story.told() == ["dial 1", "close 1: barred"]

    story.closed(1)
    assert story.told() == ["dial 2"]
    story.connect(2, capacity=2)
    assert story.told() == ["deliver 2 to 1", "deliver 2 to 2"]


def test_a_barred_connection_in_use_finishes_what_it_carries() -> None:
    story = Story(http2_config=BARRED)
    number = story.active(capacity=2)
    assert story.ask() == number
    story.capacity(number, 0)
    story.ask()
    story.wake(29.0)
    assert story.told() == []

    story.wake(30.0)
    assert story.states() == {number: "DRAINING", 2: "DIALING"}
    story.release(number)
    story.release(number)
    assert story.told() == ["dial 2", "close 1: barred"]


def test_the_time_of_a_barred_connection_counts_from_when_it_was_barred() -> None:
    story = Story(http2_config=BARRED)
    number = story.active(capacity=2)
    story.now = 10.0
    story.capacity(number, 0)
    story.now = 20.0
    story.capacity(number, -1)
    story.wake(30.0)
    assert story.states() == {number: "ACTIVE"}
    story.wake(40.0)
    assert story.states() == {number: "DRAINING"}


def test_an_older_timer_does_not_hide_that_a_connection_is_barred() -> None:
    story = Story(http2_config=BARRED, idle_timeout=10.0)
    number = story.idle()
    story.now = 5.0
    assert story.ask() == number
    story.capacity(number, 0)
    story.wake(10.0)
    assert story.wake_at <= 35.0

    story.wake(35.0)
    assert story.states() == {number: "DRAINING"}


def test_a_connection_that_is_allowed_something_again_in_time_stays() -> None:
    story = Story(http2_config=BARRED)
    number = story.active(capacity=2)
    story.capacity(number, 0)
    story.now = 20.0
    story.capacity(number, 1)
    story.wake(30.0)
    story.wake(60.0)

    assert story.states() == {number: "ACTIVE"}


def test_a_barred_connection_that_goes_away_bars_nobody() -> None:
    story = Story(http2_config=BARRED)
    number = story.active()
    story.capacity(number, 0)
    story.ask()
    assert story.told() == []

    story.going_away(number)

    assert story.told() == ["dial 2"]


def test_a_floor_is_dialled_whatever_the_server_allows() -> None:
    story = Story(http2_config=BARRED, min_idle=2)
    story.endpoint(multiplexes=True, declared=True)
    story.listen()
    story.connect(1, capacity=0)
    story.connect(2, capacity=0)
    story.lost(1)
    story.closed(1)

    assert story.told() == ["dial 1", "dial 2", "close 1: peer_closed", "dial 3"]


def test_a_waiter_at_a_server_that_allows_nothing_waits_no_longer_than_it_may() -> None:
    story = Story(http2_config=BARRED)
    story.ask(wait=5.0)
    story.connect(1, capacity=0)
    story.wake(5.0)

    assert story.told() == ["dial 1", "fail 1: pool_timeout"]


def test_an_idle_barred_connection_makes_room_like_any_other() -> None:
    story = Story(http2_config=BARRED, max_connections=1)
    story.ask("a")
    story.connect(1, capacity=0)
    story.cancel(1)
    story.ask("b")

    assert story.told() == ["dial 1", "close 1: stalled_group"]
