"""Penstock with its default guards; only the number of connections fits the number of requests in flight."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import penstock

from ..server import Ask, Server
from .httpx_like import Client, Fetch, count_events, fetcher

LIBRARIES = ("penstock",)
LOOP = "trio"


@asynccontextmanager
async def open_fetchers(server: Server, ask: Ask, count: int, **config: Any) -> AsyncIterator[list[Fetch]]:
    """Yield `count` times the same fetcher over one client.

    The connections are there before the first request. Penstock dials eight at a time, and serves who waits with those
    that come back meanwhile; other clients dial for each request, and have them all after their first.
    """
    connections = server.connections(count)
    async with _open(server, connections, config) as (pool, client):
        await pool.prewarm(server.url, connections)
        yield [fetcher(client, server, ask)] * count


@asynccontextmanager
async def open_client(server: Server, **config: Any) -> AsyncIterator[Client]:
    """Yield a client that uses one connection."""
    async with _open(server, 1, config) as (_, client):
        yield WithEvents(client, server.url)


class WithEvents(Client):
    """What the tasks ask for."""

    async def events(self, path: str) -> int:
        """How many there were."""
        return await count_events(self.client.sse("GET", self.origin + path))


@asynccontextmanager
async def _open(
    server: Server, connections: int, config: dict[str, Any]
) -> AsyncIterator[tuple[penstock.Pool, penstock.Client]]:
    async with open_pool(server, connections, **config) as pool, penstock.Client(pool=pool) as client:
        yield pool, client


def open_pool(server: Server, connections: int, **config: Any) -> penstock.Pool:
    """A pool for a server, to be entered."""
    settings = penstock.PoolConfig(
        http1=not server.http2,
        max_connections=connections,
        max_connections_per_host=connections,
        tls=penstock.TLSConfig(trust=server.authority or "certifi"),
        **config,
    )
    return penstock.Pool(settings)
