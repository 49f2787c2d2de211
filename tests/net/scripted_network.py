"""A network for tests of the resolver and the dialer: answers, delays and results from a table."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping, Sequence

import trio

from penstock._errors import ConnectError, NameResolutionError
from penstock._net.network import Address, SocketOptions

Result = BaseException | int | None


def v4(number: int, port: int = 443) -> Address:
    return Address(socket.AF_INET, (f"192.0.2.{number}", port))


def v6(number: int, port: int = 443) -> Address:
    return Address(socket.AF_INET6, (f"2001:db8::{number}", port, 0, 0))


def failure(number: int) -> ConnectError:
    error = ConnectError(os.strerror(number), phase="connect")
    error.__cause__ = OSError(number, os.strerror(number))
    return error


class ScriptedStream:
    def __init__(self, address: Address) -> None:
        self.address = address
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


class ScriptedNetwork:
    """Resolves to `names`; connects after a delay to what the table allows.

    Attributes:
        look_ups: when each look-up began.
        attempts: when each connect began, and where to.
        streams: what was connected.
        open_attempts: connects under way.
    """

    def __init__(
        self,
        names: Sequence[Address] | BaseException = (),
        table: Mapping[Address, tuple[float, int | None]] | None = None,
        *,
        resolver_delay: float = 0,
    ) -> None:
        self.names = names
        self.table = dict(table or {})
        self.resolver_delay = resolver_delay
        self.look_ups: list[float] = []
        self.attempts: list[tuple[float, Address]] = []
        self.streams: list[ScriptedStream] = []
        self.open_attempts = 0

    async def resolve(self, host: str, port: int) -> list[Address]:
        self.look_ups.append(trio.current_time())
        await trio.sleep(self.resolver_delay)
        if isinstance(self.names, BaseException):
            raise self.names
        return list(self.names)

    async def connect(self, address: Address, *, options: SocketOptions) -> ScriptedStream:
        self.attempts.append((trio.current_time(), address))
        delay, number = self.table[address]
        self.open_attempts += 1
        try:
            await trio.sleep(delay)
        finally:
            self.open_attempts -= 1
        if number is not None:
            raise failure(number)
        stream = ScriptedStream(address)
        self.streams.append(stream)
        return stream

    async def connect_unix(self, path: str) -> ScriptedStream:
        await trio.lowlevel.checkpoint()
        stream = ScriptedStream(Address(socket.AF_UNIX, (path,)))
        self.streams.append(stream)
        return stream

    @property
    def tried(self) -> list[Address]:
        return [address for _, address in self.attempts]


UNKNOWN = NameResolutionError("cannot resolve", phase="resolve")
REFUSED, UNREACHABLE, NO_DESCRIPTOR = errno.ECONNREFUSED, errno.ENETUNREACH, errno.EMFILE
SILENT = float("inf")
