"""A server of server-sent events over HTTP/2: `python -m benchmarks.event_server PACES DIRECTORY CORE`.

It knows just enough of the protocol to be asked, and sends frames that were made beforehand: so it costs little beside
the client, and every client gets the same bytes. It listens once for each pace, prints the ports, and ends with its
standard input.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .server import Server, write_certificate

#: In one stream.
EVENTS = 1_000

#: Of a stream, and of a connection until the client says otherwise (RFC 9113 §6.9.2).
INITIAL_WINDOW = 65_535

DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
ACK = END_STREAM = 1
END_HEADERS = 4

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

#: `:status: 200`, `content-type: text/event-stream`, neither of them to be remembered (RFC 7541 §6.1 and §6.2.2).
HEAD = b"\x88\x0f\x10\x11text/event-stream"

CONTENT = [b'data: {"index": %d, "delta": " a token"}\n\n' % number for number in range(EVENTS)]
STREAM_SIZE = sum(map(len, CONTENT))
assert STREAM_SIZE <= INITIAL_WINDOW, "a stream must not have to wait for its own window"

Pace = tuple[int, float]


@contextmanager
def running_event_server(core: int | None, paces: Sequence[Pace]) -> Iterator[list[Server]]:
    """Start it, bound to one CPU core; one `Server` for each pace, (events at a time, seconds between)."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory:
        authority = write_certificate(Path(directory))
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "benchmarks.event_server",
                json.dumps(paces),
                directory,
                "-" if core is None else str(core),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield [Server(port, authority) for port in json.loads(process.stdout.readline())]
        finally:
            process.stdin.close()
            process.wait()


def _frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """RFC 9113 §4.1."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream_id.to_bytes(4) + payload


def _receive(sock: ssl.SSLSocket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def _converse(sock: ssl.SSLSocket, pace: Pace) -> None:
    """Serve one connection until its client leaves."""
    assert _receive(sock, len(PREFACE)) == PREFACE
    sock.sendall(_frame(SETTINGS, 0, 0))
    window = INITIAL_WINDOW
    asked: list[int] = []
    while True:
        head = _receive(sock, 9)
        kind, flags, stream_id = head[3], head[4], int.from_bytes(head[5:])
        payload = _receive(sock, int.from_bytes(head[:3]))
        if kind == HEADERS:
            asked.append(stream_id)
        elif kind in (SETTINGS, PING) and not flags & ACK:
            sock.sendall(_frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind == WINDOW_UPDATE and stream_id == 0:
            window += int.from_bytes(payload)
        while asked and window >= STREAM_SIZE:
            window -= STREAM_SIZE
            _send_events(sock, asked.pop(0), pace)


def _send_events(sock: ssl.SSLSocket, stream_id: int, pace: Pace) -> None:
    """Send one stream: each event in a DATA frame of its own, a burst of them in one write."""
    burst, pause = pace
    frames = [_frame(DATA, 0, stream_id, event) for event in CONTENT]
    sock.sendall(_frame(HEADERS, END_HEADERS, stream_id, HEAD))
    for start in range(0, EVENTS, burst):
        if pause:
            time.sleep(pause)
        sock.sendall(b"".join(frames[start : start + burst]))
    sock.sendall(_frame(DATA, END_STREAM, stream_id))


def _serve(sock: socket.socket, context: ssl.SSLContext, pace: Pace) -> None:
    """One connection, from its handshake to its end."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError, EOFError), context.wrap_socket(sock, server_side=True) as secure:
        _converse(secure, pace)


def _listen(listener: socket.socket, context: ssl.SSLContext, pace: Pace) -> None:
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=_serve, args=(sock, context, pace), daemon=True).start()


def main() -> None:
    """Listen, and end with our standard input."""
    paces, directory, core = json.loads(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    if core != "-":
        os.sched_setaffinity(0, {int(core)})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(directory / "server.pem")
    context.set_alpn_protocols(["h2"])
    ports = []
    for pace in paces:
        listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=_listen, args=(listener, context, pace), daemon=True).start()
        ports.append(listener.getsockname()[1])
    print(json.dumps(ports), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
