"""The bare loop that Penstock's fast engine is measured against: httptools on a connected socket and nothing else."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import httptools
import trio

from ..server import Ask, Server
from .bare import Fetch, canned, connect, receive

LIBRARIES = ("httptools",)
LOOP = "trio"


@asynccontextmanager
async def open_fetchers(server: Server, ask: Ask, count: int) -> AsyncIterator[list[Fetch]]:
    """Yield one fetcher per connection."""
    requests = canned(server, ask)
    async with AsyncExitStack() as stack:
        yield [_fetcher(stack.enter_context(connect(server)), requests) for _ in range(count)]


class _Answer:
    """What the parser calls."""

    __slots__ = ("body", "complete", "fields")

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Nothing has come yet."""
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        self.complete = True


def _fetcher(sock: socket.socket, requests: Iterator[bytes]) -> Fetch:
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)

    async def fetch() -> bytes:
        answer.begin()
        sock.send(next(requests))
        # The answer is never there at once: asking for it would be a system call for nothing.
        await trio.lowlevel.wait_readable(sock)
        while not answer.complete:
            parser.feed_data(await receive(sock))
        assert parser.get_status_code() == 200
        assert answer.fields
        return answer.body

    return fetch
