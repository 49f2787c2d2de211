"""Holding back, letting go, renewing, draining, closing, while connections carry many exchanges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import penstock
from penstock.testing import FakeNetwork
from tests.support.h2_server import H2Server, Incoming, Response, answer
from tests.support.scene import Scene, assert_at_rest, at_once, scene, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock


async def slowly(request: Incoming) -> Response:
    """Answer after as many seconds as the path says."""
    await trio.sleep(float(request.path[1:]))
    return Response(body=request.path)


def tasks_below(task: trio.lowlevel.Task) -> int:
    """How many tasks run in the nurseries of a task, and in those of its children."""
    children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return len(children) + sum(tasks_below(child) for child in children)


async def ask(s: Scene, count: int) -> None:
    for response in await at_once(count, lambda: s.client.get(s.url)):
        assert response.status_code == 200  # type: ignore[attr-defined]


async def test_a_suspended_pool_opens_no_stream_on_a_connection_with_room(autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=5))
    async with scene(server, http1=False) as s, trio.open_nursery() as nursery:
        nursery.start_soon(ask, s, 3)
        await trio.sleep(1)
        s.pool.suspend()
        nursery.start_soon(ask, s, 4)
        await trio.sleep(20)
        assert len(server.streams) == 3
        assert s.pool.statistics().waiting == 4
        s.pool.resume()
        await wait_all_tasks_blocked()
        assert (len(server.streams), server.connections) == (7, 1)


async def test_renewed_connections_finish_their_streams_beside_the_new_ones(autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=5))
    async with scene(server, http1=False) as s:
        await s.pool.prewarm(s.url, 2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, s, 10)
            await trio.sleep(1)
            s.pool.renew()
            await wait_all_tasks_blocked()
            assert s.network.open_connections == 1
            nursery.start_soon(ask, s, 10)
        assert sorted(server.streams_per_connection) == [0, 10, 10]
        assert (server.resets, s.seen.close_reasons) == ([], ["generation"] * 2)
        assert_at_rest(s.pool, s.network)


async def test_a_drain_waits_for_streams_and_cuts_those_that_do_not_end(autojump_clock: MockClock) -> None:
    server = H2Server(slowly)
    async with scene(server, http1=False, drain_timeout=5) as s, trio.open_nursery() as nursery:
        answered: list[bytes] = []
        cut: list[float] = []

        async def one(seconds: int) -> None:
            try:
                answered.append((await s.client.get(f"{s.url}/{seconds}")).content)
            except penstock.PoolClosed:
                cut.append(trio.current_time())

        for seconds in (1, 3, 4, 20):
            nursery.start_soon(one, seconds)
        await wait_all_tasks_blocked()
        await s.pool.drain()
        assert s.network.open_connections == 0
        await wait_all_tasks_blocked()
        assert answered == [b"/1", b"/3", b"/4"]
        assert cut == [5.0]
        assert s.pool.statistics().phase == "closed"


async def test_a_drained_pool_is_closed_as_soon_as_the_last_stream_has_ended(autojump_clock: MockClock) -> None:
    async with scene(H2Server(slowly), http1=False) as s, trio.open_nursery() as nursery:
        for seconds in (1, 2, 3):
            nursery.start_soon(s.client.get, f"{s.url}/{seconds}")
        await wait_all_tasks_blocked()
        await s.pool.drain()
        assert trio.current_time() == 3
        assert s.seen.close_reasons == ["draining"]


@pytest.mark.parametrize("way", ["aclose", "leave", "cancelled leave"])
async def test_nothing_is_left_of_streams_uploads_and_waiters(way: str, autojump_clock: MockClock) -> None:
    me = trio.lowlevel.current_task()
    generators_closed: list[int] = []
    ended: list[str] = []

    async def content(number: int) -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(1000)
                await trio.sleep(0.1 if number % 2 else 100)
        finally:
            generators_closed.append(number)

    async def forever(request: Incoming) -> Response:
        if request.path == b"/body":

            async def pieces() -> AsyncIterator[bytes]:
                while True:
                    yield b"x"
                    await trio.sleep(1)

            return Response(body=pieces())
        if request.path == b"/read":
            await request.body()
        await trio.sleep_forever()
        raise AssertionError

    async with FakeNetwork(latency=0.01) as network:
        network.listen("api.test", 80, H2Server(forever, max_concurrent_streams=10))
        before = tasks_below(me)
        pool = penstock.Pool(penstock.PoolConfig(http1=False, max_connections_per_host=1), network=network)
        client = penstock.Client(pool)

        async def get(path: str) -> None:
            with pytest.raises(penstock.PoolClosed):
                await client.get(f"http://api.test/{path}")
            ended.append("get")

        async def post(number: int) -> None:
            with pytest.raises(penstock.PoolClosed):
                await client.post(f"http://api.test/{'read' if number < 2 else ''}", content=content(number))
            ended.append("post")

        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                async with pool, client:
                    for number in range(4):
                        nursery.start_soon(post, number)
                    await trio.sleep(0.5)
                    for path in ("body", "body", "", "", "", "", "", "", ""):
                        nursery.start_soon(get, path)
                    await trio.sleep(3)
                    assert pool.statistics().waiting == 3
                    if way == "aclose":
                        await pool.aclose()
                        assert network.open_connections == 0
                    elif way == "cancelled leave":
                        scope.cancel()
            assert network.open_connections == 0
            with trio.fail_after(0.5):
                await wait_all_tasks_blocked()
            assert (ended.count("get"), ended.count("post")) == (9, 4)
            assert sorted(generators_closed) == [0, 1, 2, 3]
        await settle()
        assert tasks_below(me) == before
        assert pool.statistics().total == 0
