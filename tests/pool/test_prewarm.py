"""Connections that are there before anybody asks: `prewarm`, and the floor that the pool keeps by itself."""

from __future__ import annotations

import errno
from math import inf
from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock.testing import serve_ok, serve_then_close_idle
from tests.support.scene import assert_at_rest, at_once, scene, settle

if TYPE_CHECKING:
    from trio.testing import MockClock

ADDRESS = "192.0.2.7"


@pytest.mark.parametrize("tls", [False, True])
async def test_prewarmed_connections_serve_without_a_dial(tls: bool, autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=1), tls=tls, latency=0.01) as s:
        await s.pool.prewarm(s.url, 4)
        assert s.network.open_connections == s.pool.statistics().idle == 4
        assert all(not peer.requests for peer in s.network.peers)
        await settle()
        await at_once(4, lambda: s.client.get(s.url))
        assert s.requests_per_connection == [1] * 4
        assert_at_rest(s.pool, s.network)


async def test_prewarm_counts_what_is_there(autojump_clock: MockClock) -> None:
    async with scene() as s:
        await s.pool.prewarm(s.url, 2)
        await s.pool.prewarm(s.url, 3)
        await s.pool.prewarm(s.url, 1)
        assert s.network.connects == 3


async def test_prewarm_stays_within_the_limits(autojump_clock: MockClock) -> None:
    async with scene(max_connections=3, max_connections_per_host=2) as s:
        await s.pool.prewarm(s.url, 100)
        assert s.network.open_connections == 2
        await s.pool.prewarm(s.serve("other.test", serve_ok()), 100)
        assert s.network.open_connections == 3


async def test_two_prewarms_at_once(autojump_clock: MockClock) -> None:
    async with scene(latency=0.1) as s:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.pool.prewarm, s.url, 5)
            nursery.start_soon(s.pool.prewarm, s.url, 2)
        assert s.network.connects == 5


@pytest.mark.parametrize("count", [0, -1])
async def test_a_count_that_is_none(count: int, autojump_clock: MockClock) -> None:
    async with scene() as s:
        with pytest.raises(ValueError, match="count must be at least 1"):
            await s.pool.prewarm(s.url, count)


async def test_a_prewarm_that_fails_says_why(autojump_clock: MockClock) -> None:
    async with scene() as s:
        s.network.add_host("down.test", ADDRESS)
        s.network.route(ADDRESS, delay=1, errno=errno.EHOSTUNREACH)
        with pytest.raises(penstock.ConnectError) as e:
            await s.pool.prewarm("http://down.test", 3)
        assert isinstance(e.value.__cause__, OSError)
        assert e.value.__cause__.errno == errno.EHOSTUNREACH
        assert str(e.value.origin) == "http://down.test"
        assert trio.current_time() == 1
        await settle(100)
        # The wish is forgotten: nobody goes on dialling.
        assert s.network.connects == 3
        assert_at_rest(s.pool, s.network)


async def test_a_prewarm_into_a_black_hole_ends_by_the_connect_timeout(autojump_clock: MockClock) -> None:
    async with scene(connect_timeout=4) as s:
        s.network.add_host("slow.test", ADDRESS)
        s.network.route(ADDRESS, delay=inf)
        with pytest.raises(penstock.ConnectTimeout, match="connect_timeout of 4 s"):
            await s.pool.prewarm("http://slow.test", 1)
        assert trio.current_time() == 4


async def test_a_cancelled_prewarm_leaves_its_dials_to_end_by_themselves(autojump_clock: MockClock) -> None:
    async with scene(latency=0.5) as s:
        with trio.move_on_after(0.1) as scope:
            await s.pool.prewarm(s.url, 3)
        assert scope.cancelled_caught
        assert s.pool.statistics().dialing == 3
        await settle()
        assert s.pool.statistics().idle == 3
        assert_at_rest(s.pool, s.network)


async def test_a_prewarm_while_suspended_waits(autojump_clock: MockClock) -> None:
    async with scene(idle_timeout=5, pool_timeout=None) as s:
        s.pool.suspend()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.pool.prewarm, s.url, 2)
            # Longer than an origin is remembered that nobody uses.
            await trio.sleep(60)
            assert s.network.connects == 0
            s.pool.resume()
        assert s.network.open_connections == 2


async def test_a_prewarm_of_an_origin_that_is_left_alone_waits(autojump_clock: MockClock) -> None:
    async with scene(
        idle_timeout=5, unhealthy_threshold=1, dial_backoff=100, dial_backoff_max=100, pool_timeout=None
    ) as s:
        s.network.add_host("down.test", ADDRESS)
        s.network.route(ADDRESS, errno=errno.ECONNREFUSED, times=1)
        url = s.serve("down.test", serve_ok())
        with pytest.raises(penstock.ConnectError):
            await s.client.get(url)
        with trio.fail_after(200):
            await s.pool.prewarm(url, 2)
        assert s.network.open_connections == 2


async def test_a_declared_upstream_keeps_its_floor_from_the_start(autojump_clock: MockClock) -> None:
    upstream = penstock.Upstream("http://api.test", min_idle=3)
    async with scene(upstreams=[upstream], idle_timeout=10) as s:
        await settle()
        assert s.network.open_connections == 3
        # Idle time does not apply to them, and nothing is opened that was not closed.
        await settle(1000)
        assert s.network.open_connections == s.network.connects == 3
        assert_at_rest(s.pool, s.network)


async def test_the_floor_is_kept_up_while_the_peer_closes(autojump_clock: MockClock) -> None:
    upstream = penstock.Upstream("http://api.test", min_idle=2)

    async with scene(serve_then_close_idle(30, count=0), upstreams=[upstream]) as s:
        for _ in range(5):
            await settle(21)
            assert s.network.open_connections == 2
        assert 4 <= s.network.connects <= 10


async def test_the_floor_of_an_origin_in_use_ends_with_the_use(autojump_clock: MockClock) -> None:
    async with scene(min_idle=2, idle_timeout=10) as s:
        await s.client.get(s.url)
        await settle(5)
        assert s.network.open_connections == 2
        await settle(100)
        assert s.network.open_connections == 0
        assert s.pool.statistics().endpoints == ()
        # What was counted stays counted.
        assert s.pool.statistics().counts.acquires == 1


async def test_the_floor_is_restored_after_the_peer_returns(autojump_clock: MockClock) -> None:
    upstream = penstock.Upstream("http://api.test", min_idle=2)
    async with scene(serve_then_close_idle(10, count=0), upstreams=[upstream], dial_backoff_max=20) as s:
        await settle()
        s.network.stop_listening("api.test", 80)
        await settle(600)
        assert s.network.open_connections == 0
        # Backing off: a dial every 10 to 20 s, not a storm.
        assert s.network.connects < 80
        assert s.only_endpoint.paused_for > 0
        s.network.listen("api.test", 80, serve_ok())
        await settle(60)
        assert s.network.open_connections == 2
        await s.client.get(s.url)
        assert s.only_endpoint.failures == 0
        assert_at_rest(s.pool, s.network)


async def test_a_floor_gives_way_to_the_limits(autojump_clock: MockClock) -> None:
    floors = [penstock.Upstream(f"http://host{number}.test", min_idle=2) for number in range(3)]
    async with scene(upstreams=floors, max_connections=4) as s:
        for number in range(3):
            s.serve(f"host{number}.test", serve_ok())
        await settle(60)
        assert s.network.open_connections == 4
        # A request for an origin that has nothing gets its slot all the same.
        assert (await s.client.get(s.url)).text == "ok"
        await settle(90)
        assert s.network.open_connections == 4


async def test_a_prewarm_that_cannot_be_served_ends_with_the_pool_timeout(autojump_clock: MockClock) -> None:
    async with scene(pool_timeout=7) as s:
        s.pool.suspend()
        start = trio.current_time()
        with pytest.raises(penstock.PoolTimeout, match="0 of 2 connections were there within 7 s"):
            await s.pool.prewarm(s.url, 2)
        assert trio.current_time() == start + 7


async def test_a_prewarm_ends_when_the_pool_is_closed(autojump_clock: MockClock) -> None:
    async with scene() as s:
        s.pool.suspend()
        async with trio.open_nursery() as nursery:

            async def prewarm() -> None:
                with pytest.raises(penstock.PoolClosed):
                    await s.pool.prewarm(s.url, 2)

            nursery.start_soon(prewarm)
            await settle()
            await s.pool.aclose()
