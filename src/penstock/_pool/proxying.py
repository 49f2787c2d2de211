"""The way through a proxy, up to where it makes no difference any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .._errors import ConnectError
from .._http.h1_connect import open_tunnel
from .._http.h1_forward import ForwardedConnection
from .._net.socks import open_socks_tunnel
from .._net.tls import HTTP1, TLSProfile, start_tls

if TYPE_CHECKING:
    from .._config import PoolConfig
    from .._errors import ProxyError
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

    async def reach(
        self, origin: Origin, *, dialer: Dialer, resolver: Resolver, engine: HTTP1Engine, config: PoolConfig
    ) -> ByteStream:
        """Connect to the proxy, and through it; the caller's cancel scope is the deadline.

        Whatever ends it leaves no socket open.

        Raises:
            ProxyError: there is no way through the proxy.
            NameResolutionError: the origin's name has no address, where it is looked up here.
        """
        proxy = self.proxy
        if proxy.scheme == "socks5":
            return await self._reach_an_address(origin, dialer, resolver)
        stream = await self._connect(dialer)
        try:
            if proxy.is_socks:
                refusal = await open_socks_tunnel(stream, proxy, origin.host, origin.port)
                if refusal is not None:
                    raise refusal
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

    async def _reach_an_address(self, origin: Origin, dialer: Dialer, resolver: Resolver) -> ByteStream:
        """Have SOCKS5 try the origin's addresses in turn: it gets one at a time, and knows which it can reach."""
        refusal: ProxyError | None = None
        for address in await resolver.resolve(origin.host, origin.port):
            stream = await self._connect(dialer)
            try:
                refusal = await open_socks_tunnel(stream, self.proxy, address.sockaddr[0], origin.port)
            except BaseException:
                stream.close()
                raise
            if refusal is None:
                return stream
            stream.close()
            # So that the next dial begins with another.
            resolver.demote(origin.host, origin.port, address)
        assert refusal is not None
        raise refusal

    async def _connect(self, dialer: Dialer) -> ByteStream:
        """Connect to the proxy itself, TLS included."""
        proxy = self.proxy
        try:
            stream = (await dialer.dial(proxy.host, proxy.port)).stream
            if self.profile is None:
                return stream
            try:
                return await start_tls(stream, self.profile, host=proxy.host, port=proxy.port, protocols=(HTTP1,))
            except BaseException:
                stream.close()
                raise
        except ConnectError as error:
            # Never something about the origin.
            raise proxy.failure(f"cannot be reached: {error.message}", phase=error.phase) from error

    def forwarded(
        self, stream: ByteStream, origin: Origin, *, engine: HTTP1Engine, config: PoolConfig
    ) -> ForwardedConnection:
        """A connection for requests to an origin that the proxy reads and passes on."""
        return ForwardedConnection(
            stream,
            origin=origin,
            proxy=self.proxy,
            max_head_size=config.max_head_size,
            max_head_fields=config.max_head_fields,
            engine=engine,
        )
