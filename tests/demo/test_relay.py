"""The emulated network, on the real clock: it must never be faster than the round trip, and never lose a byte."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from threading import Thread
from time import monotonic

import pytest

from penstock._demo.child import Child
from penstock._demo.loopback import HOST

ROUND_TRIP = 0.05


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back what it gets, one connection after the other; its port."""
    listener = socket.create_server((HOST, 0))

    def serve() -> None:
        while True:
            try:
                stream, _ = listener.accept()
            except OSError:
                return
            with stream:
                while data := stream.recv(65536):
                    stream.sendall(data)

    thread = Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.fixture
def line(echo: int) -> Iterator[socket.socket]:
    """A connection to the echo through the relay."""
    with Child("relay", echo, ROUND_TRIP) as relay:
        port = relay.hear()["port"]
        with socket.create_connection((HOST, port), timeout=10) as stream:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield stream


def read(stream: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := stream.recv(size - len(data))):
        data += piece
    return data


def test_a_new_connection_pays_for_its_own_round_trip(line: socket.socket) -> None:
    begin = monotonic()
    line.sendall(b"first")
    assert read(line, 5) == b"first"
    first = monotonic() - begin
    begin = monotonic()
    line.sendall(b"second")
    assert read(line, 6) == b"second"
    second = monotonic() - begin

    # The fixture connected a moment before `begin`.
    assert first > 1.9 * ROUND_TRIP
    assert second > 0.99 * ROUND_TRIP


def test_pieces_travel_together(line: socket.socket) -> None:
    line.sendall(b"open")
    read(line, 4)
    begin = monotonic()
    for _ in range(20):
        line.sendall(b"0123456789")

    assert read(line, 200) == b"0123456789" * 20
    assert monotonic() - begin < 10 * ROUND_TRIP  # one after the other would be 20


def test_the_end_of_a_stream_arrives_after_its_bytes(line: socket.socket) -> None:
    line.sendall(b"last words")
    line.shutdown(socket.SHUT_WR)

    assert read(line, 1000) == b"last words"
    assert line.recv(1) == b""


def test_a_relay_to_nowhere_hangs_up() -> None:
    with socket.create_server((HOST, 0)) as closed:
        port = closed.getsockname()[1]
    with Child("relay", port, ROUND_TRIP) as relay:
        target = relay.hear()["port"]
        with socket.create_connection((HOST, target), timeout=10) as stream:
            assert stream.recv(1) == b""
