"""Hundreds of streams at once on real sockets: all of them end, or all are cancelled, and nothing is left of them."""

from __future__ import annotations

import gc
import socket
import ssl
from collections.abc import Iterator

import pytest
import trio

import penstock
from penstock._http.h1 import HTTP1Connection, HTTP1Exchange
from penstock._http.h1_body import BodyParser
from penstock._net.stream import SocketStream
from penstock._net.tls_stream import TLSStream
from penstock.testing import Handler, ScriptedPeer, chunk, head
from tests.support.certificates import client_config, server_context
from tests.support.server import ScriptServer

STREAMS = 250
EVENT = b'data: {"delta": "token"}\n\n'

OF_A_CONNECTION = (
    BodyParser, HTTP1Connection, HTTP1Exchange, TLSStream, SocketStream, ssl.SSLObject, socket.socket,
)  # fmt: skip


@pytest.fixture
def no_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest) -> ssl.SSLContext | None:
    return server_context() if request.param == "tls" else None


def serve_events(go_on: trio.Event) -> Handler:
    """Answer with one event, and with another and the end when told to."""

    async def handler(peer: ScriptedPeer) -> None:
        while True:
            await peer.expect_request()
            fields = [(b"content-type", b"text/event-stream"), (b"transfer-encoding", b"chunked")]
            await peer.send(head(200, fields) + chunk(EVENT))
            await go_on.wait()
            await peer.send(chunk(EVENT) + chunk(b""))

    return handler


class Followers:
    """Tasks that each follow one stream."""

    def __init__(self, client: penstock.Client, url: str) -> None:
        self._client, self._url = client, url
        self.open = trio.Semaphore(0)
        self.counts: list[int] = []

    async def follow(self) -> None:
        count = 0
        async with self._client.sse("GET", self._url) as events:
            async for _ in events:
                count += 1
                if count == 1:
                    self.open.release()
        self.counts.append(count)

    async def wait_open(self) -> None:
        for _ in range(STREAMS):
            await self.open.acquire()


def open_pool() -> penstock.Pool:
    return penstock.Pool(
        penstock.PoolConfig(
            max_connections=STREAMS, max_connections_per_host=STREAMS, max_dials_per_host=50, tls=client_config()
        )
    )


def count_objects() -> dict[str, int]:
    """How many objects of connections there are, without asking the garbage collector to look."""
    counts = {kind.__name__: 0 for kind in OF_A_CONNECTION}
    for one in gc.get_objects():
        if type(one) in OF_A_CONNECTION:
            counts[type(one).__name__] += 1
    return counts


@pytest.mark.usefixtures("no_garbage_collector")
async def test_all_of_them_end_and_their_connections_are_kept_without_their_buffers(
    tls: ssl.SSLContext | None,
) -> None:
    go_on = trio.Event()
    async with ScriptServer(serve_events(go_on), tls=tls) as server, open_pool() as pool:
        async with penstock.Client(pool=pool) as client, trio.open_nursery() as nursery:
            followers = Followers(client, server.url)
            for _ in range(STREAMS):
                nursery.start_soon(followers.follow)
            await followers.wait_open()
            assert pool.statistics().total == STREAMS
            go_on.set()
        assert followers.counts == [2] * STREAMS
        assert pool.statistics().idle == STREAMS
        kept = count_objects()
        assert kept["HTTP1Connection"] == STREAMS
        assert kept["HTTP1Exchange"] == kept["BodyParser"] == 0


@pytest.mark.usefixtures("no_garbage_collector")
async def test_nothing_is_left_when_all_are_cancelled_not_even_to_the_garbage_collector(
    tls: ssl.SSLContext | None,
) -> None:
    async with ScriptServer(serve_events(trio.Event()), tls=tls) as server, open_pool() as pool:
        async with penstock.Client(pool=pool) as client:
            async with trio.open_nursery() as nursery:
                followers = Followers(client, server.url)
                for _ in range(STREAMS):
                    nursery.start_soon(followers.follow)
                await followers.wait_open()
                during = count_objects()
                nursery.cancel_scope.cancel()
            after = count_objects()
        assert pool.statistics().total == 0
        assert during["HTTP1Connection"] == during["HTTP1Exchange"] == during["SocketStream"] == STREAMS
        # The pool's heap of timers forgets the last few later.
        assert max(after[kind] for kind in ("HTTP1Connection", "TLSStream", "SocketStream")) < STREAMS / 20
        assert after["HTTP1Exchange"] == 0
        assert during["socket"] - after["socket"] > STREAMS * 0.95
        if tls is not None:
            assert during["TLSStream"] == STREAMS
            assert during["SSLObject"] - after["SSLObject"] > STREAMS * 0.95
