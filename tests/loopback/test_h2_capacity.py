"""A thousand exchanges at once over real sockets: every connection is filled before anybody waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from tests.support.certificates import client_config
from tests.support.h2_alpn import alpn_context
from tests.support.h2_server import H2Server, Incoming, Response
from tests.support.server import ScriptServer

if TYPE_CHECKING:
    from penstock import events

EXCHANGES = 1000
CAP = 100


class RoomWatcher:
    """Looks at the ledger at every event: who waits while a connection has room?"""

    def __init__(self, pool: penstock.Pool) -> None:
        self._pool = pool
        self.looks = 0
        self.waited_beside_room: list[str] = []
        self.above_the_limit: list[str] = []

    def event(self, _: events.Event) -> None:
        # Events are told one by one after each step of the ledger, so what is seen is always a whole step.
        books = self._pool.statistics()
        self.looks += 1
        for endpoint in books.endpoints:
            if len(endpoint.connections) > endpoint.max_connections:
                self.above_the_limit.append(str(endpoint))
            for entry in endpoint.connections:
                if entry.state not in ("idle", "active"):
                    continue
                if entry.in_use + entry.resetting > entry.capacity:
                    self.above_the_limit.append(str(entry))
                elif entry.in_use + entry.resetting < entry.capacity and endpoint.waiting:
                    self.waited_beside_room.append(str(entry))


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_thousand_exchanges_fill_ten_connections_and_none_waits_beside_room(*, tls: bool) -> None:
    running = 0
    all_there = trio.Event()

    async def app(_: Incoming) -> Response:
        nonlocal running
        running += 1
        if running == EXCHANGES:
            all_there.set()
        with trio.fail_after(30):
            await all_there.wait()
        return Response(body=b"ok")

    server = H2Server(app, max_concurrent_streams=CAP)
    config = penstock.PoolConfig(max_connections_per_host=10, http1=False, tls=client_config())
    async with (
        ScriptServer(server, tls=alpn_context("h2") if tls else None) as sockets,
        penstock.Pool(config) as pool,
        penstock.Client(pool=pool) as client,
    ):
        watcher = RoomWatcher(pool)
        pool.add_instrument(watcher)
        answers: list[bytes] = []

        async def ask() -> None:
            answers.append((await client.get(sockets.url)).content)

        with trio.fail_after(60):
            # Twice: over connections that are being dialled, and over those that are there.
            for _ in range(2):
                async with trio.open_nursery() as nursery:
                    for _ in range(EXCHANGES):
                        nursery.start_soon(ask)
        assert answers == [b"ok"] * (2 * EXCHANGES)
        counts = pool.statistics().counts
        assert (counts.dials_ok, counts.dials_failed) == (10, 0)
        assert watcher.looks > 2 * EXCHANGES
        assert watcher.waited_beside_room == []
        assert watcher.above_the_limit == []
    assert server.connections == 10
    assert server.peak_streams == CAP
    assert server.refused == 0
    assert server.resets == []


async def test_more_than_there_is_room_for_are_served_in_turn() -> None:
    async def app(_: Incoming) -> Response:
        await trio.sleep(0.002)
        return Response(body=b"ok")

    server = H2Server(app, max_concurrent_streams=10)
    config = penstock.PoolConfig(max_connections_per_host=5, http1=False, max_waiters=2000)
    async with ScriptServer(server) as sockets, penstock.Pool(config) as pool, penstock.Client(pool=pool) as client:
        watcher = RoomWatcher(pool)
        pool.add_instrument(watcher)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for _ in range(EXCHANGES):
                    nursery.start_soon(client.get, sockets.url)
        assert watcher.waited_beside_room == []
        assert watcher.above_the_limit == []
    assert (server.connections, server.peak_streams, server.refused) == (5, 10, 0)
    assert len(server.streams) == EXCHANGES
