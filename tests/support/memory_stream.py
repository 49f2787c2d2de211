"""A byte stream in memory, scripted from the peer's side, for tests of what speaks over one."""

from __future__ import annotations

import trio

from penstock._errors import ReadError, WriteError


class MemoryStream:
    """A `ByteStream` whose peer is the test.

    Attributes:
        sent: everything that was written.
        window: how many more bytes the peer takes; None for any number.
        ended_cleanly: what the stream says after its end.
    """

    def __init__(self, *segments: bytes) -> None:
        self._incoming: list[bytes] = [segment for segment in segments if segment]
        self._eof = False
        self._reset = False
        self._write_error = False
        self._closed = False
        self._lot = trio.lowlevel.ParkingLot()
        self.sent = bytearray()
        self.writes = 0
        self.window: int | None = None
        self.ended_cleanly = False
        self._clean = True

    # The peer's side

    def feed(self, *segments: bytes) -> None:
        """Let segments arrive; each is returned by one read."""
        self._incoming += [segment for segment in segments if segment]
        self._lot.unpark_all()

    def feed_eof(self, *, clean: bool = True) -> None:
        """End the stream after what was fed; `clean=False` is TLS without close_notify."""
        self._eof = True
        self._clean = clean
        self._lot.unpark_all()

    def reset(self) -> None:
        """Break both directions; what was fed before can still be read."""
        self._reset = self._write_error = True
        self._lot.unpark_all()

    def break_writes(self) -> None:
        """Let every further write fail."""
        self._write_error = True
        self._lot.unpark_all()

    def open_window(self, size: int | None) -> None:
        """Take `size` more bytes."""
        self.window = size
        self._lot.unpark_all()

    async def wait_sent(self, count: int) -> None:
        """Wait until `count` bytes were written."""
        while len(self.sent) < count:
            await self._lot.park()

    # The stream

    def try_receive(self, max_bytes: int) -> bytes | None:
        if self._closed:
            raise ReadError("the stream is closed")
        if self._incoming:
            data = self._incoming.pop(0)
            if len(data) > max_bytes:
                self._incoming.insert(0, data[max_bytes:])
            return data[:max_bytes]
        if self._reset:
            raise ReadError("connection reset by peer")
        if self._eof:
            self.ended_cleanly = self._clean
            return b""
        return None

    def is_quiet(self) -> bool:
        return not (self._incoming or self._eof or self._reset or self._closed)

    def try_send(self, data: bytes | memoryview) -> int:
        if self._closed or self._write_error:
            raise WriteError("broken pipe")
        taken = len(data) if self.window is None else min(self.window, len(data))
        if self.window is not None:
            self.window -= taken
        self.sent += data[:taken]
        self.writes += 1
        self._lot.unpark_all()
        return taken

    async def wait_readable(self) -> None:
        await trio.lowlevel.checkpoint()
        while not (self._incoming or self._eof or self._reset or self._closed):
            await self._lot.park()

    async def wait_writable(self) -> None:
        await trio.lowlevel.checkpoint()
        while not (self.window is None or self.window > 0 or self._write_error or self._closed):
            await self._lot.park()

    def close(self) -> None:
        self._closed = True
        self._lot.unpark_all()

    def fileno(self) -> int:
        return -1

    @property
    def is_closed(self) -> bool:
        """Whether our side closed it."""
        return self._closed
