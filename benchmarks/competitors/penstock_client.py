"""Penstock with its default guards; only the number of connections fits the number of requests in flight."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs

import penstock

from ..server import Ask, Server
from . import NotAvailable

LIBRARIES = ("penstock",)
LOOP = "trio"

Fetch = Callable[[], Awaitable[bytes]]

#: Whether this Penstock lets one choose.
HAS_ENGINES = "http1_engine" in attrs.fields_dict(penstock.PoolConfig)


@asynccontextmanager
async def open_fetchers(server: Server, ask: Ask, count: int, **config: Any) -> AsyncIterator[list[Fetch]]:
    """Yield `count` times the same fetcher over one client."""
    method, url, body, fields = ask.method, server.url + ask.path, ask.body, ask.fields
    async with _open(server, server.connections(count), config) as client:
        if body is None:

            async def fetch() -> bytes:
                return (await client.get(url)).content
        else:

            async def fetch() -> bytes:
                return (await client.request(method, url, content=body, headers=fields)).content

        yield [fetch] * count


@asynccontextmanager
async def open_client(server: Server, **config: Any) -> AsyncIterator[Client]:
    """Yield a client that uses one connection."""
    async with _open(server, 1, config) as client:
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

    async def upload(self, path: str, body: bytes | AsyncIterator[bytes]) -> bytes:
        """The answer's body."""
        return (await self._client.put(self._origin + path, content=body)).content

    async def events(self, path: str) -> int:
        """How many there were."""
        count = 0
        async with self._client.sse("GET", self._origin + path) as events:
            async for _ in events:
                count += 1
        return count


def engine(name: str) -> dict[str, Any]:
    """The settings that choose a parser of HTTP/1.1."""
    if HAS_ENGINES:
        return {"http1_engine": name}
    if name == "h11":
        return {}
    raise NotAvailable(f"Penstock's engine {name!r}: PoolConfig has no option http1_engine")


@asynccontextmanager
async def _open(server: Server, connections: int, config: dict[str, Any]) -> AsyncIterator[penstock.Client]:
    settings = penstock.PoolConfig(
        http1=not server.http2,
        max_connections=connections,
        max_connections_per_host=connections,
        tls=penstock.TLSConfig(trust=server.authority or "certifi"),
        **config,
    )
    async with penstock.Pool(settings) as pool, penstock.Client(pool=pool) as client:
        yield client
