"""The numbers add up at every moment, and the same seed gives the same run."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock import events
from penstock.testing import FakeNetwork, ScriptedPeer, serve_ok
from tests.support.scene import Recorder, Scene, assert_at_rest, assert_books_add_up, scene, settle
from tests.support.sweep import _reproducible

if TYPE_CHECKING:
    from trio.testing import MockClock


async def moody(peer: ScriptedPeer) -> None:
    """Answers, closes, resets, stalls and drips, in turn."""
    number = 0
    while True:
        request = await peer.expect_request()
        number += 1
        mood = int(request.target[1:]) % 7
        if mood == 1:
            return
        if mood == 2:
            peer.rst()
            return
        if mood == 3:
            await peer.stall()
        await peer.wait(0.01 * mood)
        await peer.respond(200, [(b"connection", b"close")] if mood == 4 else (), b"x" * 100, pieces=30, every=0.01)


async def make_traffic(s: Scene, seed: int, requests: int = 150) -> None:
    """Requests of all kinds to several origins, some of them given up."""
    chance = random.Random(seed)
    urls = [s.url, *(s.serve(f"host{number}.test", moody) for number in range(3)), "http://nowhere.test"]

    async def one(url: str, target: int, patience: float) -> None:
        with trio.move_on_after(patience):
            try:
                async with s.client.stream("GET", f"{url}/{target}", timeout=penstock.Timeouts(read=0.5)) as response:
                    if target % 2:
                        await response.aread()
            except penstock.PenstockError:
                pass

    async with trio.open_nursery() as nursery:
        for _ in range(requests):
            nursery.start_soon(one, chance.choice(urls), chance.randrange(1000), chance.expovariate(1))
            await trio.sleep(chance.expovariate(50))


class Bookkeeper:
    """Keeps books of its own from the events, and compares them with the pool's at each of them."""

    def __init__(self, pool: penstock.Pool) -> None:
        self._pool = pool
        self.levels: dict[int, str] = {}
        self.counted = dict.fromkeys(("started", "opened", "failed", "taken", "closed"), 0)
        pool.add_instrument(self)

    def event(self, event: events.Event) -> None:
        books = self._pool.statistics()
        assert_books_add_up(books)
        match event:
            case events.DialStarted():
                self.counted["started"] += 1
            case events.ConnectionOpened():
                self.counted["opened"] += 1
            case events.DialFailed():
                self.counted["failed"] += 1
            case events.ConnectionTaken():
                self.counted["taken"] += 1
            case events.ConnectionClosed():
                self.counted["closed"] += 1


@pytest.mark.parametrize("seed", range(5))
async def test_the_books_add_up_at_every_moment(seed: int, autojump_clock: MockClock) -> None:
    async with scene(moody, max_connections=6, max_connections_per_host=3, max_waiters=20, seed=seed) as s:
        books = Bookkeeper(s.pool)
        await make_traffic(s, seed)
        await settle(5)
        assert_at_rest(s.pool, s.network)
        counts = s.pool.statistics().counts
        assert books.counted == {
            "started": counts.dials_started,
            "opened": counts.dials_ok,
            "failed": counts.dials_failed,
            "taken": counts.delivered,
            "closed": counts.closed,
        }
        assert counts.released == counts.delivered - counts.refused
        assert s.network.connects >= counts.dials_ok
        by_reason = [sum(endpoint.closed_by_reason.values()) for endpoint in s.pool.statistics().endpoints]
        assert sum(by_reason) == counts.closed
        # No bookkeeper raised.
        s.pool.remove_instrument(books)
        await settle(1000)
        assert s.pool.statistics().endpoints == ()
        kept = s.pool.statistics().counts
        assert (kept.acquires, kept.delivered, kept.dials_ok) == (counts.acquires, counts.delivered, counts.dials_ok)


async def test_what_a_snapshot_says(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=5), max_connections=10, max_connections_per_host=2) as s:
        await s.pool.prewarm(s.url, 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.client.get, s.url)
            await trio.sleep(2)
            (endpoint,) = s.pool.statistics().endpoints
            assert (endpoint.active, endpoint.idle, endpoint.max_connections) == (1, 0, 2)
            (connection,) = endpoint.connections
            assert (connection.state, connection.in_use, connection.exchanges) == ("active", 1, 1)
            assert (connection.age, connection.idle_for) == (2.0, 0.0)
            for _ in range(2):
                nursery.start_soon(s.client.get, s.url)
            await trio.sleep(1)
            assert s.only_endpoint.oldest_wait == 1.0
            assert s.pool.statistics().waiting == 1
        await settle(4)
        assert [connection.state for connection in s.only_endpoint.connections] == ["idle"] * 2
        assert s.only_endpoint.connections[0].idle_for > 0
        counts = s.pool.statistics().counts
        assert (counts.waited, counts.waited_seconds) == (2, 3.0)


async def test_a_snapshot_does_not_change(autojump_clock: MockClock) -> None:
    async with scene() as s:
        before = s.pool.statistics()
        await s.client.get(s.url)
        assert before.counts.acquires == 0
        assert before.endpoints == ()
        with pytest.raises(AttributeError):
            before.total = 5  # type: ignore[misc]


def run_once(seed: int) -> list[str]:
    """A whole run with this seed of everything; what the pool told."""
    seen = Recorder()

    async def main() -> None:
        async with FakeNetwork(latency=0.003) as network:
            network.listen("api.test", 80, moody)
            config = penstock.PoolConfig(max_connections=4, idle_timeout=3, keep_alive_timeout=5)
            pool = penstock.Pool(config, network=network, seed=seed)
            async with pool, penstock.Client(pool) as client:
                pool.add_instrument(seen)
                await make_traffic(Scene(network, pool, client, "http://api.test", seen), 1)
                await settle(20)

    with _reproducible(seed):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return [repr(event) for event in seen.events]


def test_the_same_seed_gives_the_same_run() -> None:
    first = run_once(1)
    assert len(first) > 300
    assert run_once(1) == first
    assert run_once(2) != first
