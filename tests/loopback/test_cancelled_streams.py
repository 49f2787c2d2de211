"""A stream that nobody wants any more reaches the provider within 100 ms, on real sockets and by the server's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock.testing import ClientGone, ScriptedPeer, chunk, head
from tests.support.certificates import client_config, server_context
from tests.support.h2_alpn import alpn_context
from tests.support.h2_server import CANCEL, H2Server, Incoming, Response
from tests.support.server import ScriptServer
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

FIELDS = [(b"content-type", b"text/event-stream")]
EVENT = b'data: {"delta": "token"}\n\n'

#: Seconds within which the server must know.
SOON = 0.1


class Provider:
    """Sends one event, and then is busy until the client gives up; `heard_at` is when it noticed."""

    def __init__(self) -> None:
        self.heard_at: float | None = None
        self.server = H2Server(self._app)

    async def over_http1(self, peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.send(head(200, [*FIELDS, (b"transfer-encoding", b"chunked")]) + chunk(EVENT))
        try:
            if await peer.receive():
                raise AssertionError("the client said something")
        except ClientGone:
            pass
        self.heard_at = trio.current_time()

    async def _app(self, _: Incoming) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield EVENT
            await trio.sleep_forever()

        return Response(fields=FIELDS, body=body())

    async def wait_heard(self) -> float:
        """When the server noticed; waits for it."""
        await wait_until(self._has_heard, seconds=5)
        assert self.heard_at is not None
        return self.heard_at

    def _has_heard(self) -> bool:
        for stream in self.server.streams:
            if stream.reset_code is not None:
                assert stream.reset_code == CANCEL
                self.heard_at = stream.ended_at
        return self.heard_at is not None


async def cancelled_while_it_waits(events: penstock.EventStream, scope: trio.CancelScope) -> None:
    async with trio.open_nursery() as nursery:

        async def cancel() -> None:
            await trio.testing.wait_all_tasks_blocked(0.02)
            scope.cancel()

        nursery.start_soon(cancel)
        await anext(events)


async def cancelled_while_it_works(_: penstock.EventStream, scope: trio.CancelScope) -> None:
    async with trio.open_nursery() as nursery:

        async def cancel() -> None:
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()

        nursery.start_soon(cancel)
        await trio.sleep_forever()


async def cancelled_before_it_leaves(_: penstock.EventStream, scope: trio.CancelScope) -> None:
    scope.cancel()
    await trio.lowlevel.cancel_shielded_checkpoint()


async def out_of_time(_: penstock.EventStream, scope: trio.CancelScope) -> None:
    scope.deadline = trio.current_time() + 0.02
    await trio.sleep_forever()


@pytest.mark.parametrize(
    "way", [cancelled_while_it_waits, cancelled_while_it_works, cancelled_before_it_leaves, out_of_time]
)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("http1", [True, False], ids=["HTTP/1.1", "HTTP/2"])
async def test_a_cancelled_stream_reaches_the_provider(
    http1: bool, tls: bool, way: Callable[[penstock.EventStream, trio.CancelScope], Awaitable[None]]
) -> None:
    provider = Provider()
    context: ssl.SSLContext | None = None
    if tls:
        context = server_context() if http1 else alpn_context("h2")
    config = penstock.PoolConfig(tls=client_config(), http1=http1, http2=not http1)
    async with (
        ScriptServer(provider.over_http1 if http1 else provider.server, tls=context) as server,
        penstock.Pool(config) as pool,
        penstock.Client(pool=pool) as client,
    ):
        cancelled_at = 0.0
        with trio.CancelScope() as scope:
            async with client.sse("POST", server.url, json={}) as events:
                assert (await anext(events)).json() == {"delta": "token"}
                try:
                    await way(events, scope)
                finally:
                    cancelled_at = trio.current_time()
        # Nobody waited for anything in between.
        assert trio.current_time() - cancelled_at < SOON
        assert await provider.wait_heard() - cancelled_at < SOON
        assert pool.statistics().active == 0


@pytest.mark.parametrize("is_late", [False, True], ids=["in one piece", "once the stream was left"])
@pytest.mark.parametrize("http1", [True, False], ids=["HTTP/1.1", "HTTP/2"])
async def test_five_streams_that_stop_at_done_use_one_connection(http1: bool, is_late: bool) -> None:
    left = trio.Event()

    async def app(_: Incoming) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield EVENT
            yield b"data: [DONE]\n\n"
            if is_late:
                await left.wait()

        return Response(fields=FIELDS, body=body())

    async def over_http1(peer: ScriptedPeer) -> None:
        while True:
            await peer.expect_request()
            await peer.send(head(200, [*FIELDS, (b"transfer-encoding", b"chunked")]) + chunk(EVENT))
            done = chunk(b"data: [DONE]\n\n")
            if not is_late:
                await peer.send(done + chunk(b""))
            else:
                await peer.send(done)
                await left.wait()
                await peer.send(chunk(b""))

    h2_server = H2Server(app)
    async with (
        ScriptServer(over_http1 if http1 else h2_server) as server,
        penstock.Pool(penstock.PoolConfig(http1=http1, http2=not http1)) as pool,
        penstock.Client(pool=pool) as client,
    ):
        for _ in range(5):
            left = trio.Event()
            async with client.sse("POST", server.url, json={}) as events:
                async for event in events:
                    if event.data == "[DONE]":
                        # The server goes on when this task waits next, and that is when it leaves.
                        left.set()
                        break
            assert pool.statistics().active == 0
        assert server.connections == 1
        assert [stream.reset_code for stream in h2_server.streams] == ([] if http1 else [None] * 5)
