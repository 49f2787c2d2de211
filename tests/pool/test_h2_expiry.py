"""When connections that carry many exchanges end: by use, age, idleness and number; and which of them are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from tests.support.h2_server import H2Server, answer
from tests.support.scene import Scene, assert_at_rest, at_once, scene, settle

if TYPE_CHECKING:
    from trio.testing import MockClock


async def ask(s: Scene, count: int) -> None:
    for response in await at_once(count, lambda: s.client.get(s.url)):
        assert response.status_code == 200  # type: ignore[attr-defined]


async def test_without_keep_alive_a_connection_ends_with_the_exchanges_that_share_it(autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=1))
    async with scene(server, http1=False, keep_alive=False) as s:
        for number in (1, 2, 3):
            await ask(s, 10)
            assert s.network.open_connections == 0
            assert server.streams_per_connection == [10] * number
        assert s.seen.close_reasons == ["keep_alive_off"] * 3
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize(("limit", "count"), [(1, 20), (7, 100), (30, 200)])
async def test_no_connection_carries_more_requests_than_allowed(
    limit: int, count: int, autojump_clock: MockClock
) -> None:
    server = H2Server(answer(delay=0.1), max_concurrent_streams=20)
    async with scene(
        server, http1=False, latency=0.01, max_requests_per_connection=limit, max_connections_per_host=3
    ) as s:
        await ask(s, count)
        await ask(s, count)
        assert max(server.streams_per_connection) <= limit
        assert sum(server.streams_per_connection) == 2 * count
        # No more of them than that takes.
        assert server.connections <= -(-2 * count // limit) + 2
        await settle()
        assert_at_rest(s.pool, s.network)
        assert set(s.seen.close_reasons) <= {"max_requests"}


async def test_a_connection_that_is_never_without_streams_ages_all_the_same(autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=1))
    async with scene(server, http1=False, keep_alive_timeout=100) as s:

        async def keep_asking(first: float) -> None:
            await trio.sleep(first)
            while trio.current_time() < 200:
                await s.client.get(s.url)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(keep_asking, number / 5)
        assert server.connections in (2, 3)
        assert set(s.seen.close_reasons) == {"max_age"}
        assert all(stream.status == 200 and stream.reset_code is None for stream in server.streams)
        assert_at_rest(s.pool, s.network)


async def test_what_a_burst_left_over_goes_idle_and_expires_while_the_rest_is_busy(autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=1), max_concurrent_streams=100)
    config = penstock.HTTP2Config(soft_streams=10)
    async with scene(server, http1=False, idle_timeout=20, http2_config=config) as s:
        await ask(s, 400)
        assert s.network.open_connections == 4
        async with trio.open_nursery() as nursery:

            async def keep_asking() -> None:
                while trio.current_time() < 60:
                    await s.client.get(s.url)

            for _ in range(10):
                nursery.start_soon(keep_asking)
            await trio.sleep(25)
            assert s.network.open_connections == 1
        assert s.seen.close_reasons == ["idle_expired"] * 3
        assert server.connections == 4


@pytest.mark.parametrize("reuse", ["round_robin", "least_loaded"])
async def test_the_other_strategies_spread_what_is_in_flight(reuse: str, autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=1), max_concurrent_streams=100)
    async with scene(server, http1=False, reuse=reuse) as s:
        await s.pool.prewarm(s.url, 4)
        await ask(s, 40)
        assert server.streams_per_connection == [10] * 4
        for _ in range(8):
            await s.client.get(s.url)
        assert server.streams_per_connection == [12] * 4


async def test_a_floor_and_a_prewarm_count_connections(autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=1))
    upstream = penstock.Upstream("http://api.test", min_idle=2)
    async with scene(server, http1=False, upstreams=[upstream], idle_timeout=10) as s:
        await settle()
        assert s.network.open_connections == 2
        await s.pool.prewarm(s.url, 5)
        assert s.network.open_connections == 5
        await ask(s, 50)
        # Those beyond the floor expire, and what stays serves without a further one.
        await settle(100)
        assert s.network.open_connections == 2
        await ask(s, 50)
        assert server.connections == 5
        assert_at_rest(s.pool, s.network)


async def test_what_is_idle_beyond_the_limit_is_closed(autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=1), max_concurrent_streams=5)
    async with scene(server, http1=False, max_idle_connections=1) as s:
        await ask(s, 20)
        await settle()
        assert s.network.open_connections == 1
        assert s.seen.close_reasons == ["surplus"] * 3
        assert_at_rest(s.pool, s.network)
