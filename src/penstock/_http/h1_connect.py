"""CONNECT: the request that makes a tunnel of a connection to an HTTP proxy (RFC 9110 §9.3.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._errors import NetworkError, ProxyError, RemoteProtocolError
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
        raise _failure(proxy, f"broke the connection: {error.message}") from error
    status = answer.head.status
    if not 200 <= status < 300:
        reason = proxy.without_secrets(answer.head.reason)[:_LONGEST_REASON].decode("ascii", "replace")
        raise ProxyError(
            f"the proxy {proxy.address} answered CONNECT with {status} {reason}".rstrip(),
            proxy=proxy.address,
            status=status,
            peer_said=proxy.without_secrets(answer.rest[:_KEPT]),
        )
    # What its fields say of a length means nothing (RFC 9110 §9.3.6).
    if answer.rest:
        raise _failure(proxy, "sent something into the tunnel before anybody spoke through it")


_LONGEST_REASON: Final = 64


async def _read_answer(stream: ByteStream, proxy: Proxy, parser: HeadParser) -> FinalHead:
    heard = b""
    while True:
        data = stream.try_receive(_READ_SIZE)
        if data is None:
            await stream.wait_readable()
            continue
        if not data:
            what = "in the middle of its answer to CONNECT" if heard else "without an answer to CONNECT"
            raise _failure(proxy, f"closed the connection {what}")
        heard += data[: _KEPT - len(heard)]
        try:
            found = parser.feed(data)
        except RemoteProtocolError as error:
            # Not as its cause: that quotes what was said, and a proxy may say what it was told.
            raise ProxyError(
                f"the proxy {proxy.address} did not answer CONNECT as it must: {error.message}",
                proxy=proxy.address,
                peer_said=proxy.without_secrets(heard),
            ) from None
        if found is not None:
            return found


def _failure(proxy: Proxy, what: str) -> ProxyError:
    return ProxyError(f"the proxy {proxy.address} {what}", proxy=proxy.address)
