"""Holding back, letting go, renewing, draining, closing."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import penstock
from penstock.testing import FakeNetwork, serve_chunked, serve_ok, stall
from tests.support.scene import assert_at_rest, at_once, scene, settle

if TYPE_CHECKING:
    from trio.testing import MockClock


def tasks_below(task: trio.lowlevel.Task) -> int:
    """How many tasks run in the nurseries of a task, and in those of its children."""
    children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return len(children) + sum(tasks_below(child) for child in children)


async def test_suspend_holds_new_requests_back(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=1)) as s:
        await s.client.get(s.url)
        answered: list[float] = []

        async def ask() -> None:
            await s.client.get(s.url)
            answered.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            s.pool.suspend()
            s.pool.suspend()
            assert s.pool.statistics().phase == "suspended"
            nursery.start_soon(ask)
            await trio.sleep(10)
            # What was in flight went on.
            assert answered == [2]
            s.pool.resume()
            s.pool.resume()
        assert answered == [2, 12]
        assert s.requests_per_connection == [3]
        assert_at_rest(s.pool, s.network)


async def test_deadlines_run_on_while_suspended(autojump_clock: MockClock) -> None:
    async with scene(pool_timeout=7) as s:
        s.pool.suspend()
        with pytest.raises(penstock.PoolTimeout):
            await s.client.get(s.url)
        assert trio.current_time() == 7
        assert s.network.connects == 0


async def test_renew_retires_every_older_connection(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=1)) as s:
        await s.pool.prewarm(s.url, 2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.client.get, s.url)
            await wait_all_tasks_blocked()
            s.pool.renew()
            # The idle one at once, the other when its exchange has ended.
            assert s.network.open_connections == 1
        assert s.network.open_connections == 0
        assert s.seen.close_reasons == ["generation"] * 2
        await s.client.get(s.url)
        assert s.requests_per_connection in ([0, 1, 1], [1, 0, 1])
        assert_at_rest(s.pool, s.network)


async def test_renew_retires_connections_that_are_being_dialled(autojump_clock: MockClock) -> None:
    async with scene(latency=0.5) as s:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.client.get, s.url)
            await trio.sleep(0.5)
            s.pool.renew()
        # The request was served all the same, by a newer one.
        assert s.requests_per_connection == [0, 1]


async def test_renew_with_a_floor_builds_it_anew(autojump_clock: MockClock) -> None:
    async with scene(upstreams=[penstock.Upstream("http://api.test", min_idle=3)]) as s:
        await settle()
        s.pool.renew()
        await settle()
        assert s.network.connects == 6
        assert s.network.open_connections == 3


async def test_drain_lets_what_is_in_flight_finish(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=3), max_connections=2) as s:
        answers: list[int] = []
        refused: list[penstock.PoolClosed] = []

        async def ask() -> None:
            try:
                answers.append((await s.client.get(s.url)).status_code)
            except penstock.PoolClosed as error:
                refused.append(error)

        await s.pool.prewarm(s.url, 2)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            nursery.start_soon(s.pool.drain)
            await wait_all_tasks_blocked()
            assert len(refused) == 1
            assert s.pool.statistics().phase == "draining"
            await ask()
            assert "the pool is draining" in str(refused[1])
        assert answers == [200, 200]
        assert trio.current_time() == 3
        assert s.pool.statistics().phase == "closed"
        assert s.pool.statistics().total == 0


async def test_drain_of_a_pool_at_rest_takes_no_time(autojump_clock: MockClock) -> None:
    async with scene() as s:
        await s.client.get(s.url)
        await s.pool.drain()
        await s.pool.drain()
        assert trio.current_time() == 0
        assert s.network.open_connections == 0


async def test_drain_ends_dials(autojump_clock: MockClock) -> None:
    async with scene(drain_timeout=100) as s:
        s.network.add_host("slow.test", "192.0.2.7")
        s.network.route("192.0.2.7", delay=inf)
        with trio.move_on_after(1):
            await s.pool.prewarm("http://slow.test", 3)
        await s.pool.drain()
        assert trio.current_time() == 1


async def test_drain_gives_up_after_its_time(autojump_clock: MockClock) -> None:
    async with scene(stall, drain_timeout=5, read_timeout=None) as s, trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(penstock.PoolClosed, match="closed during the exchange"):
                await s.client.get(s.url)

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await s.pool.drain()
        assert trio.current_time() == 5
        assert s.network.open_connections == 0


async def test_a_cancelled_drain_leaves_the_pool_draining(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=4)) as s:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.client.get, s.url)
            await wait_all_tasks_blocked()
            with trio.move_on_after(1):
                await s.pool.drain()
            assert s.pool.statistics().phase == "draining"
            with pytest.raises(penstock.PoolClosed):
                await s.client.get(s.url)
        await s.pool.aclose()
        assert s.pool.statistics().phase == "closed"


async def test_leaving_the_block_ends_every_task(autojump_clock: MockClock) -> None:
    me = trio.lowlevel.current_task()
    async with FakeNetwork(latency=0.1) as network:
        network.listen("api.test", 80, serve_chunked([b"x"] * 100, every=1))
        before = tasks_below(me)
        async with penstock.Pool(network=network) as pool, penstock.Client(pool) as client:
            async with client.stream("GET", "http://api.test") as response:
                assert await anext(response.aiter_bytes()) == b"x"
            await pool.prewarm("http://api.test", 3)
            assert tasks_below(me) > before
        # A server's task each is left, until it sees that the client has gone.
        assert network.open_connections == 0
        await settle(5)
        assert tasks_below(me) == before


async def test_aclose_may_be_repeated_and_comes_before_the_end_of_the_block(autojump_clock: MockClock) -> None:
    async with scene() as s:
        await s.client.get(s.url)
        for _ in range(3):
            await s.pool.aclose()
            assert s.network.open_connections == 0
        await at_once(3, s.pool.aclose)
        assert s.pool.statistics().phase == "closed"
    await s.pool.aclose()


async def test_aclose_in_a_cancelled_scope_closes_everything(autojump_clock: MockClock) -> None:
    async with scene(serve_chunked([b"x"] * 100, every=1)) as s:
        with trio.CancelScope() as scope:
            async with s.client.stream("GET", s.url):
                scope.cancel()
                await s.pool.aclose()
        assert scope.cancelled_caught
        assert s.network.open_connections == 0
        assert s.pool.statistics().total == 0


async def test_aclose_before_the_pool_was_opened() -> None:
    pool = penstock.Pool()
    await pool.aclose()
    async with pool:
        assert pool.statistics().phase == "running"


async def test_a_pool_that_is_left_in_a_cancelled_scope(autojump_clock: MockClock) -> None:
    async with FakeNetwork() as network:
        network.listen("api.test", 80, serve_ok())
        with trio.CancelScope() as scope:
            async with penstock.Pool(network=network) as pool, penstock.Client(pool) as client:
                await client.get("http://api.test")
                scope.cancel()
        assert network.open_connections == 0
        assert pool.statistics().phase == "closed"
