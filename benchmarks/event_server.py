"""A server of server-sent events: `python -m benchmarks.event_server PROTOCOL PACES DIRECTORY CORE`.

It listens once for each pace, over HTTP/2 in TLS 1.3 or over plain HTTP/1.1, prints the ports, and ends with its
standard input.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .event_streams import Pace, converse_http1, converse_http2
from .processes import python, running
from .server import Server, write_certificate


@contextmanager
def running_event_server(core: int | None, paces: Sequence[Pace], *, http2: bool) -> Iterator[list[Server]]:
    """Start it, bound to one CPU core; one `Server` for each pace, (events at a time, seconds between)."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory:
        authority = write_certificate(Path(directory)) if http2 else None
        arguments = ["http2" if http2 else "http1", json.dumps(paces), directory, "-" if core is None else str(core)]
        with running(python("benchmarks.event_server", *arguments)) as process:
            assert process.stdout is not None
            yield [Server(port, authority, http2) for port in json.loads(process.stdout.readline())]


def _serve_http1(sock: socket.socket, pace: Pace) -> None:
    with contextlib.suppress(OSError), sock:
        converse_http1(sock, pace)


def _serve_http2(sock: socket.socket, context: ssl.SSLContext, pace: Pace) -> None:
    """One connection, from its handshake to its end."""
    with contextlib.suppress(OSError, EOFError), context.wrap_socket(sock, server_side=True) as secure:
        converse_http2(secure, pace)


def _context(directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(directory / "server.pem")
    context.set_alpn_protocols(["h2"])
    return context


def _listen(listener: socket.socket, context: ssl.SSLContext | None, pace: Pace) -> None:
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is None:
            threading.Thread(target=_serve_http1, args=(sock, pace), daemon=True).start()
        else:
            threading.Thread(target=_serve_http2, args=(sock, context, pace), daemon=True).start()


def main() -> None:
    """Listen, and end with our standard input."""
    protocol, paces, directory, core = sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    if core != "-":
        os.sched_setaffinity(0, {int(core)})
    context = _context(directory) if protocol == "http2" else None
    ports = []
    for pace in paces:
        listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=_listen, args=(listener, context, pace), daemon=True).start()
        ports.append(listener.getsockname()[1])
    print(json.dumps(ports), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
