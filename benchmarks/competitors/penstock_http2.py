"""Penstock over HTTP/2 with its default guards; only the number of connections fits the number of requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import penstock

from ..server import Server, connections_for

LIBRARY = "penstock"
LOOP = "trio"


@asynccontextmanager
async def open_fetchers(server: Server, count: int) -> AsyncIterator[list[Callable[[], Awaitable[bytes]]]]:
    """Yield `count` times the same fetcher over one client."""
    url = f"{server.url}/"
    async with _open(server, connections_for(count)) as client:

        async def fetch() -> bytes:
            return (await client.get(url)).content

        yield [fetch] * count


@asynccontextmanager
async def open_client(server: Server) -> AsyncIterator[Client]:
    """Yield a client that uses one connection."""
    async with _open(server, 1) as client:
        yield Client(client, server.url)


class Client:
    """What the tasks ask for."""

    def __init__(self, client: penstock.Client, origin: str) -> None:
        """Paths follow `origin`."""
        self._client = client
        self._origin = origin

    async def download(self, path: str) -> int:
        """Bytes of the answer."""
        total = 0
        async with self._client.stream("GET", self._origin + path) as response:
            async for piece in response.aiter_bytes():
                total += len(piece)
        return total

    async def upload(self, path: str, body: bytes) -> bytes:
        """The answer's body."""
        return (await self._client.put(self._origin + path, content=body)).content

    async def events(self, path: str) -> int:
        """How many there were."""
        count = 0
        async with self._client.sse("GET", self._origin + path) as events:
            async for _ in events:
                count += 1
        return count


@asynccontextmanager
async def _open(server: Server, connections: int) -> AsyncIterator[penstock.Client]:
    """A client that speaks nothing but HTTP/2."""
    config = penstock.PoolConfig(
        http1=False,
        max_connections=connections,
        max_connections_per_host=connections,
        tls=penstock.TLSConfig(trust=server.authority or "certifi"),
    )
    async with penstock.Pool(config) as pool, penstock.Client(pool=pool) as client:
        yield client
