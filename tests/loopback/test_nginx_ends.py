"""nginx that ends connections: after each answer, when they are idle, in a reload; and callers who have enough."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from tests.support.certificates import client_config
from tests.support.nginx import SMALL, Nginx, nginx, run_nginx
from tests.support.scene import at_once
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["nginx"]


@pytest.fixture(params=["plain", "tls"])
def scheme(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def open_pool(**settings: object) -> penstock.Pool:
    return penstock.Pool(penstock.PoolConfig(tls=client_config(), **settings))  # type: ignore[arg-type]


def base(server: Nginx, scheme: str) -> str:
    return server.tls_url if scheme == "tls" else server.url


async def test_a_server_that_closes_each_time(nginx: Nginx, scheme: str) -> None:
    async with open_pool(max_connections=4) as pool, penstock.Client(pool, base_url=base(nginx, scheme)) as client:
        answers = await at_once(40, lambda: client.get("/close"))
        assert len(answers) == 40
        assert pool.statistics().counts.dials_started == 40
        assert pool.statistics().total == 0


async def test_a_server_that_closes_idle_connections(tmp_path: Path, scheme: str) -> None:
    with run_nginx(tmp_path, keepalive_timeout="1s") as server:
        async with open_pool() as pool, penstock.Client(pool, base_url=base(server, scheme)) as client:
            # Three at once, so that each connection is used: its keep-alive time begins with its first answer.
            streams = [client.stream("GET", "/small") for _ in range(3)]
            responses = [await stream.__aenter__() for stream in streams]
            for response in responses:
                assert await response.aread() == SMALL
            assert pool.statistics().idle == 3
            await wait_until(lambda: not pool.statistics().total)
            assert pool.statistics().endpoints[0].closed_by_reason == {"peer_closed": 3}
            assert (await client.get("/small")).content == SMALL


async def test_a_download_left_early(nginx: Nginx, scheme: str) -> None:
    async with open_pool() as pool, penstock.Client(pool, base_url=base(nginx, scheme)) as client:
        for _ in range(3):
            async with client.stream("GET", "/slow/large") as response:
                await anext(response.aiter_bytes())
            async with client.stream("GET", "/gzip"):
                pass
        await wait_until(lambda: not pool.statistics().active)
        reasons = pool.statistics().endpoints[0].closed_by_reason
        assert reasons == {"early_body_close": 3}
        assert (await client.get("/small")).content == SMALL


async def test_a_read_that_is_late(nginx: Nginx, scheme: str) -> None:
    async with open_pool() as pool, penstock.Client(pool, base_url=base(nginx, scheme)) as client:
        started = trio.current_time()
        with pytest.raises(penstock.ReadTimeout, match=r"total_timeout of 0\.3 s"):
            await client.get("/slow/large", timeout=penstock.Timeouts(total=0.3))
        assert 0.3 <= trio.current_time() - started < 2
        assert pool.statistics().total == 0


async def test_a_server_that_is_reloaded_under_traffic(tmp_path: Path, scheme: str) -> None:
    """Its workers are replaced: they finish what they do, and close idle connections without a word."""
    with run_nginx(tmp_path) as server:
        async with open_pool(max_connections=8) as pool, penstock.Client(pool, base_url=base(server, scheme)) as client:

            async def ask_on() -> None:
                for _ in range(60):
                    assert (await client.get("/small")).content == SMALL
                    await trio.sleep(0.001)

            async with trio.open_nursery() as nursery:
                for _ in range(12):
                    nursery.start_soon(ask_on)
                for _ in range(3):
                    await trio.sleep(0.1)
                    server.process.send_signal(signal.SIGHUP)
            assert pool.statistics().counts.failed == 0
