"""Names to addresses: cached, asked once however many wait, and usable while the resolver is down.

One look-up per name is under way at a time. Its leader is the first caller; if that one is cancelled, the next waiter
leads anew, so nobody's deadline is another's. An expired answer is kept for when the resolver fails (RFC 8767).
"""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

import trio

from .._errors import ConnectError, NameResolutionError
from .network import Address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .network import Network

#: More would only stretch a dial that fails anyway.
MAX_ADDRESSES = 8
#: Names remembered; beyond it the oldest answer goes.
MAX_NAMES = 1024
#: Seconds for which an address that failed to connect comes last: long enough to spare the next dials a black hole,
#: short enough that a repaired path is found again.
DEMOTED_FOR = 60.0
#: How long an expired answer may stand in for a resolver that fails (RFC 8767 §5 suggests one to three days), and how
#: long it then stands before the resolver is asked again.
STALE_FOR = 86400.0
STALE_RETRY = 10.0

Key = tuple[str, int]


class _Answer:
    """What the resolver said, and which of it failed to connect."""

    __slots__ = ("addresses", "demoted", "expires_at", "looked_up_at")

    def __init__(self, addresses: list[Address], now: float, ttl: float) -> None:
        self.addresses = addresses
        self.looked_up_at = now
        self.expires_at = now + ttl
        self.demoted: dict[Address, float] = {}

    def ordered(self, now: float) -> list[Address]:
        if not self.demoted:
            return list(self.addresses)
        return sorted(self.addresses, key=lambda address: self.demoted.get(address, now) > now)


class _Flight:
    """A look-up under way. Landed without answer and error, it was given up by its leader."""

    __slots__ = ("answer", "error", "landed")

    def __init__(self) -> None:
        self.landed = trio.Event()
        self.answer: _Answer | None = None
        self.error: ConnectError | None = None


class Resolver:
    """Looks names up through a `Network`, with a cache.

    Args:
        network: who is asked.
        ttl: seconds an answer is used; 0 asks again each time. The system's resolver does not pass on the real TTL.
    """

    __slots__ = ("_answers", "_flights", "_network", "_ttl")

    def __init__(self, network: Network, *, ttl: float) -> None:
        self._network = network
        self._ttl = ttl
        self._answers: dict[Key, _Answer] = {}
        self._flights: dict[Key, _Flight] = {}

    async def resolve(self, host: str, port: int) -> list[Address]:
        """The addresses of a host in the order in which to try them: 1 to 8, families taking turns (RFC 8305 §4).

        A cancelled call leaves the look-up to the others that wait for it.

        Args:
            host: an A-label, or an IP address, for which nobody is asked.
            port: goes into the addresses.

        Raises:
            NameResolutionError: the name has no address, or the resolver failed and there is no older answer.
            ConnectError: this machine lacks the means to ask.
        """
        literal = _parse_literal(host, port)
        if literal is not None:
            return [literal]
        key = (host, port)
        while True:
            answer = self._answers.get(key)
            if answer is not None and trio.current_time() < answer.expires_at:
                return answer.ordered(trio.current_time())
            flight = self._flights.get(key)
            if flight is None:
                flight = self._flights[key] = _Flight()
                await self._lead(flight, key)
            else:
                await flight.landed.wait()
            if flight.answer is not None:
                return flight.answer.ordered(trio.current_time())
            if flight.error is not None:
                # Each waiter gets an error of its own: floors above write their facts into it.
                raise type(flight.error)(flight.error.message, phase="resolve") from flight.error.__cause__

    async def _lead(self, flight: _Flight, key: Key) -> None:
        try:
            found = _usable(await self._network.resolve(*key))
            if not found:
                raise NameResolutionError(f"{key[0]} has no address", phase="resolve")
            flight.answer = self._remember(key, found)
        except ConnectError as error:
            flight.answer = self._stale(key)
            flight.error = error
        finally:
            del self._flights[key]
            flight.landed.set()

    def _remember(self, key: Key, found: list[Address]) -> _Answer:
        now = trio.current_time()
        answer = _Answer(found, now, self._ttl)
        older = self._answers.pop(key, None)
        if older is not None:
            answer.demoted = {address: until for address, until in older.demoted.items() if until > now}
        self._answers[key] = answer
        if len(self._answers) > MAX_NAMES:
            del self._answers[next(iter(self._answers))]
        return answer

    def _stale(self, key: Key) -> _Answer | None:
        answer, now = self._answers.get(key), trio.current_time()
        if answer is None or now - answer.looked_up_at > self._ttl + STALE_FOR:
            return None
        answer.expires_at = now + min(self._ttl, STALE_RETRY)
        return answer

    def demote(self, host: str, port: int, address: Address) -> None:
        """Put an address last for a while: it failed to connect, or a later one was faster.

        Once all addresses of a name are demoted, the next call asks the resolver again.
        """
        answer = self._answers.get((host, port))
        if answer is None or address not in answer.addresses:
            return
        now = trio.current_time()
        answer.demoted[address] = now + DEMOTED_FOR
        if all(answer.demoted.get(other, now) > now for other in answer.addresses):
            answer.expires_at = now


def _usable(found: Iterable[Address]) -> list[Address]:
    """Drop duplicates, let the families take turns, and keep the first eight."""
    distinct = list(dict.fromkeys(found))
    if not distinct:
        return distinct
    first = [address for address in distinct if address.family == distinct[0].family]
    others = [address for address in distinct if address.family != distinct[0].family]
    turns = chain.from_iterable(zip_longest(first, others))
    return [address for address in turns if address is not None][:MAX_ADDRESSES]


@lru_cache(MAX_NAMES)
def _parse_ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    # Kept, because each dial asks, and mostly about the same few hosts.
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _parse_literal(host: str, port: int) -> Address | None:
    ip = _parse_ip(host)
    if ip is None:
        return None
    if isinstance(ip, ipaddress.IPv4Address):
        return Address(socket.AF_INET, (host, port))
    zone = ip.scope_id
    if zone is None:
        return Address(socket.AF_INET6, (host, port, 0, 0))
    try:
        scope = int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)
    except OSError as error:
        raise NameResolutionError(f"{host}: there is no interface {zone!r}", phase="resolve") from error
    return Address(socket.AF_INET6, (host.partition("%")[0], port, 0, scope))
