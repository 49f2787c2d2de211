"""Streams whose consumer, producer or network is slow end as documented, over both protocols."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
import trio
import trio.lowlevel

import penstock
from penstock.testing import chunk, head
from tests.support.h2_server import H2Server, Incoming, Response
from tests.support.scene import Scene, assert_at_rest, scene, settle

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from trio.testing import MockClock

    from penstock.testing import Handler, ScriptedPeer

    Body = Callable[[], AsyncGenerator[bytes]]

FIELDS = [(b"content-type", b"text/event-stream")]

both = pytest.mark.parametrize("http1", [True, False], ids=["HTTP/1.1", "HTTP/2"])


def over_http1(body: Body) -> Handler:
    async def handler(peer: ScriptedPeer) -> None:
        while True:
            await peer.expect_request()
            await peer.send(head(200, [*FIELDS, (b"transfer-encoding", b"chunked")]))
            async with aclosing(body()) as pieces:
                async for piece in pieces:
                    await peer.send(chunk(piece))
            await peer.send(chunk(b""))

    return handler


def serves(body: Body, *, http1: bool) -> Handler:
    async def app(_: Incoming) -> Response:
        return Response(fields=FIELDS, body=body())

    return over_http1(body) if http1 else H2Server(app)


@both
async def test_a_slow_consumer_slows_the_server_down_and_meets_no_limit(http1: bool, autojump_clock: MockClock) -> None:
    sent = 0

    async def body() -> AsyncGenerator[bytes]:
        nonlocal sent
        for _ in range(1000):
            yield b"data: " + b"x" * 10_000 + b"\n\n"
            sent += 1

    config = penstock.HTTP2Config(stream_window=65535, connection_window=65535)
    async with scene(serves(body, http1=http1), http1=http1, http2_config=config, read_timeout=5) as s:
        count = 0
        async with s.client.sse("GET", s.url, event_timeout=5) as events:
            async for _ in events:
                if count < 3:
                    # As long as all limits together, with the server stuck all the while.
                    await trio.sleep(1000)
                    # What the network and the windows hold, and what one read has taken.
                    assert sent < 40 + 10 * count
                count += 1
        assert count == sent == 1000
        assert_at_rest(s.pool, s.network)


@both
async def test_a_slow_producer_meets_no_limit(http1: bool, autojump_clock: MockClock) -> None:
    """The answer streams while the request still does; the caller's own pauses are nobody's fault."""

    async def echo(request: Incoming) -> Response:
        return Response(body=request.pieces())

    async def echo_http1(peer: ScriptedPeer) -> None:
        request = await peer.expect_request()
        await peer.respond(200, body=request.body)

    async def slowly() -> AsyncGenerator[bytes]:
        for _ in range(3):
            await trio.sleep(1000)
            yield b"x"

    limits = penstock.Timeouts(connect=1, read=2000, write=1, pool=1, first_byte=1)
    async with scene(echo_http1 if http1 else H2Server(echo), http1=http1) as s:
        async with s.client.stream("POST", s.url, content=slowly(), timeout=limits) as response:
            assert await response.aread() == b"xxx"
        assert trio.current_time() == 3000
        assert_at_rest(s.pool, s.network)


async def late(s: Scene, limit: str, at: float, **options: float | penstock.Timeouts) -> None:
    """The stream's two events come, and then the error of this limit at this time."""
    async with s.client.sse("GET", s.url, **options) as events:  # type: ignore[arg-type]
        assert [(await anext(events)).data, (await anext(events)).data] == ["1", "2"]
        with pytest.raises(penstock.ReadTimeout) as caught:
            await anext(events)
        assert (caught.value.limit, trio.current_time()) == (limit, at)
        assert (caught.value.phase, caught.value.request_sent) == ("read", "fully")
        assert s.pool.statistics().active == 0
    await settle()
    assert_at_rest(s.pool, s.network)


async def stalls() -> AsyncGenerator[bytes]:
    yield b"data: 1\n\n"
    await trio.sleep(3)
    yield b"data: 2\n\nda"
    await trio.sleep_forever()


async def pings() -> AsyncGenerator[bytes]:
    yield b"data: 1\n\n"
    await trio.sleep(3)
    yield b"data: 2\n\n"
    while True:
        await trio.sleep(1)
        yield b": ping\n\n"


@both
async def test_a_stalled_stream_runs_into_the_read_limit(http1: bool, autojump_clock: MockClock) -> None:
    async with scene(serves(stalls, http1=http1), http1=http1) as s:
        await late(s, "read_timeout", 3 + 20, timeout=20.0, event_timeout=25.0)


@both
async def test_a_stream_that_only_pings_runs_into_the_event_limit(http1: bool, autojump_clock: MockClock) -> None:
    async with scene(serves(pings, http1=http1), http1=http1) as s:
        await late(s, "event_timeout", 3 + 25, timeout=20.0, event_timeout=25.0)


@both
async def test_a_stream_that_never_ends_runs_into_the_total_limit(http1: bool, autojump_clock: MockClock) -> None:
    async with scene(serves(pings, http1=http1), http1=http1) as s:
        await late(s, "total_timeout", 40, timeout=penstock.Timeouts(total=40), event_timeout=60.0)


@both
async def test_a_model_that_thinks_too_long_runs_into_the_first_byte_limit(
    http1: bool, autojump_clock: MockClock
) -> None:
    async def app(_: Incoming) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    async def silent(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.wait_closed()

    async with scene(silent if http1 else H2Server(app), http1=http1) as s:
        with pytest.raises(penstock.ReadTimeout) as caught:
            async with s.client.sse("GET", s.url, timeout=penstock.Timeouts(first_byte=60, read=5)):
                raise AssertionError
        assert (caught.value.limit, caught.value.phase, trio.current_time()) == ("first_byte_timeout", "first_byte", 60)
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_a_flood_without_an_event_runs_into_the_event_limit(autojump_clock: MockClock) -> None:
    """Bytes that never run dry are never waited for; the limit holds all the same."""

    async def flood() -> AsyncGenerator[bytes]:
        yield b"data: 1\n\ndata: 2\n\n"
        while True:
            yield b": ping\n\n" * 100
            await trio.lowlevel.checkpoint()

    async def make_others_slow() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            autojump_clock.jump(0.3)

    async with scene(serves(flood, http1=True)) as s, trio.open_nursery() as nursery:
        async with s.client.sse("GET", s.url, event_timeout=5) as events:
            await anext(events)
            await anext(events)
            nursery.start_soon(make_others_slow)
            with trio.fail_after(100), pytest.raises(penstock.ReadTimeout) as caught:
                await anext(events)
        assert caught.value.limit == "event_timeout"
        nursery.cancel_scope.cancel()


async def test_another_type_keeps_its_connection_where_the_rest_is_small(autojump_clock: MockClock) -> None:
    async def handler(peer: ScriptedPeer) -> None:
        while True:
            await peer.expect_request()
            await peer.respond(200, [(b"content-type", b"application/json")], bytes(70_000), pieces=30_000, every=0.01)

    async with scene(handler, capacity=1 << 20) as s:
        for _ in range(3):
            with pytest.raises(penstock.ContentTypeError) as caught:
                async with s.client.sse("GET", s.url):
                    raise AssertionError
            assert len(caught.value.response.content) == 65536
        assert s.requests_per_connection == [3]
        assert_at_rest(s.pool, s.network)


async def test_a_stream_is_resumed_by_a_real_pool(autojump_clock: MockClock) -> None:
    async def handler(peer: ScriptedPeer) -> None:
        request = await peer.expect_request()
        place = int(dict(request.headers).get(b"last-event-id", b"0"))
        if place >= 4:
            await peer.respond(204)
            return
        await peer.send(head(200, [*FIELDS, (b"transfer-encoding", b"chunked")]))
        for number in (place + 1, place + 2):
            await peer.send(chunk(b"id: %d\ndata: %d\n\n" % (number, number)))
        await peer.wait(1)
        peer.rst() if place else peer.fin()

    async with scene(handler) as s:
        async with s.client.sse("GET", s.url, reconnect=penstock.Reconnect()) as events:
            assert [event.data async for event in events] == ["1", "2", "3", "4"]
        assert s.requests_per_connection == [1, 1, 1]
        # Each wait was that of the policy and a random part of half of it.
        assert 2 * (1 + 3.0) <= trio.current_time() <= 2 * (1 + 4.5)
        await settle()
        assert_at_rest(s.pool, s.network)
