"""Streams of server-sent events as bytes made beforehand, over HTTP/1.1 and over HTTP/2.

Just enough of each protocol to be asked: so that the server costs little beside the client.
"""

from __future__ import annotations

import socket
import time

#: In one stream.
EVENTS = 1_000

CONTENT = [b'data: {"index": %d, "delta": " a token"}\n\n' % number for number in range(EVENTS)]

#: How many events are written at a time, and how many seconds after the last ones.
Pace = tuple[int, float]

#: Of a stream, and of a connection until the client says otherwise (RFC 9113 §6.9.2).
INITIAL_WINDOW = 65_535

STREAM_SIZE = sum(map(len, CONTENT))
assert STREAM_SIZE <= INITIAL_WINDOW, "a stream must not have to wait for its own window"

DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
ACK = END_STREAM = 1
END_HEADERS = 4

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

#: `:status: 200`, `content-type: text/event-stream`, neither of them to be remembered (RFC 7541 §6.1 and §6.2.2).
HTTP2_HEAD = b"\x88\x0f\x10\x11text/event-stream"

HTTP1_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

CHUNKS = [b"%x\r\n%b\r\n" % (len(event), event) for event in CONTENT]


def converse_http1(sock: socket.socket, pace: Pace) -> None:
    """Serve one connection until its client leaves; whatever it asks, it gets the stream."""
    received = b""
    while True:
        while b"\r\n\r\n" not in received:
            piece = sock.recv(65536)
            if not piece:
                return
            received += piece
        received = received.partition(b"\r\n\r\n")[2]
        sock.sendall(HTTP1_HEAD)
        _send_paced(sock, CHUNKS, pace)
        sock.sendall(b"0\r\n\r\n")


def _send_paced(sock: socket.socket, pieces: list[bytes], pace: Pace) -> None:
    burst, pause = pace
    for start in range(0, EVENTS, burst):
        if pause:
            time.sleep(pause)
        sock.sendall(b"".join(pieces[start : start + burst]))


def _frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """RFC 9113 §4.1."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream_id.to_bytes(4) + payload


def _receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def converse_http2(sock: socket.socket, pace: Pace) -> None:
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


def _send_events(sock: socket.socket, stream_id: int, pace: Pace) -> None:
    """Send one stream, each event in a DATA frame of its own."""
    sock.sendall(_frame(HEADERS, END_HEADERS, stream_id, HTTP2_HEAD))
    _send_paced(sock, [_frame(DATA, 0, stream_id, event) for event in CONTENT], pace)
    sock.sendall(_frame(DATA, END_STREAM, stream_id))
