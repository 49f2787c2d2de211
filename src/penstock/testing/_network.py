"""A whole network in memory: names, addresses, servers and delays, on trio's clock."""

from __future__ import annotations

import errno as errno_codes
import os
import socket
from ipaddress import ip_address
from math import inf
from typing import TYPE_CHECKING, NamedTuple, Self

import attrs
import trio

from .._errors import ConnectError, NameResolutionError
from .._net.network import Address
from ._peer import ScriptedPeer
from ._serving import PeerNursery
from ._stream import FakeStream, link_conditions
from ._watcher import FakeWatcher
from ._wire import Wire

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

    from .._net.network import SocketOptions
    from ._peer import Handler


class Attempt(NamedTuple):
    """One try to connect, as the network saw it.

    Attributes:
        at: when it started, in seconds on trio's clock.
        address: the IP address, or the path of a Unix domain socket.
        port: the port; 0 for a Unix domain socket.
        options: what the socket was asked to be like; None for a Unix domain socket.
    """

    at: float
    address: str
    port: int
    options: SocketOptions | None


@attrs.frozen
class _Name:
    addresses: tuple[str, ...]
    delay: float
    error: OSError | None


@attrs.define
class _Route:
    delay: float | None
    errno: int | None
    times: float


class _Listener(NamedTuple):
    handler: Handler
    tls: ssl.SSLContext | None


class FakeNetwork:
    """A `Network` without sockets: hand it to a pool, and the pool talks to the handlers of this object.

    All waiting is on trio's clock, so under `trio.testing.MockClock(autojump_threshold=0)` time-outs and long idle
    times pass at once, and a run is deterministic. Handlers run in a nursery that the network owns from `async with`
    to its end, where those still running are cancelled. A handler whose client goes away ends quietly; any other
    exception of a handler leaves the `async with` block.

        async with FakeNetwork(latency=0.010) as network:
            network.listen("api.example.com", 80, serve_ok(b"hello"))
            async with penstock.Pool(network=network) as pool: ...

    Args:
        latency: seconds a byte travels one way; a connect takes two of them unless `route` says otherwise.
        bandwidth: bytes per second each way, None for no limit.
        capacity: bytes each end of a connection may send before the other one reads any.

    Attributes:
        connects: how many connects were tried.
        resolves: how many names were looked up.
        attempts: every connect in order, with its time.
        peers: the server's side of every connection that was accepted, in order.
        open_connections: how many connections the client has not closed yet.

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(self, *, latency: float = 0.0, bandwidth: float | None = None, capacity: int = 65536) -> None:
        self._conditions = link_conditions(latency=latency, bandwidth=bandwidth, capacity=capacity)
        self._names: dict[str, _Name] = {}
        self._routes: dict[str, _Route] = {}
        self._listeners: dict[tuple[str, int], _Listener] = {}
        self._open: set[FakeStream] = set()
        self._handlers = PeerNursery()
        self.resolves = 0
        self.attempts: list[Attempt] = []
        self.peers: list[ScriptedPeer] = []

    @property
    def connects(self) -> int:
        """How many connects were tried, successful or not."""
        return len(self.attempts)

    @property
    def open_connections(self) -> int:
        """How many connections were made and not closed by the client."""
        return len(self._open)

    # What there is

    def add_host(self, name: str, *addresses: str, delay: float = 0.0, error: OSError | None = None) -> None:
        """Say what a look-up of `name` gives; a later call replaces an earlier one.

        Args:
            name: the host name as the client asks for it: an A-label in lower case.
            *addresses: IPv4 and IPv6 addresses, in the order a resolver would give them.
            delay: seconds the look-up takes; `math.inf` never ends.
            error: what it fails with: `socket.gaierror(socket.EAI_NONAME, "…")` for a name that does not exist,
                another OSError (EMFILE) for a look-up that could not be made.

        Raises:
            ValueError: an address is none.
        """
        self._names[name] = _Name(tuple(str(ip_address(address)) for address in addresses), delay, error)

    def route(
        self, address: str, *, delay: float | None = None, errno: int | None = None, times: int | None = None
    ) -> None:
        """Say how connects to an address or a Unix domain socket's path go; a later call replaces an earlier one.

        Args:
            address: the IP address, for any port, or the path.
            delay: seconds until the connect ends, one round trip by default; `math.inf` is a black hole.
            errno: what it fails with (`errno.ECONNREFUSED`, `errno.EHOSTUNREACH`, `errno.EMFILE`…); None connects.
            times: hold for this many connects only; None for all.
        """
        self._routes[_normalise(address)] = _Route(delay, errno, inf if times is None else times)

    def listen(self, host: str, port: int, handler: Handler, *, tls: ssl.SSLContext | None = None) -> None:
        """Put a server on a port: `handler(peer)` runs once for each connection that is accepted.

        Args:
            host: a name or an IP address. A name without addresses is given one of 198.18.0.0/15.
            port: the port.
            handler: an async function that plays the server; when it returns, the connection is closed.
            tls: the server's TLS settings; the handshake is done before `handler` is called. For a scripted one leave
                it out and call `peer.start_tls`.
        """
        listener = _Listener(handler, tls)
        for address in self._addresses_of(host):
            self._listeners[address, port] = listener

    def listen_unix(self, path: str, handler: Handler, *, tls: ssl.SSLContext | None = None) -> None:
        """Put a server on a Unix domain socket; as `listen`."""
        self._listeners[path, 0] = _Listener(handler, tls)

    def stop_listening(self, host: str, port: int) -> None:
        """Take the server off a port: later connects are refused, connections that exist live on."""
        for address in self._addresses_of(host):
            self._listeners.pop((address, port), None)

    def _addresses_of(self, host: str) -> tuple[str, ...]:
        if _is_address(host):
            return (_normalise(host),)
        if host not in self._names:
            # RFC 2544: a block for tests, so that nobody mistakes its addresses for real ones.
            self.add_host(host, str(ip_address("198.18.0.0") + len(self._names) + 1))
        return self._names[host].addresses

    # The Network protocol

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Look a name up in the table; an IP address is its own answer.

        Raises:
            NameResolutionError: the name is not in the table, or its entry says so.
            ConnectError: the entry says that the look-up could not be made.
        """
        self.resolves += 1
        if _is_address(host):
            await trio.lowlevel.checkpoint()
            return [_address(host, port)]
        name = self._names.get(host)
        await trio.sleep(0 if name is None else name.delay)
        if name is None:
            error: OSError = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        elif name.error is not None:
            error = type(name.error)(*name.error.args)
        else:
            return [_address(address, port) for address in name.addresses]
        if isinstance(error, socket.gaierror):
            raise NameResolutionError(f"{host}: {error.strerror}", phase="resolve") from error
        raise ConnectError(f"{host}: {error.strerror}", phase="resolve") from error

    async def connect(self, address: Address, *, options: SocketOptions) -> FakeStream:
        """Connect to an address. Cancelling it leaves no connection behind.

        Raises:
            ConnectError: nobody listens there, or `route` says so; the OSError is its cause.
        """
        host, port = address.sockaddr[:2]
        return await self._connect(_normalise(host), port, options)

    async def connect_unix(self, path: str) -> FakeStream:
        """Connect to a Unix domain socket; as `connect`."""
        return await self._connect(path, 0, None)

    async def _connect(self, address: str, port: int, options: SocketOptions | None) -> FakeStream:
        if not self._handlers.is_open:
            raise RuntimeError("the FakeNetwork is used outside of its `async with`")
        self.attempts.append(Attempt(trio.current_time(), address, port, options))
        delay, code = self._take_route(address)
        await trio.sleep(2 * self._conditions.latency if delay is None else delay)
        listener = self._listeners.get((address, port))
        if code is None and listener is None:
            code = errno_codes.ECONNREFUSED if port else errno_codes.ENOENT
        if code is not None:
            where = f"{address} port {port}" if port else address
            error = OSError(code, os.strerror(code))
            raise ConnectError(f"{where}: {error.strerror}", phase="connect") from error
        assert listener is not None
        there, back = Wire.pair(self._conditions)
        stream = FakeStream(back, there, on_close=self._open.discard)
        self._open.add(stream)
        peer = ScriptedPeer(FakeStream(there, back))
        self.peers.append(peer)
        self._handlers.start(listener.handler, peer, listener.tls)
        return stream

    def _take_route(self, address: str) -> tuple[float | None, int | None]:
        route = self._routes.get(address)
        if route is None or route.times <= 0:
            return None, None
        route.times -= 1
        return route.delay, route.errno

    def watcher(self) -> FakeWatcher:
        """A watcher for idle streams of this network."""
        return FakeWatcher()

    # Life

    async def __aenter__(self) -> Self:
        """Open the nursery in which handlers run."""
        await self._handlers.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Cancel the handlers that still run. A single exception leaves as itself, not in a group."""
        return await self._handlers.__aexit__(kind, error, trace)  # noqa: ASYNC102 - handlers are cancelled first


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _normalise(address: str) -> str:
    return str(ip_address(address)) if _is_address(address) else address


def _address(host: str, port: int) -> Address:
    if ip_address(host).version == 4:
        return Address(socket.AF_INET, (host, port))
    return Address(socket.AF_INET6, (host, port, 0, 0))
