"""A dial belongs to the pool: a waiter takes whatever connection comes first, and what it did not need becomes idle."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock.testing import serve_ok
from tests.support.scene import assert_at_rest, scene, settle

if TYPE_CHECKING:
    from trio.testing import MockClock

ADDRESS = "192.0.2.7"


async def test_a_released_connection_serves_while_the_dial_hangs(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=1)) as s:
        s.network.add_host("slow.test", ADDRESS)
        url = s.serve("slow.test", serve_ok(delay=1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.client.get, url)
            await trio.sleep(0.5)
            s.network.route(ADDRESS, delay=3)
            started = trio.current_time()
            response = await s.client.get(url)
            # 0.5 s until the first connection is free, 1 s for the answer; the dial would have taken 3 s.
            assert trio.current_time() - started == 1.5
            assert response.connection_id == 1
            assert s.pool.statistics().dialing == 1
            await trio.sleep(5)
        assert s.pool.statistics().idle == 2
        assert s.requests_per_connection == [2, 0]
        assert_at_rest(s.pool, s.network)


async def test_the_dial_serves_whoever_is_next(autojump_clock: MockClock) -> None:
    async with scene(max_connections=1) as s:
        s.network.add_host("slow.test", ADDRESS)
        s.network.route(ADDRESS, delay=2)
        url = s.serve("slow.test", serve_ok())
        async with trio.open_nursery() as nursery:
            leaver = trio.CancelScope()

            async def leaves() -> None:
                with leaver:
                    await s.client.get(url)

            nursery.start_soon(leaves)
            await trio.sleep(1)
            nursery.start_soon(s.client.get, url)
            await trio.sleep(0.5)
            leaver.cancel()
        assert trio.current_time() == 2
        assert s.network.connects == 1
        assert_at_rest(s.pool, s.network)


async def test_a_dial_that_nobody_waits_for_any_more_ends_as_an_idle_connection(autojump_clock: MockClock) -> None:
    async with scene() as s:
        s.network.add_host("slow.test", ADDRESS)
        s.network.route(ADDRESS, delay=2)
        url = s.serve("slow.test", serve_ok())
        with trio.move_on_after(1):
            await s.client.get(url)
        assert s.pool.statistics().dialing == 1
        await settle(2)
        assert s.pool.statistics().idle == 1
        await s.client.get(url)
        assert s.network.connects == 1


async def test_a_dial_that_fails_after_its_waiter_was_served_bothers_nobody(autojump_clock: MockClock) -> None:
    async with scene() as s:
        s.network.add_host("slow.test", ADDRESS)
        url = s.serve("slow.test", serve_ok(delay=1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.client.get, url)
            await trio.sleep(0.5)
            s.network.route(ADDRESS, delay=inf)
            assert (await s.client.get(url)).connection_id == 1
        await settle(10)
        books = s.pool.statistics()
        assert (books.counts.dials_failed, books.counts.failed, books.idle) == (1, 0, 1)
        assert_at_rest(s.pool, s.network)


async def test_the_error_of_a_dial_goes_to_the_waiter_it_was_started_for(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=4)) as s:
        s.network.add_host("slow.test", ADDRESS)
        url = s.serve("slow.test", serve_ok(delay=4))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.client.get, url)
            await trio.sleep(0.5)
            s.network.route(ADDRESS, delay=inf)
            with pytest.raises(penstock.ConnectTimeout, match="connect_timeout of 1 s"):
                await s.client.get(url, timeout=penstock.Timeouts(connect=1))
            assert trio.current_time() == 1.5
