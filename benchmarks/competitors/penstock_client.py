"""Penstock's request API with its default guards; only the limits fit the number of requests in flight."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import penstock

from ..server import Server

LIBRARY = "penstock"
LOOP = "trio"


@asynccontextmanager
async def open_fetchers(server: Server, count: int) -> AsyncIterator[list[Callable[[], Awaitable[bytes]]]]:
    """Yield `count` times the same fetcher over one client."""
    url = f"{server.url}/"
    config = penstock.PoolConfig(max_connections=count, max_connections_per_host=count)
    async with penstock.Pool(config) as pool, penstock.Client(pool=pool) as client:

        async def fetch() -> bytes:
            return (await client.get(url)).content

        yield [fetch] * count
