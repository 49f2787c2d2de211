"""The two ends of a fake connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .._errors import LocalProtocolError, ReadError, WriteError
from ._wire import LinkConditions, Wire, reset_by_peer

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeStream:
    """One end of a connection that lives in memory and on trio's clock; a `ByteStream` with no descriptor.

    It behaves as a TCP socket does where a client can tell: a bounded amount of bytes is taken before the other end
    reads, bytes arrive after the latency, an end and a reset come after the bytes before them, closing with unread
    bytes resets. A receive returns at most one piece as it was sent, so a script decides where bytes are cut.

    Made by `fake_stream_pair` and by `FakeNetwork.connect`.
    """

    __slots__ = (
        "_broken",
        "_closed",
        "_ended_cleanly",
        "_inbound",
        "_on_close",
        "_outbound",
        "_reading",
        "_sent_end",
        "_writing",
    )

    def __init__(self, inbound: Wire, outbound: Wire, *, on_close: Callable[[FakeStream], None] | None = None) -> None:
        self._inbound = inbound
        self._outbound = outbound
        self._on_close = on_close
        self._closed = False
        self._broken = False
        self._sent_end = False
        self._ended_cleanly = False
        self._reading = False
        self._writing = False

    @property
    def is_closed(self) -> bool:
        """Whether this end was closed or aborted."""
        return self._closed

    @property
    def ended_cleanly(self) -> bool:
        """Whether the other end's FIN was read."""
        return self._ended_cleanly

    @property
    def inbound(self) -> Wire:
        """What the other end sends; a watcher listens here."""
        return self._inbound

    def fileno(self) -> int:
        """Always -1: there is no descriptor."""
        return -1

    def try_receive(self, max_bytes: int) -> bytes | None:
        """Take what has arrived: at most one piece, b"" for the end, None for nothing yet.

        Raises:
            ReadError: this end is closed, or the other one reset the connection.
            ValueError: `max_bytes` is less than 1.
        """
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes!r}")
        if self._closed:
            raise ReadError("the stream is closed", phase="read")
        try:
            data = self._inbound.read(max_bytes)
        except ConnectionResetError as error:
            raise ReadError("the connection was reset", phase="read") from error
        if data == b"":
            self._ended_cleanly = True
        return data

    def is_quiet(self) -> bool:
        """Whether `try_receive` would return None."""
        return not self._closed and self._inbound.readable_at() > trio.current_time()

    def try_send(self, data: bytes | memoryview) -> int:
        """Hand over as much of `data` as there is room for, maybe nothing; returns how many bytes.

        Raises:
            WriteError: this end is closed or has sent its end, an earlier wait to write was cancelled, or the other
                end reset the connection.
        """
        if self._broken:
            raise WriteError("an earlier write was cut short", phase="write")
        if self._closed or self._sent_end:
            raise WriteError("the stream is closed for sending", phase="write")
        if self._inbound.reset_at <= trio.current_time():
            raise WriteError("the connection was reset", phase="write") from reset_by_peer()
        return self._outbound.write(data) if data else 0

    async def wait_readable(self) -> None:
        """Wait until `try_receive` has something to say. Cancelling it changes nothing.

        Raises:
            ReadError: the stream is closed, or was closed meanwhile.
            LocalProtocolError: another task waits already.
        """
        if self._reading:
            raise LocalProtocolError("another task reads from this connection", phase="read")
        self._reading = True
        try:
            if self._ready_to_read():
                await trio.lowlevel.checkpoint()
            while not self._ready_to_read():
                with trio.CancelScope(deadline=self._inbound.readable_at()):
                    await self._inbound.read_lots[0].park()
        finally:
            self._reading = False

    def _ready_to_read(self) -> bool:
        if self._closed:
            raise ReadError("the stream is closed", phase="read")
        return self._inbound.readable_at() <= trio.current_time()

    async def wait_writable(self) -> None:
        """Wait until `try_send` takes a byte or raises. A cancelled wait leaves the stream broken for writing.

        Raises:
            WriteError: the stream is closed, or was closed meanwhile.
            LocalProtocolError: another task waits already.
        """
        if self._writing:
            raise LocalProtocolError("another task writes to this connection", phase="write")
        self._writing = True
        try:
            if self._ready_to_write():
                await trio.lowlevel.checkpoint()
            while not self._ready_to_write():
                with trio.CancelScope(deadline=self._inbound.reset_at):
                    await self._outbound.write_lot.park()
        except trio.Cancelled:
            self._broken = True
            raise
        finally:
            self._writing = False

    def _ready_to_write(self) -> bool:
        if self._closed:
            raise WriteError("the stream is closed", phase="write")
        return self._outbound.free > 0 or self._sent_end or self._inbound.reset_at <= trio.current_time()

    def send_end(self) -> None:
        """Send a FIN and stay open for reading (a half-close). Idempotent."""
        if not self._closed:
            self._sent_end = True
            self._outbound.end()
            self._outbound.write_lot.unpark_all()

    def close(self) -> None:
        """Close at once; never waits, idempotent. The other end sees a reset if bytes lay here unread, else a FIN."""
        if not self._closed:
            if not self._inbound.has_unread:
                self._outbound.end()
            self._finish()

    def abort(self) -> None:
        """Close with a reset, as SO_LINGER 0 does. Idempotent."""
        if not self._closed:
            self._outbound.reset()
            self._finish()

    def _finish(self) -> None:
        self._closed = True
        self._inbound.abandon()
        self._outbound.write_lot.unpark_all()
        if self._on_close is not None:
            self._on_close(self)


def fake_stream_pair(
    *, latency: float = 0.0, bandwidth: float | None = None, capacity: int = 65536
) -> tuple[FakeStream, FakeStream]:
    """Make two connected streams.

    Args:
        latency: seconds a byte travels one way, 0 or more.
        bandwidth: bytes per second each way, None for no limit.
        capacity: bytes each end may send before the other one reads any, at least 1.

    Raises:
        ValueError: a value is out of range.
    """
    there, back = Wire.pair(link_conditions(latency=latency, bandwidth=bandwidth, capacity=capacity))
    return FakeStream(back, there), FakeStream(there, back)


def link_conditions(*, latency: float, bandwidth: float | None, capacity: int) -> LinkConditions:
    """Check what a link should be like.

    Raises:
        ValueError: a value is out of range.
    """
    if not latency >= 0:
        raise ValueError(f"latency must be 0 or more seconds, not {latency!r}")
    if bandwidth is not None and not bandwidth > 0:
        raise ValueError(f"bandwidth must be more than 0 bytes per second, not {bandwidth!r}")
    if capacity < 1:
        raise ValueError(f"capacity must be at least 1 byte, not {capacity!r}")
    return LinkConditions(latency, bandwidth, capacity)
