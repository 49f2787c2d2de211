"""httpx2 on trio with Penstock's transport below it: its client, our connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

import penstock
from penstock.httpx import PenstockTransport

from ..server import Ask, Server
from . import penstock_client
from .httpx2_client import WithEvents
from .httpx_like import Client, Fetch, fetcher

LIBRARIES = ("httpx2", "penstock")
LOOP = "trio"


@asynccontextmanager
async def open_fetchers(server: Server, ask: Ask, count: int) -> AsyncIterator[list[Fetch]]:
    """Yield `count` times the same fetcher over one client."""
    connections = server.connections(count)
    async with penstock_client.open_pool(server, connections) as pool, _client(pool) as client:
        await pool.prewarm(server.url, connections)
        yield [fetcher(client, server, ask)] * count


@asynccontextmanager
async def open_client(server: Server) -> AsyncIterator[Client]:
    """Yield a client that uses one connection."""
    async with penstock_client.open_pool(server, 1) as pool, _client(pool) as client:
        yield WithEvents(client, server.url)


def _client(pool: penstock.Pool) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=PenstockTransport(pool), timeout=60, trust_env=False)
