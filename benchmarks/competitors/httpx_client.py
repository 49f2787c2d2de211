"""httpx on trio, with limits that fit the number of requests in flight.

Over HTTP/2 it opens one connection and lets 100 requests at a time onto it.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx  # noqa: ASYNC127 - what is measured is what people use

from ..server import Ask, Server
from .httpx_like import Client, Fetch, fetcher

LIBRARIES = ("httpx",)
LOOP = "trio"


@asynccontextmanager
async def open_fetchers(server: Server, ask: Ask, count: int) -> AsyncIterator[list[Fetch]]:
    """Yield `count` times the same fetcher over one client."""
    async with _open(server, server.connections(count)) as client:
        yield [fetcher(client, server, ask)] * count


@asynccontextmanager
async def open_client(server: Server) -> AsyncIterator[Client]:
    """Yield a client that uses one connection."""
    async with _open(server, 1) as client:
        yield Client(client, server.url)


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
