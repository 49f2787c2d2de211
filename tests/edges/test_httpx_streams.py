"""Streams through httpx, httpx2 and httpxyz: read, left, closed, forgotten, cancelled; nothing of them is left."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest
import trio

from penstock.httpx import PenstockTransport
from penstock.testing import serve_chunked
from tests.support.library_clients import LEFT_BEHIND, client_of
from tests.support.scene import settle

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_a_stream_comes_piece_by_piece(lib: Any, autojump_clock: MockClock) -> None:
    times: list[tuple[bytes, float]] = []
    async with client_of(lib, serve_chunked([b"a", b"b", b"c"], every=1)) as (client, s):
        for _ in range(2):
            async with client.stream("GET", "/") as response:
                times += [(piece, trio.current_time()) async for piece in response.aiter_bytes()]
        assert s.requests_per_connection == [2]

    assert [piece for piece, _ in times] == [b"a", b"b", b"c"] * 2
    assert times[2][1] - times[0][1] == pytest.approx(2)


@LEFT_BEHIND
async def test_a_stream_that_is_left_gives_its_connection_up(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, serve_chunked([bytes(1000)] * 1000, every=1)) as (client, s):
        async with client.stream("GET", "/") as response:
            pieces = response.aiter_raw()
            await anext(pieces)
            await pieces.aclose()
        await settle()
        assert s.pool.statistics().total == 0


async def test_closing_in_a_cancelled_scope_gives_the_connection_up_at_once(
    lib: Any, autojump_clock: MockClock
) -> None:
    async with client_of(lib, serve_chunked([b"x"] * 1000, every=1)) as (client, s):
        response = await client.send(client.build_request("GET", "/"), stream=True)
        with trio.CancelScope() as scope:
            scope.cancel()
            await response.aclose()
        assert s.pool.statistics().active == s.network.open_connections == 0


async def test_a_stream_that_was_closed_is_not_taken_for_one_that_ended(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, serve_chunked([b"x"] * 10, every=1)) as (client, s):
        request = client.build_request("GET", "/")
        response = await PenstockTransport(s.pool).handle_async_request(request)
        stream = response.stream
        assert isinstance(stream, lib.AsyncByteStream)
        assert aiter(stream) is stream
        await anext(stream)
        await stream.aclose()
        await stream.aclose()
        with pytest.raises(lib.LocalProtocolError, match="nothing to read"):
            await anext(stream)


async def test_a_stream_that_is_forgotten_warns_and_names_its_request(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, serve_chunked([b"x"] * 1000, every=1)) as (client, s):
        request = client.build_request("GET", "/log?key=secret")
        with pytest.warns(ResourceWarning, match=r"^GET http://api.test/log was dropped without being closed"):  # noqa: PT031
            await PenstockTransport(s.pool).handle_async_request(request)
            gc.collect()
        await settle()
        assert s.only_endpoint.closed_by_reason == {"leaked": 1}


async def test_fifty_streams_at_once(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, serve_chunked([b"x"] * 20, every=0.01), max_connections_per_host=50) as (client, s):

        async def one() -> None:
            async with client.stream("GET", "/") as response:
                assert await response.aread() == b"x" * 20

        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(one)
        assert len(s.network.peers) <= 50
