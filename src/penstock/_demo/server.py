"""The embedded TLS 1.3 server: as cheap as Python allows, and the one that counts.

One selector, no task and no parser: a request ends at its empty line, and the answer is always the same. So in the
saturated run the handshakes are the bottleneck, not this file.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import sys
from time import perf_counter
from typing import NamedTuple

from .loopback import listen
from .messages import STDIN, run_child, say

_BODY = b'{"object": "list", "data": [{"id": "penstock", "text": "water under pressure"}], "has_more": false}\n'
_HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: penstock-demo\r\nContent-Type: application/json\r\n"
    b"Cache-Control: no-store\r\nContent-Length: %d\r\n" % len(_BODY)
)
KEEP_ALIVE_ANSWER = _HEAD + b"\r\n" + _BODY
CLOSING_ANSWER = _HEAD + b"Connection: close\r\n\r\n" + _BODY


class Counts(NamedTuple):
    """What the server has seen since it started.

    Attributes:
        connections: TCP connections accepted.
        handshakes: TLS handshakes completed.
        resumed: how many of those resumed an earlier session.
        requests: requests answered.
        work_seconds: time between reading a request and having sent its answer, summed up.
    """

    connections: int = 0
    handshakes: int = 0
    resumed: int = 0
    requests: int = 0
    work_seconds: float = 0.0

    def since(self, earlier: Counts) -> Counts:
        """What was added after `earlier`."""
        return Counts(
            self.connections - earlier.connections,
            self.handshakes - earlier.handshakes,
            self.resumed - earlier.resumed,
            self.requests - earlier.requests,
            self.work_seconds - earlier.work_seconds,
        )


class _Connection:
    __slots__ = ("has_shaken_hands", "received", "stream")

    def __init__(self, stream: ssl.SSLSocket) -> None:
        self.stream = stream
        self.has_shaken_hands = False
        self.received = b""


class Server:
    """Answer every request on a listening socket until standard input ends."""

    def __init__(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        self._listener = listener
        self._context = context
        self._selector = selectors.DefaultSelector()
        self._connections = self._handshakes = self._resumed = self._requests = 0
        self._work_seconds = 0.0

    @property
    def counts(self) -> Counts:
        """What happened so far."""
        return Counts(self._connections, self._handshakes, self._resumed, self._requests, self._work_seconds)

    def serve(self) -> None:
        """Run until the demo closes its end of the pipe; any word from there is answered with the counts."""
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(STDIN, selectors.EVENT_READ, None)
        while True:
            for key, _ in self._selector.select():
                if isinstance(key.data, _Connection):
                    self._advance(key.data)
                elif key.data is not None:
                    self._accept()
                elif os.read(STDIN, 4096):
                    say(self.counts._asdict())
                else:
                    return

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError:  # gone again before we looked
            return
        self._connections += 1
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = self._context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
        self._selector.register(stream, selectors.EVENT_READ, _Connection(stream))

    def _advance(self, connection: _Connection) -> None:
        try:
            if not connection.has_shaken_hands:
                connection.stream.do_handshake()
                connection.has_shaken_hands = True
                self._handshakes += 1
                self._resumed += bool(connection.stream.session_reused)
            # Plaintext that TLS holds already makes no socket readable: read until there is nothing.
            while data := connection.stream.recv(65536):
                self._answer(connection, data)
        except ssl.SSLWantReadError:
            return
        except OSError:
            pass
        self._close(connection)

    def _answer(self, connection: _Connection, data: bytes) -> None:
        started = perf_counter()
        *requests, connection.received = (connection.received + data).split(b"\r\n\r\n")
        for request in requests:
            self._requests += 1
            is_last = b"\r\nconnection: close" in request.lower()
            connection.stream.sendall(CLOSING_ANSWER if is_last else KEEP_ALIVE_ANSWER)
            if is_last:
                self._work_seconds += perf_counter() - started
                raise ConnectionAbortedError  # RFC 9112 §9.6: the server closes after the last answer
        self._work_seconds += perf_counter() - started

    def _close(self, connection: _Connection) -> None:
        self._selector.unregister(connection.stream)
        connection.stream.close()


def make_context(chain_file: str, key_file: str) -> ssl.SSLContext:
    """TLS 1.3 and nothing older; session tickets are sent, as every server does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(chain_file, key_file)
    return context


def main() -> None:
    """Serve with the certificate chain, key and port named on the command line."""
    chain_file, key_file, port = sys.argv[1:]
    context = make_context(chain_file, key_file)
    with listen(int(port)) as listener:
        say({"port": listener.getsockname()[1]})
        Server(listener, context).serve()


if __name__ == "__main__":
    run_child(main)
