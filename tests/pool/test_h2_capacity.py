"""How many streams a connection carries, when another one is opened, and what a cold start costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock import events
from penstock.testing import serve_ok
from tests.support.h2_alpn import alpn_context, serve_by_alpn
from tests.support.h2_peer import H2Peer, H2Script
from tests.support.h2_server import H2Server, answer
from tests.support.scene import Scene, assert_at_rest, at_once, scene, settle

if TYPE_CHECKING:
    from trio.testing import MockClock


async def ask(s: Scene, count: int) -> float:
    """Ask so often at once; how long it took."""
    start = trio.current_time()
    responses = await at_once(count, lambda: s.client.get(s.url))
    assert all(response.content == b"ok" for response in responses)  # type: ignore[attr-defined]
    return trio.current_time() - start


async def test_a_server_that_says_nothing_is_taken_to_allow_a_hundred(autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=1))
    async with scene(server, http1=False, max_connections_per_host=1) as s:
        assert await ask(s, 100) == pytest.approx(1)
        assert await ask(s, 101) == pytest.approx(2)
        assert (server.connections, server.peak_streams) == (1, 100)


async def test_our_own_limit_holds_where_the_server_allows_more(autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=1), max_concurrent_streams=1000)
    config = penstock.HTTP2Config(max_streams=300)
    async with scene(server, http1=False, max_connections_per_host=1, http2_config=config) as s:
        assert await ask(s, 300) == pytest.approx(1)
        assert server.peak_streams == 300


async def test_a_full_connection_is_joined_by_another_one(autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=1), max_concurrent_streams=10)
    async with scene(server, http1=False, max_connections_per_host=4) as s:
        assert await ask(s, 40) == pytest.approx(1)
        assert server.streams_per_connection == [10] * 4
        # No fifth one: the rest waits its turn.
        assert await ask(s, 60) == pytest.approx(2)
        assert server.connections == 4
        assert server.refused == 0


async def test_the_pool_timeout_covers_the_wait_for_a_stream(autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=4), max_concurrent_streams=2)
    async with scene(server, http1=False, max_connections_per_host=2, pool_timeout=0.5) as s:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(s.client.get, s.url)
            await trio.sleep(0.1)
            start = trio.current_time()
            with pytest.raises(penstock.PoolTimeout):
                await s.client.get(s.url)
            assert trio.current_time() == pytest.approx(start + 0.5)
        assert len(server.streams) == 4


async def test_when_fewer_are_allowed_than_run_they_finish_and_new_ones_wait(autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=1), max_concurrent_streams=10)
    async with scene(server, http1=False, latency=0.001, max_connections_per_host=1) as s:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, s, 10)
            await trio.sleep(0.5)
            server.update_settings(max_concurrent_streams=2)
            await trio.sleep(0.1)
            assert s.only_endpoint.connections[0].capacity == 2
            assert s.only_endpoint.connections[0].in_use == 10
            # Two at a time, once the ten have ended.
            assert await ask(s, 4) == pytest.approx(2.4, abs=0.05)
        assert [event.capacity for event in s.seen.of(events.CapacityChanged)] == [2]
        assert (server.connections, server.refused) == (1, 0)


async def test_a_server_that_allows_none_for_a_while_is_waited_for(autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=1), max_concurrent_streams=0)
    async with scene(server, http1=False) as s:

        async def raise_later() -> None:
            await trio.sleep(10)
            server.update_settings(max_concurrent_streams=50)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(raise_later)
            assert await ask(s, 50) == pytest.approx(11)
        assert (server.connections, server.refused) == (1, 0)


async def test_who_waits_in_vain_for_a_server_that_allows_none_is_told_so(autojump_clock: MockClock) -> None:
    server = H2Server(answer(), max_concurrent_streams=0)
    async with scene(server, http1=False, pool_timeout=1.0) as s:
        with pytest.raises(penstock.PoolTimeout, match="allows no request on it"):
            await s.client.get(s.url)
        assert server.connections == 1


async def test_a_server_that_allows_none_for_good_is_left_and_tried_again(autojump_clock: MockClock) -> None:
    async def none(peer: H2Peer) -> None:
        await peer.settings(max_concurrent_streams=0)
        await peer.wait_closed()

    server = H2Script(none, serve_good, settings=None)
    async with scene(server, http1=False, pool_timeout=None) as s:
        start = trio.current_time()
        assert (await s.client.get(s.url)).content == b"ok"
        assert trio.current_time() - start == pytest.approx(penstock.HTTP2Config().barred_timeout)
        assert s.seen.close_reasons == ["barred"]


async def test_a_server_that_allows_none_and_closes_is_not_dialled_without_end(autojump_clock: MockClock) -> None:
    async def leave(peer: H2Peer) -> None:
        await peer.settings(max_concurrent_streams=0)

    server = H2Script(*[leave] * 10, serve_good, settings=None)
    async with scene(server, http1=False, pool_timeout=60.0) as s:
        start = trio.current_time()
        assert (await s.client.get(s.url)).content == b"ok"
        assert server.connections == 11
        # Eight pauses, each twice the one before, less their jitter.
        assert trio.current_time() - start > 0.5 * (2**8 - 1) * penstock.PoolConfig().dial_backoff


async def serve_good(peer: H2Peer) -> None:
    await peer.settings()
    while True:
        request = await peer.request()
        await peer.respond(request.stream, body=b"ok")


async def test_a_limit_that_is_raised_lets_the_waiting_go_at_once(autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=1), max_concurrent_streams=1)
    async with scene(server, http1=False, latency=0.001, max_connections_per_host=1) as s:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, s, 100)
            await trio.sleep(0.5)
            assert s.pool.statistics().waiting == 99
            server.update_settings(max_concurrent_streams=100)
            await trio.sleep(0.1)
            assert s.pool.statistics().waiting == 0
        assert trio.current_time() < 2


async def test_a_limit_that_moves_all_the_time_loses_nothing(autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=0.05), max_concurrent_streams=5)
    async with scene(server, http1=False, latency=0.003, max_connections_per_host=2, seed=7) as s:

        async def move() -> None:
            for number in range(1_000_000):
                await trio.sleep(0.01)
                server.update_settings(max_concurrent_streams=(5, 1, 8, 3, 0, 2)[number % 6])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(move)
            await ask(s, 500)
            nursery.cancel_scope.cancel()
        served = [stream for stream in server.streams if stream.status == 200]
        assert len(served) == 500
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_a_cold_burst_waits_for_one_dial(autojump_clock: MockClock) -> None:
    server = H2Server(answer())
    secure = alpn_context("h2", "http/1.1")
    async with scene(server, tls=secure, latency=0.01) as s:
        assert await ask(s, 100) < 0.2
        assert (server.connections, s.network.connects) == (1, 1)
        assert s.only_endpoint.connections[0].protocol == "HTTP/2"


async def test_a_cold_burst_fans_out_where_the_server_chooses_http_1_1(autojump_clock: MockClock) -> None:
    secure = alpn_context("http/1.1")
    async with scene(serve_ok(), tls=secure, latency=0.01, max_connections_per_host=10) as s:
        assert await ask(s, 100) < 1
        assert s.network.connects == 10
        assert {entry.protocol for entry in s.only_endpoint.connections} == {"HTTP/1.1"}
        assert {entry.capacity for entry in s.only_endpoint.connections} == {1}


async def test_a_cold_burst_larger_than_one_connection_dials_what_it_needs(autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=1), max_concurrent_streams=10)
    secure = alpn_context("h2")
    async with scene(server, tls=secure, latency=0.01, max_connections_per_host=10) as s:
        assert await ask(s, 45) < 1.3
        assert server.connections == 5


async def test_both_protocols_of_one_origin_stand_side_by_side_in_the_statistics(autojump_clock: MockClock) -> None:
    """A server whose nodes were not all updated."""
    handler = serve_by_alpn({"h2": H2Server(answer(delay=1), max_concurrent_streams=2), "http/1.1": serve_ok()})
    secure = alpn_context("h2", "http/1.1")
    async with scene(handler, tls=secure, max_connections_per_host=2) as s, trio.open_nursery() as nursery:
        nursery.start_soon(ask, s, 2)
        await trio.sleep(0.5)
        s.network.listen("localhost", 443, handler, tls=alpn_context("http/1.1"))
        await ask(s, 3)
        connections = s.only_endpoint.connections
        assert [entry.protocol for entry in connections] == ["HTTP/2", "HTTP/1.1"]
        assert [entry.capacity for entry in connections] == [2, 1]
        assert [entry.in_use for entry in connections] == [2, 0]


async def test_a_dial_has_no_protocol_yet(autojump_clock: MockClock) -> None:
    async with scene(H2Server(answer()), http1=False, latency=1) as s:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.client.get, s.url)
            await trio.sleep(0.5)
            (dial,) = s.only_endpoint.connections
            assert (dial.state, dial.protocol, dial.capacity, dial.resetting) == ("dialing", "", 0, 0)
        (entry,) = s.only_endpoint.connections
        assert (entry.state, entry.protocol, entry.capacity, entry.resetting) == ("idle", "HTTP/2", 100, 0)
