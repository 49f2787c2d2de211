"""Requests with content: windows of every size, early answers, both directions at once, trailers."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from tests.support.h2_peer import H2Peer, H2Script
from tests.support.h2_server import NO_ERROR, H2Server, Incoming, Response, echo
from tests.support.scene import assert_at_rest, at_once, scene, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

MEGABYTE = 1 << 20


async def count(request: Incoming) -> Response:
    """Reads everything, and answers with how much it was."""
    await request.body()
    return Response(body=b"%d" % request.received)


async def endless() -> AsyncIterator[bytes]:
    while True:
        await trio.sleep(0.01)
        yield bytes(10_000)


@pytest.mark.parametrize("window", [1, 1000, 65535, 1 << 20])
async def test_twenty_uploads_finish_whatever_the_windows(window: int, autojump_clock: MockClock) -> None:
    server = H2Server(count, initial_window_size=window)
    size = MEGABYTE if window >= 1000 else 1000
    async with scene(server, http1=False, latency=0.001, max_connections_per_host=1) as s:
        responses = await at_once(20, lambda: s.client.post(s.url, content=bytes(size)))
        assert [response.content for response in responses] == [b"%d" % size] * 20  # type: ignore[attr-defined]
        assert server.connections == 1


async def test_uploads_go_at_the_rate_of_the_line(autojump_clock: MockClock) -> None:
    """A round trip for each window of the connection, and nobody waits longer than that."""
    server = H2Server(count, initial_window_size=65535)
    async with scene(server, http1=False, latency=0.01, max_connections_per_host=1) as s:
        start = trio.current_time()
        await at_once(20, lambda: s.client.post(s.url, content=bytes(MEGABYTE)))
        round_trips = 20 * MEGABYTE / 65535
        assert trio.current_time() - start < 1.2 * round_trips * 0.02


async def test_settings_that_make_windows_negative_hold_uploads_up_and_no_more(autojump_clock: MockClock) -> None:
    sizes = (65535, 0, 100_000, 10, 30_000, 1)

    async def app(request: Incoming) -> Response:
        async with aclosing(request.pieces()) as pieces:
            async for _ in pieces:
                await trio.sleep(0.001)
        return Response(body=b"%d" % request.received)

    server = H2Server(app, initial_window_size=65535)
    async with scene(server, http1=False, latency=0.005, max_connections_per_host=1) as s:

        async def change() -> None:
            for number in range(1_000_000):
                await trio.sleep(0.05)
                server.update_settings(initial_window_size=sizes[number % len(sizes)])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(change)
            responses = await at_once(20, lambda: s.client.post(s.url, content=bytes(MEGABYTE)))
            nursery.cancel_scope.cancel()
        assert [response.content for response in responses] == [b"%d" % MEGABYTE] * 20  # type: ignore[attr-defined]
        assert server.connections == 1


async def test_an_upload_whose_window_stays_shut_times_out_alone(autojump_clock: MockClock) -> None:
    async def app(request: Incoming) -> Response:
        if request.path == b"/shut":
            await trio.sleep_forever()
        return await count(request)

    server = H2Server(app)
    async with scene(server, http1=False, max_connections_per_host=1) as s:

        async def shut() -> None:
            with pytest.raises(penstock.WriteTimeout):
                await s.client.post(f"{s.url}/shut", content=bytes(MEGABYTE), timeout=penstock.Timeouts(write=3))

        async with trio.open_nursery() as nursery:
            start = trio.current_time()
            nursery.start_soon(shut)
        assert trio.current_time() == pytest.approx(start + 3)
        assert (await s.client.post(s.url, content=bytes(MEGABYTE))).content == b"%d" % MEGABYTE
        assert server.connections == 1


@pytest.mark.parametrize("resets", [True, False], ids=["reset behind it", "no reset"])
async def test_an_early_refusal_is_delivered_and_stops_the_upload(*, resets: bool, autojump_clock: MockClock) -> None:
    async def app(request: Incoming) -> Response:
        if request.method == b"GET":
            return Response(body=b"ok")
        async with aclosing(request.pieces()) as pieces:
            async for _ in pieces:
                if request.received > 100_000:
                    break
        return Response(413, body=b"too much", reset_rest=resets)

    server = H2Server(app)
    async with scene(server, http1=False, latency=0.01, max_connections_per_host=1) as s:
        for _ in range(3):
            stopped = False

            async def pieces() -> AsyncIterator[bytes]:
                nonlocal stopped
                try:
                    while True:
                        await trio.sleep(0.01)
                        yield bytes(10_000)
                finally:
                    stopped = True

            response = await s.client.post(s.url, content=pieces())
            assert (response.status_code, response.content) == (413, b"too much")
            assert stopped
            assert (await s.client.get(s.url)).content == b"ok"
        assert server.connections == 1
        assert all(stream.received < 200_000 for stream in server.streams)
        # Whoever was not told that the rest is unwanted is told that it does not come.
        assert server.resets == ([] if resets else [NO_ERROR] * 3)
        await settle()
        assert_at_rest(s.pool, s.network)
        assert s.only_endpoint.connections[0].resetting == 0


async def test_an_early_refusal_is_delivered_while_the_window_is_shut(autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        while True:
            request = await peer.head()
            await peer.wait(1)
            async with peer.together():
                await peer.respond(request.stream, 413, body=b"too much")
                await peer.rst(request.stream, NO_ERROR)

    server = H2Script(script, open_windows=False)
    async with scene(server, http1=False) as s:
        for _ in range(3):
            response = await s.client.post(s.url, content=bytes(MEGABYTE))
            assert (response.status_code, response.content) == (413, b"too much")
        assert server.connections == 1


async def test_a_response_may_end_before_its_request(autojump_clock: MockClock) -> None:
    """A success, complete: what was not sent by then is not wanted (RFC 9113 §8.1)."""

    async def app(_: Incoming) -> Response:
        return Response(200, body=b"enough")

    server = H2Server(app)
    async with scene(server, http1=False, latency=0.01) as s:
        response = await s.client.post(s.url, content=endless())
        assert (response.status_code, response.content) == (200, b"enough")
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_both_directions_run_at_once(autojump_clock: MockClock) -> None:
    """Each piece is sent when the answer to the one before has been read."""
    server = H2Server(echo)
    async with scene(server, http1=False, latency=0.01) as s:
        to_send, to_read = trio.open_memory_channel[bytes](0)

        async def pieces() -> AsyncIterator[bytes]:
            async for piece in to_read:
                yield piece

        async with trio.open_nursery() as nursery:

            async def talk() -> None:
                async with s.client.stream("POST", s.url, content=pieces()) as response:
                    answers = response.aiter_bytes()
                    for number in range(50):
                        await to_send.send(b"%d" % number)
                        assert await anext(answers) == b"%d" % number
                    await to_send.aclose()
                    assert [piece async for piece in answers] == []

            nursery.start_soon(talk)
        assert trio.current_time() == pytest.approx(50 * 0.02, abs=0.1)
        assert server.streams[0].ended_at is not None


async def test_many_echoes_of_large_bodies_do_not_block_each_other(autojump_clock: MockClock) -> None:
    """Windows in both directions, all of them smaller than what goes through."""
    server = H2Server(echo)
    config = penstock.HTTP2Config(stream_window=65535, connection_window=65535)
    async with scene(server, http1=False, latency=0.001, max_connections_per_host=1, http2_config=config) as s:
        content = bytes(range(256)) * 2000
        responses = await at_once(20, lambda: s.client.post(s.url, content=content))
        assert all(response.content == content for response in responses)  # type: ignore[attr-defined]
        assert server.connections == 1


async def test_trailers_travel_in_both_directions(autojump_clock: MockClock) -> None:
    async def app(request: Incoming) -> Response:
        await request.body()
        return Response(body=b"ok", trailers=[(b"x-answer", b"42"), *(request.trailers or ())])

    server = H2Server(app)
    async with scene(server, http1=False) as s:
        response = await s.client.post(s.url, content=endless_until(30), trailers={"x-sum": "12"})
        assert response.content == b"ok"
        assert dict(response.trailers) == {"x-answer": "42", "x-sum": "12"}
        assert server.streams[0].trailers == [(b"x-sum", b"12")]


async def endless_until(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield bytes(5000)


async def test_a_body_that_raises_resets_its_stream_and_leaves_as_itself(autojump_clock: MockClock) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        await trio.sleep(1)
        raise KeyError("mine")

    server = H2Server(count)
    async with scene(server, http1=False) as s:
        with pytest.raises(KeyError, match="mine"):
            await s.client.post(s.url, content=broken())
        assert (await s.client.post(s.url, content=b"body")).content == b"4"
        assert server.resets == [8]
        assert server.connections == 1


async def test_a_body_of_another_length_than_announced_resets_its_stream(autojump_clock: MockClock) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"1234"

    server = H2Server(count)
    async with scene(server, http1=False) as s:
        for length in ("3", "5"):
            with pytest.raises(penstock.LocalProtocolError, match="announced"):
                await s.client.post(s.url, content=pieces(), headers={"content-length": length})
        assert (await s.client.post(s.url, content=b"body")).content == b"4"
        assert (server.connections, len(server.resets)) == (1, 2)


async def test_a_cancellation_that_a_body_brings_along_does_not_end_the_connection(autojump_clock: MockClock) -> None:
    """As bodies do that open a cancel scope in one task and leave it in another."""

    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep(1)
            except trio.Cancelled as cancelled:
                brought_along = cancelled
                raise
        raise brought_along

    async with scene(H2Server(echo), http1=False) as s:
        await s.client.get(s.url)
        with pytest.raises(trio.Cancelled):
            await s.client.post(s.url, content=body())
        with trio.fail_after(1):
            assert (await s.client.post(s.url, content=b"after")).content == b"after"
        assert s.pool.statistics().endpoints[0].counts.dials_started == 1
