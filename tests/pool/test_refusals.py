"""A caller that gets no connection is told why, with the numbers, and in time."""

from __future__ import annotations

import errno
from math import inf
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import penstock
from penstock.testing import serve_ok, stall
from tests.support.scene import Scene, assert_at_rest, assert_books_add_up, scene, settle

if TYPE_CHECKING:
    from trio.testing import MockClock

ADDRESS = "192.0.2.7"


async def test_pool_timeout_carries_the_ledger(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=100), max_connections=5, max_connections_per_host=2, read_timeout=None) as s:
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(s.client.get, s.url)
            await wait_all_tasks_blocked()
            with pytest.raises(
                penstock.PoolTimeout, match=r"no connection within 30 s .*2 active.*\[http://api.test\]"
            ) as e:
                await s.client.get(s.url)
            assert trio.current_time() == 30
            error = e.value
            assert isinstance(error, TimeoutError)
            assert (str(error.origin), error.phase, error.request_sent) == (s.url, "pool", "no")
            assert error.last_dial_error is None
            assert {name: error.ledger[name] for name in ("active", "idle", "dialing", "limit", "total")} == {
                "active": 2,
                "idle": 0,
                "dialing": 0,
                "limit": 2,
                "total": 2,
            }
            nursery.cancel_scope.cancel()
        assert s.pool.statistics().counts.timed_out == 1


async def test_pool_timeout_carries_the_last_error_of_a_dial(autojump_clock: MockClock) -> None:
    async with scene(unhealthy_threshold=1, dial_backoff=100, dial_backoff_max=100) as s:
        s.network.add_host("down.test", ADDRESS)
        s.network.route(ADDRESS, errno=errno.ECONNREFUSED)
        s.serve("down.test", serve_ok())
        with pytest.raises(penstock.ConnectError):
            await s.client.get("http://down.test")
        with pytest.raises(penstock.PoolTimeout) as e:
            await s.client.get("http://down.test", timeout=penstock.Timeouts(pool=3))
        assert trio.current_time() == 3
        assert isinstance(e.value.last_dial_error, penstock.ConnectError)
        assert e.value.__cause__ is e.value.last_dial_error
        assert s.network.connects == 1


async def test_one_more_than_may_wait(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=1), max_connections=1, max_waiters=3) as s:
        refused = 0

        async def ask() -> None:
            nonlocal refused
            try:
                await s.client.get(s.url)
            except penstock.PoolFull:
                refused += 1

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(ask)
                await wait_all_tasks_blocked()
        assert refused == 2
        books = s.pool.statistics()
        assert (books.counts.rejected, books.counts.delivered) == (2, 4)
        assert_at_rest(s.pool, s.network)


async def collect_errors(s: Scene, count: int) -> list[BaseException]:
    errors: list[BaseException] = []

    async def ask() -> None:
        try:
            await s.client.get(s.url)
        except penstock.PenstockError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await s.pool.aclose()
    return errors


async def test_aclose_ends_waiters_and_exchanges_alike(autojump_clock: MockClock) -> None:
    async with scene(stall, max_connections=2) as s:
        errors = await collect_errors(s, 5)
        assert {type(error) for error in errors} == {penstock.PoolClosed}
        assert sorted(str(error) for error in errors) == sorted(
            ["the pool is closed [http://api.test]"] * 3
            + ["the pool was closed during the exchange [http://api.test]"] * 2
        )
        assert s.network.open_connections == 0
        assert trio.current_time() == 0
        assert_books_add_up(s.pool.statistics())
        with pytest.raises(penstock.PoolClosed):
            await s.client.get(s.url)
        with pytest.raises(penstock.PoolClosed):
            async with s.pool.acquire(s.url):
                pass
        with pytest.raises(penstock.PoolClosed):
            await s.pool.prewarm(s.url, 1)


async def test_aclose_ends_waiters_for_a_dial(autojump_clock: MockClock) -> None:
    async with scene() as s:
        s.network.add_host("api.test", ADDRESS)
        s.network.route(ADDRESS, delay=inf)
        errors = await collect_errors(s, 3)
        assert {str(error) for error in errors} == {"the pool is closed [http://api.test]"}
        books = s.pool.statistics()
        assert (books.total, books.dialing) == (0, 0)


async def test_the_client_of_a_closed_pool(autojump_clock: MockClock) -> None:
    async with scene() as s:
        async with penstock.Client(s.pool) as client:
            await client.get(s.url)
        with pytest.raises(penstock.PoolClosed, match="the client is closed"):
            await client.get(s.url)
        # Its pool was not its own.
        await s.client.get(s.url)


async def test_callers_who_share_one_failed_dial_get_errors_of_their_own(autojump_clock: MockClock) -> None:
    async with scene(unhealthy_threshold=1, max_connections=1) as s:
        s.network.add_host("api.test", ADDRESS)
        s.network.route(ADDRESS, delay=1, errno=errno.EHOSTUNREACH)
        errors: list[penstock.ConnectError] = []

        async def ask() -> None:
            with pytest.raises(penstock.ConnectError) as e:
                await s.client.get(s.url)
            errors.append(e.value)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
        assert len({id(error) for error in errors}) == 3
        assert {type(error) for error in errors} == {penstock.ConnectError}
        causes = [error.__cause__ for error in errors]
        assert {cause.errno for cause in causes if isinstance(cause, OSError)} == {errno.EHOSTUNREACH}
        assert trio.current_time() == 1
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_a_refusal_names_the_limit_that_binds(autojump_clock: MockClock) -> None:
    for settings, limit in (
        ({"max_connections": 1}, "max_connections is reached"),
        ({"max_connections": 5, "max_connections_per_host": 1}, "max_connections_per_host is reached"),
    ):
        async with (
            scene(serve_ok(delay=100), max_waiters=1, read_timeout=None, **settings) as s,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(s.client.get, s.url)
            await wait_all_tasks_blocked()

            async def wait_in_vain(s: Scene = s, limit: str = limit) -> None:
                with pytest.raises(penstock.PoolTimeout, match=rf"pool_timeout of 30 s\): {limit}"):
                    await s.client.get(s.url)

            async with trio.open_nursery() as waiting:
                waiting.start_soon(wait_in_vain)
                await wait_all_tasks_blocked()
                with pytest.raises(penstock.PoolFull, match="1 caller is waiting already"):
                    await s.client.get(s.url)
            nursery.cancel_scope.cancel()
