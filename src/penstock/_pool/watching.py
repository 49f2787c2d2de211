"""Idle connections are watched, not probed: a FIN, a reset or stray bytes close them at once.

A connection that is taken again within the grace time is never registered, so a busy pool pays nothing for this. One
that stays idle is registered with the watcher together with all others of the same moment, and taken off when it is
taken. The look at hand-over covers the gap.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import trio

from .._core.connection import State

if TYPE_CHECKING:
    from .._core.connection import ConnectionEntry
    from .._net.watcher import IdleWatcher
    from .runner import Runner

#: Seconds a connection is idle before it is watched.
GRACE = 0.1


class Watch:
    """The watched connections of one pool."""

    def __init__(self, runner: Runner, watcher: IdleWatcher) -> None:
        self._runner = runner
        self._watcher = watcher
        self._fresh: dict[ConnectionEntry, None] = {}
        self._watched: set[ConnectionEntry] = set()
        self._something_fresh = trio.Event()

    def went_idle(self, entry: ConnectionEntry) -> None:
        """The connection may stay idle for long."""
        if entry.handle.reads_itself:
            return
        if not self._fresh:
            self._something_fresh.set()
        self._fresh[entry] = None

    def forget(self, entry: ConnectionEntry) -> None:
        """The connection is about to be used or closed."""
        if entry in self._watched:
            self._watched.remove(entry)
            self._watcher.forget(entry.handle.stream)
        self._fresh.pop(entry, None)

    async def arm(self) -> None:
        """Register what has been idle for the grace time, in batches; runs until cancelled."""
        while True:
            await self._something_fresh.wait()
            await trio.sleep(GRACE)
            due = trio.current_time() - GRACE / 2
            self._something_fresh = trio.Event()
            fresh, self._fresh = self._fresh, {}
            for entry in fresh:
                if entry.state is not State.IDLE:
                    continue
                if entry.idle_since > due:
                    self.went_idle(entry)
                    continue
                # What has arrived in the meantime may sit above the socket, where no watcher sees it.
                if self._runner.look_at_idle(entry):
                    self._register(entry)
            self._runner.perform()

    def _register(self, entry: ConnectionEntry) -> None:
        # Without a descriptor to spare the connection goes unwatched; the look at hand-over still covers it.
        with contextlib.suppress(OSError):
            self._watcher.watch(entry.handle.stream, entry)
            self._watched.add(entry)

    async def watch(self) -> None:
        """Close what became readable and is no longer good; runs until cancelled."""
        try:
            while True:
                for token in await self._watcher.wait():
                    entry: ConnectionEntry = token  # type: ignore[assignment]
                    self._watched.discard(entry)
                    if entry.state is State.IDLE and self._runner.look_at_idle(entry):
                        self.went_idle(entry)
                self._runner.perform()
        finally:
            self._watcher.close()
