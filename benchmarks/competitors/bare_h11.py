"""The bare loop that Penstock is measured against: h11 on a connected trio socket and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import h11
import trio

from ..server import Server

LIBRARY = "h11"
LOOP = "trio"


@asynccontextmanager
async def open_fetchers(server: Server, count: int) -> AsyncIterator[list[Callable[[], Awaitable[bytes]]]]:
    """Yield one fetcher per connection."""
    async with AsyncExitStack() as stack:
        fetchers: list[Callable[[], Awaitable[bytes]]] = []
        for _ in range(count):
            sock = stack.enter_context(trio.socket.socket())
            sock.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
            await sock.connect(("127.0.0.1", server.port))
            fetchers.append(_fetcher(sock, f"127.0.0.1:{server.port}"))
        yield fetchers


def _fetcher(sock: trio.socket.SocketType, authority: str) -> Callable[[], Awaitable[bytes]]:
    connection = h11.Connection(h11.CLIENT)

    async def fetch() -> bytes:
        request = h11.Request(
            method="GET",
            target="/",
            headers=[("host", authority), ("user-agent", "bench"), ("accept", "*/*")],
        )
        head = connection.send(request)
        end = connection.send(h11.EndOfMessage())
        assert head is not None
        assert end is not None
        await sock.send(head + end)
        body = b""
        headers: list[tuple[bytes, bytes]] = []
        while True:
            event = connection.next_event()
            kind = type(event)
            if kind is h11.NEED_DATA:
                connection.receive_data(await sock.recv(65536))
            elif kind is h11.Response:
                assert isinstance(event, h11.Response)
                headers = list(event.headers)
            elif kind is h11.Data:
                assert isinstance(event, h11.Data)
                body += event.data
            elif kind is h11.EndOfMessage:
                assert headers
                connection.start_next_cycle()
                return body

    return fetch
