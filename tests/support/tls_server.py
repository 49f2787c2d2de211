"""TLS servers on real sockets, each connection served by a thread with a script."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

Script = Callable[[ssl.SSLSocket], None]


class TLSServer:
    """A listening server; see `serve_tls`.

    Attributes:
        port: where it listens on 127.0.0.1.
        received: application data of all connections.
        failures: what ended handshakes or scripts with an error.
        reused: for each finished handshake, whether a session was resumed.
    """

    def __init__(self, context: ssl.SSLContext, script: Script | None) -> None:
        self._context = context
        self._script = script or self._collect
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]
        self.received = bytearray()
        self.failures: list[OSError] = []
        self.reused: list[bool] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(accepted,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, accepted: socket.socket) -> None:
        accepted.settimeout(10)
        try:
            with accepted, self._context.wrap_socket(accepted, server_side=True) as tls:
                self.reused.append(bool(tls.session_reused))
                self._script(tls)
        except OSError as error:
            self.failures.append(error)

    def _collect(self, tls: ssl.SSLSocket) -> None:
        while data := tls.recv(65536):
            self.received += data

    def close(self) -> None:
        """Stop accepting and wait for the scripts."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for thread in self._threads:
            thread.join()


@contextlib.contextmanager
def serve_tls(context: ssl.SSLContext, script: Script | None = None) -> Iterator[TLSServer]:
    """Serve on 127.0.0.1; without a script, connections are read to their end."""
    server = TLSServer(context, script)
    try:
        yield server
    finally:
        server.close()


def echo(tls: ssl.SSLSocket) -> None:
    """Send everything back."""
    while data := tls.recv(65536):
        tls.sendall(data)
