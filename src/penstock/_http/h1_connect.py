"""CONNECT: the request that makes a tunnel of a connection to an HTTP proxy (RFC 9110 §9.3.6)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from .._errors import NetworkError, RemoteProtocolError
from .._net.stream import send_all
from .h1_head import HeadParser
from .request import encode_fields

if TYPE_CHECKING:
    from .._net.stream import ByteStream
    from .._proxy_config import Proxy
    from .._types import Origin
    from .h1_head import FinalHead
    from .h1_lines import HTTP1Engine

_READ_SIZE: Final = 65536

#: What is kept of an answer to be quoted: enough to find whole secrets in it.
_KEPT: Final = 2048

_LONGEST_REASON: Final = 64


async def open_tunnel(
    stream: ByteStream, proxy: Proxy, origin: Origin, *, engine: HTTP1Engine, max_head_size: int, max_head_fields: int
) -> None:
    """Ask an HTTP proxy for a tunnel; afterwards the stream is one. There is no time limit here: the dial's holds.

    Args:
        stream: connected to the proxy. Whatever goes wrong, closing it is the caller's affair.
        proxy: what it is told.
        origin: where the tunnel leads.
        engine: reads the answer.
        max_head_size: bytes of the answer's head, and of interim ones before it.
        max_head_fields: their header fields together.

    Raises:
        ProxyError: it refused, answered with something else than HTTP/1, or spoke before it was spoken to.
    """
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    # Unlike Host elsewhere the port always stands there (RFC 9112 §3.2.3).
    place = f"{host}:{origin.port}".encode()
    fields = encode_fields([(b"host", place), *proxy.connect_fields])
    parser = HeadParser(engine, max_head_size, max_head_fields)
    try:
        await send_all(stream, b"CONNECT %b HTTP/1.1%b\r\n\r\n" % (place, fields))
        answer = await _read_answer(stream, proxy, parser)
    except NetworkError as error:
        raise proxy.failure(f"broke the connection: {error.message}") from error
    status = answer.head.status
    if not 200 <= status < 300:
        reason = _reason(proxy, status, answer.head.reason)
        raise proxy.failure(
            f"answered CONNECT with {status} {reason}".rstrip(), status=status, said=answer.rest[:_KEPT]
        )
    # What its fields say of a length means nothing (RFC 9110 §9.3.6).
    if answer.rest:
        raise proxy.failure("sent something into the tunnel before anybody spoke through it")


async def _read_answer(stream: ByteStream, proxy: Proxy, parser: HeadParser) -> FinalHead:
    heard = b""
    while True:
        data = stream.try_receive(_READ_SIZE)
        if data is None:
            await stream.wait_readable()
            continue
        if not data:
            what = "in the middle of its answer to CONNECT" if heard else "without an answer to CONNECT"
            raise proxy.failure(f"closed the connection {what}")
        heard += data[: _KEPT - len(heard)]
        try:
            found = parser.feed(data)
        except RemoteProtocolError as error:
            why = error.message
        else:
            if found is not None:
                return found
            continue
        # Beside the error, not because of it: that quotes what was said, and a proxy may say what it was told.
        raise proxy.failure(f"did not answer CONNECT as it must: {why}", said=heard)


def _reason(proxy: Proxy, status: int, reason: bytes) -> str:
    """The proxy's own words for a status, or those of the RFC where its own may tell a secret."""
    if proxy.without_secrets(reason) == reason:
        return reason[:_LONGEST_REASON].decode("ascii", "replace")
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
