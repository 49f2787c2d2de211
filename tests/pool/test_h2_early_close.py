"""Leaving an HTTP/2 stream early: no reset where only its end is missing, and one at once where it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from tests.support.early_ends import leave_cancelled, stop_at_done
from tests.support.h2_server import CANCEL, H2Server, Incoming, Response
from tests.support.scene import assert_at_rest, scene, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trio.testing import MockClock

FIELDS = [(b"content-type", b"text/event-stream")]


def serves(body: Callable[[], AsyncIterator[bytes]]) -> H2Server:
    async def app(_: Incoming) -> Response:
        return Response(fields=FIELDS, body=body())

    return H2Server(app)


def events_then_end_after(pause: float) -> H2Server:
    async def body() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await trio.sleep(0.01)
        yield b"data: [DONE]\n\n"
        await trio.sleep(pause)

    return serves(body)


@pytest.mark.parametrize("pause", [0.0, 0.03, 0.09])
async def test_five_streams_that_stop_at_done_need_no_reset(pause: float, autojump_clock: MockClock) -> None:
    server = events_then_end_after(pause)
    async with scene(server, http1=False, max_connections=1) as s:
        for _ in range(5):
            await stop_at_done(s)
            assert s.pool.statistics().active == 0
        assert server.connections == 1
        assert [stream.reset_code for stream in server.streams] == [None] * 5
        assert_at_rest(s.pool, s.network)


async def test_an_end_that_does_not_come_is_not_waited_for(autojump_clock: MockClock) -> None:
    server = events_then_end_after(10)
    async with scene(server, http1=False) as s:
        await stop_at_done(s)
        assert trio.current_time() == pytest.approx(0.11)
        await settle(0.01)
        assert [stream.reset_code for stream in server.streams] == [CANCEL]
        assert_at_rest(s.pool, s.network)


async def test_a_stream_that_goes_on_is_reset_with_its_next_piece(autojump_clock: MockClock) -> None:
    async def body() -> AsyncIterator[bytes]:
        while True:
            yield b"data: x\n\n"
            await trio.sleep(0.04)

    server = serves(body)
    async with scene(server, http1=False) as s:
        async with s.client.sse("GET", s.url) as events:
            await anext(events)
        assert trio.current_time() == pytest.approx(0.04)
        await settle(0.01)
        assert [stream.reset_code for stream in server.streams] == [CANCEL]
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_of_which_more_is_known_to_come_is_reset_at_once(
    announced: bool, autojump_clock: MockClock
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield bytes(100)
        if not announced:
            yield bytes(100)
        await trio.sleep(10)

    async def app(_: Incoming) -> Response:
        return Response(fields=[(b"content-length", b"500")] if announced else [], body=body())

    server = H2Server(app)
    async with scene(server, http1=False) as s:
        async with s.client.stream("GET", s.url) as response:
            if announced:
                await anext(response.aiter_raw())
            else:
                # Nobody takes what has arrived.
                await settle(0.01)
            left = trio.current_time()
        assert trio.current_time() == left
        await settle(0.001)
        assert [stream.reset_code for stream in server.streams] == [CANCEL]


@pytest.mark.parametrize("low_level", [False, True])
async def test_a_cancelled_caller_resets_at_once(low_level: bool, autojump_clock: MockClock) -> None:
    server = events_then_end_after(0.05)
    async with scene(server, http1=False) as s:
        scope = await leave_cancelled(s, low_level=low_level)
        assert scope.cancelled_caught is False
        left = trio.current_time()
        await settle(0.001)
        assert [(stream.reset_code, stream.ended_at) for stream in server.streams] == [(CANCEL, left)]
        assert_at_rest(s.pool, s.network)


async def test_a_connection_that_breaks_meanwhile(autojump_clock: MockClock) -> None:
    server = events_then_end_after(0.05)
    async with scene(server, http1=False) as s:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop_at_done, s)
            await trio.sleep(0.03)
            s.network.peers[0].rst()
        assert trio.current_time() == pytest.approx(0.03)
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_events_arrive_one_by_one_and_end_with_trailers(autojump_clock: MockClock) -> None:
    async def body() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"id: %d\ndata: %d\n\n: ping\n\n" % (number, number)
            await trio.sleep(1)

    async def app(_: Incoming) -> Response:
        return Response(fields=FIELDS, body=body(), trailers=[(b"x-usage", b"7")])

    async with scene(H2Server(app), http1=False) as s, s.client.sse("GET", s.url) as events:
        assert [(event.data, trio.current_time()) async for event in events] == [("0", 0), ("1", 1), ("2", 2)]
        assert (events.last_event_id, events.response.trailers["x-usage"]) == ("2", "7")


async def test_no_event_for_too_long_ends_the_stream_and_no_other(autojump_clock: MockClock) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        while True:
            await trio.sleep(2)
            yield b": ping\n\n"

    server = serves(body)
    async with scene(server, http1=False, max_connections=1) as s, s.client.sse("GET", s.url) as other:
        async with s.client.sse("GET", s.url, event_timeout=5) as events:
            await anext(events)
            with pytest.raises(penstock.ReadTimeout) as caught:
                await anext(events)
        assert (caught.value.limit, trio.current_time()) == ("event_timeout", 5)
        assert (await anext(other)).data == "1"
        await settle(0.01)
        assert [stream.reset_code for stream in server.streams] == [None, CANCEL]


async def test_another_type_leaves_the_connection_as_it_was(autojump_clock: MockClock) -> None:
    async def app(_: Incoming) -> Response:
        return Response(fields=[(b"content-type", b"application/json")], body=b'{"error": "no"}')

    server = H2Server(app)
    async with scene(server, http1=False) as s:
        for _ in range(3):
            with pytest.raises(penstock.ContentTypeError) as caught:
                async with s.client.sse("GET", s.url):
                    raise AssertionError
            assert caught.value.response.json() == {"error": "no"}
        assert server.connections == 1
        assert_at_rest(s.pool, s.network)
