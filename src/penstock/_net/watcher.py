"""Idle connections are watched by one nested selector, not by a task each.

An epoll or kqueue descriptor is itself readable as soon as one of the descriptors inside it is, so one task that waits
for the selector's own descriptor watches them all. A task per idle socket would cost more than the requests.
"""

from __future__ import annotations

import contextlib
import selectors
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from .stream import ByteStream


class IdleWatcher(Protocol):
    """Tells which of many idle streams became readable."""

    def watch(self, stream: ByteStream, token: object) -> None:
        """Watch `stream`; `token` is what `wait` returns for it."""

    def forget(self, stream: ByteStream) -> None:
        """Stop watching; must come before the stream is used or closed. Harmless if it is not watched."""

    async def wait(self) -> list[object]:
        """Wait until streams became readable; each returned token is forgotten. For one task at a time.

        Raises:
            trio.ClosedResourceError: the watcher was closed meanwhile.
        """

    def close(self) -> None:
        """Forget everything and free the selector. Harmless if done already."""


class SelectorWatcher:
    """An `IdleWatcher` over a nested epoll or kqueue selector; for streams that have a descriptor."""

    __slots__ = ("_descriptors", "_selector")

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._descriptors: dict[ByteStream, int] = {}

    def watch(self, stream: ByteStream, token: object) -> None:
        fd = stream.fileno()
        try:
            self._selector.register(fd, selectors.EVENT_READ, (stream, token))
        except KeyError:
            # A stream was closed without being forgotten, and its descriptor's number came back.
            self._forget_descriptor(fd)
            self._selector.register(fd, selectors.EVENT_READ, (stream, token))
        self._descriptors[stream] = fd

    def forget(self, stream: ByteStream) -> None:
        fd = self._descriptors.get(stream)
        if fd is not None:
            self._forget_descriptor(fd)

    def _forget_descriptor(self, fd: int) -> object:
        stream, token = self._selector.unregister(fd).data
        self._descriptors.pop(stream, None)
        return token

    async def wait(self) -> list[object]:
        while True:
            await trio.lowlevel.wait_readable(self._selector)
            ready = [self._forget_descriptor(key.fd) for key, _ in self._selector.select(0)]
            if ready:
                return ready

    def close(self) -> None:
        self._descriptors.clear()
        if self._selector.get_map() is None:
            return
        with contextlib.suppress(RuntimeError):
            trio.lowlevel.notify_closing(self._selector)
        self._selector.close()
