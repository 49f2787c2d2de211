"""A server that takes its time: `python -m benchmarks.odd_server DIRECTORY CORE DELAY`.

It listens on four ports of 127.0.0.1, printed as one line of JSON:

* `plain`: HTTP/1.1; `/N` is answered after N milliseconds.
* `late`: the same over TLS 1.3, where each handshake begins DELAY seconds after the connection was accepted. On
  loopback nobody's `connect` takes longer than another's, so this stands for a server that is far away.
* `silent`: takes connections and requests, and never answers.
* `tally`: answers each connection with how many the other ports have accepted since it was last asked, and ends it.

One thread, one selector, one heap of what is due: the server must not be what is measured. It ends with its standard
input.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import selectors
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from .processes import python, running
from .server import Server, write_certificate

BACKLOG = 1024
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok"
BODY = b"ok"
READ = selectors.EVENT_READ


class OddServer(NamedTuple):
    """Where it listens."""

    plain: Server
    late: Server
    silent: Server
    tally: int


@contextmanager
def running_odd_server(core: int | None, *, delay: float) -> Iterator[OddServer]:
    """Start it, bound to one CPU core."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory:
        authority = write_certificate(Path(directory))
        command = python("benchmarks.odd_server", directory, "-" if core is None else str(core), str(delay))
        with running(command) as process:
            assert process.stdout is not None
            ports = json.loads(process.stdout.readline())
            yield OddServer(
                Server(ports["plain"]), Server(ports["late"], authority), Server(ports["silent"]), ports["tally"]
            )


def accepted(tally: int) -> int:
    """How many connections the server has accepted since this was last asked."""
    with socket.create_connection(("127.0.0.1", tally), timeout=5) as connection:
        return int(connection.makefile().read())


class _OddServer:
    def __init__(self, context: ssl.SSLContext, delay: float) -> None:
        self._context = context
        self._delay = delay
        self._accepted = 0
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()

    def listen(self, name: str) -> int:
        """Open the port of that name and return its number."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._selector.register(listener, READ, partial(self._accept, listener, getattr(self, f"_{name}")))
        port: int = listener.getsockname()[1]
        return port

    def run(self) -> None:
        """Serve until standard input ends."""
        self._selector.register(sys.stdin, READ, None)
        while True:
            pause = self._due[0][0] - time.monotonic() if self._due else None
            for key, _ in self._selector.select(pause):
                if key.data is None:
                    return
                key.data()
            while self._due and self._due[0][0] <= time.monotonic():
                heapq.heappop(self._due)[2]()

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._serial), action))

    def _accept(self, listener: socket.socket, begin: Callable[[socket.socket], None]) -> None:
        connection, _ = listener.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begin(connection)

    def _tally(self, connection: socket.socket) -> None:
        connection.send(b"%d" % self._accepted)
        connection.close()
        self._accepted = 0

    def _silent(self, connection: socket.socket) -> None:
        self._accepted += 1
        self._selector.register(connection, READ, partial(self._ignore, connection))

    def _plain(self, connection: socket.socket) -> None:
        self._accepted += 1
        self._selector.register(connection, READ, partial(self._read, connection))

    def _late(self, connection: socket.socket) -> None:
        self._accepted += 1
        self._after(self._delay, partial(self._begin_tls, connection))

    def _begin_tls(self, connection: socket.socket) -> None:
        secured = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        # Reading does what is left of the handshake.
        self._selector.register(secured, READ, partial(self._read, secured))

    def _ignore(self, connection: socket.socket) -> None:
        try:
            if connection.recv(65536):
                return
        except OSError:
            pass
        self._end(connection)

    def _read(self, connection: socket.socket) -> None:
        """A request comes in one piece here, and the next one after its answer."""
        try:
            head = connection.recv(65536)
        except ssl.SSLWantReadError:
            return
        except OSError:
            head = b""
        if head:
            self._after(int(head.split(b" ", 2)[1][1:]) / 1000, partial(self._answer, connection))
        else:
            self._end(connection)

    def _answer(self, connection: socket.socket) -> None:
        if connection.fileno() >= 0:
            connection.send(ANSWER)

    def _end(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()


def main() -> None:
    """Serve until standard input ends."""
    directory, core, delay = sys.argv[1:]
    if core != "-":
        os.sched_setaffinity(0, {int(core)})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(Path(directory, "server.pem"))
    server = _OddServer(context, float(delay))
    print(json.dumps({name: server.listen(name) for name in ("plain", "late", "silent", "tally")}), flush=True)
    server.run()


if __name__ == "__main__":
    main()
