"""What the tests of floor 2 share: a connected pair of sockets and a dial without a resolver."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from penstock._net.network import Address, SocketNetwork, SocketOptions
from penstock._net.stream import ByteStream, SocketStream


@pytest.fixture
def pair() -> Iterator[tuple[SocketStream, socket.socket]]:
    """A stream and, as a blocking socket, its peer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    theirs.settimeout(10)
    stream = SocketStream(ours)
    yield stream, theirs
    theirs.close()
    ours.close()


@pytest.fixture
def connect() -> Callable[..., object]:
    """Connect to a port of 127.0.0.1."""

    async def connect(port: int) -> ByteStream:
        address = Address(socket.AF_INET, ("127.0.0.1", port))
        return await SocketNetwork().connect(address, options=SocketOptions())

    return connect
