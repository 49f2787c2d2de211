"""The outside world as the pool needs it, and its real form: the system's resolver and sockets.

Everything that touches the operating system on the way to a connected stream is behind `Network`, so that tests put a
fake in its place and run on virtual time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import trio

from .._errors import ConnectError, NameResolutionError
from .stream import SocketStream
from .watcher import SelectorWatcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .stream import ByteStream
    from .watcher import IdleWatcher

#: Look-ups at once. The default limiter of trio belongs to the application, and a resolver that hangs would hold all
#: of it; a resolver answers neither faster nor better when it is asked more than this at a time.
RESOLVER_THREADS = 16

# Idle seconds before the first probe, seconds between probes, probes before the connection is given up: a peer that
# vanished is noticed after six minutes. Below 60 s, probes would cost mobile and NAT devices more than they tell.
KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES = 60, 60, 5

# macOS has its own name for the idle time, and some systems lack the other two.
_PROBES: Final = tuple(
    (getattr(socket, name), value)
    for name, value in (
        ("TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE", KEEPALIVE_IDLE),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
    )
    if hasattr(socket, name)
)

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_IN_PROGRESS = frozenset({errno.EALREADY, errno.EINPROGRESS})
_NO_LOCAL_PORT = frozenset({errno.EADDRNOTAVAIL, errno.EADDRINUSE})


class Address(NamedTuple):
    """One resolved address, as `socket.connect` takes it."""

    family: int
    sockaddr: tuple[Any, ...]

    def __str__(self) -> str:
        host, port = self.sockaddr[:2]
        return f"[{host}]:{port}" if self.family == socket.AF_INET6 else f"{host}:{port}"


class SocketOptions(NamedTuple):
    """What is set on a TCP socket before it connects.

    Attributes:
        nodelay: TCP_NODELAY: small requests leave at once.
        keepalive: TCP keep-alive probes, 60 s idle, every 60 s, 5 times.
        local_address: IP address to connect from, None for the system's choice.
    """

    nodelay: bool = True
    keepalive: bool = True
    local_address: str | None = None


class Network(Protocol):
    """What the pool needs from the outside world."""

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Look a name up, without a cache.

        Raises:
            NameResolutionError: there is no such name, or the resolver failed.
            ConnectError: this process lacks the means to ask (see `is_resource_exhaustion`).
        """

    async def connect(self, address: Address, *, options: SocketOptions) -> ByteStream:
        """Make one attempt at one address. A cancelled attempt leaves nothing open.

        Raises:
            ConnectError: it failed; `__cause__` is the `OSError`.
        """

    async def connect_unix(self, path: str) -> ByteStream:
        """Connect to a Unix domain socket; a path that starts with NUL is in Linux' abstract namespace.

        Raises:
            ConnectError: it failed; `__cause__` is the `OSError`.
        """

    def watcher(self) -> IdleWatcher:
        """Make a watcher for idle streams of this network."""


def is_resource_exhaustion(error: BaseException) -> bool:
    """Whether a dial failed because this machine ran out of something, so that the endpoint is not to blame.

    Looks through causes and exception groups. Lack of descriptors or memory in one attempt is enough; "cannot assign
    requested address" counts only if every attempt says it, since a machine without IPv6 says it of `::1` as well.
    """
    numbers = list(_errnos(error, set()))
    return any(number in _EXHAUSTED for number in numbers) or (
        bool(numbers) and all(number in _NO_LOCAL_PORT for number in numbers)
    )


def _errnos(error: BaseException, seen: set[int]) -> Iterator[int | None]:
    if id(error) in seen:
        return
    seen.add(id(error))
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _errnos(inner, seen)
    elif error.__cause__ is not None:
        yield from _errnos(error.__cause__, seen)
    else:
        yield error.errno if isinstance(error, OSError) else None


class SocketNetwork:
    """The real network: `getaddrinfo` in threads of its own, non-blocking sockets."""

    __slots__ = ("_limiter",)

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(RESOLVER_THREADS)

    async def resolve(self, host: str, port: int) -> list[Address]:
        return await trio.to_thread.run_sync(_look_up, host, port, limiter=self._limiter, abandon_on_cancel=True)

    async def connect(self, address: Address, *, options: SocketOptions) -> ByteStream:
        try:
            sock = socket.socket(address.family, socket.SOCK_STREAM)
        except OSError as error:
            raise _connect_error(str(address), error) from error
        try:
            sock.setblocking(False)
            _set_options(sock, options)
            try:
                sock.connect(address.sockaddr)
            except BlockingIOError:
                code = _ask_again(sock, address)
                if code in _IN_PROGRESS:
                    await trio.lowlevel.wait_writable(sock)  # noqa: ASYNC120 - "in progress" is no error to keep
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code)) from None
            own = sock.getsockname()
            if own[1] == address.sockaddr[1] and own == sock.getpeername():
                # The kernel picked the very port that was dialled: the socket talks to itself, nobody listens.
                raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
            return SocketStream(sock)
        except OSError as error:
            sock.close()
            raise _connect_error(str(address), error) from error
        except BaseException:
            sock.close()
            raise

    async def connect_unix(self, path: str) -> ByteStream:
        shown = "@" + path[1:] if path.startswith("\0") else path
        pause = 0.001
        while True:
            try:
                sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            except OSError as error:
                raise _connect_error(shown, error) from error
            try:
                sock.setblocking(False)
                sock.connect(path)
                return SocketStream(sock)
            except BlockingIOError:
                # The listener's queue is full, and for Unix sockets there is nothing to wait on (connect(2), EAGAIN).
                sock.close()
            except OSError as error:
                sock.close()
                raise _connect_error(shown, error) from error
            await trio.sleep(pause)
            pause = min(2 * pause, 0.1)

    def watcher(self) -> IdleWatcher:
        return SelectorWatcher()


def _ask_again(sock: socket.socket, address: Address) -> int:
    """How a connect stands that was begun just now: 0 if it succeeded, or an `errno`.

    A peer on the same machine has answered by the time that `connect` returns, though it says "in progress". To ask is
    a tenth of what a round of the loop costs. Only Linux is known to answer this question the same way every time.
    """
    return sock.connect_ex(address.sockaddr) if sys.platform == "linux" else errno.EINPROGRESS


def _connect_error(target: str, error: OSError) -> ConnectError:
    return ConnectError(f"cannot connect to {target}: {error.strerror or error}", phase="connect")


def _set_options(sock: socket.socket, options: SocketOptions) -> None:
    if options.nodelay:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if options.keepalive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _PROBES:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
    if options.local_address is not None:
        if sys.platform == "linux":
            # IP_BIND_ADDRESS_NO_PORT: the port is chosen at connect, so one port serves many destinations.
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_IP, 24, 1)
        sock.bind((options.local_address, 0))


def _look_up(host: str, port: int) -> list[Address]:
    try:
        # As bytes: a str would go through the codec for IDNA 2003.
        found = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        _check_descriptors()
        if isinstance(error, OSError) and not isinstance(error, socket.gaierror) and error.errno in _EXHAUSTED:
            raise ConnectError(f"cannot look up {host}: {error.strerror}", phase="resolve") from error
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise NameResolutionError(f"cannot resolve {host}: {why}", phase="resolve") from error
    return [
        Address(family, sockaddr) for family, _, _, _, sockaddr in found if family in (socket.AF_INET, socket.AF_INET6)
    ]


def _check_descriptors() -> None:
    """Tell "no descriptor left" from "no such name": `getaddrinfo` says the latter for both.

    Raises:
        ConnectError: the two descriptors that a look-up needs at least cannot be had.
    """
    try:
        with Path(os.devnull).open("rb"), Path(os.devnull).open("rb"):
            pass
    except OSError as error:
        raise ConnectError(f"cannot look up a name: {error.strerror}", phase="resolve") from error
