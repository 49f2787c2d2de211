"""Used in a way that cannot work, a pool says so at once and in words."""

from __future__ import annotations

import os
import threading
import traceback
from typing import TYPE_CHECKING, Any

import pytest
import trio

import penstock
from penstock.testing import FakeNetwork, serve_ok
from tests.support.scene import scene

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from trio.testing import MockClock

URL = "http://api.test"


async def test_before_it_is_open() -> None:
    pool = penstock.Pool()
    for use in (
        lambda: pool.acquire(URL),
        pool.statistics,
        pool.explain,
        pool.suspend,
        pool.resume,
        pool.renew,
        lambda: pool.add_instrument(object()),  # type: ignore[arg-type]
    ):
        with pytest.raises(RuntimeError, match="the pool is not open; use `async with Pool"):
            use()
    with pytest.raises(RuntimeError, match="the pool is not open"):
        await pool.prewarm(URL, 1)
    with pytest.raises(RuntimeError, match="the pool is not open"):
        await pool.drain()


async def test_a_client_before_it_is_open() -> None:
    client = penstock.Client()
    with pytest.raises(RuntimeError, match="async with Client"):
        await client.get(URL)


async def test_a_pool_is_opened_once(autojump_clock: MockClock) -> None:
    async with scene() as s:
        with pytest.raises(RuntimeError, match="opened once"):
            async with s.pool:
                pass
        assert (await s.client.get(s.url)).text == "ok"
    with pytest.raises(RuntimeError, match="opened once"):
        async with s.pool:
            pass


async def test_after_it_is_closed(autojump_clock: MockClock) -> None:
    async with scene() as s:
        pass
    with pytest.raises(penstock.PoolClosed, match="the pool is closed"):
        async with s.pool.acquire(s.url):
            pass
    with pytest.raises(penstock.PoolClosed, match="the pool is closed"):
        await s.pool.prewarm(s.url, 1)
    s.pool.suspend()
    s.pool.resume()
    s.pool.renew()
    await s.pool.drain()
    await s.pool.aclose()
    assert s.pool.statistics().phase == "closed"
    assert s.pool.explain() == []


async def test_in_another_trio_run(autojump_clock: MockClock) -> None:
    async with scene() as s:
        await s.client.get(s.url)
        errors: list[BaseException] = []

        async def elsewhere() -> None:
            for use in (
                lambda: s.client.get(s.url),
                lambda: s.pool.prewarm(s.url, 1),
                lambda: s.pool.acquire(s.url).__aenter__(),
                s.pool.aclose,
            ):
                try:
                    await use()
                except RuntimeError as error:
                    errors.append(error)
            for touch in (s.pool.suspend, s.pool.renew, s.pool.statistics):
                try:
                    touch()
                except RuntimeError as error:
                    errors.append(error)

        thread = threading.Thread(target=trio.run, args=[elsewhere])
        thread.start()
        thread.join()
        assert [str(error) for error in errors] == [
            "this pool was opened in another trio run; open one in each run"
        ] * 7
        assert (await s.client.get(s.url)).text == "ok"
        assert s.requests_per_connection == [2]


def test_in_a_later_trio_run() -> None:
    network = FakeNetwork()
    network.listen("api.test", 80, serve_ok())
    pools: list[penstock.Pool] = []

    async def first() -> None:
        async with network, penstock.Pool(network=network) as pool:
            pools.append(pool)

    async def second() -> None:
        with pytest.raises(RuntimeError, match="another trio run"):
            async with pools[0].acquire(URL):
                pass

    trio.run(first)
    trio.run(second)


def step(coroutine: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine up to its first wait."""
    try:
        coroutine.send(None)
    finally:
        coroutine.close()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_after_a_fork(autojump_clock: MockClock) -> None:
    async with scene() as s:
        await s.client.get(s.url)
        uses: list[Callable[[], Coroutine[Any, Any, object]]] = [
            lambda: s.client.get(s.url),
            lambda: s.pool.prewarm(s.url, 1),
            s.pool.acquire(s.url).__aenter__,
        ]
        child = os.fork()
        if not child:
            try:
                for use in uses:
                    with pytest.raises(RuntimeError, match="opened before a fork; open one in the child process"):
                        step(use())
            except BaseException:  # noqa: ASYNC103 - the child ends here
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        # In a thread it would be no wait for the virtual clock, which would jump.
        _, status = os.waitpid(child, 0)  # noqa: ASYNC222
        assert os.waitstatus_to_exitcode(status) == 0
        assert (await s.client.get(s.url)).text == "ok"
        assert s.requests_per_connection == [2]


@pytest.mark.parametrize(
    "origin", ["api.test", "http://", "http://api.test/path", "http://u:p@api.test", "", "http://a b"]
)
async def test_an_origin_that_is_none(origin: str, autojump_clock: MockClock) -> None:
    async with scene() as s:
        with pytest.raises(penstock.InvalidURL):
            s.pool.acquire(origin)
        with pytest.raises(penstock.InvalidURL):
            await s.pool.prewarm(origin, 1)
        assert s.network.connects == s.network.resolves == 0


async def test_a_scheme_that_is_not_spoken(autojump_clock: MockClock) -> None:
    async with scene() as s:
        with pytest.raises(penstock.UnsupportedProtocol):
            s.pool.acquire("ftp://api.test")
        with pytest.raises(penstock.UnsupportedProtocol):
            await s.client.get("ws://api.test/")


def test_an_origin_declared_twice() -> None:
    with pytest.raises(ValueError, match=r"http://api\.test is declared twice"):
        penstock.Pool(upstreams=["http://api.test", penstock.Upstream("http://API.test:80")])
