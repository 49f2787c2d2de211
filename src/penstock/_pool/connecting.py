"""From an endpoint to a connection that speaks HTTP: address, TCP, TLS, pins, protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._errors import ProtocolReason, RemoteProtocolError, UnsupportedProtocol
from .._http.h1 import HTTP1Connection
from .._http.h1_lines import make_engine
from .._net.dialer import Dialer
from .._net.network import SocketOptions
from .._net.resolver import Resolver
from .._net.tls import HTTP1, HTTP2, TLSProfile, start_tls

if TYPE_CHECKING:
    from .._config import PoolConfig, Upstream
    from .._http.exchange import HTTPConnection
    from .._http.h2_pings import PingPace
    from .._net.network import Network
    from .._net.stream import ByteStream
    from .._proxy_config import Proxy
    from .._types import Origin
    from .proxying import ProxyWay


class Route:
    """How an endpoint is reached: everything besides the origin that would make sharing a connection wrong.

    Inside one pool each origin has one route, and so one proxy with one set of credentials: connections that are kept
    per origin are kept per proxy.

    Attributes:
        origin: host and port to dial, and the name that the certificate must carry.
        way: the proxy to go through, or None.
        server_name: what the server is asked for in TLS, and must carry in its certificate, instead; None for the
            origin's host.
        unix_socket: where to connect instead, or None.
        profile: TLS identity, trust and pins; None for cleartext.
        protocols: what may be spoken, in order of preference, by their names in the handshake.
        pace: how often connections over HTTP/2 may ask for a sign of life, learned from the server; None before the
            first one.
    """

    __slots__ = ("origin", "pace", "profile", "protocols", "server_name", "unix_socket", "way")

    def __init__(
        self,
        origin: Origin,
        *,
        unix_socket: str | None,
        way: ProxyWay | None,
        profile: TLSProfile | None,
        protocols: tuple[str, ...],
        server_name: str | None = None,
    ) -> None:
        self.origin = origin
        self.way = way
        self.unix_socket = unix_socket
        self.profile = profile
        self.protocols = protocols
        self.server_name = server_name
        self.pace: PingPace | None = None

    @property
    def multiplexes(self) -> bool:
        """Whether a connection to here may carry several exchanges at once."""
        return HTTP2 in self.protocols

    def require_http1(self) -> bool:
        """Use nothing but HTTP/1.1 from now on, as the server demands; whether that is allowed."""
        if HTTP1 not in self.protocols:
            return False
        self.protocols = (HTTP1,)
        return True


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
        # Origins behind one proxy share the sessions of TLS to it.
        self._ways: dict[Proxy, ProxyWay] = {}
        self.http1_engine = make_engine(config.http1_engine)

    def route(self, origin: Origin, declared: Upstream | None, server_name: str | None = None) -> Route:
        """How to reach an origin, with the settings of its upstream where one was declared."""
        profile = None
        if origin.is_secure:
            if declared is not None and declared.tls is not None:
                profile = TLSProfile(declared.tls)
            else:
                profile = self._profile = self._profile or TLSProfile(self._config.tls)
        return Route(
            origin,
            unix_socket=declared.unix_socket if declared else None,
            way=self._find_way(origin, declared),
            profile=profile,
            protocols=_protocols(self._config, secure=origin.is_secure),
            server_name=server_name or (declared.server_name if declared else None),
        )

    def _find_way(self, origin: Origin, declared: Upstream | None) -> ProxyWay | None:
        """The way to an origin, shared with the others behind its proxy; None if it is reached directly."""
        proxy = find_proxy(self._config, origin, declared)
        if proxy is None:
            return None
        way = self._ways.get(proxy)
        if way is None:
            from .proxying import ProxyWay

            way = self._ways[proxy] = ProxyWay(proxy, self._config)
        return way

    async def connect(self, route: Route) -> HTTPConnection:
        """Make one connection; the caller's cancel scope is its deadline. Whatever ends it leaves no socket open.

        Raises:
            ConnectError: or one of its subclasses, see there.
            ProxyError: there is no way through the route's proxy.
            RemoteProtocolError: HTTP/2 was agreed on, and the server does not speak it.
        """
        origin = route.origin
        config, way = self._config, route.way
        if way is None:
            stream = (await self._dialer.dial(origin.host, origin.port, unix_socket=route.unix_socket)).stream
        else:
            stream = await way.reach(
                origin, dialer=self._dialer, resolver=self._resolver, engine=self.http1_engine, config=config
            )
        try:
            # Without TLS there is one protocol, and nothing to agree on.
            protocol = route.protocols[0]
            if route.profile is not None:
                stream = secured = await start_tls(
                    stream,
                    route.profile,
                    host=origin.host,
                    port=origin.port,
                    protocols=route.protocols,
                    server_name=route.server_name,
                    clean=None if way is None else way.proxy.without_secrets,
                )
                protocol = secured.alpn or HTTP1
            if protocol == HTTP2:
                return await self._open_http2(stream, route)
            if way is not None and way.proxy.forwards(origin):
                return way.forwarded(stream, origin, engine=self.http1_engine, config=config)
            return HTTP1Connection(
                stream,
                max_head_size=config.max_head_size,
                max_head_fields=config.max_head_fields,
                engine=self.http1_engine,
            )
        except RemoteProtocolError as error:
            stream.close()
            if error.reason is not ProtocolReason.VERSION or not route.require_http1():
                raise
        except BaseException:
            stream.close()
            raise
        # A server that agrees on HTTP/2 and then answers in HTTP/1.1 is not asked for HTTP/2 again.
        return await self.connect(route)

    async def _open_http2(self, stream: ByteStream, route: Route) -> HTTPConnection:
        # Here, because a program that speaks HTTP/1.1 only need not load another protocol.
        from .._http.h2 import open_http2
        from .._http.h2_pings import PingPace

        config = self._config
        route.pace = route.pace or PingPace(config.http2_config.ping_interval)
        return await open_http2(
            stream,
            config=config.http2_config,
            max_head_size=config.max_head_size,
            max_head_fields=config.max_head_fields,
            secure=route.profile is not None,
            pace=route.pace,
            unhealthy_threshold=config.unhealthy_threshold,
        )


def find_proxy(config: PoolConfig, origin: Origin, declared: Upstream | None) -> Proxy | None:
    """The proxy of an origin: its upstream's, or the pool's.

    Raises:
        UnsupportedProtocol: it would have to pass HTTP/2 on.
        ValueError: it would be shown what is for origins, see `Proxy.check_tls`.
    """
    proxy = None if config.proxy is None else config.proxy.find(origin)
    if declared is not None:
        if declared.unix_socket is not None or declared.proxy == "direct":
            return None
        proxy = declared.proxy or proxy
    if proxy is not None:
        proxy.check_tls(config.tls)
        if not config.http1 and proxy.forwards(origin):
            raise UnsupportedProtocol("an HTTP proxy passes nothing but HTTP/1.1 on; PoolConfig(http1=True) allows it")
    return proxy


def _protocols(config: PoolConfig, *, secure: bool) -> tuple[str, ...]:
    """What may be spoken. Without TLS nothing is negotiated: HTTP/2 then needs prior knowledge (RFC 9113 §3.3)."""
    if not config.http1:
        return (HTTP2,)
    return (HTTP2, HTTP1) if config.http2 and secure else (HTTP1,)
