"""What is dropped without being closed warns with its name, and its slot comes back."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock.testing import serve_chunked, serve_ok
from tests.support.scene import Scene, assert_at_rest, scene, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from trio.testing import MockClock


@pytest.fixture(autouse=True)
def _nothing_else_is_collected() -> Iterator[None]:
    gc.collect()
    yield
    gc.collect()


async def check_slot_is_back(s: Scene) -> None:
    """The only slot there is serves again."""
    await settle()
    assert_at_rest(s.pool, s.network)
    response = await s.client.get(s.url)
    assert response.status_code == 200
    assert s.pool.statistics().total == 1


async def test_a_response_that_was_dropped(autojump_clock: MockClock) -> None:
    async with scene(serve_chunked([b"x"] * 5, every=1), max_connections=1) as s:

        async def drop() -> None:
            await s.client.stream("POST", f"{s.url}/chat?key=secret").__aenter__()

        with pytest.warns(ResourceWarning, match=r"^POST http://api\.test/chat\?… was dropped without being closed"):
            await drop()
        await check_slot_is_back(s)
        assert s.seen.close_reasons == ["leaked"]


async def test_a_lease_that_was_dropped(autojump_clock: MockClock) -> None:
    async with scene(max_connections=1) as s:

        async def drop() -> None:
            lease = await s.pool.acquire(s.url).__aenter__()
            await lease.request("GET", "/")

        with pytest.warns(ResourceWarning, match=r"http://api\.test.* was dropped"):
            await drop()
        await check_slot_is_back(s)


async def test_a_lease_that_was_dropped_unused(autojump_clock: MockClock) -> None:
    async with scene(max_connections=1) as s:

        async def drop() -> None:
            await s.pool.acquire(s.url).__aenter__()

        with pytest.warns(ResourceWarning, match=r"a lease of a connection to http://api\.test was dropped"):
            await drop()
        await check_slot_is_back(s)


async def test_a_response_in_a_cycle_waits_for_the_collector(autojump_clock: MockClock) -> None:
    async with scene(serve_chunked([b"x"] * 5, every=1), max_connections=1) as s:

        async def drop() -> None:
            response = await s.client.stream("GET", s.url).__aenter__()
            cycle: list[object] = [response]
            cycle.append(cycle)

        await drop()
        assert s.pool.statistics().active == 1
        with pytest.warns(ResourceWarning, match=r"GET http://api\.test/ was dropped"):
            gc.collect()
        await check_slot_is_back(s)


async def test_a_generator_that_was_abandoned(autojump_clock: MockClock) -> None:
    """trio closes the generator, that closes the response, and nothing is left to warn of."""
    async with scene(serve_chunked([b"x"] * 5, every=1), max_connections=1) as s:

        async def pieces() -> AsyncIterator[bytes]:
            async with s.client.stream("GET", s.url) as response:
                async for piece in response.aiter_bytes():
                    yield piece

        async def abandon() -> None:
            async for _ in pieces():
                break
            gc.collect()
            await trio.lowlevel.checkpoint()

        with pytest.warns(ResourceWarning, match="pieces"):
            await abandon()
        await check_slot_is_back(s)


async def test_iterators_need_no_closing(autojump_clock: MockClock) -> None:
    """Only the response has to be closed: what iterates over it is no generator."""
    async with scene(serve_chunked([b"x\n"] * 5, every=0.001), max_connections=1) as s:
        async with s.client.stream("GET", s.url) as response:
            async for _ in response.aiter_lines():
                break
        gc.collect()
        await check_slot_is_back(s)


async def test_a_response_that_was_read_may_be_dropped(autojump_clock: MockClock) -> None:
    async with scene(max_connections=1) as s:

        async def drop() -> None:
            response = await s.client.stream("GET", s.url).__aenter__()
            await response.aread()

        await drop()
        gc.collect()
        await check_slot_is_back(s)
        assert s.requests_per_connection == [2]


async def test_a_response_dropped_after_its_pool_was_closed(autojump_clock: MockClock) -> None:
    async with scene(serve_chunked([b"x"] * 5, every=1)) as s:
        kept = [await s.client.stream("GET", s.url).__aenter__()]
        await s.pool.aclose()
        with pytest.warns(ResourceWarning, match=r"GET http://api\.test/"):
            kept.clear()
        await settle()
        assert s.pool.statistics().total == 0


def test_a_response_dropped_after_the_run_ended() -> None:
    kept: list[penstock.Response] = []

    async def main() -> None:
        async with scene(serve_ok()) as s:
            kept.append(await s.client.stream("GET", s.url).__aenter__())

    trio.run(main)
    with pytest.warns(ResourceWarning, match=r"GET http://api\.test/"):
        kept.clear()


async def test_dropping_many_at_once(autojump_clock: MockClock) -> None:
    async with scene(serve_chunked([b"x"] * 5, every=1), max_connections_per_host=10) as s:

        async def drop() -> None:
            responses = [await s.client.stream("GET", s.url).__aenter__() for _ in range(10)]
            assert s.pool.statistics().active == len(responses)

        with pytest.warns(ResourceWarning):
            await drop()
        await settle()
        assert_at_rest(s.pool, s.network)
        assert s.seen.close_reasons == ["leaked"] * 10
