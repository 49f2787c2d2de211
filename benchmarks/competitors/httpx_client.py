"""httpx on trio, with limits that fit the number of requests in flight.

Over HTTP/2 it opens one connection and lets 100 requests at a time onto it.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx  # noqa: ASYNC127 - what is measured is what people use

from ..server import Ask, Server

LIBRARIES = ("httpx",)
LOOP = "trio"


@asynccontextmanager
async def open_fetchers(server: Server, ask: Ask, count: int) -> AsyncIterator[list[Callable[[], Awaitable[bytes]]]]:
    """Yield `count` times the same fetcher over one client."""
    method, url, body, fields = ask.method, server.url + ask.path, ask.body, ask.fields
    async with _open(server, server.connections(count)) as client:
        if body is None:

            async def fetch() -> bytes:
                return (await client.get(url)).content
        else:

            async def fetch() -> bytes:
                return (await client.request(method, url, content=body, headers=fields)).content

        yield [fetch] * count


@asynccontextmanager
async def open_client(server: Server) -> AsyncIterator[Client]:
    """Yield a client that uses one connection."""
    async with _open(server, 1) as client:
        yield Client(client, server.url)


class Client:
    """What the tasks ask for."""

    def __init__(self, client: httpx.AsyncClient, origin: str) -> None:
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


@asynccontextmanager
async def _open(server: Server, connections: int) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        http1=not server.http2,
        http2=server.http2,
        verify=ssl.create_default_context(cafile=server.authority),
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        # Its five seconds are too short for a thousand in flight.
        timeout=60,
        trust_env=False,
    ) as client:
        yield client
