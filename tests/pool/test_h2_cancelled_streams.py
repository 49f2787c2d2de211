"""A request that is given up ends its own stream, and costs the connection nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock import events
from tests.support.h2_peer import H2Peer, H2Script
from tests.support.h2_server import CANCEL, H2Server, Incoming, Response, answer
from tests.support.scene import Scene, assert_at_rest, at_once, scene, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock


async def drips(request: Incoming) -> Response:
    """Answers "/ok" at once, and everything else with a body that goes on for ever."""
    if request.path == b"/ok":
        return Response(body=b"ok")

    async def body() -> AsyncIterator[bytes]:
        while True:
            yield b"drop"
            await trio.sleep(0.1)

    return Response(body=body())


async def drop(s: Scene) -> None:
    """Ask, see the response begin, and be cancelled."""
    with trio.CancelScope() as scope:
        async with s.client.stream("GET", f"{s.url}/drip") as response:
            async for _ in response.aiter_bytes():
                scope.cancel()


@pytest.mark.parametrize("way", ["cancelled before the head", "cancelled in the body", "closed early", "timed out"])
async def test_the_server_hears_of_it_within_one_way(way: str, autojump_clock: MockClock) -> None:
    heard: list[tuple[int, float]] = []

    async def script(peer: H2Peer) -> None:
        request = await peer.head()
        if way != "cancelled before the head":
            await peer.headers(request.stream, [(b":status", b"200")])
            await peer.data(request.stream, b"some")
        seen = await peer.expect("RST_STREAM")
        heard.append((seen.frame.error_code, seen.at))
        again = await peer.request()
        await peer.respond(again.stream, body=b"ok")
        await peer.wait_closed()

    async with scene(H2Script(script), http1=False, latency=0.01) as s:
        start = trio.current_time()
        timeouts = penstock.Timeouts(read=1.0)
        with trio.move_on_after(1.0 if way.startswith("cancelled") else 10):
            async with s.client.stream("GET", s.url, timeout=None if way != "timed out" else timeouts) as response:
                if way == "closed early":
                    await trio.sleep_until(start + 1.0)
                else:
                    with pytest.raises(penstock.ReadTimeout) if way == "timed out" else trio.CancelScope():
                        await response.aread()
        left_at = trio.current_time()
        assert (await s.client.get(s.url)).content == b"ok"
        assert heard == [(CANCEL, pytest.approx(left_at + 0.01))]
        assert s.network.connects == 1


async def test_a_hundred_and_twenty_left_in_mid_response_are_a_hundred_and_twenty_resets(
    autojump_clock: MockClock,
) -> None:
    server = H2Server(drips)
    async with scene(server, http1=False, latency=0.001, max_connections_per_host=1) as s:
        await at_once(120, lambda: drop(s))
        await settle()
        assert server.resets == [CANCEL] * 120
        for _ in range(3):
            assert (await s.client.get(f"{s.url}/ok")).content == b"ok"
        await at_once(200, lambda: s.client.get(f"{s.url}/ok"))
        assert server.connections == 1
        assert_at_rest(s.pool, s.network)
        assert s.only_endpoint.connections[0].resetting == 0


async def test_after_ten_thousand_a_connection_is_as_good_as_new(autojump_clock: MockClock) -> None:
    server = H2Server(drips, max_concurrent_streams=100)
    config = penstock.HTTP2Config(reset_burst=None)
    async with scene(server, http1=False, max_connections_per_host=1, max_waiters=10_000, http2_config=config) as s:
        for _ in range(10):
            await at_once(1000, lambda: drop(s))
        await settle()
        assert len(server.resets) == 10_000
        # All places are there at once.
        answers = await at_once(100, lambda: s.client.get(f"{s.url}/ok"))
        assert len(answers) == 100
        await settle()
        (entry,) = s.only_endpoint.connections
        assert (entry.in_use, entry.resetting, entry.capacity) == (0, 0, 100)
        session = next(s.pool._runner.machine.connections()).handle.session
        assert not session.streams
        assert not len(session._resets)
        assert server.connections == 1
        assert server.refused == 0


async def test_twenty_megabytes_nobody_wanted_give_all_of_the_window_back(autojump_clock: MockClock) -> None:
    """What was on its way when the stream ended counts too: the next response finds the whole window."""
    size = 20 << 20
    windows: list[int] = []

    async def script(peer: H2Peer) -> None:
        request = await peer.head()
        windows.append(await settled_window(peer))
        await peer.headers(request.stream, [(b":status", b"200"), (b"content-length", b"%d" % size)])
        # As a server does that has written already when the reset comes, up to the end of its window.
        for _ in range(64):
            await peer.data(request.stream, bytes(16384))
        await peer.expect("RST_STREAM", request.stream)
        windows.append(await settled_window(peer))
        while True:
            request = await peer.request()
            await peer.respond(request.stream, body=bytes(500_000))
            windows.append(await settled_window(peer))

    async def settled_window(peer: H2Peer) -> int:
        await peer.wait(1)
        return peer.send_window

    server = H2Script(script)
    async with scene(server, http1=False, latency=0.01) as s:
        for _ in range(2):
            with trio.move_on_after(0.5):
                await s.client.get(s.url)
        await drop(s)
        for _ in range(3):
            assert len((await s.client.get(s.url)).content) == 500_000
        await settle(5)
    whole = windows[0]
    assert whole >= 16 << 20
    # Credit goes out in portions, none of which is larger than a stream's window.
    assert min(windows) > whole - penstock.HTTP2Config().stream_window
    assert server.connections == 1


async def test_more_resets_than_a_server_takes_in_good_part_go_over_several_connections(
    autojump_clock: MockClock,
) -> None:
    server = H2Server(drips)
    config = penstock.HTTP2Config(reset_burst=10, reset_rate=1.0)
    async with scene(server, http1=False, latency=0.001, http2_config=config) as s:
        async with s.client.stream("GET", f"{s.url}/drip") as running:
            pieces = running.aiter_bytes()
            assert await anext(pieces) == b"drop"
            for _ in range(10):
                await drop(s)
            assert server.connections == 1
            for _ in range(2):
                await drop(s)
            assert server.connections == 2
            assert [event.reason for event in s.seen.of(events.ConnectionRetired)] == [
                events.CloseReason.TOO_MANY_RESETS
            ]
            # Who was there before goes on.
            assert await anext(pieces)
        await settle()
        assert s.seen.close_reasons == ["too_many_resets"]
        assert_at_rest(s.pool, s.network)


async def test_resets_at_the_allowed_rate_go_on_for_ever(autojump_clock: MockClock) -> None:
    server = H2Server(drips)
    config = penstock.HTTP2Config(reset_burst=10, reset_rate=1.0)
    async with scene(server, http1=False, latency=0.001, http2_config=config) as s:
        for _ in range(100):
            await drop(s)
            await trio.sleep(1.0)
        assert (server.connections, len(server.resets)) == (1, 100)


async def test_a_reset_stream_holds_its_place_until_the_server_has_seen_the_reset(autojump_clock: MockClock) -> None:
    server = H2Server(drips, max_concurrent_streams=1)
    async with scene(server, http1=False, latency=0.1, max_connections_per_host=1) as s:
        for _ in range(10):
            await drop(s)
            start = trio.current_time()
            await s.client.get(f"{s.url}/ok")
            # The PING's way there and back, then the request's.
            assert trio.current_time() - start == pytest.approx(0.4)
        assert server.refused == 0
        assert server.connections == 1


async def test_an_answer_that_was_complete_resets_nothing(autojump_clock: MockClock) -> None:
    server = H2Server(answer(b"x" * 100_000))
    async with scene(server, http1=False) as s:
        for _ in range(10):
            async with s.client.stream("GET", s.url):
                await settle()
        assert server.resets == []
        assert server.pings == 0
