"""What can be told of a connection below HTTP, by the names that other clients use for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .stream import SocketStream
from .tls_stream import TLSStream

if TYPE_CHECKING:
    from .stream import ByteStream


def extra_info(stream: ByteStream, name: str) -> object:
    """A fact about a connection, or None where there is none to tell.

    Args:
        stream: its bytes.
        name: "client_addr" and "server_addr", as the operating system writes addresses; "ssl_object", an
            `ssl.SSLObject` to ask for certificate, version and cipher.
    """
    if name == "ssl_object":
        return stream.ssl_object if isinstance(stream, TLSStream) else None
    while isinstance(stream, TLSStream):
        stream = stream.transport
    return stream.address(name) if isinstance(stream, SocketStream) else None
