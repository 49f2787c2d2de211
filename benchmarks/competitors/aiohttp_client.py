"""aiohttp, on the event loop it was made for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp

from ..server import Server

LIBRARY = "aiohttp"
LOOP = "asyncio"


@asynccontextmanager
async def open_fetchers(server: Server, count: int) -> AsyncIterator[list[Callable[[], Awaitable[bytes]]]]:
    """Yield `count` times the same fetcher over one session."""
    url = f"{server.url}/"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=count)) as session:

        async def fetch() -> bytes:
            async with session.get(url) as response:
                body: bytes = await response.read()
                return body

        yield [fetch] * count
