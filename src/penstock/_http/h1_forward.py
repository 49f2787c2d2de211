"""HTTP/1.1 to a proxy that passes requests on: absolute targets, and credentials for the proxy (RFC 9112 §3.2.2)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from .._errors import RemoteProtocolError, RequestError
from .fields import refused
from .h1 import HTTP1Connection, HTTP1Exchange

if TYPE_CHECKING:
    from .._net.stream import ByteStream
    from .._net.timer import PhaseTimer
    from .._proxy_config import Proxy
    from .._types import HeaderList, Origin
    from .exchange import ResponseHead
    from .h1_lines import HTTP1Engine
    from .request import WireRequest

_PLACE_ENDS: Final = re.compile(rb"[/?#]")


class ForwardedConnection(HTTP1Connection):
    """A connection to a proxy, for requests to one http origin; see `HTTP1Connection`.

    Args:
        stream: connected to the proxy.
        origin: whose requests it carries.
        proxy: what it is told.
        max_head_size: as for any connection.
        max_head_fields: likewise.
        engine: likewise.
    """

    __slots__ = ("_fields", "_origin", "_proxy")

    def __init__(
        self,
        stream: ByteStream,
        *,
        origin: Origin,
        proxy: Proxy,
        max_head_size: int,
        max_head_fields: int,
        engine: HTTP1Engine,
    ) -> None:
        super().__init__(stream, max_head_size=max_head_size, max_head_fields=max_head_fields, engine=engine)
        self._origin = origin
        self._proxy = proxy
        authorization = proxy.authorization
        self._fields: HeaderList = [] if authorization is None else [(b"proxy-authorization", authorization)]

    def open_exchange(self) -> HTTP1Exchange:
        """Begin an exchange; see `HTTP1Connection.open_exchange`."""
        super().open_exchange()
        return _ForwardedExchange(self)

    def to_forwarded(self, request: WireRequest) -> WireRequest:
        """The request as the proxy is to see it.

        Raises:
            LocalProtocolError: its Host is another than the origin's. The proxy would put the origin's in its place
                (RFC 9112 §3.2.2), so that what arrives is not what was asked for. Or its target is at another place:
                there the proxy would take what is meant for the origin.
        """
        authority = str(self._origin.authority).encode()
        host = dict(request.header_set.headers)[b"host"].lower()
        places = (authority, b"%b:%d" % (authority, self._origin.port))
        if host not in places:
            raise refused("a proxy passes on no Host that differs from the host of the URL")
        target = request.target
        if target.startswith(b"http"):
            scheme, _, rest = target.partition(b"://")
            if scheme != b"http" or _PLACE_ENDS.split(rest, maxsplit=1)[0].lower() not in places:
                raise refused("a proxy is not asked for a target at another place than the URL's")
        else:
            # OPTIONS for the server itself has no path in this form (RFC 9112 §3.2.4).
            target = b"http://" + authority + (b"" if target == b"*" else target)
        return request.for_proxy(target, self._fields)

    def hide_secrets(self, error: BaseException | None) -> None:
        """Take out of an error, and of what hangs on it, what the proxy was told."""
        while isinstance(error, RequestError):
            if isinstance(error, RemoteProtocolError):
                error.message = self._proxy.without_secrets(error.message.encode()).decode()
                error.args = (error.message,)
                said = error.peer_said.removesuffix("…")
                error.peer_said = self._proxy.without_secrets(said.encode()).decode()
                # A parser's own error quotes what it read.
                error.__cause__ = error.__context__ = None
            error = error.__cause__


class _ForwardedExchange(HTTP1Exchange):
    """One request that a proxy passes on, and its response."""

    __slots__ = ()

    _connection: ForwardedConnection

    async def send(self, request: WireRequest, timer: PhaseTimer) -> ResponseHead:
        """Send the request and return the final head; see `Exchange.send`."""
        try:
            return await super().send(self._connection.to_forwarded(request), timer)
        except RequestError as error:
            self._connection.hide_secrets(error)
            raise

    def try_receive(self) -> bytes | None:
        """The next piece of the body without waiting; see `Exchange.try_receive`."""
        try:
            return super().try_receive()
        except RequestError as error:
            self._connection.hide_secrets(error)
            raise
