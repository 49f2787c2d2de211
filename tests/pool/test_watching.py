"""Idle connections are watched: an end, a reset or stray bytes close them, session tickets do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from penstock import events
from penstock.testing import ScriptedPeer, serve_ok, serve_then_close_idle, serve_then_say
from tests.support.scene import assert_at_rest, scene, settle
from tests.support.server import times_out_idle

if TYPE_CHECKING:
    from trio.testing import MockClock

    from penstock.testing import Handler


def ends(after: float) -> Handler:
    return serve_then_close_idle(after)


def resets(after: float) -> Handler:
    return serve_then_close_idle(after, reset=True)


def says(after: float) -> Handler:
    return serve_then_say(b"x", after=after)


def answers_again(after: float) -> Handler:
    return serve_then_say(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", after=after)


def closes_for_tls(after: float) -> Handler:
    async def handler(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.respond()
        await peer.wait(after)
        peer.fin(close_notify=True)
        # The TCP connection stays open.
        await peer.stall()

    return handler


ENDINGS = {
    ends: ("peer_closed", "peer_closed"),
    resets: ("io_error", "io_error"),
    says: ("unsolicited_data", "unsolicited_data"),
    answers_again: ("unsolicited_data", "unsolicited_data"),
    times_out_idle: ("unsolicited_data", "unsolicited_data"),
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
@pytest.mark.parametrize("after", [0.0, 0.05, 0.15, 20.0])
async def test_an_idle_connection_that_ends_is_closed_without_any_traffic(
    ending: type, after: float, tls: bool, autojump_clock: MockClock
) -> None:
    async with scene(ending(after), tls=tls) as s:
        await s.client.get(s.url)
        await settle(after + 0.21)
        assert s.network.open_connections == 0
        (closed,) = s.seen.of(events.ConnectionClosed)
        assert closed.at <= after + 0.2
        assert closed.reason.value == ENDINGS[ending][tls]
        assert_at_rest(s.pool, s.network)


async def test_a_close_notify_alone_closes_it(autojump_clock: MockClock) -> None:
    async with scene(closes_for_tls(5), tls=True) as s:
        await s.client.get(s.url)
        await settle(6)
        (closed,) = s.seen.of(events.ConnectionClosed)
        assert (closed.at, closed.reason.value) == (5.0, "peer_closed")


async def test_session_tickets_do_not(autojump_clock: MockClock) -> None:
    """A server sends its tickets on the fresh idle connection, and readable does not mean dead."""
    async with scene(tls=True, latency=0.3) as s:
        await s.pool.prewarm(s.url, 3)
        await settle(50)
        assert s.network.open_connections == 3
        assert s.seen.close_reasons == []
        await s.client.get(s.url)
        assert s.network.connects == 3


async def test_a_connection_that_was_never_used_is_watched_too(autojump_clock: MockClock) -> None:
    async def closes_unused(peer: ScriptedPeer) -> None:
        await peer.wait(10)
        peer.fin()
        await peer.stall()

    async with scene(closes_unused) as s:
        await s.pool.prewarm(s.url, 2)
        await settle(10.5)
        assert s.network.open_connections == 0
        assert s.seen.close_reasons == ["peer_closed"] * 2


async def test_a_connection_in_use_is_left_alone(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=5)) as s:
        await s.client.get(s.url)
        # Idle for long enough to be watched, then used: its answer is nobody's stray byte.
        await settle(1)
        assert (await s.client.get(s.url)).text == "ok"
        await settle(1)
        assert (await s.client.get(s.url)).text == "ok"
        assert s.requests_per_connection == [3]


async def test_many_at_once(autojump_clock: MockClock) -> None:
    async def closes_together(peer: ScriptedPeer) -> None:
        await peer.wait(100 - trio.current_time())
        peer.fin()
        await peer.stall()

    async with scene(closes_together, max_connections_per_host=50, idle_timeout=1000) as s:
        await s.pool.prewarm(s.url, 50)
        await settle(99)
        assert s.network.open_connections == 50
        await settle(1.1)
        assert s.network.open_connections == 0
        assert_at_rest(s.pool, s.network)
