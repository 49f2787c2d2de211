"""The bare loop that Penstock is measured against: h11 on a connected trio socket and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import h11
import trio

from ..server import Ask, Server
from .bare import Fetch, connect, fields, receive

LIBRARIES = ("h11",)
LOOP = "trio"

Send = Callable[[bytes], Awaitable[object]]
Receive = Callable[[], Awaitable[bytes]]


@asynccontextmanager
async def open_fetchers(server: Server, ask: Ask, count: int) -> AsyncIterator[list[Fetch]]:
    """Yield one fetcher per connection."""
    targets = ask.urls()
    async with AsyncExitStack() as stack:
        fetchers: list[Fetch] = []
        for _ in range(count):
            if server.authority is None:
                sock = stack.enter_context(trio.socket.from_stdlib_socket(connect(server)))
                send: Send = sock.send
                read: Receive = partial(sock.recv, 65536)
            else:
                secure = stack.enter_context(connect(server))
                send, read = partial(_send, secure), partial(receive, secure)
            fetchers.append(_fetcher(send, read, targets, fields(server, ask), ask))
        yield fetchers


async def _send(secure: Any, data: bytes) -> None:
    secure.send(data)


def _fetcher(send: Send, read: Receive, targets: Iterator[str], headers: list[tuple[str, str]], ask: Ask) -> Fetch:
    connection = h11.Connection(h11.CLIENT)

    async def fetch() -> bytes:
        request = h11.Request(method=ask.method, target=next(targets), headers=headers)
        head = connection.send(request)
        content = b"" if ask.body is None else connection.send(h11.Data(ask.body))
        end = connection.send(h11.EndOfMessage())
        assert head is not None
        assert content is not None
        assert end is not None
        await send(head + content + end)
        body = b""
        fields: list[tuple[bytes, bytes]] = []
        while True:
            event = connection.next_event()
            kind = type(event)
            if kind is h11.NEED_DATA:
                connection.receive_data(await read())
            elif kind is h11.Response:
                assert isinstance(event, h11.Response)
                fields = list(event.headers)
            elif kind is h11.Data:
                assert isinstance(event, h11.Data)
                body += event.data
            elif kind is h11.EndOfMessage:
                assert fields
                connection.start_next_cycle()
                return body

    return fetch
