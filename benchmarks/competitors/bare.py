"""What the loops written by hand have in common: a connected socket, and a request made once."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from itertools import count, repeat

import trio

from ..server import Ask, Server

Fetch = Callable[[], Awaitable[bytes]]


def connect(server: Server) -> socket.socket:
    """A connected socket that does not block, in TLS where the server has a certificate."""
    sock = socket.create_connection(("127.0.0.1", server.port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if server.authority is not None:
        sock = _context(server).wrap_socket(sock, server_hostname="127.0.0.1")
    sock.setblocking(False)
    return sock


@cache
def _context(server: Server) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=server.authority)
    context.set_alpn_protocols(["h2" if server.http2 else "http/1.1"])
    return context


def fields(server: Server, ask: Ask) -> list[tuple[str, str]]:
    """The fields of a request over HTTP/1.1."""
    made = [("host", f"127.0.0.1:{server.port}"), ("user-agent", "bench"), ("accept", "*/*")]
    if ask.body is not None:
        made += [*ask.fields.items(), ("content-length", str(len(ask.body)))]
    return made


def canned(server: Server, ask: Ask) -> Iterator[bytes]:
    """One whole request after the other, in bytes."""
    lines = [" HTTP/1.1", *(f"{name}: {value}" for name, value in fields(server, ask))]
    start, end = f"{ask.method} {ask.path}".encode(), "\r\n".join([*lines, "", ""]).encode() + (ask.body or b"")
    return map((start + b"?n=%d" + end).__mod__, count()) if ask.numbered else repeat(start + end)


async def receive(sock: socket.socket) -> bytes:
    """What arrives next."""
    while True:
        try:
            return sock.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            await trio.lowlevel.wait_readable(sock)
