"""Whose turn it is for a stream, and how origins that carry many exchanges share the limit with others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trio.testing import wait_all_tasks_blocked

from penstock.testing import serve_ok
from tests.support.h2_alpn import alpn_context
from tests.support.h2_server import H2Server, answer
from tests.support.scene import assert_at_rest, at_once, scene

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_streams_are_given_out_by_priority_and_in_turns_between_tenants(autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=1), max_concurrent_streams=2)
    async with scene(server, http1=False, max_connections_per_host=1) as s, trio.open_nursery() as nursery:

        async def get(path: str, priority: int, tenant: str | None) -> None:
            await s.client.get(f"{s.url}/{path}", priority=priority, tenant=tenant)

        for path, priority, tenant in [
            *[("first", 0, None)] * 2,
            *[("late", 5, None)] * 2,
            *[("a", 0, "a")] * 4,
            *[("b", 0, "b")] * 2,
            *[("soon", -5, None)] * 2,
        ]:
            nursery.start_soon(get, path, priority, tenant)
            await wait_all_tasks_blocked()
        await trio.sleep(20)
        paths = [stream.path[1:].decode() for stream in server.streams]
        # Two at a time; which of the two is sent first is open.
        pairs = [sorted(paths[number : number + 2]) for number in range(0, 12, 2)]
        assert pairs == [["first"] * 2, ["soon"] * 2, ["a", "b"], ["a", "b"], ["a"] * 2, ["late"] * 2]


async def test_two_origins_share_the_total_limit(autojump_clock: MockClock) -> None:
    server, other = H2Server(answer(delay=1), max_concurrent_streams=10), H2Server(answer(delay=1))
    async with scene(server, http1=False, max_connections=1) as s:
        url = s.serve("other.test", other)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at_once, 10, lambda: s.client.get(s.url))
            await wait_all_tasks_blocked()
            nursery.start_soon(at_once, 10, lambda: s.client.get(url))
            await wait_all_tasks_blocked()
            assert s.network.open_connections == 1
        assert (server.connections, other.connections) == (1, 1)
        assert trio.current_time() == 2
        assert_at_rest(s.pool, s.network)


async def test_origins_of_both_protocols_share_the_total_limit(autojump_clock: MockClock) -> None:
    """Neither starves while both are asked all the time."""
    server = H2Server(answer(delay=0.1), max_concurrent_streams=10)
    secure = alpn_context("h2", "http/1.1")
    async with scene(server, tls=secure, latency=0.01, max_connections=3) as s:
        old = s.serve("old.test", serve_ok(delay=0.1))
        peak = 0

        async def keep_asking(url: str) -> None:
            nonlocal peak
            for _ in range(20):
                assert (await s.client.get(url)).content == b"ok"
                peak = max(peak, s.network.open_connections)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(keep_asking, s.url)
                nursery.start_soon(keep_asking, old)
        assert peak <= 3
        assert len(server.streams) == 400
        assert_at_rest(s.pool, s.network)
