"""A TLS server in memory that is itself the client's transport: it answers within the call that sends to it."""

from __future__ import annotations

import contextlib
import ssl

import trio


class TLSPeer:
    """A `ByteStream` with a server behind it.

    Attributes:
        tls: the server's side.
        received: the application data it got.
        window: how many more bytes of ciphertext it takes; None for any number.
        segment: how many bytes one read of the client returns at most.
        hesitant: whether each segment is preceded by "nothing yet", so that the client has to wait.
        alert: the error that ended the handshake on the server's side.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        window: int | None = None,
        segment: int = 65536,
        hesitant: bool = False,
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._shaken = False
        self._to_client = bytearray()
        self._ended = self._closed = self._broken = False
        self._due = hesitant
        self._lot = trio.lowlevel.ParkingLot()
        self.received = bytearray()
        self.window = window
        self.segment = segment
        self.hesitant = hesitant
        self.ended_cleanly = False
        self.alert: ssl.SSLError | None = None

    # The server's side

    def send(self, data: bytes) -> None:
        """Encrypt and send."""
        self.tls.write(data)
        self._pass_on()

    def send_close_notify(self) -> None:
        """End the TLS stream, not the transport."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self._pass_on()

    def send_raw(self, data: bytes) -> None:
        """Send bytes past TLS."""
        self._to_client += data
        self._lot.unpark_all()

    def end(self) -> None:
        """End the transport."""
        self._ended = True
        self._lot.unpark_all()

    def take_all(self) -> bytes:
        """Take away what is on its way to the client."""
        data = bytes(self._to_client)
        self._to_client.clear()
        return data

    def _pass_on(self) -> None:
        self._to_client += self._outgoing.read()
        self._lot.unpark_all()

    def _work(self) -> None:
        try:
            if not self._shaken:
                self.tls.do_handshake()
                self._shaken = True
            while data := self.tls.read(65536):
                self.received += data
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.alert = error
        self._pass_on()

    # The transport

    def try_receive(self, max_bytes: int) -> bytes | None:
        if self._to_client:
            if self._due:
                self._due = False
                return None
            self._due = self.hesitant
            size = min(max_bytes, self.segment)
            data = bytes(self._to_client[:size])
            del self._to_client[:size]
            return data
        if self._ended:
            self.ended_cleanly = True
            return b""
        return None

    def is_quiet(self) -> bool:
        return not (self._to_client or self._ended)

    def try_send(self, data: bytes | memoryview) -> int:
        from penstock._errors import WriteError

        if self._broken or self._closed:
            raise WriteError("broken")
        taken = len(data) if self.window is None else min(self.window, len(data))
        if self.window is not None:
            self.window -= taken
        if taken:
            self._incoming.write(bytes(data[:taken]))
            self._work()
        return taken

    async def wait_readable(self) -> None:
        await trio.lowlevel.checkpoint()
        while not (self._to_client or self._ended or self._closed):
            await self._lot.park()

    async def wait_writable(self) -> None:
        try:
            await trio.lowlevel.checkpoint()
            while self.window == 0:
                await self._lot.park()
        except trio.Cancelled:
            self._broken = True
            raise

    def open_window(self, size: int | None) -> None:
        """Take `size` more bytes."""
        self.window = size
        self._lot.unpark_all()

    def close(self) -> None:
        self._closed = True
        self._lot.unpark_all()

    def fileno(self) -> int:
        return -1

    @property
    def is_closed(self) -> bool:
        """Whether the client closed it."""
        return self._closed
