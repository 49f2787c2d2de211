"""The floor of the table: what the sockets and the loop cost when nothing is parsed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from ..server import Server

LIBRARY = "trio"
LOOP = "trio"


@asynccontextmanager
async def open_fetchers(server: Server, count: int) -> AsyncIterator[list[Callable[[], Awaitable[bytes]]]]:
    """Yield one fetcher per connection."""
    request = (f"GET / HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\nuser-agent: bench\r\naccept: */*\r\n\r\n").encode()
    async with AsyncExitStack() as stack:
        fetchers: list[Callable[[], Awaitable[bytes]]] = []
        for _ in range(count):
            sock = stack.enter_context(trio.socket.socket())
            sock.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
            await sock.connect(("127.0.0.1", server.port))
            fetchers.append(_fetcher(sock, request))
        yield fetchers


def _fetcher(sock: trio.socket.SocketType, request: bytes) -> Callable[[], Awaitable[bytes]]:
    async def fetch() -> bytes:
        await sock.send(request)
        data = await sock.recv(65536)
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += await sock.recv(65536)
        start = data.index(b"Content-Length: ") + 16
        total = end + 4 + int(data[start : data.index(b"\r", start)])
        while len(data) < total:
            data += await sock.recv(65536)
        return data[end + 4 :]

    return fetch
