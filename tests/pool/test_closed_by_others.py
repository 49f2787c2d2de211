"""A stream that another task closes: its reader hears of that, and who closes it twice waits for the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

import penstock
from penstock.testing import ScriptedPeer, chunk, head
from tests.support.h2_server import H2Server, Incoming, Response
from tests.support.scene import Scene, assert_at_rest, scene, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from trio.testing import MockClock

FIELDS = [(b"content-type", b"text/event-stream")]
EVENT = b"id: 1\ndata: a\n\n"


def open_scene(protocol: str, **settings: Any) -> AbstractAsyncContextManager[Scene]:
    """A server that sends one event, and no more; for /ends the end follows 50 ms later."""

    async def app(request: Incoming) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield EVENT
            if request.path != b"/ends":
                await trio.sleep_forever()
            await trio.sleep(0.05)

        return Response(fields=FIELDS, body=body())

    async def peer_app(peer: ScriptedPeer) -> None:
        while True:
            request = await peer.expect_request()
            await peer.send(head(200, [*FIELDS, (b"transfer-encoding", b"chunked")]) + chunk(EVENT))
            if request.target != b"/ends":
                await peer.stall()
            await peer.wait(0.05)
            await peer.send(chunk(b""))

    if protocol == "HTTP/2":
        return scene(H2Server(app), http1=False, **settings)
    return scene(peer_app, **settings)


@pytest.mark.parametrize("reconnect", [None, penstock.Reconnect()])
async def test_a_reader_of_events_is_told(
    protocol: str, reconnect: penstock.Reconnect | None, autojump_clock: MockClock
) -> None:
    async with open_scene(protocol) as s:
        async with trio.open_nursery() as nursery, s.client.sse("GET", s.url, reconnect=reconnect) as events:

            async def read() -> None:
                assert (await anext(events)).data == "a"
                with pytest.raises(penstock.StreamClosed):
                    await anext(events)

            nursery.start_soon(read)
            await trio.sleep(1)
        await settle()
        assert len(s.network.peers) == 1
        assert_at_rest(s.pool, s.network)
        assert s.only_endpoint.failures == 0


async def test_a_reader_of_a_lease_is_told(protocol: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol) as s:
        async with trio.open_nursery() as nursery, s.pool.acquire(s.url) as lease:
            await lease.request("GET", "/")

            async def read() -> None:
                assert await lease.read() == EVENT
                with pytest.raises(penstock.StreamClosed):
                    await lease.read()

            nursery.start_soon(read)
            await trio.sleep(1)
            await lease.aclose()
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_whoever_closes_a_lease_waits_for_its_connection(protocol: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol) as s:
        async with trio.open_nursery() as nursery, s.pool.acquire(s.url) as lease:
            await lease.request("GET", "/ends")
            assert await lease.read() == EVENT
            start = trio.current_time()

            async def close() -> None:
                await lease.aclose()
                assert trio.current_time() - start == pytest.approx(0.05)
                assert s.pool.statistics().active == 0

            for _ in range(3):
                nursery.start_soon(close)
        assert s.pool.statistics().idle == 1
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_a_pool_that_closes_ends_the_pause_of_a_stream(autojump_clock: MockClock) -> None:
    async with open_scene("HTTP/1.1") as s:
        policy = penstock.Reconnect(delay=50, jitter=0)
        async with trio.open_nursery() as nursery, s.client.sse("GET", f"{s.url}/ends", reconnect=policy) as events:
            assert (await anext(events)).data == "a"

            async def read() -> None:
                with pytest.raises(penstock.PoolClosed):
                    await anext(events)
                assert trio.current_time() == 1

            nursery.start_soon(read)
            await trio.sleep_until(1)
            await s.pool.aclose()
