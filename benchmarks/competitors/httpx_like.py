"""What httpx, httpx2 and Penstock are asked in the same words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from ..server import Ask, Server

Fetch = Callable[[], Awaitable[bytes]]


def fetcher(client: Any, server: Server, ask: Ask) -> Fetch:
    """What makes one request and returns the body of the answer."""
    method, urls, body, fields = ask.method, ask.urls(server.url), ask.body, ask.fields

    async def get() -> bytes:
        content: bytes = (await client.get(next(urls))).content
        return content

    async def send() -> bytes:
        content: bytes = (await client.request(method, next(urls), content=body, headers=fields)).content
        return content

    return get if body is None else send


class Client:
    """What the tasks ask for, but for events."""

    def __init__(self, client: Any, origin: str) -> None:
        """Paths follow `origin`."""
        self.client = client
        self.origin = origin

    async def download(self, path: str) -> int:
        """Bytes of the answer."""
        total = 0
        async with self.client.stream("GET", self.origin + path) as response:
            async for piece in response.aiter_bytes():
                total += len(piece)
        return total

    async def upload(self, path: str, body: bytes | AsyncIterator[bytes]) -> bytes:
        """The answer's body."""
        content: bytes = (await self.client.put(self.origin + path, content=body)).content
        return content


async def count_events(opened: Any) -> int:
    """How many server-sent events came out of what `sse` returned."""
    count = 0
    async with opened as events:
        async for _ in events:
            count += 1
    return count
