"""The server's side of one connection, played by a script."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import h11
import trio

from .._errors import ReadError, WriteError
from ._peer_tls import TLSServerStream

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Sequence

    from .._types import HeaderList
    from ._peer_tls import PeerStream

    Pieces = int | Sequence[int] | None

#: What a parser may hold of one request's head; far above what a client under test sends.
_MAX_HEAD = 1 << 20


class ClientGone(Exception):
    """The client closed, reset or never finished; ends a handler quietly."""


class PeerRequest(NamedTuple):
    """A request as the server saw it.

    Attributes:
        method: as sent.
        target: as sent.
        headers: names in lower case, in order.
        body: decoded from its framing.
        http_version: "1.1" or "1.0".
    """

    method: bytes
    target: bytes
    headers: HeaderList
    body: bytes
    http_version: str

    def header(self, name: bytes) -> bytes | None:
        """The first value of a field, None if it was not sent. `name` is in lower case."""
        return next((value for key, value in self.headers if key == name), None)


def head(status: int, headers: Iterable[tuple[bytes, bytes]] = (), *, reason: str | None = None) -> bytes:
    """The bytes of a response's head. `reason` is the standard one unless given."""
    if reason is None:
        reason = HTTPStatus(status).phrase if status in _KNOWN_STATUS else ""
    lines = [b"HTTP/1.1 %d %s" % (status, reason.encode("latin-1"))]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


_KNOWN_STATUS = frozenset(int(status) for status in HTTPStatus)


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body (RFC 9112 §7.1); b"" gives the last one, without trailers."""
    return b"%x\r\n%s\r\n" % (len(data), data)


class ScriptedPeer:
    """Plays a server on one connection: says what the script says, right or wrong.

    Handlers get one from `FakeNetwork.listen`; around another stream it works as well. Everything that meets a client
    which has left raises `ClientGone`.

    Args:
        stream: the server's end of the connection.

    Attributes:
        received: every byte the client sent, after decryption.
        requests: every request that was parsed.
        tls: the TLS object once a handshake is done, for what was negotiated; None before.
        tls_error: why the handshake failed, None if it did not.
    """

    def __init__(self, stream: PeerStream) -> None:
        self._stream = stream
        self._secure: TLSServerStream | None = None
        self._parser: h11.Connection | None = None
        self._unparsed = b""
        self.received = bytearray()
        self.requests: list[PeerRequest] = []
        self.tls: ssl.SSLObject | None = None
        self.tls_error: ssl.SSLError | None = None

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Shake hands as the server. Afterwards everything goes through TLS.

        Raises:
            ClientGone: the handshake failed; `tls_error` says why.
        """
        import ssl

        secure = TLSServerStream(self._stream, context)
        try:
            await secure.handshake()
        except ssl.SSLError as error:
            self.tls_error = error
            raise ClientGone(f"no TLS handshake: {error}") from error
        except (ReadError, WriteError) as error:
            raise ClientGone(str(error)) from error
        self._stream = self._secure = secure
        self.tls = secure.tls

    # Hearing

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """The next bytes from the client, b"" at the end. Bytes that a parser left over are not among them.

        Raises:
            ClientGone: the client reset the connection.
        """
        try:
            while (data := self._stream.try_receive(max_bytes)) is None:
                await self._stream.wait_readable()
        except ReadError as error:
            raise ClientGone(str(error)) from error
        self.received += data
        return data

    async def expect_head(self) -> PeerRequest:
        """Read the head of the next request; its body may be fetched with `expect_body`.

        Raises:
            ClientGone: the client left instead.
            h11.RemoteProtocolError: what the client sent is not HTTP/1.
            RuntimeError: the body of the request before was not read.
        """
        if self._parser is not None:
            raise RuntimeError("read the body of the request before with expect_body")
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
        if self._unparsed:
            self._parser.receive_data(self._unparsed)
            self._unparsed = b""
        event = await self._next_event(self._parser)
        if not isinstance(event, h11.Request):
            raise ClientGone("the client sent no request")
        headers = [(bytes(name), bytes(value)) for name, value in event.headers]
        request = PeerRequest(event.method, event.target, headers, b"", event.http_version.decode("ascii"))
        self.requests.append(request)
        return request

    async def expect_body(self) -> bytes:
        """Read the body of the request whose head was read.

        Raises:
            ClientGone: the client left before its end.
            RuntimeError: no head was read.
        """
        if self._parser is None:
            raise RuntimeError("read a head with expect_head first")
        body = bytearray()
        while not isinstance(event := await self._next_event(self._parser), h11.EndOfMessage):
            assert isinstance(event, h11.Data)
            body += event.data
        self._unparsed = self._parser.trailing_data[0]
        self._parser = None
        self.requests[-1] = self.requests[-1]._replace(body=bytes(body))
        return bytes(body)

    async def expect_request(self) -> PeerRequest:
        """Read the next request to its end. Raises as `expect_head`."""
        await self.expect_head()
        await self.expect_body()
        return self.requests[-1]

    async def _next_event(self, parser: h11.Connection) -> h11.Event:
        at_end = False
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError as error:
                if at_end:
                    raise ClientGone("the client left in the middle of a request") from error
                raise
            if event is h11.NEED_DATA:
                data = await self.receive()
                at_end = not data
                parser.receive_data(data)
            else:
                assert not isinstance(event, type)
                return event

    async def wait_closed(self) -> bytes:
        """Wait until the client closes or resets; returns what it sent until then."""
        rest = bytearray(self._unparsed)
        self._unparsed = b""
        try:
            while data := await self.receive():
                rest += data
        except ClientGone:
            pass
        return bytes(rest)

    # Speaking

    async def send(self, data: bytes, *, pieces: Pieces = None, every: float = 0.0) -> None:
        """Send bytes as they are, and wait until the connection has taken them.

        Args:
            data: what to send.
            pieces: None sends it whole; a number sends pieces of that many bytes; a sequence gives the size of each
                piece, what is left over is the last one.
            every: seconds between pieces.

        Raises:
            ClientGone: the client closed or reset the connection.
        """
        for index, piece in enumerate(cut(data, pieces)):
            if index:
                await trio.sleep(every)
            await self._send_piece(piece)

    async def _send_piece(self, piece: bytes) -> None:
        rest = memoryview(piece)
        try:
            while rest:
                if taken := self._stream.try_send(rest):
                    rest = rest[taken:]
                else:
                    await self._stream.wait_writable()
            if self._secure is not None:
                await self._secure.flush()
        except WriteError as error:
            raise ClientGone(str(error)) from error

    async def respond(
        self,
        status: int = 200,
        headers: Iterable[tuple[bytes, bytes]] = (),
        body: bytes = b"",
        *,
        reason: str | None = None,
        pieces: Pieces = None,
        every: float = 0.0,
    ) -> None:
        """Send a whole response with right framing, unless `headers` brings its own.

        Content-Length is added where neither it nor Transfer-Encoding is among `headers` and the status may have a
        body; the body is left out in answer to HEAD. `pieces` and `every` are those of `send`.

        Raises:
            ClientGone: the client closed or reset the connection.
        """
        fields = list(headers)
        names = {name.lower() for name, _ in fields}
        has_body = status >= 200 and status not in (204, 304)
        if has_body and not names & {b"content-length", b"transfer-encoding"}:
            fields.append((b"content-length", b"%d" % len(body)))
        if self.requests and self.requests[-1].method == b"HEAD":
            body = b""
        await self.send(head(status, fields, reason=reason) + body, pieces=pieces, every=every)

    async def wait(self, seconds: float) -> None:
        """Do nothing for a while."""
        await trio.sleep(seconds)

    async def stall(self) -> NoReturn:
        """Do nothing for ever, with the connection open; ends when the network is left."""
        await trio.sleep_forever()
        raise AssertionError("slept for ever, and woke")

    # Leaving

    def fin(self, *, close_notify: bool = True) -> None:
        """End the server's direction and go on hearing; over TLS, a close_notify goes before it if asked."""
        if self._secure is not None and close_notify:
            self._secure.send_close_notify()
        self._stream.send_end()

    def rst(self) -> None:
        """Reset the connection."""
        self._stream.abort()

    def close(self) -> None:
        """Close both directions in good order, over TLS with close_notify. Idempotent."""
        self._stream.close()


#: Plays the server on one connection; see `penstock.testing.FakeNetwork.listen`.
Handler = Callable[[ScriptedPeer], Awaitable[object]]


def cut(data: bytes, pieces: Pieces) -> list[bytes]:
    """Cut bytes into pieces as `ScriptedPeer.send` does.

    Raises:
        ValueError: a size is less than 1.
    """
    if pieces is None:
        return [data]
    sizes = [pieces] * (len(data) // pieces + 1) if isinstance(pieces, int) and pieces > 0 else pieces
    if isinstance(sizes, int) or any(size < 1 for size in sizes):
        raise ValueError(f"pieces must be at least 1 byte long, not {pieces!r}")
    cuts: list[bytes] = []
    start = 0
    for size in sizes:
        cuts.append(data[start : start + size])
        start += size
    cuts.append(data[start:])
    return [piece for piece in cuts if piece]
