"""The timeouts of httpx, httpx2 and httpxyz hold over the pool, and the pool's besides."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
import trio

from penstock.httpx import PenstockTransport
from penstock.testing import serve_chunked, serve_ok, stall
from tests.support.library_clients import client_of

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_the_timeouts_are_those_of_the_request(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, stall) as (client, _):
        for seconds in (2, 7):
            start = trio.current_time()
            with pytest.raises(lib.ReadTimeout):
                await client.get("/", timeout=lib.Timeout(60, read=seconds))
            assert trio.current_time() - start == pytest.approx(seconds)


async def test_the_pools_total_and_first_byte_timeouts_hold_besides(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, stall, first_byte_timeout=3) as (client, _):
        start = trio.current_time()
        with pytest.raises(lib.ReadTimeout):
            await client.get("/", timeout=600)
        assert trio.current_time() - start == pytest.approx(3)
    async with client_of(lib, serve_chunked([b"x"] * 100, every=1), total_timeout=5) as (client, _):
        start = trio.current_time()
        with pytest.raises(lib.TimeoutException):
            await client.get("/", timeout=None)
        assert trio.current_time() - start == pytest.approx(5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("connect", "ConnectTimeout"), ("read", "ReadTimeout"), ("write", "WriteTimeout"), ("pool", "PoolTimeout")],
)
async def test_a_limit_of_zero_passes_at_once(lib: Any, name: str, expected: str, autojump_clock: MockClock) -> None:
    async with client_of(lib, stall, max_connections=1, latency=0.1, capacity=1024) as (client, s):
        client.timeout = lib.Timeout(5, **{name: 0})
        async with s.pool.acquire(s.url) if name == "pool" else nullcontext():
            started = trio.current_time()
            with pytest.raises(getattr(lib, expected)):
                await client.post("/", content=b"x" * (200_000 if name == "write" else 10))
            assert trio.current_time() - started < 0.5


async def test_no_wait_for_the_pool_is_enough_for_a_connection_that_is_there(
    lib: Any, autojump_clock: MockClock
) -> None:
    async with client_of(lib, serve_ok()) as (client, _):
        assert (await client.get("/")).status_code == 200
        client.timeout = lib.Timeout(5, pool=0)
        assert (await client.get("/")).status_code == 200


async def test_none_is_no_limit(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, stall, read_timeout=1.0) as (client, _):
        client.timeout = lib.Timeout(None)
        with trio.move_on_after(1000) as scope:
            await client.get("/")
        assert scope.cancelled_caught


@pytest.mark.parametrize("limits", [5.0, [1], "5"])
async def test_a_timeout_that_is_no_mapping_is_refused(lib: Any, limits: object, autojump_clock: MockClock) -> None:
    async with client_of(lib) as (client, _):
        with pytest.raises(TypeError, match='the extension "timeout" must be a mapping'):
            await client.get("/", extensions={"timeout": limits})


async def test_a_request_without_timeouts_has_the_pools(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, stall, read_timeout=4) as (_, s):
        start = trio.current_time()
        with pytest.raises(lib.ReadTimeout):
            await PenstockTransport(s.pool).handle_async_request(lib.Request("GET", s.url))
        assert trio.current_time() - start == pytest.approx(4)


async def test_limits_are_remembered_within_bounds(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib) as (client, s):
        for seconds in range(1, 100):
            await client.get("/", timeout=seconds)
        assert len(client._transport._known_limits) <= 64
        with pytest.raises(ValueError, match="read must be more than 0"):
            await client.get("/", timeout=lib.Timeout(5, read=-1))
        assert s.requests_per_connection == [99]
