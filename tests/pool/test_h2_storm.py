"""Everything at once: requests of all kinds, cancelled, too late or left, and servers that change their mind.

The server's engine is strict: a frame that breaks the protocol, a stream too many, content beyond a window fail the
test. The books are checked at every event, and afterwards nothing is left.
"""

from __future__ import annotations

import os
import random
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from tests.support.h2_alpn import alpn_context
from tests.support.h2_server import CANCEL, REFUSED_STREAM, H2Server, H2ServerPeer, Incoming, Reset, Response
from tests.support.scene import Scene, assert_at_rest, assert_books_add_up, scene
from tests.support.sweep import _reproducible

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from penstock import events

REQUESTS = 300

SEEDS = range(int(os.environ.get("SWEEP_SEEDS", "2")))


class Auditor:
    """Checks the books at every event."""

    def __init__(self, pool: penstock.Pool) -> None:
        self._pool = pool
        self.complaints: list[str] = []
        self.looks = 0

    def event(self, event: events.Event) -> None:
        books = self._pool.statistics()
        self.looks += 1
        try:
            assert_books_add_up(books)
            for endpoint in books.endpoints:
                for entry in endpoint.connections:
                    assert entry.in_use >= 0
                    if entry.state in ("idle", "active") and endpoint.waiting:
                        assert entry.in_use + entry.resetting >= entry.capacity, "somebody waits beside room"
        except AssertionError as error:
            self.complaints.append(f"{event}: {error}")


def change(peer: H2ServerPeer, **settings: int) -> None:
    """Say all of them each time: the engine does not know which of its SETTINGS an acknowledgement is for."""
    peer.update_settings(**{"max_concurrent_streams": 10, "initial_window_size": 65535, **settings})


def moody(chance: random.Random) -> H2Server:
    """A server that answers late, in drips, early, with resets, and changes its settings or leaves at any time."""

    async def app(request: Incoming) -> Response:
        mood = chance.random()
        await trio.sleep(chance.expovariate(20))
        if mood < 0.05:
            raise Reset(REFUSED_STREAM)
        if mood < 0.08:
            raise Reset(CANCEL)
        if mood < 0.12:
            change(request.peer, max_concurrent_streams=chance.choice((0, 1, 3, 10, 30)))
        elif mood < 0.15:
            change(request.peer, initial_window_size=chance.choice((0, 10_000, 65535, 1 << 20)))
        elif mood < 0.16:
            request.peer.goaway(last=chance.choice((None, 1, request.stream)))
        elif mood < 0.17:
            request.peer.wire.rst()
        elif mood < 0.25:
            return Response(413, body=b"early", reset_rest=chance.random() < 0.5)
        elif mood < 0.6:
            await request.body()
            return Response(body=b"x" * chance.randrange(100_000), trailers=[(b"x-sum", b"1")])

        async def body() -> AsyncIterator[bytes]:
            async with aclosing(request.pieces()) as pieces:
                async for piece in pieces:
                    yield piece
            for _ in range(chance.randrange(10)):
                await trio.sleep(chance.expovariate(50))
                yield b"x" * chance.randrange(20_000)

        return Response(body=body())

    return H2Server(app, max_concurrent_streams=10, initial_window_size=65535)


async def one_request(s: Scene, chance: random.Random) -> None:
    """A request of some kind, and somehow given up or not."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(chance.randrange(10)):
            await trio.sleep(chance.expovariate(100))
            yield b"y" * chance.randrange(30_000)

    kind = chance.randrange(4)
    content = {0: None, 1: b"z" * chance.randrange(100_000), 2: pieces(), 3: None}[kind]
    limits = penstock.Timeouts(read=chance.choice((0.05, 5)), write=1, pool=2, total=chance.choice((None, 0.3)))
    with trio.move_on_after(chance.choice((0.01, 0.1, 1, 100))):
        try:
            method = "GET" if content is None else "POST"
            async with s.client.stream(method, f"{s.url}/{kind}", content=content, timeout=limits) as response:
                async for _ in response.aiter_bytes():
                    if chance.random() < 0.02:
                        break
                    if chance.random() < 0.1:
                        await trio.sleep(chance.expovariate(20))
        except penstock.PenstockError:
            pass


async def calm_down(server: H2Server) -> None:
    """A server that allows nothing does not do so for ever."""
    while True:
        await trio.sleep(0.2)
        for peer in server.peers:
            if not peer.is_over:
                change(peer)


async def storm(seed: int, *, tls: bool) -> None:
    chance = random.Random(seed)
    server = moody(chance)
    secure = alpn_context("h2") if tls else False
    config = penstock.HTTP2Config(reset_burst=30, reset_rate=5.0, stream_window=65535, connection_window=100_000)
    async with scene(
        server,
        tls=secure,
        latency=0.003,
        capacity=20_000,
        seed=seed,
        http1=False,
        http2_config=config,
        max_connections_per_host=4,
        unhealthy_threshold=50,
    ) as s:
        auditor = Auditor(s.pool)
        s.pool.add_instrument(auditor)
        tasks = len(s.pool._runner._tasks.child_tasks)  # type: ignore[union-attr]
        async with trio.open_nursery() as weather, trio.open_nursery() as nursery:
            weather.start_soon(calm_down, server)
            for _ in range(REQUESTS):
                nursery.start_soon(one_request, s, chance)
                await trio.sleep(chance.expovariate(100))
            await trio.sleep(10)
            weather.cancel_scope.cancel()
        # Connections whose server allows nothing are left, dials end, resets are seen.
        await trio.sleep(50)
        assert auditor.complaints == []
        assert auditor.looks > REQUESTS
        assert_at_rest(s.pool, s.network)
        entries = list(s.pool._runner.machine.connections())
        assert [(entry.in_use, entry.resetting) for entry in entries] == [(0, 0)] * len(entries)
        assert len(s.pool._runner._tasks.child_tasks) == tasks + len(entries)  # type: ignore[union-attr]
        assert not any(peer.open for peer in server.peers if not peer.is_over)
    assert len(server.streams) > REQUESTS / 4


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_breaks_and_nothing_is_left(seed: int, *, tls: bool, autojump_clock: MockClock) -> None:
    with _reproducible(seed):
        await storm(seed, tls=tls)
