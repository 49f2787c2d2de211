"""What instruments are told: one event per change, in order, and nothing while nobody listens."""

from __future__ import annotations

from penstock import _events as events
from penstock._events import CloseReason, RejectReason
from tests.support.story import Story


def test_nothing_is_built_while_nobody_listens() -> None:
    story = Story()
    story.idle()
    story.listen()

    assert story.events == []


def test_the_life_of_a_connection() -> None:
    story = Story(observed=True)
    origin = story.endpoint().origin
    story.ask()
    story.now = 1.0
    story.connect(1)
    story.now = 2.0
    story.release(1)
    story.now = 3.0
    story.lost(1)
    story.now = 4.0
    story.closed(1)
    story.listen()

    assert story.events == [
        events.WaiterQueued(0.0, origin, 1),
        events.DialStarted(0.0, origin, 1),
        events.ConnectionOpened(1.0, origin, 1),
        events.ConnectionTaken(1.0, origin, 1, 1.0),
        events.ConnectionReturned(2.0, origin, 1),
        events.ConnectionClosing(3.0, origin, 1, CloseReason.PEER_CLOSED),
        events.ConnectionClosed(4.0, origin, 1, CloseReason.PEER_CLOSED),
    ]


def test_the_life_of_a_connection_that_carries_several_exchanges() -> None:
    story = Story(observed=True, multiplexes=True)
    origin = story.endpoint().origin
    story.ask()
    story.connect(1, capacity=10)
    story.now = 1.0
    assert story.ask() == 1
    story.capacity(1, 1)
    story.now = 2.0
    story.release(1)
    story.going_away(1, CloseReason.GOAWAY)
    story.capacity(1, 0)
    story.now = 3.0
    story.release(1)
    story.closed(1)
    story.listen()

    assert story.events == [
        events.WaiterQueued(0.0, origin, 1),
        events.DialStarted(0.0, origin, 1),
        events.ConnectionOpened(0.0, origin, 1),
        events.ConnectionTaken(0.0, origin, 1, 0.0),
        events.ConnectionTaken(1.0, origin, 1, 0.0),
        events.CapacityChanged(1.0, origin, 1, 1),
        events.ConnectionReturned(2.0, origin, 1),
        events.ConnectionRetired(2.0, origin, 1, CloseReason.GOAWAY),
        events.CapacityChanged(2.0, origin, 1, 0),
        events.ConnectionClosing(3.0, origin, 1, CloseReason.GOAWAY),
        events.ConnectionClosed(3.0, origin, 1, CloseReason.GOAWAY),
    ]


def test_limits_that_a_server_crossed_are_told_and_counted() -> None:
    story = Story(observed=True)
    number = story.active()
    for limit in ("glitches", "header_block", "glitches"):
        story.machine.limit_crossed(story.now, story.entries[number], limit)
    story.machine.observed = False
    story.machine.limit_crossed(story.now, story.entries[number], "header_block")
    story.listen()

    told = [event.limit for event in story.events if isinstance(event, events.LimitCrossed)]
    assert told == ["glitches", "header_block", "glitches"]
    assert story.endpoint().limits_crossed == {"glitches": 2, "header_block": 2}


def test_a_dial_that_fails_and_an_endpoint_that_recovers() -> None:
    story = Story(observed=True, unhealthy_threshold=1, dial_backoff=0.5)
    origin = story.endpoint().origin
    story.ask()
    story.fail(1, "refused")
    story.now = 0.5
    story.ask()
    story.connect(2)
    story.release(2)
    story.listen()

    (failure,) = [event for event in story.events if isinstance(event, events.DialFailed)]
    assert str(failure.error) == "refused"
    assert [event for event in story.events if not isinstance(event, events.DialFailed)] == [
        events.WaiterQueued(0.0, origin, 1),
        events.DialStarted(0.0, origin, 1),
        events.WaiterEnded(0.0, origin, 1, RejectReason.DIAL_FAILED),
        events.EndpointUnhealthy(0.0, origin, 1, 0.5),
        events.ConnectionClosed(0.0, origin, 1, CloseReason.DIAL_FAILED),
        events.WaiterQueued(0.5, origin, 2),
        events.DialStarted(0.5, origin, 2),
        events.ConnectionOpened(0.5, origin, 2),
        events.ConnectionTaken(0.5, origin, 2, 0.0),
        events.ConnectionReturned(0.5, origin, 2),
        events.EndpointRecovered(0.5, origin),
    ]


def test_every_end_of_a_waiter_is_told() -> None:
    story = Story(observed=True, max_connections=1, max_waiters=2)
    story.active()
    story.ask(wait=1.0)
    story.ask()
    story.ask()
    story.cancel(3)
    story.wake(1.0)
    story.ask()
    story.machine.drain(story.now)
    story.listen()

    ends = [(event.waiter, event.reason) for event in story.events if isinstance(event, events.WaiterEnded)]
    assert ends == [
        (4, RejectReason.POOL_FULL),
        (3, RejectReason.CANCELLED),
        (2, RejectReason.POOL_TIMEOUT),
        (5, RejectReason.POOL_CLOSED),
    ]


def test_closes_are_counted_by_their_first_reason() -> None:
    story = Story(max_connections=2)
    for reason in (CloseReason.IO_ERROR, CloseReason.PROTOCOL_ERROR, CloseReason.IO_ERROR):
        number = story.active()
        story.release(number, reason)
        story.closed(number)

    assert story.endpoint().closed_by_reason == {"io_error": 2, "protocol_error": 1}


def test_counters_add_up() -> None:
    story = Story(observed=True)
    story.idle("a")
    story.idle("b")
    total = story.endpoint("a").counters
    total.add(story.endpoint("b").counters)

    assert (total.acquires, total.delivered, total.released, total.dials_ok) == (2, 2, 2, 2)
