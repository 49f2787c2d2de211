"""httpx2 on trio, with limits that fit the number of requests in flight."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx2

from ..server import Server

LIBRARY = "httpx2"
LOOP = "trio"


@asynccontextmanager
async def open_fetchers(server: Server, count: int) -> AsyncIterator[list[Callable[[], Awaitable[bytes]]]]:
    """Yield `count` times the same fetcher over one client."""
    url = f"{server.url}/"
    limits = httpx2.Limits(max_connections=count, max_keepalive_connections=count)
    async with httpx2.AsyncClient(limits=limits, trust_env=False) as client:

        async def fetch() -> bytes:
            body: bytes = (await client.get(url)).content
            return body

        yield [fetch] * count
