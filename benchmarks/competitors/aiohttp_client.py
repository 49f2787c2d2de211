"""aiohttp, on the event loop it was made for."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp

from ..server import Ask, Server

LIBRARIES: tuple[str, ...] = ("aiohttp",)
LOOP = "asyncio"


@asynccontextmanager
async def open_fetchers(server: Server, ask: Ask, count: int) -> AsyncIterator[list[Callable[[], Awaitable[bytes]]]]:
    """Yield `count` times the same fetcher over one session."""
    method, urls, body, fields = ask.method, ask.urls(server.url), ask.body, ask.fields
    async with _open(server, count) as session:
        if body is None:

            async def fetch() -> bytes:
                async with session.get(next(urls)) as response:
                    return await response.read()
        else:

            async def fetch() -> bytes:
                async with session.request(method, next(urls), data=body, headers=fields) as response:
                    return await response.read()

        yield [fetch] * count


@asynccontextmanager
async def open_client(server: Server) -> AsyncIterator[Client]:
    """Yield a client that uses one connection."""
    async with _open(server, 1) as session:
        yield Client(session, server.url)


class Client:
    """What the tasks ask for."""

    def __init__(self, session: aiohttp.ClientSession, origin: str) -> None:
        """Paths follow `origin`."""
        self._session = session
        self._origin = origin

    async def download(self, path: str) -> int:
        """Bytes of the answer."""
        total = 0
        async with self._session.get(self._origin + path) as response:
            async for piece in response.content.iter_any():
                total += len(piece)
        return total

    async def upload(self, path: str, body: bytes | AsyncIterator[bytes]) -> bytes:
        """The answer's body."""
        async with self._session.put(self._origin + path, data=body) as response:
            return await response.read()


@asynccontextmanager
async def _open(server: Server, connections: int) -> AsyncIterator[aiohttp.ClientSession]:
    trust = True if server.authority is None else ssl.create_default_context(cafile=server.authority)
    connector = aiohttp.TCPConnector(limit=connections, ssl=trust)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session
