"""The embedded server: what it answers and how it counts."""

from __future__ import annotations

import contextlib
import socket
import ssl

import pytest

from penstock._demo.certificates import Certificates
from penstock._demo.child import Child
from penstock._demo.loopback import HOST
from penstock._demo.server import CLOSING_ANSWER, KEEP_ALIVE_ANSWER, Counts

REQUEST = b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n"
LAST_REQUEST = b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n"


def connect(port: int, certificates: Certificates, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=certificates.authority)
    context.maximum_version = newest
    stream = socket.create_connection((HOST, port), timeout=10)
    try:
        return context.wrap_socket(stream, server_hostname=HOST)
    except BaseException:
        stream.close()
        raise


def read(stream: ssl.SSLSocket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := stream.recv(size - len(data))):
        data += piece
    return data


def counts(server: Child) -> Counts:
    return Counts(**server.ask({}))


def test_one_connection_carries_many_requests(server: Child, certificates: Certificates) -> None:
    with connect(server.hear()["port"], certificates) as stream:
        for _ in range(3):
            stream.sendall(REQUEST)
            assert read(stream, len(KEEP_ALIVE_ANSWER)) == KEEP_ALIVE_ANSWER

        found = counts(server)

    assert found._replace(work_seconds=0.0) == Counts(connections=1, handshakes=1, resumed=0, requests=3)
    assert 0 < found.work_seconds < 1


def test_a_request_may_come_in_pieces_or_with_the_next_one(server: Child, certificates: Certificates) -> None:
    with connect(server.hear()["port"], certificates) as stream:
        stream.sendall(REQUEST[:-3])
        stream.sendall(REQUEST[-3:] + REQUEST)

        assert read(stream, 2 * len(KEEP_ALIVE_ANSWER)) == 2 * KEEP_ALIVE_ANSWER


def test_the_server_closes_when_it_is_told_to(server: Child, certificates: Certificates) -> None:
    with connect(server.hear()["port"], certificates) as stream:
        stream.sendall(LAST_REQUEST)

        assert read(stream, len(CLOSING_ANSWER)) == CLOSING_ANSWER
        assert stream.recv(1) == b""


def test_every_connection_and_handshake_is_counted(server: Child, certificates: Certificates) -> None:
    port = server.hear()["port"]
    before = counts(server)
    for _ in range(3):
        with connect(port, certificates) as stream:
            stream.sendall(LAST_REQUEST)
            read(stream, len(CLOSING_ANSWER))
    with socket.create_connection((HOST, port), timeout=10) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            while stranger.recv(100):
                pass

    found = counts(server).since(before)

    assert (found.connections, found.handshakes, found.requests) == (4, 3, 3)


def test_a_resumed_session_does_not_pass_for_a_full_handshake(server: Child, certificates: Certificates) -> None:
    port = server.hear()["port"]
    context = ssl.create_default_context(cafile=certificates.authority)
    with context.wrap_socket(socket.create_connection((HOST, port), timeout=10), server_hostname=HOST) as first:
        first.sendall(REQUEST)
        read(first, len(KEEP_ALIVE_ANSWER))
        session = first.session
    second = socket.create_connection((HOST, port), timeout=10)
    with context.wrap_socket(second, server_hostname=HOST, session=session) as stream:
        stream.sendall(REQUEST)
        read(stream, len(KEEP_ALIVE_ANSWER))

    assert counts(server)[:4] == (2, 2, 1, 2)


def test_tls_1_2_is_refused(server: Child, certificates: Certificates) -> None:
    port = server.hear()["port"]

    with pytest.raises(ssl.SSLError, match=r"(?i)version"):
        connect(port, certificates, newest=ssl.TLSVersion.TLSv1_2)
