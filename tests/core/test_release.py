"""Release: straight to the next waiter, to the idle ones, or closed; each with its reason."""

from __future__ import annotations

import pytest

from penstock._events import CloseReason, ConnectionReturned, ConnectionTaken
from tests.support.story import Story


def test_a_released_connection_is_idle() -> None:
    story = Story()
    number = story.active()

    story.release(number)

    assert story.told() == []
    assert story.states() == {number: "IDLE"}


def test_one_release_serves_exactly_one_waiter() -> None:
    story = Story(max_connections=1)
    number = story.active()
    for _ in range(3):
        story.ask()

    story.release(number)

    assert story.told() == ["deliver 1 to 2"]


def test_a_connection_that_must_not_be_used_again_is_closed_and_its_slot_used() -> None:
    story = Story(max_connections=1)
    number = story.active()
    story.ask()

    story.release(number, CloseReason.CONNECTION_CLOSE_HEADER)
    assert story.told() == ["close 1: connection_close_header"]

    story.closed(number)
    assert story.told() == ["dial 2"]


def test_a_latched_connection_is_closed_when_its_last_exchange_ends() -> None:
    story = Story()
    number = story.active(capacity=3)
    story.ask()
    story.ask()

    story.release(number, CloseReason.PROTOCOL_ERROR)
    story.release(number, CloseReason.IO_ERROR)
    assert story.told() == []
    assert story.states() == {number: "DRAINING"}

    story.release(number)
    assert story.told() == ["close 1: protocol_error"]


def test_a_connection_with_other_exchanges_stays_active() -> None:
    story = Story()
    number = story.active(capacity=2)
    story.ask()

    story.release(number)

    assert story.states() == {number: "ACTIVE"}
    assert story.ask() == number


def test_a_release_too_many_is_refused() -> None:
    story = Story()
    number = story.active()
    story.release(number)

    with pytest.raises(RuntimeError, match=r"<connection 1 IDLE to https://a> was released more often"):
        story.release(number)

    assert story.endpoint().counters.released == 1


def test_without_keep_alive_every_connection_is_used_once() -> None:
    story = Story(keep_alive=False)
    number = story.active()

    story.release(number)

    assert story.told() == ["close 1: keep_alive_off"]


def test_a_connection_that_carried_its_last_request_is_closed() -> None:
    story = Story(max_requests_per_connection=2)
    number = story.idle()
    assert story.ask() == number

    story.release(number)

    assert story.told() == ["close 1: max_requests"]


def test_a_connection_past_its_longest_life_is_closed_even_if_somebody_waits() -> None:
    story = Story(max_connections=1, keep_alive_timeout=100.0)
    number = story.active()
    story.ask()
    story.now = 100.0

    story.release(number)

    assert story.told() == ["close 1: max_age"]


@pytest.mark.parametrize("hint", [-1.0, 0.0, 2.0])
def test_a_hint_that_leaves_no_time_closes_at_once(hint: float) -> None:
    story = Story()
    number = story.active()

    story.release(number, idle_hint=hint)

    assert story.told() == ["close 1: keepalive_hint"]


def test_more_idle_connections_than_allowed_are_closed_the_longest_idle_first() -> None:
    story = Story(max_idle_connections=1)
    first, second, third = story.active("a"), story.active("b"), story.active("c")
    story.release(second)
    assert story.told() == []

    story.release(first)
    assert story.told() == ["close 2: surplus"]
    story.release(third)
    assert story.told() == ["close 1: surplus"]


def test_connections_in_use_do_not_count_as_idle() -> None:
    story = Story(max_idle_connections=1)
    for _ in range(3):
        story.active()

    story.release(1)

    assert story.told() == []
    assert story.states() == {1: "IDLE", 2: "ACTIVE", 3: "ACTIVE"}


def test_every_good_return_is_told_whoever_is_next() -> None:
    story = Story(max_connections=1, observed=True)
    number = story.active()
    story.ask()
    story.now = 5.0

    story.release(number)
    story.release(number)
    story.listen()

    told = [event for event in story.events if isinstance(event, ConnectionTaken | ConnectionReturned)]
    origin = story.endpoint().origin
    assert told == [
        ConnectionTaken(0.0, origin, 1, 0.0),
        ConnectionReturned(5.0, origin, 1),
        ConnectionTaken(5.0, origin, 1, 5.0),
        ConnectionReturned(5.0, origin, 1),
    ]
