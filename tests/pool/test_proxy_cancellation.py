"""A dial through a proxy, cancelled at any step, leaves nothing open."""

from __future__ import annotations

import os
from math import inf

import pytest
import trio

import penstock
import penstock.events
from penstock import PoolConfig, Proxy
from penstock.testing import FakeNetwork, serve_ok
from tests.support.certificates import client_config, server_context
from tests.support.proxies import FakeProxy
from tests.support.proxy_world import TUNNELS, put_up
from tests.support.scene import assert_at_rest
from tests.support.sweep import Sweep, cancel_sweep

SEEDS = range(int(os.environ.get("SWEEP_SEEDS", "1")))


@pytest.mark.parametrize("url", [*TUNNELS, "forwarded"])
def test_a_cancelled_dial_through_a_proxy_leaves_nothing_behind(url: str) -> None:
    target = "http://localhost" if url == "forwarded" else "https://localhost"

    async def scenario(sweep: Sweep) -> None:
        async with FakeNetwork(latency=0.001) as front, FakeNetwork() as behind:
            proxy = FakeProxy(behind, credentials=(b"user", b"word"))
            front.add_host("localhost", "127.0.0.1")
            put_up(proxy, front)
            for host in ("localhost", "127.0.0.1"):
                behind.listen(host, 443, serve_ok(), tls=server_context())
            place = "http://proxy.test:3128" if url == "forwarded" else url
            config = PoolConfig(
                proxy=Proxy(place, username="user", password="word"), tls=client_config(), max_connections=1
            )
            pool = penstock.Pool(config, network=front, seed=sweep.seed)
            async with pool, penstock.Client(pool) as client:

                async def ask() -> None:
                    assert (await client.get(target)).status_code == 200

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask)
                    with sweep.victim_scope():
                        await ask()
                await trio.sleep(1)
                assert_at_rest(pool, front)
                await ask()
            assert front.open_connections == 0
            await trio.sleep(1)
            assert behind.open_connections == 0

    report = cancel_sweep(scenario, seeds=SEEDS)
    assert report.points > 5


@pytest.mark.parametrize("url", TUNNELS)
def test_a_pool_that_is_closed_during_a_dial_through_a_proxy_leaves_nothing_open(url: str) -> None:
    async def scenario(sweep: Sweep) -> None:
        async with FakeNetwork(latency=0.001) as front, FakeNetwork() as behind:
            proxy = FakeProxy(behind)
            front.add_host("localhost", "127.0.0.1")
            put_up(proxy, front)
            behind.add_host("localhost", "127.0.0.1")
            behind.route("127.0.0.1", delay=inf)
            config = PoolConfig(proxy=url, tls=client_config(), connect_timeout=0.05)
            with sweep.victim_scope():
                async with (
                    penstock.Pool(config, network=front, seed=sweep.seed) as pool,
                    penstock.Client(pool) as client,
                ):
                    with pytest.raises(penstock.ConnectTimeout):
                        await client.get("https://localhost/")
            assert front.open_connections == 0

    cancel_sweep(scenario, seeds=SEEDS)
