"""Callers that leave a stream before its body has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    import penstock

    from .scene import Scene


async def read_to_done(events: penstock.EventStream) -> None:
    """Read events up to the last one, as programs do, and no further."""
    async for event in events:
        if event.data == "[DONE]":
            break


async def stop_at_done(s: Scene) -> None:
    """Ask for events, and leave at the last one."""
    async with s.client.sse("POST", s.url, json={}) as events:
        await read_to_done(events)


async def leave_cancelled(s: Scene, *, low_level: bool) -> trio.CancelScope:
    """Ask for events, over a lease or by the client, and be cancelled behind the first; returns the cancelled scope."""
    with trio.CancelScope() as scope:
        if low_level:
            async with s.pool.acquire(s.url) as lease:
                await lease.request("GET", "/")
                await lease.read()
                scope.cancel()
        else:
            async with s.client.sse("GET", s.url) as events:
                await anext(events)
                scope.cancel()
    return scope
