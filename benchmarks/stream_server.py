"""A server of many slow event streams at once: `python -m benchmarks.stream_server DIRECTORY CORE`.

One thread, one selector, a slotted object for each connection: it must hold ten thousand streams without being what is
measured. It answers GET over HTTP/1.1, plain on the first port that it prints and over TLS 1.3 on the second:

* `/events/STREAMS/ROUNDS`: an event with the head, then one now and then until so many streams are open, then so many
  more for each of them, one a second, and the end.
* `/events`: an event with the head, and then one now and then until the client leaves.

It ends with its standard input.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .processes import python, running
from .resources import raise_descriptor_limit
from .server import Server, write_certificate

#: Seconds between two events of a stream once all are open, and how many times that until then, for a client is busy
#: enough with opening them.
INTERVAL, OPENING_INTERVALS = 1.0, 8
BACKLOG = 4096

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CONTENT = b'data: {"index": 100, "delta": " a token"}\n\n'
EVENT = b"%x\r\n%b\r\n" % (len(CONTENT), CONTENT)
END = b"0\r\n\r\n"
REQUEST_SIZE = 4096


@contextmanager
def running_stream_server(core: int | None) -> Iterator[tuple[Server, Server]]:
    """Start it, bound to one CPU core; where it listens plain, and over TLS."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory:
        authority = write_certificate(Path(directory))
        command = python("benchmarks.stream_server", directory, "-" if core is None else str(core))
        with running(command) as process:
            assert process.stdout is not None
            plain, secure = json.loads(process.stdout.readline())
            yield Server(plain), Server(secure, authority)


class _Group:
    """Streams that end together.

    Attributes:
        streams: how many there have to be; 0 if they never end.
        rounds: events for each of them from then on.
        ticks: how often they were looked at.
        members: those that are open.
    """

    __slots__ = ("members", "rounds", "streams", "ticks")

    def __init__(self, streams: int, rounds: int) -> None:
        self.streams = streams
        self.rounds = rounds
        self.ticks = 0
        self.members: dict[_Connection, None] = {}


class _Connection:
    __slots__ = ("group", "shaken", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.shaken = not isinstance(sock, ssl.SSLSocket)
        self.group: _Group | None = None


class _StreamServer:
    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._poll = select.epoll()
        self._listeners: dict[int, tuple[socket.socket, bool]] = {}
        self._connections: dict[int, _Connection] = {}
        self._groups: dict[bytes, _Group] = {}

    def listen(self, *, secure: bool) -> int:
        """Open a port of 127.0.0.1 and return it."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        listener.setblocking(False)
        self._listeners[listener.fileno()] = (listener, secure)
        self._poll.register(listener, select.EPOLLIN)
        return int(listener.getsockname()[1])

    def run(self, stop: int) -> None:
        """Serve until something arrives on the descriptor `stop`, or its other side is closed."""
        self._poll.register(stop, select.EPOLLIN)
        due = time.monotonic() + INTERVAL
        while True:
            for fd, _ in self._poll.poll(max(0.0, due - time.monotonic())):
                if fd == stop:
                    return
                if fd in self._listeners:
                    self._accept(*self._listeners[fd])
                else:
                    self._serve(fd, self._connections[fd])
            if time.monotonic() >= due:
                self._tick()
                due = time.monotonic() + INTERVAL

    def _accept(self, listener: socket.socket, secure: bool) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if secure:
                    sock = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                self._connections[sock.fileno()] = _Connection(sock)
                self._poll.register(sock.fileno(), select.EPOLLIN)

    def _serve(self, fd: int, connection: _Connection) -> None:
        sock = connection.sock
        try:
            if isinstance(sock, ssl.SSLSocket) and not connection.shaken:
                sock.do_handshake()
                connection.shaken = True
            request = sock.recv(REQUEST_SIZE)
            if request:
                self._answer(connection, request.split(b" ", 2)[1])
                return
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            pass
        self._drop(fd, connection)

    def _answer(self, connection: _Connection, path: bytes) -> None:
        group = self._groups.get(path)
        if group is None:
            _, _, numbers = path[1:].partition(b"/")
            streams, _, rounds = numbers.partition(b"/")
            group = self._groups[path] = _Group(int(streams or 0), int(rounds or 0))
        group.members[connection] = None
        connection.group = group
        connection.sock.send(HEAD + EVENT)

    def _drop(self, fd: int, connection: _Connection) -> None:
        if connection.group is not None:
            connection.group.members.pop(connection, None)
        del self._connections[fd]
        self._poll.unregister(fd)
        connection.sock.close()

    def _tick(self) -> None:
        """Another second has passed: what is due for every group."""
        for path, group in list(self._groups.items()):
            group.ticks += 1
            if group.streams and len(group.members) >= group.streams:
                group.rounds -= 1
                self._send(group, EVENT if group.rounds >= 0 else END)
            elif group.ticks % OPENING_INTERVALS == 0:
                self._send(group, EVENT)
            if group.rounds < 0 or not group.members:
                del self._groups[path]

    def _send(self, group: _Group, data: bytes) -> None:
        for connection in list(group.members):
            # What breaks is seen by the poll; a client that takes nothing is not measured anyway.
            with contextlib.suppress(OSError):
                connection.sock.send(data)
            if data is END:
                connection.group = None


def main() -> None:
    """Listen, and end with our standard input."""
    directory, core = Path(sys.argv[1]), sys.argv[2]
    if core != "-":
        os.sched_setaffinity(0, {int(core)})
    raise_descriptor_limit()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(directory / "server.pem")
    server = _StreamServer(context)
    print(json.dumps([server.listen(secure=False), server.listen(secure=True)]), flush=True)
    server.run(sys.stdin.fileno())


if __name__ == "__main__":
    main()
