"""Several coroutines at a time, and a pause, on whichever loop a competitor runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

Work = Callable[[], Coroutine[Any, Any, None]]


async def run_together(loop: str, crew: Sequence[Work]) -> None:
    """Start all of them, and wait for all."""
    if loop == "trio":
        import trio

        async with trio.open_nursery() as nursery:
            for work in crew:
                nursery.start_soon(work)
    else:
        async with asyncio.TaskGroup() as group:
            for work in crew:
                group.create_task(work())


async def pause(loop: str, seconds: float) -> None:
    """Do nothing for so long."""
    if loop == "trio":
        import trio

        await trio.sleep(seconds)
    else:
        await asyncio.sleep(seconds)
