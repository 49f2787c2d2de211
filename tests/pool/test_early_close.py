"""A body that nobody wants to the end costs the connection only if reading on would cost more than a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from penstock.testing import ScriptedPeer, chunk, head, serve_chunked, serve_raw
from tests.support.early_ends import leave_cancelled, stop_at_done
from tests.support.scene import assert_at_rest, scene, settle

if TYPE_CHECKING:
    from trio.testing import MockClock

    from penstock.testing import Handler

EVENTS = [b'data: {"n": 1}\n\n', b'data: {"n": 2}\n\n', b"data: [DONE]\n\n"]


def serves_events(pause_before_end: float | None) -> Handler:
    """Three events, then the end of the body: in the packet of the last event, or that much later."""

    async def handler(peer: ScriptedPeer) -> None:
        while True:
            await peer.expect_request()
            await peer.send(head(200, [(b"content-type", b"text/event-stream"), (b"transfer-encoding", b"chunked")]))
            for event in EVENTS[:-1]:
                await peer.send(chunk(event))
                await peer.wait(0.01)
            if pause_before_end is None:
                await peer.send(chunk(EVENTS[-1]) + chunk(b""))
            else:
                await peer.send(chunk(EVENTS[-1]))
                await peer.wait(pause_before_end)
                await peer.send(chunk(b""))

    return handler


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("pause", [None, 0.0, 0.005, 0.03, 0.05])
async def test_five_streams_that_stop_at_done_use_one_connection(
    pause: float | None, tls: bool, autojump_clock: MockClock
) -> None:
    async with scene(serves_events(pause), tls=tls, latency=0.002) as s:
        for _ in range(5):
            await stop_at_done(s)
        assert s.requests_per_connection == [5]
        assert s.seen.close_reasons == []
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_closing_early_waits_for_the_end_of_the_body(autojump_clock: MockClock) -> None:
    async with scene(serves_events(0.05)) as s:
        await stop_at_done(s)
        assert trio.current_time() == pytest.approx(0.07)
        assert s.pool.statistics().idle == 1


@pytest.mark.parametrize(("every", "waited"), [(0.02, 0.02), (0.08, 0.08), (1.0, 0.1)])
async def test_closing_early_waits_no_longer_than_until_more_arrives(
    every: float, waited: float, autojump_clock: MockClock
) -> None:
    async with scene(serve_chunked([b"x"] * 100, every=every)) as s:
        async with s.client.stream("GET", s.url) as response:
            await anext(response.aiter_raw())
            left = trio.current_time()
        assert trio.current_time() - left == pytest.approx(waited)
        await settle(0.2)
        # The pool went on for its 100 ms, and gave up.
        assert s.seen.events[-1].at - left == pytest.approx(0.1)
        assert s.seen.close_reasons == ["early_body_close"]
        assert_at_rest(s.pool, s.network)


async def test_a_caller_cancelled_at_the_end_leaves_the_connection_to_the_pool(autojump_clock: MockClock) -> None:
    async with scene(serves_events(0.05)) as s:
        with trio.move_on_after(0.04) as scope:
            with pytest.raises(ValueError, match="of the block"):
                async with s.client.sse("GET", s.url) as events:
                    async for event in events:
                        if event.data == "[DONE]":
                            raise ValueError("of the block")
            assert trio.current_time() == pytest.approx(0.04)
            await trio.lowlevel.checkpoint()
            raise AssertionError
        assert scope.cancelled_caught
        await settle()
        await stop_at_done(s)
        assert s.requests_per_connection == [2]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("low_level", [False, True])
async def test_a_cancelled_caller_has_no_time_for_a_rest(tls: bool, low_level: bool, autojump_clock: MockClock) -> None:
    async with scene(serves_events(0.05), tls=tls) as s:
        await leave_cancelled(s, low_level=low_level)
        assert s.network.open_connections == 0
        assert s.seen.close_reasons == ["cancelled_mid_exchange"]
        assert_at_rest(s.pool, s.network)


async def test_a_deadline_that_has_passed_is_a_cancellation(autojump_clock: MockClock) -> None:
    async with scene(serves_events(0.05)) as s:
        async with s.client.stream("GET", s.url) as response:
            await anext(response.aiter_raw())
            # Trio has not noticed yet.
            with trio.CancelScope(deadline=trio.current_time()):
                await response.aclose()
        assert s.network.open_connections == 0


async def test_a_cancelled_caller_keeps_what_has_ended(autojump_clock: MockClock) -> None:
    async with scene(serves_events(None)) as s:
        for _ in range(2):
            with trio.CancelScope() as scope:
                async with s.client.stream("GET", s.url) as response:
                    pieces = response.aiter_raw()
                    while b"DONE" not in await anext(pieces):
                        pass
                    scope.cancel()
        with trio.CancelScope() as scope:
            async with s.pool.acquire(s.url):
                scope.cancel()
        assert s.requests_per_connection == [2]
        assert s.seen.close_reasons == []


async def test_a_lease_is_closed_by_hand(autojump_clock: MockClock) -> None:
    async with scene(serves_events(0.05)) as s:
        for _ in range(5):
            async with s.pool.acquire(s.url) as lease:
                await lease.request("GET", "/")
                while b"DONE" not in await lease.read():
                    pass
                await lease.aclose()
                await lease.aclose()
                assert s.pool.statistics().idle == 1
        assert s.requests_per_connection == [5]


async def test_a_waiter_takes_over_what_was_read_to_its_end(autojump_clock: MockClock) -> None:
    async with scene(serves_events(0.05), max_connections=1) as s:
        for _ in range(5):
            await stop_at_done(s)
        assert s.requests_per_connection == [5]


async def test_small_bodies_that_nobody_reads(autojump_clock: MockClock) -> None:
    answer = head(404, [(b"content-length", b"1000")]) + bytes(1000)
    async with scene(serve_raw(answer, pieces=[100, 400], every=0.01)) as s:
        for _ in range(5):
            async with s.client.stream("GET", s.url) as response:
                assert response.status_code == 404
            await settle(0.05)
        assert s.requests_per_connection == [5]


@pytest.mark.parametrize(("size", "kept"), [(65_000, True), (300_000, False), (10_000_000, False)])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_how_much_is_read_for_a_connection(
    size: int, kept: bool, is_chunked: bool, autojump_clock: MockClock
) -> None:
    async def handler(peer: ScriptedPeer) -> None:
        while True:
            await peer.expect_request()
            if is_chunked:
                await peer.send(head(200, [(b"transfer-encoding", b"chunked")]))
                await peer.send(b"".join(chunk(bytes(1000)) for _ in range(size // 1000)) + chunk(b""))
            else:
                await peer.respond(200, body=bytes(size))

    async with scene(handler, latency=0.001) as s:
        for _ in range(2):
            async with s.client.stream("GET", s.url):
                pass
            await settle(0.2)
        assert s.requests_per_connection == ([2] if kept else [1, 1])
        assert s.seen.close_reasons == ([] if kept else ["early_body_close"] * 2)
        assert_at_rest(s.pool, s.network)


async def test_a_length_that_is_not_worth_it_is_given_up_at_once(autojump_clock: MockClock) -> None:
    async with scene(serve_raw(head(200, [(b"content-length", b"66000")]))) as s:
        async with s.client.stream("GET", s.url):
            pass
        assert s.network.open_connections == 0
        assert s.seen.close_reasons == ["early_body_close"]


@pytest.mark.parametrize(("pause", "kept"), [(0.09, True), (0.11, False), (1000.0, False)])
async def test_how_long_is_read_for_a_connection(pause: float, kept: bool, autojump_clock: MockClock) -> None:
    async with scene(serves_events(pause)) as s:
        await stop_at_done(s)
        closed = 0.12
        await settle(0.5)
        assert s.network.open_connections == int(kept)
        if not kept:
            assert s.seen.close_reasons == ["early_body_close"]
            assert s.seen.events[-1].at == pytest.approx(closed)
        assert_at_rest(s.pool, s.network)


async def test_a_body_that_ends_with_the_connection_is_given_up_at_once(autojump_clock: MockClock) -> None:
    async with scene(serve_raw(head(200) + b"x" * 100)) as s:
        async with s.client.stream("GET", s.url):
            pass
        assert s.network.open_connections == 0


async def test_early_ends_hold_up_nobody_and_hurt_nobody(autojump_clock: MockClock) -> None:
    async with scene(serve_chunked([bytes(1000)] * 1000, every=1), unhealthy_threshold=1) as s:
        for _ in range(5):
            async with s.client.stream("GET", s.url) as response:
                await anext(response.aiter_raw())
        await settle()
        assert s.only_endpoint.failures == 0
        assert_at_rest(s.pool, s.network)


async def test_a_response_can_be_distrusted(autojump_clock: MockClock) -> None:
    async with scene() as s:
        async with s.client.stream("GET", s.url) as response:
            response.discard_connection()
        assert s.seen.close_reasons == ["discarded"]


async def test_the_pool_closes_while_a_rest_is_being_read(autojump_clock: MockClock) -> None:
    async with scene(serves_events(0.05)) as s, trio.open_nursery() as nursery:
        nursery.start_soon(stop_at_done, s)
        await trio.sleep(0.03)
        assert s.pool.statistics().active == 1
        await s.pool.aclose()
        assert s.network.open_connections == 0
        assert s.pool.statistics().total == 0


async def test_a_drain_waits_for_a_rest_that_is_being_read(autojump_clock: MockClock) -> None:
    async with scene(serves_events(0.05)) as s, trio.open_nursery() as nursery:
        nursery.start_soon(stop_at_done, s)
        await trio.sleep(0.03)
        await s.pool.drain()
        assert trio.current_time() == pytest.approx(0.07)
