"""The floor of the table: what the sockets and the loop cost when nothing is parsed."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from ..server import Ask, Server
from .bare import Fetch, canned, connect, receive

LIBRARIES = ("trio",)
LOOP = "trio"


@asynccontextmanager
async def open_fetchers(server: Server, ask: Ask, count: int) -> AsyncIterator[list[Fetch]]:
    """Yield one fetcher per connection."""
    requests = canned(server, ask)
    async with AsyncExitStack() as stack:
        yield [_fetcher(stack.enter_context(connect(server)), requests) for _ in range(count)]


def _fetcher(sock: socket.socket, requests: Iterator[bytes]) -> Fetch:
    async def fetch() -> bytes:
        sock.send(next(requests))
        await trio.lowlevel.wait_readable(sock)
        data = await receive(sock)
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += await receive(sock)
        start = data.index(b"Content-Length: ") + 16
        total = end + 4 + int(data[start : data.index(b"\r", start)])
        while len(data) < total:
            data += await receive(sock)
        return data[end + 4 :]

    return fetch
