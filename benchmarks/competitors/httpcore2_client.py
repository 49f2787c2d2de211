"""httpcore2, the engine below httpx2, on trio."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpcore2

from ..server import Ask, Server

LIBRARIES = ("httpcore2",)
LOOP = "trio"


@asynccontextmanager
async def open_fetchers(server: Server, ask: Ask, count: int) -> AsyncIterator[list[Callable[[], Awaitable[bytes]]]]:
    """Yield `count` times the same fetcher over one pool."""
    method, urls, body = ask.method, ask.urls(server.url), ask.body
    fields = list(ask.fields.items())
    async with _open(server, count) as pool:

        async def fetch() -> bytes:
            return (await pool.request(method, next(urls), headers=fields, content=body)).content

        yield [fetch] * count


@asynccontextmanager
async def open_client(server: Server) -> AsyncIterator[Client]:
    """Yield a client that uses one connection."""
    async with _open(server, 1) as pool:
        yield Client(pool, server.url)


class Client:
    """What the tasks ask for."""

    def __init__(self, pool: httpcore2.AsyncConnectionPool, origin: str) -> None:
        """Paths follow `origin`."""
        self._pool = pool
        self._origin = origin

    async def download(self, path: str) -> int:
        """Bytes of the answer."""
        total = 0
        async with self._pool.stream("GET", self._origin + path) as response:
            async for piece in response.aiter_stream():
                total += len(piece)
        return total

    async def upload(self, path: str, body: bytes | AsyncIterator[bytes]) -> bytes:
        """The answer's body."""
        fields = [] if isinstance(body, bytes) else [("transfer-encoding", "chunked")]
        return (await self._pool.request("PUT", self._origin + path, headers=fields, content=body)).content


@asynccontextmanager
async def _open(server: Server, connections: int) -> AsyncIterator[httpcore2.AsyncConnectionPool]:
    async with httpcore2.AsyncConnectionPool(
        ssl_context=ssl.create_default_context(cafile=server.authority),
        max_connections=connections,
        max_keepalive_connections=connections,
    ) as pool:
        yield pool
