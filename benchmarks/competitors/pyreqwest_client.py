"""pyreqwest on asyncio: reqwest and hyper in Rust, on one thread of their own, its default."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from pyreqwest.bytes import Bytes
from pyreqwest.client import Client as RustClient
from pyreqwest.client import ClientBuilder

from ..server import Ask, Server

LIBRARIES = ("pyreqwest",)
LOOP = "asyncio"


@asynccontextmanager
async def open_fetchers(server: Server, ask: Ask, count: int) -> AsyncIterator[list[Callable[[], Awaitable[Bytes]]]]:
    """Yield `count` times the same fetcher over one client."""
    method, urls, body, fields = ask.method, ask.urls(server.url), ask.body, ask.fields
    async with _open(server, count) as client:
        if body is None:

            async def fetch() -> Bytes:
                return await (await client.get(next(urls)).build().send()).bytes()
        else:

            async def fetch() -> Bytes:
                request = client.request(method, next(urls)).headers(fields).body_bytes(body).build()
                return await (await request.send()).bytes()

        yield [fetch] * count


@asynccontextmanager
async def open_client(server: Server) -> AsyncIterator[Client]:
    """Yield a client that uses one connection."""
    async with _open(server, 1) as client:
        yield Client(client, server.url)


class Client:
    """What the tasks ask for."""

    def __init__(self, client: RustClient, origin: str) -> None:
        """Paths follow `origin`."""
        self._client = client
        self._origin = origin

    async def download(self, path: str) -> int:
        """Bytes of the answer."""
        total = 0
        async with self._client.get(self._origin + path).build_streamed() as response:
            while (piece := await response.body_reader.read_chunk()) is not None:
                total += len(piece)
        return total

    async def upload(self, path: str, body: bytes | AsyncIterator[bytes]) -> bytes:
        """The answer's body."""
        request = self._client.put(self._origin + path)
        request = request.body_bytes(body) if isinstance(body, bytes) else request.body_stream(body)
        return bytes(await (await request.build().send()).bytes())


@asynccontextmanager
async def _open(server: Server, in_flight: int) -> AsyncIterator[RustClient]:
    builder = ClientBuilder().no_proxy().timeout(timedelta(seconds=60)).pool_max_idle_per_host(in_flight)
    if server.http2:
        builder = builder.http2_prior_knowledge()
    if server.authority is not None:
        builder = builder.add_root_certificate_pem(Path(server.authority).read_bytes())  # noqa: ASYNC240
    async with builder.build() as client:
        yield client
