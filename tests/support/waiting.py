"""Bounded waits on the real clock, for what the kernel or another process does in its own time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


async def wait_until(condition: Callable[[], object], *, seconds: float = 10.0) -> None:
    """Wait until the condition holds.

    Raises:
        trio.TooSlowError: it did not within so many seconds.
    """
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - nobody in this process could set an event
            await trio.sleep(0.01)
