"""From an endpoint to a connection that speaks HTTP: address, TCP, TLS, pins, protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._http.h1 import HTTP1Connection
from .._net.dialer import Dialer
from .._net.network import SocketOptions
from .._net.resolver import Resolver
from .._net.tls import TLSProfile, start_tls

if TYPE_CHECKING:
    from .._config import PoolConfig, Upstream
    from .._http.exchange import HTTPConnection
    from .._net.network import Network
    from .._types import Origin


class Route:
    """How an endpoint is reached: everything besides the origin that would make sharing a connection wrong.

    Attributes:
        origin: host and port to dial, and the name that the certificate must carry.
        unix_socket: where to connect instead, or None.
        profile: TLS identity, trust and pins; None for cleartext.
    """

    __slots__ = ("origin", "profile", "unix_socket")

    def __init__(self, origin: Origin, *, unix_socket: str | None, profile: TLSProfile | None) -> None:
        self.origin = origin
        self.unix_socket = unix_socket
        self.profile = profile


class Connector:
    """Makes connections for one pool, which shares look-ups and TLS profiles among its endpoints."""

    def __init__(self, config: PoolConfig, network: Network) -> None:
        self._config = config
        self._resolver = Resolver(network, ttl=config.dns_ttl)
        self._dialer = Dialer(
            network,
            self._resolver,
            options=SocketOptions(config.tcp_nodelay, config.tcp_keepalive, config.local_address),
            happy_eyeballs_delay=config.happy_eyeballs_delay,
        )
        self._profile: TLSProfile | None = None

    def route(self, origin: Origin, declared: Upstream | None) -> Route:
        """How to reach an origin, with the settings of its upstream where one was declared."""
        profile = None
        if origin.is_secure:
            if declared is not None and declared.tls is not None:
                profile = TLSProfile(declared.tls)
            else:
                profile = self._profile = self._profile or TLSProfile(self._config.tls)
        return Route(origin, unix_socket=declared.unix_socket if declared else None, profile=profile)

    async def connect(self, route: Route) -> HTTPConnection:
        """Make one connection; the caller's cancel scope is its deadline. Whatever ends it leaves no socket open.

        Raises:
            ConnectError: or one of its subclasses, see there.
        """
        origin = route.origin
        dialled = await self._dialer.dial(origin.host, origin.port, unix_socket=route.unix_socket)
        stream = dialled.stream
        try:
            if route.profile is not None:
                stream = await start_tls(stream, route.profile, host=origin.host, port=origin.port)
            return HTTP1Connection(
                stream, max_head_size=self._config.max_head_size, max_head_fields=self._config.max_head_fields
            )
        except BaseException:
            stream.close()
            raise
