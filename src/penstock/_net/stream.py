"""The two-way byte pipe everything above runs on, and its plain form over a socket.

Try first, wait after: the tries are synchronous and never block, so a request whose bytes are there costs no trip
through the scheduler. A wait for writability that is cancelled leaves the stream broken: whoever waited had more to
send, and other bytes must never follow the first half of a message, let alone of a TLS record.
"""

from __future__ import annotations

import contextlib
import select
from typing import TYPE_CHECKING, Protocol

import trio

from .._errors import LocalProtocolError, NetworkError, ReadError, WriteError
from .._events import CloseReason

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from .timer import PhaseTimer


class ByteStream(Protocol):
    """A two-way byte pipe: synchronous, non-blocking tries, and waits for readiness."""

    @property
    def ended_cleanly(self) -> bool:
        """Whether the peer ended its side in good order: FIN on a plain stream, close_notify on TLS."""

    def try_receive(self, max_bytes: int) -> bytes | None:
        """Take what has arrived.

        Args:
            max_bytes: at least 1.

        Returns:
            1 to `max_bytes` bytes, b"" at the end of the stream, None if nothing has arrived yet.

        Raises:
            ReadError: the connection broke, or the stream was closed here.
            TLSError: the peer refused the connection after the handshake.
        """

    def is_quiet(self) -> bool:
        """Whether `try_receive` would surely return None; costs less than trying. False promises nothing."""

    def try_send(self, data: bytes | memoryview) -> int:
        """Hand over as much of `data` as goes at once.

        Returns:
            How many bytes were taken. If fewer than all, the next call must go on with the rest of the same data.

        Raises:
            WriteError: the connection broke, an earlier write was cut short, or the stream was closed here.
        """

    async def wait_readable(self) -> None:
        """Wait until `try_receive` has something to say.

        Raises:
            ReadError: the stream was closed meanwhile.
            LocalProtocolError: another task waits already.
        """

    async def wait_writable(self) -> None:
        """Wait until `try_send` may take more; a cancelled wait leaves the stream broken for writing.

        Raises:
            WriteError: the stream was closed meanwhile.
            LocalProtocolError: another task waits already.
        """

    def close(self) -> None:
        """Close at once, without waiting and without an error; tasks that wait on the stream are woken."""

    def fileno(self) -> int:
        """The descriptor to watch for readability, or -1 if there is none."""


async def send_all(stream: ByteStream, data: bytes | memoryview, timer: PhaseTimer | None = None) -> None:
    """Send all of `data`: try, then wait.

    Args:
        stream: where to.
        data: what to send.
        timer: armed for the write phase when, and only when, it has to wait.

    Raises:
        WriteError: the connection broke; how much arrived is unknown. A cancelled call leaves the stream broken.
    """
    sent = stream.try_send(data)
    if sent == len(data):
        return
    rest = memoryview(data)[sent:]
    while rest:
        if timer is not None:
            timer.write()
        await stream.wait_writable()
        rest = rest[stream.try_send(rest) :]


def look(stream: ByteStream) -> CloseReason | None:
    """Look once more at an idle stream before it is handed over; None means it is quiet.

    TLS session tickets and other records without application data are consumed and do not count. What was read is
    lost, so a stream with a reason must be closed.
    """
    if stream.is_quiet():
        return None
    try:
        data = stream.try_receive(1)
    except NetworkError:
        return CloseReason.IO_ERROR
    if data is None:
        return None
    return CloseReason.UNSOLICITED_DATA if data else CloseReason.PEER_CLOSED


class SocketStream:
    """A `ByteStream` over a connected, non-blocking stdlib socket, which it owns."""

    __slots__ = ("_broken", "_fd", "_poll", "_recv", "_send", "_socket", "ended_cleanly")

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._fd = connected.fileno()
        self._recv = connected.recv
        self._send = connected.send
        self._poll: Callable[[int], list[tuple[int, int]]] | None = None
        self._broken = False
        self.ended_cleanly = False

    def try_receive(self, max_bytes: int) -> bytes | None:
        try:
            data = self._recv(max_bytes)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ReadError(f"the connection broke: {error.strerror or error}", phase="read") from error
        if not data:
            self.ended_cleanly = True
        return data

    def is_quiet(self) -> bool:
        poll = self._poll
        if poll is None:
            if self._fd < 0:
                return False
            poller = select.poll()
            poller.register(self._fd, select.POLLIN)
            self._poll = poll = poller.poll
        # A read that finds nothing raises, which costs four times as much.
        return not poll(0)

    def try_send(self, data: bytes | memoryview) -> int:
        if self._broken:
            raise WriteError("an earlier write was cut short", phase="write")
        try:
            return self._send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise WriteError(f"the connection broke: {error.strerror or error}", phase="write") from error

    async def wait_readable(self) -> None:
        if self._fd < 0:
            raise ReadError("the stream is closed", phase="read")
        try:
            await trio.lowlevel.wait_readable(self._fd)
        except trio.Cancelled as error:
            # A nursery keeps the tracebacks of all its cancelled tasks until the last of them has ended: what is held
            # there of trio's own frames costs the garbage collector a third of the time to cancel 10,000 streams.
            error.__traceback__ = None
            raise
        except trio.BusyResourceError as error:
            raise LocalProtocolError("another task reads from this connection", phase="read") from error
        except (trio.ClosedResourceError, OSError, ValueError) as error:
            raise ReadError("the stream is closed", phase="read") from error

    async def wait_writable(self) -> None:
        if self._fd < 0:
            raise WriteError("the stream is closed", phase="write")
        try:
            await trio.lowlevel.wait_writable(self._fd)
        except trio.BusyResourceError as error:
            raise LocalProtocolError("another task writes to this connection", phase="write") from error
        except (trio.ClosedResourceError, OSError, ValueError) as error:
            raise WriteError("the stream is closed", phase="write") from error
        except trio.Cancelled as error:
            self._broken = True
            error.__traceback__ = None
            raise

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        self._poll = None
        # Outside a trio run nobody can be waiting.
        with contextlib.suppress(RuntimeError):
            trio.lowlevel.notify_closing(fd)
        self._socket.close()

    def fileno(self) -> int:
        return self._fd

    def address(self, name: str) -> object:
        """The "client_addr" or "server_addr", as the system writes it; None for all else, and once it is closed."""
        ask = {"client_addr": self._socket.getsockname, "server_addr": self._socket.getpeername}.get(name)
        try:
            return None if ask is None else ask()
        except OSError:
            return None
