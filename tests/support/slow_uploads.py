"""Uploads that come by and by, so that there is a step to be cancelled at between any two pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import penstock


async def by_and_by() -> AsyncIterator[bytes]:
    """Three pieces with a pause before each."""
    for _ in range(3):
        await trio.sleep(0.001)
        yield bytes(1000)


async def push_by_and_by(pool: penstock.Pool, url: str, *, piece: int = 1000) -> None:
    """Push three pieces of so many bytes, as far as the server wants them, and read the answer."""
    async with pool.acquire(url) as lease:
        request = await lease.start("POST", "/victim", trailers={"x-sum": "1"})
        for _ in range(3):
            if not await request.send(bytes(piece)):
                break
            await trio.sleep(0.001)
        await request.finish()
        while await lease.read():
            pass


async def push_and_leave(pool: penstock.Pool, url: str) -> None:
    """Push one piece, and leave without an end."""
    async with pool.acquire(url) as lease:
        request = await lease.start("POST", "/victim")
        await request.send(b"x")
