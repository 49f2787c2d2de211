"""A scripted server on real sockets of 127.0.0.1: what `FakeNetwork` is to virtual time, this is to the kernel.

It runs the same handlers as `FakeNetwork.listen`, the ready ones of `penstock.testing` and the scripts below:

    async with ScriptServer(serve_ok(b"hello")) as server:
        ... server.url, server.connections, server.requests_per_connection

It shares no code with the stream under test: the peer's end of a socket is written a second time here.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Self

import trio

from penstock._errors import ReadError, WriteError
from penstock.testing import Handler, ScriptedPeer, head, serve_ok, serve_raw
from penstock.testing._serving import PeerNursery

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType


class SocketPeerStream:
    """A `PeerStream` over an accepted socket."""

    def __init__(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        if accepted.family != socket.AF_UNIX:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = accepted
        self.ended_cleanly = False

    def fileno(self) -> int:
        return self._socket.fileno()

    def try_receive(self, max_bytes: int) -> bytes | None:
        try:
            data = self._socket.recv(max_bytes)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ReadError(str(error)) from error
        self.ended_cleanly = self.ended_cleanly or not data
        return data

    def is_quiet(self) -> bool:
        return False

    def try_send(self, data: bytes | memoryview) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise WriteError(str(error)) from error

    async def wait_readable(self) -> None:
        if self._socket.fileno() < 0:
            raise ReadError("closed")
        try:
            await trio.lowlevel.wait_readable(self._socket)
        except trio.ClosedResourceError as error:
            raise ReadError("closed") from error

    async def wait_writable(self) -> None:
        if self._socket.fileno() < 0:
            raise WriteError("closed")
        try:
            await trio.lowlevel.wait_writable(self._socket)
        except trio.ClosedResourceError as error:
            raise WriteError("closed") from error

    def send_end(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            # The client has gone already.
            return

    def abort(self) -> None:
        # SO_LINGER with a time of 0 makes the kernel send RST instead of FIN.
        if self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class ScriptServer:
    """A server on 127.0.0.1 whose connections are played by handlers.

    Args:
        handler: plays each connection; see `penstock.testing.serve_in_turn` for several.
        tls: the server's TLS settings; None serves plain HTTP.
        listener: a listening socket to serve instead of a port of its own.
        receive_buffer: SO_RCVBUF of accepted connections, for clients that are to get stuck while sending.

    Attributes:
        port: the port, known from the start.
        peers: the server's side of each connection, in order.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        self._handler = handler
        self._tls = tls
        self._handlers = PeerNursery()
        self._listener = socket.socket() if listener is None else listener
        if receive_buffer is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if listener is None:
            self._listener.bind(("127.0.0.1", 0))
            self._listener.listen(1024)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1] if listener is None else 0
        self.peers: list[ScriptedPeer] = []

    @property
    def url(self) -> str:
        """The origin; the name is localhost over TLS, for the certificate."""
        return f"https://localhost:{self.port}" if self._tls else f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections were accepted."""
        return len(self.peers)

    @property
    def requests_per_connection(self) -> list[int]:
        """How many requests were heard on each connection, in order."""
        return [len(peer.requests) for peer in self.peers]

    async def _accept(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._listener)
            try:
                accepted, _address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                continue
            peer = ScriptedPeer(SocketPeerStream(accepted))
            self.peers.append(peer)
            self._handlers.start(self._handler, peer, self._tls)

    async def __aenter__(self) -> Self:
        await self._handlers.__aenter__()
        self._handlers.run(self._accept)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            return await self._handlers.__aexit__(kind, error, trace)  # noqa: ASYNC102 - handlers are cancelled first
        finally:
            self._listener.close()


# Bad days, as scripts. They run on a FakeNetwork as well.


def closes_mid_head(*, reset: bool = False) -> Handler:
    """Ends in the middle of a header field."""
    return serve_raw(b"HTTP/1.1 200 OK\r\nContent-Le", then=_leave(reset=reset))


def closes_mid_body(*, reset: bool = False) -> Handler:
    """Promises 100 bytes and ends after ten."""
    return serve_raw(head(200, [(b"content-length", b"100")]) + b"x" * 10, then=_leave(reset=reset))


def closes_mid_chunk(*, reset: bool = False) -> Handler:
    """Ends inside of a chunk."""
    answer = head(200, [(b"transfer-encoding", b"chunked")]) + b"a\r\n01234"
    return serve_raw(answer, then=_leave(reset=reset))


def closes_without_answer(*, reset: bool = False, after: int = 0) -> Handler:
    """Answers `after` requests, hears one more and ends without a word."""

    async def handler(peer: ScriptedPeer) -> None:
        for _ in range(after):
            await peer.expect_request()
            await peer.respond()
        await peer.expect_request()
        _leave(reset=reset)(peer)

    return handler


def closes_while_uploading(*, reset: bool = False) -> Handler:
    """Reads the head of a request and a little of its body, then ends without an answer."""

    async def handler(peer: ScriptedPeer) -> None:
        await peer.expect_head()
        await peer.receive(1000)
        _leave(reset=reset)(peer)

    return handler


def times_out_idle(seconds: float) -> Handler:
    """Answers one request, and closes `seconds` later with a 408 that nobody asked for, as HAProxy does."""

    async def handler(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.respond()
        await peer.wait(seconds)
        await peer.send(head(408, [(b"connection", b"close"), (b"content-length", b"0")]))
        peer.fin()

    return handler


def hints_keep_alive(hint: bytes) -> Handler:
    """Says `Keep-Alive: hint` with every answer."""
    return serve_ok(headers=[(b"keep-alive", hint)])


def drips(every: float) -> Handler:
    """Answers byte by byte."""
    return serve_raw(head(200, [(b"content-length", b"2")]) + b"ok", pieces=1, every=every)


def sends_informational(count: int) -> Handler:
    """Sends `count` answers 103 before the final one."""
    final = head(200, [(b"content-length", b"2")]) + b"ok"
    return serve_raw(head(103, [(b"link", b"</style.css>")]) * count + final)


def _leave(*, reset: bool) -> Callable[[ScriptedPeer], None]:
    return ScriptedPeer.rst if reset else ScriptedPeer.fin
