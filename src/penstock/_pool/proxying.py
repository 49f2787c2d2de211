"""The way through a proxy, up to where it makes no difference any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .._errors import ConnectError, ProxyError, UnsupportedProtocol
from .._http.h1_connect import open_tunnel
from .._http.h1_forward import ForwardedConnection
from .._net.socks import open_socks_tunnel
from .._net.tls import HTTP1, TLSProfile, start_tls

if TYPE_CHECKING:
    from .._config import PoolConfig
    from .._http.h1_lines import HTTP1Engine
    from .._net.dialer import Dialer
    from .._net.resolver import Resolver
    from .._net.stream import ByteStream
    from .._proxy_config import Proxy
    from .._types import Origin


class ProxyWay:
    """A proxy as the connections of a pool go through it.

    Attributes:
        proxy: where it is, and what it is told.
        profile: TLS to the proxy itself, with sessions of its own; None where it is spoken to in cleartext.
    """

    __slots__ = ("profile", "proxy")

    def __init__(self, proxy: Proxy, config: PoolConfig) -> None:
        self.proxy = proxy
        self.profile: TLSProfile | None = None
        if proxy.scheme == "https":
            # Who we are is for origins to know; a proxy learns it only from settings of its own.
            self.profile = TLSProfile(proxy.tls or attrs.evolve(config.tls, client_cert=None))

    def forwards(self, origin: Origin) -> bool:
        """Whether it reads the requests to an origin, and passes them on; to others there is a tunnel."""
        return not origin.is_secure and not self.proxy.is_socks

    async def reach(
        self, origin: Origin, *, dialer: Dialer, resolver: Resolver, engine: HTTP1Engine, config: PoolConfig
    ) -> ByteStream:
        """Connect to the proxy, and through it; the caller's cancel scope is the deadline.

        Whatever ends it leaves no socket open.

        Raises:
            ProxyError: there is no way through the proxy.
            NameResolutionError: the origin's name has no address, where it is looked up here.
            UnsupportedProtocol: the proxy would have to pass HTTP/2 on.
        """
        proxy = self.proxy
        if self.forwards(origin) and not config.http1:
            raise UnsupportedProtocol("an HTTP proxy passes nothing but HTTP/1.1 on; PoolConfig(http1=True) allows it")
        address = None
        if proxy.scheme == "socks5":
            # A proxy gets one address; which of several it can reach is not known here.
            address = (await resolver.resolve(origin.host, origin.port))[0]
        try:
            stream = (await dialer.dial(proxy.host, proxy.port)).stream
        except ConnectError as error:
            raise self._explain(error) from error
        try:
            if self.profile is not None:
                try:
                    stream = await start_tls(stream, self.profile, host=proxy.host, port=proxy.port, protocols=(HTTP1,))
                except ConnectError as error:
                    raise self._explain(error) from error
            if proxy.is_socks:
                host = origin.host if address is None else address.sockaddr[0]
                try:
                    await open_socks_tunnel(stream, proxy, host, origin.port)
                except ProxyError:
                    if address is not None:
                        # So that the next dial begins with another, if there is one.
                        resolver.demote(origin.host, origin.port, address)
                    raise
            elif origin.is_secure:
                await open_tunnel(
                    stream,
                    proxy,
                    origin,
                    engine=engine,
                    max_head_size=config.max_head_size,
                    max_head_fields=config.max_head_fields,
                )
        except BaseException:
            stream.close()
            raise
        return stream

    def forwarded(
        self, stream: ByteStream, origin: Origin, *, engine: HTTP1Engine, config: PoolConfig
    ) -> ForwardedConnection:
        """A connection for requests to an origin that the proxy reads and passes on."""
        return ForwardedConnection(
            stream,
            origin=origin,
            authorization=self.proxy.authorization,
            max_head_size=config.max_head_size,
            max_head_fields=config.max_head_fields,
            engine=engine,
        )

    def _explain(self, error: ConnectError) -> ProxyError:
        """What keeps us from the proxy: never something about the origin."""
        address = self.proxy.address
        return ProxyError(f"cannot reach the proxy {address}: {error.message}", proxy=address, phase=error.phase)
