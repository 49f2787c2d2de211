"""What both protocols offer to the pool: a connection, and on it exchanges of one request and its response.

The pool decides by facts, so an exchange ends with an `Outcome` whatever happened: it is None while the exchange runs
and set exactly once. Cancelling any of the waiting methods ends the exchange: over HTTP/1.1 with an outcome that closes
the connection, over HTTP/2 with a reset of its stream. A half-written request or a half-read answer is never continued
by somebody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import trio

from .._errors import NetworkError, RemoteProtocolError
from .._events import CloseReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._errors import RequestSent
    from .._net.stream import ByteStream
    from .._net.timer import PhaseTimer, Watchdog
    from .._types import HeaderList
    from .request import WireRequest


class ResponseHead:
    """Status line and header fields of a final response.

    Args:
        status, reason, headers, http_version: see below.
        fields: the headers by name, whichever of those with one name.

    Attributes:
        status: 200 to 999; a client treats an unknown class as x00 of that class (RFC 9110 §15).
        reason: the reason phrase as sent, maybe empty.
        headers: names in lower case, values as sent without edge white space, in order.
        http_version: "HTTP/1.1", "HTTP/1.0" or "HTTP/2".
        is_coded: whether there is a Content-Encoding, so that the body may have to be decoded.
    """

    __slots__ = ("headers", "http_version", "is_coded", "reason", "status")

    def __init__(
        self, status: int, reason: bytes, headers: HeaderList, http_version: str, fields: dict[bytes, bytes]
    ) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.http_version = http_version
        self.is_coded = b"content-encoding" in fields

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} {self.http_version} with {len(self.headers)} fields>"


class Outcome(NamedTuple):
    """How an exchange ended, as far as its connection is concerned.

    Attributes:
        close: why the connection must not be used again; None if it may be.
        resetting: whether the exchange ended by a reset of its stream that the server may not have seen yet: its place
            on the connection is not free before `ResetsSeen` says so.
        failed: whether this counts against the endpoint's health. What the caller did (cancelling, a body that raised,
            closing early) does not.
        idle_hint: for how many seconds the server promised to keep an idle connection; None if it said nothing.
    """

    close: CloseReason | None
    failed: bool = False
    idle_hint: float | None = None
    resetting: bool = False


#: How nearly every exchange ends: with a whole answer, on a connection that takes another.
SERVED: Final = Outcome(None)

#: Reasons that count against the endpoint's health.
PEERS_FAULT = frozenset({CloseReason.IO_ERROR, CloseReason.PROTOCOL_ERROR, CloseReason.TIMED_OUT})


def reason_of(error: BaseException) -> CloseReason:
    """Why an exchange ends that an exception leaves."""
    if isinstance(error, trio.Cancelled):
        return CloseReason.CANCELLED_MID_EXCHANGE
    if isinstance(error, RemoteProtocolError):
        return CloseReason.PROTOCOL_ERROR
    return CloseReason.IO_ERROR if isinstance(error, NetworkError) else CloseReason.DISCARDED


class CapacityChanged(NamedTuple):
    """The server allows another number of exchanges at once, maybe fewer than are open, maybe none."""

    capacity: int


class ResetsSeen(NamedTuple):
    """The server has seen this many of the resets that outcomes told of."""

    resets: int


class GoingAway(NamedTuple):
    """The connection takes no further exchange; those that it carries go on."""

    reason: CloseReason


class LimitCrossed(NamedTuple):
    """The server crossed a limit of ours, and lost a stream or the connection by it."""

    limit: str


class Broken(NamedTuple):
    """The connection is gone, with everything that it carried."""

    reason: CloseReason


#: What a connection with a reader of its own reports between exchanges.
ConnectionEvent = CapacityChanged | ResetsSeen | GoingAway | LimitCrossed | Broken


class Exchange(Protocol):
    """One request and its response.

    Attributes:
        request_sent: how much of the request was handed to the network. Only "no" proves that the server saw nothing.
        response_started: whether any byte of an answer was seen.
        refused: whether the server proved that it did not process the request.
        body_begun: whether the body was asked for its first piece, so that one that can be read once is lost.
        trailers: fields after the body, never merged into the headers (RFC 9110 §6.5.1); complete once the body ended.
        callers_error: the error of ours that the caller's own content or trailers raised, if they did: it tells of
            another exchange, and is left as it is.
        outcome: None while the exchange runs.
    """

    response_started: bool
    body_begun: bool
    callers_error: BaseException | None
    outcome: Outcome | None

    @property
    def request_sent(self) -> RequestSent: ...

    @property
    def refused(self) -> bool: ...

    @property
    def trailers(self) -> HeaderList: ...

    async def send(self, request: WireRequest, timer: PhaseTimer) -> ResponseHead:
        """Send the request, reading at the same time, and return the final head.

        An answer that refuses the request (status 300 and up) is returned at once and stops the upload.

        Raises:
            ReadError: the connection broke before an answer; see `request_sent` and `response_started`.
            WriteError: the connection broke while writing, and no whole head was there to read.
            RemoteProtocolError: the answer broke the rules or a limit.
            LocalProtocolError: the body did not have its announced length, or yielded something that is not bytes.
            Exception: whatever the caller's body iterator raised, as itself.
        """
        ...

    async def receive(self, timer: PhaseTimer) -> bytes:
        """Return the next piece of the body, not decoded; b"" once it has ended.

        The outcome may be there already when the last piece is returned.

        Raises:
            ReadError: the connection broke in the body.
            RemoteProtocolError: the body broke the rules, a limit, or was cut short.
        """
        ...

    def try_receive(self) -> bytes | None:
        """Like `receive`, but None where it would have to wait."""
        ...

    def take_whole(self) -> bytes | None:
        """Right after `send`: the whole body, if all of it has been read off the connection already; never raises.

        Returns:
            The body, not decoded, and then the exchange has ended; None if it has to be received piece by piece.
        """
        ...

    def abandon(self, reason: CloseReason) -> None:
        """End an exchange that runs; over HTTP/1.1 its connection must be closed. No-op on one that has ended."""
        ...

    def interrupt(self) -> None:
        """A limit passed: whoever waits in the exchange gets a `NetworkError`. Does nothing to one that has ended."""
        ...

    async def drain(
        self, timer: PhaseTimer | None, max_bytes: int = 65536, *, on_piece: Callable[[], None] | None = None
    ) -> bool:
        """Read and drop the rest of the body, without decoding it; afterwards the outcome is set.

        Args:
            timer: of the request; None if its limits are not meant.
            max_bytes: how much is read at most.
            on_piece: called for every piece of content, which shows that the body goes on.

        Returns:
            True if the message ended within `max_bytes` and the connection may be used again.
        """
        ...

    def try_drain(self) -> bool | None:
        """Drop what has arrived already, without waiting.

        Returns:
            True if the message has ended and the connection may be used again, False if it cannot be used again,
            None if more of the body is still to come.
        """
        ...


class HTTPConnection(Protocol):
    """A connection that speaks HTTP.

    Attributes:
        http_version: "HTTP/1.1" or "HTTP/2".
        reads_itself: whether it has a reader of its own, and so needs no watching while it is idle.
        stream: the bytes below.
    """

    http_version: str
    reads_itself: bool
    stream: ByteStream

    @property
    def capacity(self) -> int:
        """How many exchanges may run at once."""
        ...

    @property
    def has_answered(self) -> bool:
        """Whether a response has begun on it: a server that only accepts connections has proved nothing yet."""
        ...

    async def run(self, report: Callable[[ConnectionEvent], None], watchdog: Watchdog) -> None:
        """What a connection that `reads_itself` does all its life, until it is closed, breaks or is cancelled.

        Args:
            report: is told what happens between exchanges; called synchronously, and never from `open_exchange`,
                `close` or a method of an exchange.
            watchdog: tells when a sign of life is due.
        """
        ...

    def open_exchange(self) -> Exchange:
        """Begin an exchange; the pool has made sure that there is capacity."""
        ...

    def look(self) -> CloseReason | None:
        """Look once more before the connection is handed over; None if it is quiet."""
        ...

    def look_behind(self) -> CloseReason | None:
        """Look at what came with the last answer, without asking the system; None if there is nothing to close for."""
        ...

    def close(self) -> None:
        """Close at once, without waiting; may be repeated."""
        ...
