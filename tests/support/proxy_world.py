"""A pool in front of proxies of each kind, with origins behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
import trio

import penstock
from penstock import PoolConfig, Proxy, Upstream
from penstock.testing import FakeNetwork, serve_echo
from tests.support.certificates import client_config, server_context
from tests.support.proxies import FakeProxy
from tests.support.scene import Recorder, assert_at_rest

SECRET = "pass:word"
TOKEN = "dXNlcjpwYXNzOndvcmQ="
AUTHORIZATION = b"Basic " + TOKEN.encode()

TUNNELS = ["http://proxy.test:3128", "https://proxy.test:3129", "socks5://proxy.test", "socks5h://proxy.test"]


class World(NamedTuple):
    """A pool in front, a proxy, and the origins behind it."""

    front: FakeNetwork
    behind: FakeNetwork
    proxy: FakeProxy
    pool: penstock.Pool
    client: penstock.Client
    events: list[Any]


def put_up(proxy: FakeProxy, network: FakeNetwork) -> None:
    """Serve it at proxy.test: HTTP on 3128, HTTPS on 3129, SOCKS5 on 1080."""
    network.listen("proxy.test", 3128, proxy.http)
    network.listen("proxy.test", 3129, proxy.http, tls=server_context("proxy.test"))
    network.listen("proxy.test", 1080, proxy.socks)


@asynccontextmanager
async def world(
    proxy: str | Proxy | penstock.ProxyRules,
    *,
    upstreams: tuple[Upstream, ...] = (),
    opened: bytes | None = None,
    authorization: bytes | None = None,
    credentials: tuple[bytes, bytes] | None = None,
    **settings: Any,
) -> AsyncIterator[World]:
    """A pool that reaches localhost through what is at proxy.test, and at the end of which nothing is in use."""
    more = {} if opened is None else {"opened": opened}
    config = PoolConfig(proxy=proxy, **({"tls": client_config()} | settings))
    async with FakeNetwork(latency=0.001) as front, FakeNetwork() as behind:
        fake = FakeProxy(behind, authorization=authorization, credentials=credentials, **more)
        put_up(fake, front)
        behind.listen("localhost", 443, serve_echo(), tls=server_context())
        behind.listen("localhost", 80, serve_echo())
        pool = penstock.Pool(config, network=front, upstreams=upstreams)
        seen = Recorder()
        async with pool, penstock.Client(pool) as client:
            pool.add_instrument(seen)
            yield World(front, behind, fake, pool, client, seen.events)
            await trio.sleep(1)
            assert_at_rest(pool, front)
        assert front.open_connections == 0


async def wait_refused(w: World, url: str = "https://localhost/") -> penstock.ProxyError:
    """Ask, and expect the proxy to be the reason that nothing comes; nothing is left of the attempt."""
    with pytest.raises(penstock.ProxyError) as caught:
        await w.client.get(url)
    assert w.pool.statistics().total == w.front.open_connections == 0
    return caught.value
