"""The bare loop that Penstock's fast engine is measured against: the one of bare h11, with httptools in its place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httptools

from ..server import Ask, Server
from .bare import Fetch, Receive, Send, canned, open_pipe

LIBRARIES = ("httptools",)
LOOP = "trio"


@asynccontextmanager
async def open_fetchers(server: Server, ask: Ask, count: int) -> AsyncIterator[list[Fetch]]:
    """Yield one fetcher per connection."""
    request = canned(server, ask)
    async with AsyncExitStack() as stack:
        yield [_fetcher(*open_pipe(server, stack), request) for _ in range(count)]


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


def _fetcher(send: Send, read: Receive, request: bytes) -> Fetch:
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)

    async def fetch() -> bytes:
        answer.begin()
        await send(request)
        while not answer.complete:
            parser.feed_data(await read())
        assert parser.get_status_code() == 200
        assert answer.fields
        return answer.body

    return fetch
