"""A byte stream inside TLS, driven by hand over another byte stream.

OpenSSL gets its ciphertext from one memory BIO and leaves it in another; the transport below is any `ByteStream`, a
socket or a tunnel. Four rules of this file:

* A record that was encrypted is owed to the peer. Its plaintext counts as taken only when its last byte has left, so
  the caller keeps coming back with the same data until then (as OpenSSL asks of its own callers). Only one record is
  owed at a time: what does not count as taken, the peer cannot have read, for it cannot decrypt half a record.
* The end of the transport is not the end of the data: only close_notify is (RFC 8446 §6.1). OpenSSL is never told of an
  end of file, so no option of a caller's context can blur the difference.
* Records without application data (session tickets, key updates) are consumed in passing, within bounds.
* The memory BIOs are shared with other streams (see `tls_bios`): each call into OpenSSL finds them empty, and what it
  leaves there is taken out before anything else happens.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, NoReturn

import trio

from .._errors import NetworkError, ReadError, TLSError, WriteError
from .tls_bios import discard_stale

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from .sessions import SessionKeeper
    from .stream import ByteStream
    from .tls_bios import BIOs

RECEIVE_SIZE = 65536
#: Plaintext in one record (RFC 8446 §5.1).
RECORD_SIZE = 16384

#: What may arrive between two pieces of application data: room for many tickets, not for a flood.
QUIET_BYTES = 65536
QUIET_RECORDS = 100

#: More than TLS adds to a record, in any version and suite.
_RECORD_OVERHEAD = 128


class TLSStream:
    """A `ByteStream` inside TLS. Made by `start_tls`.

    Attributes:
        version: "TLSv1.3" or "TLSv1.2".
        cipher: the suite's name.
        alpn: the protocol agreed on, None if the server chose none.
        session_reused: whether an earlier session was resumed.
        verified_pins: the pins of the verified chain, leaf first; empty if the host is not pinned.
        ended_cleanly: whether the peer sent close_notify.
    """

    __slots__ = (
        "_backlog",
        "_closed",
        "_ended",
        "_failure",
        "_incoming",
        "_keeper",
        "_more",
        "_outgoing",
        "_owed",
        "_quiet_bytes",
        "_quiet_records",
        "_tls",
        "_transport",
        "_unread",
        "_unsettled",
        "_unused",
        "alpn",
        "cipher",
        "ended_cleanly",
        "session_reused",
        "verified_pins",
        "version",
    )

    #: The most of the caller's data that becomes one record.
    _largest = RECORD_SIZE

    def __init__(
        self,
        transport: ByteStream,
        tls: ssl.SSLObject,
        bios: BIOs,
        *,
        version: str,
        cipher: str,
        alpn: str | None,
        unread: bytes = b"",
        verified_pins: tuple[str, ...] = (),
        keeper: SessionKeeper | None = None,
    ) -> None:
        self._transport = transport
        self._tls = tls
        self._incoming, self._outgoing = bios
        self._keeper = keeper
        # Ciphertext that OpenSSL has not taken yet, and whether a read may succeed without more of it.
        self._unread = unread
        self._more = bool(unread)
        self._ended = False
        self._closed = False
        self._failure: ssl.SSLError | None = None
        # Ciphertext that the transport did not take yet, and how much of the caller's data it stands for.
        self._backlog = b""
        self._owed = 0
        # Set while the next application data has something to reset: the counters below, or the first-data duties.
        self._unsettled = True
        self._unused = True
        self._quiet_bytes = 0
        self._quiet_records = 0
        self.verified_pins = verified_pins
        self.session_reused = bool(tls.session_reused)
        self.alpn = alpn
        self.version = version
        self.cipher = cipher
        self.ended_cleanly = False

    @property
    def transport(self) -> ByteStream:
        """The stream that carries the records; a watcher of streams without descriptors looks there."""
        return self._transport

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """What to ask about the peer; nobody but this stream writes or reads through it."""
        return self._tls

    @property
    def is_ready(self) -> bool:
        """Whether `try_receive` may have something to say that the transport knows nothing of."""
        return self._more or self._ended

    def try_receive(self, max_bytes: int) -> bytes | None:
        if self._more:
            if self._failure is not None:
                self._fail(self._failure)
            raw, self._unread = self._unread, b""
            data = self._decrypt(raw, max_bytes)
            if data is not None:
                return data
        while not self._ended:
            arrived = self._transport.try_receive(RECEIVE_SIZE)
            if arrived is None:
                return None
            if not arrived:
                self._ended = True
                break
            data = self._decrypt(arrived, max_bytes)
            if data is not None:
                return data
            self._count_quiet(arrived)
        return b""

    def is_quiet(self) -> bool:
        return not self.is_ready and self._transport.is_quiet()

    def _decrypt(self, raw: bytes, max_bytes: int) -> bytes | None:
        """Read what the bytes at hand give; None if that is no application data."""
        incoming, outgoing = self._incoming, self._outgoing
        if incoming.pending or outgoing.pending:
            discard_stale(incoming, outgoing)
        incoming.write(raw)
        size = min(max_bytes, RECORD_SIZE)
        try:
            data = self._tls.read(size)
            if not data:
                self._more = False
                self._ended = self.ended_cleanly = True
                return b""
            if self._unsettled:
                self._settle()
            if len(data) < size and not incoming.pending:
                self._more = False
                return data
            self._more = True
            return data if len(data) == max_bytes else self._read_more(data, max_bytes)
        except ssl.SSLWantReadError:
            self._more = False
            return None
        except ssl.SSLError as error:
            self._fail(error)
        finally:
            if incoming.pending:
                self._unread = incoming.read()
            if outgoing.pending:
                self._send_replies()

    def _read_more(self, first: bytes, max_bytes: int) -> bytes:
        """Go on with further records that arrived at once; what they say besides data is left to the next read."""
        pieces, room = [first], max_bytes - len(first)
        while room and (self._incoming.pending or self._tls.pending()):
            try:
                data = self._tls.read(min(room, RECORD_SIZE))
            except ssl.SSLWantReadError:
                self._more = False
                break
            except ssl.SSLError as error:
                self._failure = error
                break
            if not data:
                self._ended = self.ended_cleanly = True
                self._more = False
                break
            pieces.append(data)
            room -= len(data)
        return b"".join(pieces)

    def _settle(self) -> None:
        """Application data came: keep the session, whose ticket came before it, and start counting anew."""
        self._unsettled = self._unused = False
        self._quiet_bytes = self._quiet_records = 0
        self._keep_session()

    def _keep_session(self) -> None:
        keeper = self._keeper
        if keeper is None:
            return
        if keeper.is_needed:
            session = self._tls.session
            if session is None or (self.version == "TLSv1.3" and not session.has_ticket):
                return
            keeper.keep(session)
        self._keeper = None

    def _count_quiet(self, raw: bytes) -> None:
        self._unsettled = True
        self._quiet_bytes += len(raw)
        self._quiet_records += _count_records(raw)
        if self._quiet_bytes > QUIET_BYTES or self._quiet_records > QUIET_RECORDS:
            raise ReadError("the peer floods the connection with TLS records that hold no data", phase="read")

    def _send_replies(self) -> None:
        """Send what OpenSSL itself has to say, such as the answer to a key update; the next write sends the rest."""
        self._backlog += self._outgoing.read()
        if not self._owed:
            with contextlib.suppress(NetworkError):
                self._flush()

    def _fail(self, error: ssl.SSLError) -> NoReturn:
        self._failure = error
        self._more = True
        if self._unused and "ALERT" in (error.reason or ""):
            # In TLS 1.3 the server judges the client's certificate after the client's handshake has ended.
            raise TLSError(
                f"the peer refused the connection after the handshake: {error.reason}", phase="tls"
            ) from error
        raise ReadError(f"TLS failed: {error.reason or error}", phase="read") from error

    def try_send(self, data: bytes | memoryview) -> int:
        if self._backlog:
            if not self._flush():
                return 0
            taken, self._owed = self._owed, 0
            if taken:
                return taken
        size = len(data)
        if not size:
            return 0
        incoming, outgoing = self._incoming, self._outgoing
        if incoming.pending or outgoing.pending:
            discard_stale(incoming, outgoing)
        try:
            taken = self._tls.write(data if size <= self._largest else memoryview(data)[: self._largest])
        except ssl.SSLError as error:
            raise WriteError(f"TLS failed: {error.reason or error}", phase="write") from error
        finally:
            self._backlog = outgoing.read()
        if self._flush():
            return taken
        self._owed = taken
        return 0

    def _flush(self) -> bool:
        """Pass ciphertext on; whether all of it has left."""
        data = self._backlog
        sent = self._transport.try_send(data)
        self._backlog = data[sent:]
        return sent == len(data)

    def wait_readable(self) -> Coroutine[Any, Any, None]:
        if self._more or self._ended:
            return trio.lowlevel.checkpoint()  # noqa: ASYNC105 - the caller awaits it, with one frame less
        return self._transport.wait_readable()

    def wait_writable(self) -> Coroutine[Any, Any, None]:
        return self._transport.wait_writable()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        # A record cut in half must not be followed by another one.
        if not self._backlog and self._failure is None:
            self._say_goodbye()
        self._transport.close()

    def _say_goodbye(self) -> None:
        with contextlib.suppress(ssl.SSLError, NetworkError):
            self._keep_session()
            discard_stale(self._incoming, self._outgoing)
            try:
                with contextlib.suppress(ssl.SSLWantReadError):
                    self._tls.unwrap()
            finally:
                self._backlog = self._outgoing.read()
            self._flush()

    def fileno(self) -> int:
        return self._transport.fileno()


class TunnelledTLSStream(TLSStream):
    """TLS inside TLS: the stream below may have decrypted what this one has not looked at."""

    __slots__ = ()

    # With what TLS adds it still is one record of the stream below, and not one and a scrap that has to wait.
    _largest = RECORD_SIZE - _RECORD_OVERHEAD

    _transport: TLSStream

    @property
    def is_ready(self) -> bool:
        return self._more or self._ended or self._transport.is_ready


def _count_records(raw: bytes) -> int:
    """How many TLS record headers follow each other from the start of `raw`; 0 if it starts inside a record."""
    count = at = 0
    while at + 5 <= len(raw) and 20 <= raw[at] <= 24 and raw[at + 1] == 3:
        at += 5 + int.from_bytes(raw[at + 3 : at + 5], "big")
        count += 1
    return count
