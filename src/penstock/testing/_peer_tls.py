"""The server's side of TLS over any peer stream, in memory."""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Protocol

import trio

from .._errors import ReadError, WriteError
from .._net.stream import ByteStream

#: One TLS record's worth of plaintext (RFC 8446 §5.1), so that a full transport takes at most one record too many.
RECORD = 16384
_CHUNK = 65536


class PeerStream(ByteStream, Protocol):
    """What a scripted peer needs of its end of a connection: a `ByteStream` that can also misbehave."""

    def send_end(self) -> None:
        """Send a FIN and stay open for reading. Idempotent."""

    def abort(self) -> None:
        """Close with a reset. Idempotent."""


class TLSServerStream:
    """TLS in the server's role over another peer stream. Call `handshake` first.

    Attributes:
        tls: the TLS object, for what was negotiated.
    """

    def __init__(self, transport: PeerStream, context: ssl.SSLContext) -> None:
        self.transport = transport
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._unsent = b""
        self._ended_cleanly = False

    @property
    def ended_cleanly(self) -> bool:
        """Whether the client's close_notify was read."""
        return self._ended_cleanly

    def fileno(self) -> int:
        """The transport's descriptor, -1 if it has none."""
        return self.transport.fileno()

    async def handshake(self) -> None:
        """Shake hands.

        Raises:
            ssl.SSLError: the client refused, was refused, or went away in the middle.
            ReadError, WriteError: the transport broke.
        """
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.flush()
                await self.transport.wait_readable()
                self._feed()
            except ssl.SSLError:
                with suppress(WriteError):
                    self._push()
                raise
            else:
                break
        await self.flush()

    def _feed(self) -> bool:
        data = self.transport.try_receive(_CHUNK)
        if data is None:
            return False
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        return True

    def _push(self) -> bool:
        self._unsent += self._outgoing.read()
        if self._unsent:
            self._unsent = self._unsent[self.transport.try_send(self._unsent) :]
        return not self._unsent

    async def flush(self) -> None:
        """Wait until the transport has taken every record made so far.

        Raises:
            WriteError: the transport broke.
        """
        while not self._push():
            await self.transport.wait_writable()

    def try_receive(self, max_bytes: int) -> bytes | None:
        """As `ByteStream.try_receive`; b"" also for an end without close_notify, see `ended_cleanly`."""
        while True:
            try:
                data = self.tls.read(max_bytes)
            except ssl.SSLWantReadError:
                if not self._feed():
                    return None
            except ssl.SSLEOFError:
                return b""
            except ssl.SSLError as error:
                raise ReadError(f"TLS: {error.reason}", phase="read") from error
            else:
                self._ended_cleanly = self._ended_cleanly or not data
                return data

    def is_quiet(self) -> bool:
        """As `ByteStream.is_quiet`."""
        return not self.tls.pending() and not self._incoming.pending and self.transport.is_quiet()

    def try_send(self, data: bytes | memoryview) -> int:
        """As `ByteStream.try_send`: takes nothing while a record waits for the transport."""
        if not self._push() or not data:
            return 0
        try:
            taken = self.tls.write(data[:RECORD])
        except ssl.SSLError as error:
            raise WriteError(f"TLS: {error.reason}", phase="write") from error
        self._push()
        return taken

    async def wait_readable(self) -> None:
        """As `ByteStream.wait_readable`."""
        if self.tls.pending() or self._incoming.pending:
            await trio.lowlevel.checkpoint()
        else:
            await self.transport.wait_readable()

    async def wait_writable(self) -> None:
        """As `ByteStream.wait_writable`."""
        await self.transport.wait_writable()

    def send_close_notify(self) -> None:
        """Put close_notify into the transport as far as it takes it. Idempotent."""
        with suppress(ssl.SSLError, ValueError):
            self.tls.unwrap()
        with suppress(WriteError):
            self._push()

    def send_end(self) -> None:
        """Send a FIN, without close_notify."""
        self.transport.send_end()

    def abort(self) -> None:
        """Close with a reset."""
        self.transport.abort()

    def close(self) -> None:
        """Send close_notify as far as the transport takes it, then close."""
        self.send_close_notify()
        self.transport.close()
