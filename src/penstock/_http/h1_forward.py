"""HTTP/1.1 to a proxy that passes requests on: absolute targets, and credentials for the proxy (RFC 9112 §3.2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .fields import refused
from .h1 import HTTP1Connection, HTTP1Exchange

if TYPE_CHECKING:
    from .._net.stream import ByteStream
    from .._net.timer import PhaseTimer
    from .._types import HeaderList, Origin
    from .exchange import ResponseHead
    from .h1_lines import HTTP1Engine
    from .request import WireRequest


class ForwardedConnection(HTTP1Connection):
    """A connection to a proxy, for requests to one http origin; see `HTTP1Connection`.

    Args:
        stream: connected to the proxy.
        origin: whose requests it carries.
        authorization: the value of Proxy-Authorization, None for none.
        max_head_size: as for any connection.
        max_head_fields: likewise.
        engine: likewise.
    """

    __slots__ = ("_fields", "_origin")

    def __init__(
        self,
        stream: ByteStream,
        *,
        origin: Origin,
        authorization: bytes | None,
        max_head_size: int,
        max_head_fields: int,
        engine: HTTP1Engine,
    ) -> None:
        super().__init__(stream, max_head_size=max_head_size, max_head_fields=max_head_fields, engine=engine)
        self._origin = origin
        self._fields: HeaderList = [] if authorization is None else [(b"proxy-authorization", authorization)]

    def open_exchange(self) -> HTTP1Exchange:
        """Begin an exchange; see `HTTP1Connection.open_exchange`."""
        super().open_exchange()
        return _ForwardedExchange(self)

    def to_forwarded(self, request: WireRequest) -> WireRequest:
        """The request as the proxy is to see it.

        Raises:
            LocalProtocolError: its Host is another than the origin's. The proxy would put the origin's in its place
                (RFC 9112 §3.2.2), so that what arrives is not what was asked for.
        """
        authority = str(self._origin.authority).encode()
        host = dict(request.header_set.headers)[b"host"].lower()
        if host not in (authority, b"%b:%d" % (authority, self._origin.port)):
            raise refused("a proxy passes on no Host that differs from the host of the URL")
        target = request.target
        if not target.startswith(b"http"):
            # OPTIONS for the server itself has no path in this form (RFC 9112 §3.2.4).
            target = b"http://" + authority + (b"" if target == b"*" else target)
        return request.for_proxy(target, self._fields)


class _ForwardedExchange(HTTP1Exchange):
    """One request that a proxy passes on, and its response."""

    __slots__ = ()

    _connection: ForwardedConnection

    async def send(self, request: WireRequest, timer: PhaseTimer) -> ResponseHead:
        """Send the request and return the final head; see `Exchange.send`."""
        return await super().send(self._connection.to_forwarded(request), timer)
