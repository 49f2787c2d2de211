"""One direction of a fake connection, on trio's clock.

Nothing runs in the background: a piece carries the time at which it arrives, and whoever waits sleeps until then. So a
wire costs no task, and under an autojump clock an hour of latency costs nothing.

The end of a wire follows TCP where a client can see it: bytes that came before an end or a reset stay readable, an end
goes before a reset, and bytes sent to somebody who has closed are answered with a reset one way later (RFC 9293
§3.10.7.1).
"""

from __future__ import annotations

import errno
import os
from collections import deque
from math import inf
from typing import NamedTuple, Self

import trio

#: Where a bandwidth is set, bytes arrive in pieces of this size: what an Ethernet frame carries of TCP.
SEGMENT = 1460


def reset_by_peer() -> ConnectionResetError:
    """The error that a socket reports after a reset."""
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


class LinkConditions(NamedTuple):
    """What a link between two ends is like; the same both ways.

    Attributes:
        latency: seconds a byte travels one way.
        bandwidth: bytes per second one way, None for no limit.
        capacity: bytes that are taken from the sender before the receiver reads any; both kernels' buffers together.
    """

    latency: float = 0.0
    bandwidth: float | None = None
    capacity: int = 65536


class Wire:
    """Bytes on their way from one writer to one reader, then perhaps an end or a reset."""

    __slots__ = (
        "_conditions",
        "_last_arrival",
        "_line_free_at",
        "_pieces",
        "_used",
        "end_at",
        "read_lots",
        "reader_gone",
        "reset_at",
        "reverse",
        "write_lot",
    )

    reverse: Wire

    def __init__(self, conditions: LinkConditions) -> None:
        self._conditions = conditions
        self._pieces: deque[tuple[float, memoryview]] = deque()
        self._used = 0
        self._line_free_at = -inf
        self._last_arrival = -inf
        self.end_at = inf
        self.reset_at = inf
        self.reader_gone = False
        #: Who is woken when something is sent: the reader, and a watcher while it watches.
        self.read_lots: list[trio.lowlevel.ParkingLot] = [trio.lowlevel.ParkingLot()]
        self.write_lot = trio.lowlevel.ParkingLot()

    @classmethod
    def pair(cls, conditions: LinkConditions) -> tuple[Self, Self]:
        """Two wires that run against each other."""
        there, back = cls(conditions), cls(conditions)
        there.reverse, back.reverse = back, there
        return there, back

    @property
    def free(self) -> int:
        """How many bytes would be taken now."""
        return self._conditions.capacity - self._used

    def write(self, data: bytes | memoryview) -> int:
        """Send as much of `data` as there is room for, as one piece; returns how much that was."""
        taken = min(len(data), self.free)
        if self.reader_gone:
            self._used += taken
            self.reverse.reset(trio.current_time() + 2 * self._conditions.latency)
            return taken
        piece = memoryview(bytes(data[:taken]))
        self._used += taken
        if self._conditions.bandwidth is None:
            if taken:
                self._send(piece, 0.0)
        else:
            for start in range(0, taken, SEGMENT):
                part = piece[start : start + SEGMENT]
                self._send(part, len(part) / self._conditions.bandwidth)
        if taken:
            self._wake_readers()
        return taken

    def _send(self, piece: memoryview, seconds: float) -> None:
        self._line_free_at = max(trio.current_time(), self._line_free_at) + seconds
        self._last_arrival = self._line_free_at + self._conditions.latency
        self._pieces.append((self._last_arrival, piece))

    def end(self) -> None:
        """Send the end (a FIN): everything sent before arrives first. Idempotent."""
        if self.end_at == inf:
            self.end_at = max(trio.current_time() + self._conditions.latency, self._last_arrival)
            self._wake_readers()

    def reset(self, at: float | None = None) -> None:
        """Send a reset; `at` is when it arrives, one way from now by default. The first one counts."""
        if at is None:
            at = max(trio.current_time() + self._conditions.latency, self._last_arrival)
        self.reset_at = min(self.reset_at, at)
        self._wake_readers()
        self.reverse.write_lot.unpark_all()

    def abandon(self) -> None:
        """The reader has closed: bytes it will not read are answered with a reset (RFC 1122 §4.2.2.13)."""
        self.reader_gone = True
        if self._pieces:
            first = max(trio.current_time(), self._pieces[0][0])
            self.reverse.reset(first + self._conditions.latency)
        self._pieces.clear()
        self._wake_readers()

    def read(self, max_bytes: int) -> bytes | None:
        """What has arrived: at most one piece as it was sent, b"" for the end, None for nothing yet.

        Raises:
            ConnectionResetError: a reset has arrived, and everything before it is read.
        """
        now = trio.current_time()
        if self._pieces and self._pieces[0][0] <= now:
            at, piece = self._pieces.popleft()
            if len(piece) > max_bytes:
                self._pieces.appendleft((at, piece[max_bytes:]))
                piece = piece[:max_bytes]
            self._used -= len(piece)
            self.write_lot.unpark_all()
            return bytes(piece)
        if self.end_at <= now:
            return b""
        if self.reset_at <= now:
            raise reset_by_peer()
        return None

    @property
    def has_unread(self) -> bool:
        """Whether bytes have arrived that nobody has read."""
        return bool(self._pieces) and self._pieces[0][0] <= trio.current_time()

    def readable_at(self) -> float:
        """When `read` has something to say, infinity while nothing is on its way."""
        first = self._pieces[0][0] if self._pieces else inf
        return min(first, self.end_at, self.reset_at)

    def _wake_readers(self) -> None:
        for lot in self.read_lots:
            lot.unpark_all()
