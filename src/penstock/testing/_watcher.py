"""An `IdleWatcher` for streams that have no descriptor."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import trio

from ._stream import FakeStream

if TYPE_CHECKING:
    from .._net.stream import ByteStream


class FakeWatcher:
    """Watches idle fake streams; see `penstock.testing.FakeNetwork.watcher`.

    A stream that wraps a fake one (TLS) may be watched as well; what counts is the fake stream at the bottom.
    """

    def __init__(self) -> None:
        self._watched: dict[FakeStream, object] = {}
        self._lot = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        """How many streams are watched."""
        return len(self._watched)

    def watch(self, stream: ByteStream, token: object) -> None:
        """Report `token` once, as soon as `stream` has anything to read: bytes, an end or a reset.

        Raises:
            TypeError: there is no fake stream at the bottom of `stream`.
        """
        bottom = fake_stream_of(stream)
        if bottom not in self._watched:
            bottom.inbound.read_lots.append(self._lot)
        self._watched[bottom] = token
        self._lot.unpark_all()

    def forget(self, stream: ByteStream) -> None:
        """Watch `stream` no longer. Idempotent."""
        self._forget(fake_stream_of(stream))

    def _forget(self, bottom: FakeStream) -> object:
        token = self._watched.pop(bottom, None)
        if self._lot in bottom.inbound.read_lots:
            bottom.inbound.read_lots.remove(self._lot)
        return token

    async def wait(self) -> list[object]:
        """Wait for streams that became readable, forget them and return their tokens. Cancelling it forgets none."""
        await trio.lowlevel.checkpoint()
        while True:
            now = trio.current_time()
            ready = [stream for stream in self._watched if stream.is_closed or stream.inbound.readable_at() <= now]
            if ready:
                return [self._forget(stream) for stream in ready]
            next_arrival = min((stream.inbound.readable_at() for stream in self._watched), default=inf)
            with trio.CancelScope(deadline=next_arrival):
                await self._lot.park()

    def close(self) -> None:
        """Forget everything. Idempotent."""
        for stream in list(self._watched):
            self._forget(stream)


def fake_stream_of(stream: object) -> FakeStream:
    """The fake stream at the bottom of `stream`, through the `transport` of each layer.

    Raises:
        TypeError: there is none.
    """
    layer = stream
    while not isinstance(layer, FakeStream):
        try:
            layer = layer.transport  # type: ignore[attr-defined]
        except AttributeError:
            raise TypeError(f"{stream!r} does not lie on a FakeStream") from None
    return layer
