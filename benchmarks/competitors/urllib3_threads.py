"""urllib3 in as many threads as requests in flight."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import urllib3

from ..server import Ask, Server

LIBRARIES = ("urllib3",)
LOOP = "threads"


@asynccontextmanager
async def open_fetchers(server: Server, ask: Ask, count: int) -> AsyncIterator[list[Callable[[], bytes]]]:
    """Yield `count` times the same fetcher over one pool."""
    method, paths, body, fields = ask.method, ask.urls(), ask.body, ask.fields
    with _open(server, count) as pool:

        def fetch() -> bytes:
            return pool.request(method, next(paths), body=body, headers=fields).data

        yield [fetch] * count


@asynccontextmanager
async def open_client(server: Server) -> AsyncIterator[Client]:
    """Yield a client that uses one connection."""
    with _open(server, 1) as pool:
        yield Client(pool)


class Client:
    """What the tasks ask for. They ask for one thing at a time, so that it may as well block."""

    def __init__(self, pool: urllib3.HTTPConnectionPool) -> None:
        """Paths are those of the pool's host."""
        self._pool = pool

    async def download(self, path: str) -> int:
        """Bytes of the answer."""
        total = 0
        response = self._pool.request("GET", path, preload_content=False)  # noqa: ASYNC211
        for piece in response.stream(65536):
            total += len(piece)
        response.release_conn()
        return total

    async def upload(self, path: str, body: bytes) -> bytes:
        """The answer's body."""
        return self._pool.request("PUT", path, body=body).data  # noqa: ASYNC211


def _open(server: Server, connections: int) -> urllib3.HTTPConnectionPool:
    if server.authority is None:
        return urllib3.HTTPConnectionPool("127.0.0.1", server.port, maxsize=connections, block=True)
    context = ssl.create_default_context(cafile=server.authority)
    return urllib3.HTTPSConnectionPool("127.0.0.1", server.port, maxsize=connections, block=True, ssl_context=context)
