"""From a host to a connected stream: happy eyeballs (RFC 8305 §5) over the resolver's addresses.

Attempts start one after another, `happy_eyeballs_delay` apart or as soon as the latest one fails; the first that
connects wins and the others are cancelled. What failed, or was still silent when a later one won, is demoted, so that
the next dial begins with the address that works.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, NamedTuple

import trio

from .._errors import ConnectError
from .network import SocketOptions, is_resource_exhaustion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .network import Address, Network
    from .resolver import Resolver
    from .stream import ByteStream


class Dialled(NamedTuple):
    """A connected stream and the address it leads to, None for a Unix domain socket."""

    stream: ByteStream
    address: Address | None


class Dialer:
    """Connects to hosts.

    Args:
        network: makes the single attempts.
        resolver: has the addresses, and learns which of them work.
        options: set on every socket.
        happy_eyeballs_delay: seconds from one attempt to the next while nothing fails.
    """

    __slots__ = ("_delay", "_family", "_network", "_options", "_resolver")

    def __init__(
        self, network: Network, resolver: Resolver, *, options: SocketOptions, happy_eyeballs_delay: float
    ) -> None:
        self._network = network
        self._resolver = resolver
        self._options = options
        self._delay = happy_eyeballs_delay
        self._family = _family_of(options.local_address)

    async def dial(self, host: str, port: int, unix_socket: str | None = None) -> Dialled:
        """Connect to a host, or to a Unix domain socket instead. A cancelled call leaves nothing open.

        Raises:
            NameResolutionError: the host has no address.
            ConnectError: no address could be connected to; `__cause__` is the one `OSError`, or the group of all.
        """
        if unix_socket is not None:
            return Dialled(await self._network.connect_unix(unix_socket), None)
        addresses = await self._resolver.resolve(host, port)
        if self._family is not None:
            addresses = [address for address in addresses if address.family == self._family]
            if not addresses:
                raise ConnectError(f"{host} has no address of the family of local_address", phase="connect")
        if len(addresses) == 1:
            return Dialled(await self._connect_alone(host, port, addresses[0]), addresses[0])
        race = _Race(self._network, self._options, addresses)
        try:
            return Dialled(*await race.run(self._delay))
        finally:
            for address in race.demotable():
                self._resolver.demote(host, port, address)

    async def _connect_alone(self, host: str, port: int, address: Address) -> ByteStream:
        """Connect to the only address there is: a race of one costs a task, and as much as the rest of the dial."""
        try:
            stream = await self._network.connect(address, options=self._options)
        except Exception as error:
            if not is_resource_exhaustion(error):
                self._resolver.demote(host, port, address)
            raise
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except BaseException:
            stream.close()
            raise
        return stream


class _Race:
    """One dial's attempts. An address is in `failures` or is the winner's, or its attempt is not over."""

    __slots__ = ("_addresses", "_failures", "_network", "_options", "_started", "_winner")

    def __init__(self, network: Network, options: SocketOptions, addresses: Sequence[Address]) -> None:
        self._network = network
        self._options = options
        self._addresses = addresses
        self._started: list[Address] = []
        self._failures: dict[Address, Exception] = {}
        self._winner: tuple[ByteStream, Address] | None = None

    async def run(self, delay: float) -> tuple[ByteStream, Address]:
        try:
            async with trio.open_nursery() as nursery:
                for address in self._addresses:
                    self._started.append(address)
                    failed = trio.Event()
                    nursery.start_soon(self._attempt, address, failed, nursery.cancel_scope)
                    with trio.move_on_after(delay):
                        await failed.wait()
        except BaseException:
            if self._winner is not None:
                self._winner[0].close()
                self._winner = None
            raise
        if self._winner is None:
            raise self._loss()
        return self._winner

    async def _attempt(self, address: Address, failed: trio.Event, scope: trio.CancelScope) -> None:
        try:
            stream = await self._network.connect(address, options=self._options)
        except Exception as error:  # noqa: BLE001 - even a fault in the network must not leave in the nursery's group
            self._failures[address] = error
            failed.set()
            return
        if self._winner is None:
            self._winner = (stream, address)
            scope.cancel()
        else:
            stream.close()

    def _loss(self) -> Exception:
        errors = list(self._failures.values())
        unforeseen = [error for error in errors if not isinstance(error, ConnectError)]
        if unforeseen or len(errors) == 1:
            return (unforeseen or errors)[0]
        loss = ConnectError(
            f"all {len(errors)} addresses failed: {'; '.join(str(error) for error in errors)}", phase="connect"
        )
        loss.__cause__ = ExceptionGroup("connection attempts", errors)
        return loss

    def demotable(self) -> list[Address]:
        """Addresses that failed by their own fault, and those that a later one overtook."""
        blamed = [address for address, error in self._failures.items() if not is_resource_exhaustion(error)]
        if self._winner is None:
            return blamed
        overtaken = self._started[: self._started.index(self._winner[1])]
        return list(dict.fromkeys([*blamed, *overtaken]))


def _family_of(local_address: str | None) -> int | None:
    if local_address is None:
        return None
    try:
        version = ipaddress.ip_address(local_address).version
    except ValueError:
        raise ValueError(f"local_address must be an IP address, not {local_address!r}") from None
    return socket.AF_INET if version == 4 else socket.AF_INET6
