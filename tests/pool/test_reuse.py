"""A connection is taken, carries one exchange after another, and goes back by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock.testing import serve_chunked, serve_echo, serve_ok
from tests.support.scene import assert_at_rest, at_once, scene, settle

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_one_connection_carries_one_request_after_another(autojump_clock: MockClock) -> None:
    async with scene(latency=0.01) as s:
        numbers = [(await s.client.get(f"{s.url}/{path}")).connection_id for path in range(5)]
        assert len(set(numbers)) == 1
        assert s.requests_per_connection == [5]
        assert s.pool.statistics().counts.reused == 4
        assert_at_rest(s.pool, s.network)


async def test_one_connection_over_tls(autojump_clock: MockClock) -> None:
    async with scene(tls=True) as s:
        for _ in range(3):
            assert (await s.client.get(s.url)).text == "ok"
        assert s.requests_per_connection == [3]


async def test_a_lease_carries_a_request_by_hand(autojump_clock: MockClock) -> None:
    async with scene(serve_echo()) as s:
        async with s.pool.acquire(s.url) as lease:
            assert (lease.head, lease.http_version, str(lease.origin)) == (None, "", s.url)
            head = await lease.request("POST", "/path?x=1", headers={"X-Mine": "yes"}, content=b"body")
            assert (head.status, lease.http_version) == (200, "HTTP/1.1")
            assert await lease.read() == b"body"
            assert await lease.read() == b""
            assert lease.is_released
        request = s.network.peers[0].requests[0]
        assert (request.method, request.target, request.header(b"x-mine")) == (b"POST", b"/path?x=1", b"yes")
        assert_at_rest(s.pool, s.network)


async def test_a_lease_that_sent_nothing_goes_back_as_it_was(autojump_clock: MockClock) -> None:
    async with scene() as s:
        for _ in range(3):
            async with s.pool.acquire(s.url) as lease:
                first = lease.connection_id
        assert first == 1
        assert s.network.connects == 1
        assert_at_rest(s.pool, s.network)


async def test_a_lease_carries_one_exchange(autojump_clock: MockClock) -> None:
    async with scene() as s:
        async with s.pool.acquire(s.url) as lease:
            with pytest.raises(penstock.StreamClosed, match="no request"):
                await lease.read()
            await lease.request("GET", "/")
            with pytest.raises(penstock.LocalProtocolError, match="one exchange"):
                await lease.request("GET", "/")
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_a_discarded_lease_closes_its_connection(autojump_clock: MockClock) -> None:
    async with scene() as s:
        async with s.pool.acquire(s.url) as lease:
            lease.discard()
            lease.discard()
            assert s.network.open_connections == 0
        async with s.pool.acquire(s.url) as lease:
            await lease.request("GET", "/")
            lease.discard()
            with pytest.raises(penstock.StreamClosed):
                await lease.read()
        assert s.seen.close_reasons == ["discarded", "discarded"]
        assert_at_rest(s.pool, s.network)


async def test_a_body_read_to_its_end_gives_the_connection_back_before_the_block_ends(
    autojump_clock: MockClock,
) -> None:
    async with scene(serve_chunked([b"a", b"b"]), max_connections=1) as s:
        async with s.client.stream("GET", s.url) as response:
            assert await response.aread() == b"ab"
            assert (await s.client.get(s.url)).content == b"ab"
        assert s.requests_per_connection == [2]


async def test_as_many_connections_as_requests_at_once(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=1), max_connections_per_host=10) as s:
        started = trio.current_time()
        await at_once(10, lambda: s.client.get(s.url))
        assert trio.current_time() - started == 1
        assert s.requests_per_connection == [1] * 10
        await at_once(10, lambda: s.client.get(s.url))
        assert s.requests_per_connection == [2] * 10
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize(("reuse", "how_many"), [("lifo", 1), ("round_robin", 3)])
async def test_the_strategy_picks_among_idle_connections(reuse: str, how_many: int, autojump_clock: MockClock) -> None:
    async with scene(reuse=reuse) as s:
        await s.pool.prewarm(s.url, 3)
        taken = [(await s.client.get(s.url)).connection_id for _ in range(3)]
        assert len(set(taken)) == how_many
