"""httpx2 over HTTP/2 on trio. It opens one connection and lets 100 requests at a time onto it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx2

from ..server import Server, connections_for

LIBRARY = "httpx2"
LOOP = "trio"


@asynccontextmanager
async def open_fetchers(server: Server, count: int) -> AsyncIterator[list[Callable[[], Awaitable[bytes]]]]:
    """Yield `count` times the same fetcher over one client."""
    url = f"{server.url}/"
    async with _open(server, connections_for(count)) as client:

        async def fetch() -> bytes:
            body: bytes = (await client.get(url)).content
            return body

        yield [fetch] * count


@asynccontextmanager
async def open_client(server: Server) -> AsyncIterator[Client]:
    """Yield a client that uses one connection."""
    async with _open(server, 1) as client:
        yield Client(client, server.url)


class Client:
    """What the tasks ask for."""

    def __init__(self, client: httpx2.AsyncClient, origin: str) -> None:
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
        answer: bytes = (await self._client.put(self._origin + path, content=body)).content
        return answer

    async def events(self, path: str) -> int:
        """How many there were."""
        count = 0
        async with self._client.sse(self._origin + path) as events:
            async for _ in events:
                count += 1
        return count


@asynccontextmanager
async def _open(server: Server, connections: int) -> AsyncIterator[httpx2.AsyncClient]:
    """A client that speaks nothing but HTTP/2."""
    limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
    trust = ssl.create_default_context(cafile=server.authority)
    async with httpx2.AsyncClient(http1=False, http2=True, verify=trust, limits=limits, trust_env=False) as client:
        yield client
