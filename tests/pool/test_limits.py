"""Slots never exceed their limits, and a full pool makes room for who has waited longest."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import penstock
from penstock import events
from penstock.testing import serve_ok, serve_then_close
from tests.support.scene import Scene, assert_at_rest, assert_books_add_up, at_once, scene

if TYPE_CHECKING:
    from trio.testing import MockClock


class HighWater:
    """An instrument that watches the network's and the books' highest levels."""

    def __init__(self, s: Scene) -> None:
        self._scene = s
        self.connections = 0
        s.pool.add_instrument(self)

    def event(self, _: events.Event) -> None:
        books = self._scene.pool.statistics()
        assert books.total <= books.max_connections
        assert_books_add_up(books)
        self.connections = max(self.connections, self._scene.network.open_connections)


async def test_the_limit_per_host(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=1), max_connections_per_host=3) as s:
        water = HighWater(s)
        await at_once(10, lambda: s.client.get(s.url))
        assert water.connections == s.network.connects == 3
        assert trio.current_time() == 4


async def test_the_limit_of_the_pool(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=1), max_connections=4, max_connections_per_host=3) as s:
        water = HighWater(s)
        urls = [s.url, *(s.serve(f"host{number}.test", serve_ok(delay=1)) for number in range(3))]
        chance = random.Random(7)
        await at_once(40, lambda: s.client.get(chance.choice(urls)))
        assert water.connections == 4
        assert_at_rest(s.pool, s.network)


async def test_an_upstream_has_a_limit_of_its_own(autojump_clock: MockClock) -> None:
    upstream = penstock.Upstream("http://api.test", max_connections=1)
    async with scene(serve_ok(delay=1), upstreams=[upstream]) as s:
        other = s.serve("other.test", serve_ok(delay=1))
        await at_once(3, lambda: s.client.get(s.url))
        assert trio.current_time() == 3
        await at_once(3, lambda: s.client.get(other))
        assert trio.current_time() == 4


async def test_an_idle_connection_of_another_origin_makes_room(autojump_clock: MockClock) -> None:
    async with scene(max_connections=2) as s:
        others = [s.serve(f"host{number}.test", serve_ok()) for number in range(2)]
        for url in others:
            await s.client.get(url)
            await trio.sleep(1)
        await s.client.get(s.url)
        closed = s.seen.of(events.ConnectionClosed)
        # The one that had been idle longest.
        assert [(str(event.origin), event.reason.value) for event in closed] == [(others[0], "stalled_group")]
        assert s.pool.statistics().total == 2
        assert_at_rest(s.pool, s.network)


async def test_a_freed_slot_goes_to_the_origin_that_has_waited_longest(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=1), max_connections=1) as s:
        served: list[str] = []

        async def ask(url: str) -> None:
            await s.client.get(url)
            served.append(url)

        first = s.serve("first.test", serve_ok(delay=1))
        second = s.serve("second.test", serve_ok(delay=1))
        async with trio.open_nursery() as nursery:
            for url in (s.url, first, second, s.url):
                nursery.start_soon(ask, url)
                await wait_all_tasks_blocked()
        # The second request for s.url finds the connection that was just released; the others need new ones.
        assert served[0] == s.url
        assert sorted(served) == sorted([s.url, s.url, first, second])
        assert served.index(first) < served.index(second)
        assert_at_rest(s.pool, s.network)


async def test_no_origin_starves(autojump_clock: MockClock) -> None:
    """One origin whose connections are taken over again and again does not keep the other one out for ever."""
    async with scene(serve_ok(delay=1), max_connections=1, pool_timeout=1000) as s:
        other = s.serve("other.test", serve_ok(delay=1))

        async def insist() -> None:
            while True:
                await s.client.get(s.url)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(insist)
            await trio.sleep(0.5)
            with trio.fail_after(100):
                await s.client.get(other)
            nursery.cancel_scope.cancel()


async def test_idle_connections_have_a_limit_of_their_own(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=1), max_idle_connections=2) as s:
        await at_once(5, lambda: s.client.get(s.url))
        assert s.network.connects == 5
        assert s.network.open_connections == 2
        assert s.seen.close_reasons == ["surplus"] * 3
        assert_at_rest(s.pool, s.network)


async def test_no_idle_connection_at_all(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=1), max_idle_connections=0, max_connections=2) as s:
        await at_once(4, lambda: s.client.get(s.url))
        assert s.network.open_connections == 0
        # Those who waited took over the connections of those who were served; nothing was idle in between.
        assert s.requests_per_connection == [2, 2]


async def test_dials_at_once_are_limited(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=1), max_dials_per_host=2, latency=0.5) as s:
        await at_once(6, lambda: s.client.get(s.url))
        times = [attempt.at for attempt in s.network.attempts]
        assert all(times.count(at) <= 2 for at in times)
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize("capacity", [1, 3])
async def test_a_server_that_closes_after_each_answer(capacity: int, autojump_clock: MockClock) -> None:
    async with scene(serve_then_close(), max_connections=capacity, latency=0.01) as s:
        water = HighWater(s)
        await at_once(12, lambda: s.client.get(s.url))
        assert s.requests_per_connection == [1] * 12
        assert water.connections == capacity
        assert s.seen.close_reasons == ["connection_close_header"] * 12
        assert_at_rest(s.pool, s.network)
