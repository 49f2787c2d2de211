"""What `acquire` yields: the right to one exchange on one connection, given back exactly once."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import trio

from .._config import check_timeouts
from .._core.planning import Phase
from .._errors import (
    LocalProtocolError,
    PoolClosed,
    ProtocolReason,
    ReadError,
    RemoteProtocolError,
    RequestError,
    StreamClosed,
    TransportError,
    WriteError,
)
from .._events import CloseReason
from .._http.body import make_body
from .._http.pushed_body import PushedBody
from .._http.request import build_request
from .._http.trailers import make_trailers
from .._net.extra_info import extra_info
from .._net.timer import PhaseTimer
from .draining import is_cancelled
from .pushing import Push, PushedRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._config import Timeouts
    from .._core.connection import ConnectionEntry
    from .._events import RequestRetried, RetryRefusal
    from .._http.body import Content, RequestBody
    from .._http.exchange import Exchange, HTTPConnection, ResponseHead
    from .._http.request import WireRequest
    from .._http.trailers import TrailerArgument
    from .._types import HeaderList, Origin
    from .draining import Draining
    from .runner import Runner
    from .tries import Tries


class Lease:
    """One exchange on a connection of the pool.

    The connection goes back by itself when the body has been read to its end. A lease that is dropped without having
    been given back warns with a `ResourceWarning` that names its request, and its slot comes back.

    Attributes:
        is_released: whether the connection was given back.
        place: the caller's place in the queue, for a request that has to be sent again.
        head: the head of the response, once there is one.
        tries: what came before the head, for a request that was sent again or has a retry policy; else None.
        label: what a leak warning calls it, for example "GET https://api.example.com/v1".
    """

    __slots__ = (
        "_draining", "_entry", "_exchange", "_runner", "_timer", "head", "is_released", "label", "place", "tries",
    )  # fmt: skip

    def __init__(self, runner: Runner, entry: ConnectionEntry, timer: PhaseTimer, place: int) -> None:
        self._runner = runner
        self._entry = entry
        self._exchange: Exchange | None = None
        self._timer = timer
        # Where the rest of the body is being read behind the caller's back.
        self._draining: Draining | None = None
        self.is_released = False
        self.place = place
        self.head: ResponseHead | None = None
        self.tries: Tries | None = None
        self.label = ""

    def __repr__(self) -> str:
        state = "given back" if self.is_released else "held" if self._exchange is None else "in use"
        return f"<Lease of connection {self.connection_id} to {self.origin}, {state}>"

    # ---- public, low level ---------------------------------------------------------------------------------------

    @property
    def origin(self) -> Origin:
        """What the connection leads to."""
        return self._entry.endpoint.origin

    @property
    def attempt(self) -> int:
        """Which try of its request it carries, from 1."""
        return 1 if self.tries is None else self.tries.attempt

    @property
    def retries(self) -> tuple[RequestRetried, ...]:
        """Why its request was sent again before this answer came, oldest first."""
        return () if self.tries is None else self.tries.records

    @property
    def retry_refusal(self) -> RetryRefusal | None:
        """Why it was not sent once more although its retry policy speaks of this answer; else None."""
        return None if self.tries is None else self.tries.refusal

    @property
    def connection_id(self) -> int:
        """The connection's number in the pool, as statistics and events show it."""
        return self._entry.id

    async def request(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        content: Content = None,
        trailers: TrailerArgument | None = None,
        timeouts: Timeouts | None = None,
    ) -> ResponseHead:
        """Send a request and return the head of its response. One lease carries one exchange.

        Args:
            method: as sent; upper case by custom.
            target: path and query in wire form, or "*".
            headers: fields in addition to Host and the framing fields, which are added.
            content: the body: bytes, str, a file, or an iterable of bytes.
            trailers: fields after the body, or a function that returns them once the body was sent.
            timeouts: limits instead of those given to `acquire`.

        Raises:
            LocalProtocolError: something in the request is not allowed, or the lease was used before.
            TransportError: the exchange failed. The connection is closed then, as it is after a cancellation.
            StreamConsumed: the content can be sent only once, and was; nothing has happened.
            TypeError: an argument has the wrong type.
        """
        request = self._prepare(method, target, headers, make_body(content), trailers=trailers, timeouts=timeouts)
        with self._timer as timer:
            return await self.send(request, timer)

    async def start(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        trailers: TrailerArgument | None = None,
        timeouts: Timeouts | None = None,
    ) -> PushedRequest:
        """Begin a request whose content is sent piece by piece, with `send` and `finish` of what this returns.

        The content goes in chunks, unless a Content-Length announces its length. The arguments are those of `request`.

        Raises:
            LocalProtocolError: something in the request is not allowed, or the lease was used before.
            TransportError: the connection has ended meanwhile.
            TypeError: an argument has the wrong type.
        """
        body = PushedBody()
        try:
            request = self._prepare(method, target, headers, body, trailers=trailers, timeouts=timeouts)
            push = Push(self.begin(self._timer), self._timer, body)
        except BaseException:
            body.close()
            raise
        self._runner.start_push(push, request)
        await trio.lowlevel.checkpoint()
        return PushedRequest(self._runner, self, push)

    def _prepare(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | Iterable[tuple[str, str]],
        body: RequestBody,
        *,
        trailers: TrailerArgument | None,
        timeouts: Timeouts | None,
    ) -> WireRequest:
        """Check everything before anything is sent."""
        self._runner.check_caller()
        timer = self._timer if timeouts is None else PhaseTimer(check_timeouts(timeouts))
        fields = headers.items() if hasattr(headers, "items") else headers
        request = build_request(self.origin, method, target, fields, body, trailers=make_trailers(trailers))
        self.label = self.label or f"{method} {self.origin}{target.partition('?')[0]}"
        self._timer = timer
        self._check_quiet()
        return request

    async def read(self) -> bytes:
        """Return the next piece of the body as it arrived, b"" at its end; the connection is given back then.

        Raises:
            ReadTimeout, ReadError, RemoteProtocolError: the body ended badly; the connection is closed.
            StreamClosed: the lease was given up, before or meanwhile.
            LocalProtocolError: a request that was started was not finished.
        """
        self._runner.check_caller()
        if self.head is None and self._exchange is not None:
            raise LocalProtocolError("finish the request before its answer is read", origin=self.origin, phase="read")
        with self._timer as timer:
            return await self.receive(timer)

    @property
    def http_version(self) -> str:
        """Version of the response's protocol, for example "HTTP/1.1"; empty before there is a response."""
        return "" if self.head is None else self.head.http_version

    @property
    def trailers(self) -> HeaderList:
        """Fields after the body (RFC 9110 §6.5); complete when the body has ended."""
        return [] if self._exchange is None else self._exchange.trailers

    def get_extra_info(self, name: str) -> object:
        """A fact about the connection below HTTP, None where there is none to tell.

        Args:
            name: "client_addr" and "server_addr", as the operating system writes addresses; "ssl_object", an
                `ssl.SSLObject` to ask for certificate, version and cipher.
        """
        return extra_info(self.connection.stream, name)

    def release_soon(self) -> None:
        """Give the lease up, whatever state it is in; never waits, may be repeated.

        What has arrived of an unfinished body is consumed, and a task of the pool reads on for 64 KiB or 100 ms at
        most: if the body ends within that, the connection is kept.
        """
        self._release()

    async def aclose(self) -> None:
        """Give the lease up and wait until its connection is free; may be repeated, and never raises.

        It is given up before anything is waited for, as by `release_soon`. The wait is over when the rest of the body
        has been read, when more of its content arrives, or after 100 ms, so that a request which follows finds the
        connection free where only the end of the body was missing. A cancellation that comes meanwhile ends the wait,
        is raised where the caller waits next, and changes nothing else. In a scope that is cancelled already there is
        no time for a rest: what has not arrived is given up at once, and the server sees that. Who closes it a second
        time waits for the same.
        """
        draining = self.leave()
        if draining is None:
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            await draining.wait()

    def discard(self, reason: CloseReason = CloseReason.DISCARDED) -> None:
        """Give the lease up and close its connection; never waits, may be repeated."""
        if not self.is_released:
            if self._exchange is None:
                self._exchange = self.connection.open_exchange()
            self._exchange.abandon(reason)
            self._finish()
            self._exchange = None

    def _release(self) -> Draining | None:
        """Give the lease up; what waits for the rest of the body, where a task of the pool reads that."""
        exchange = self._exchange
        if self.is_released:
            return self._draining
        if exchange is not None and exchange.outcome is None and self.head is None:
            # Another task is sending on it.
            self.discard()
        elif exchange is None or exchange.outcome is not None or exchange.try_drain() is not None:
            self._finish()
        else:
            self.is_released = True
            self._draining = self._runner.drain_later(self._entry, exchange)
        self._exchange = None
        return self._draining

    def _drop(self) -> None:
        """Give the lease up, and an exchange that has not ended with it."""
        exchange = self._exchange
        if exchange is None or exchange.outcome is not None or (self.head is not None and exchange.try_drain()):
            self._finish()
            self._exchange = None
        else:
            self.discard(CloseReason.CANCELLED_MID_EXCHANGE)

    def misdirected(self) -> None:
        """Give the lease up: the server says that its connection is the wrong one (RFC 9110 §15.5.20)."""
        # Whether or not the lease was given back with the head: others must not be led astray.
        self._runner.retire(self._entry, CloseReason.MISDIRECTED)
        self.discard(CloseReason.MISDIRECTED)

    # ---- for the floor above -------------------------------------------------------------------------------------

    def leave(self) -> Draining | None:
        """Give the lease up as `aclose` does; what it would wait for, if there is anything."""
        if self.is_released:
            return self._draining
        if is_cancelled():
            self._drop()
            return None
        return self._release()

    async def send(self, request: WireRequest, timer: PhaseTimer) -> ResponseHead:
        """Send and return the final head; on any exception the connection has been given back."""
        exchange = self.begin(timer)
        try:
            head = await exchange.send(request, timer)
        except BaseException as error:
            self.fail(exchange, timer, error)
            raise
        self.headed(exchange, timer, head)
        return head

    # What `send` consists of, for those who call it for every request: a coroutine less.

    def begin(self, timer: PhaseTimer) -> Exchange:
        """Open the exchange; it must be followed by `headed` or `fail`."""
        if self.is_released or self._exchange is not None:
            raise LocalProtocolError("a lease carries one exchange", origin=self.origin)
        exchange: Exchange = self._entry.handle.open_exchange()
        self._exchange = exchange
        timer.guard(exchange, self._runner.watchdog)
        return exchange

    def headed(self, exchange: Exchange, timer: PhaseTimer, head: ResponseHead) -> None:
        """The final head is there; if that was all of the response, the connection is given back."""
        self.head = head
        timer.rest()
        if exchange.outcome is not None:
            self._finish()

    def fail(self, exchange: Exchange, timer: PhaseTimer, error: BaseException) -> None:
        """The exchange raised: give its connection back, and the error what is known here.

        Raises:
            PoolClosed: the pool was closed meanwhile, which is why.
        """
        timer.rest()
        exchange.abandon(CloseReason.CANCELLED_MID_EXCHANGE)
        self._finish()
        if error is exchange.callers_error:
            return
        if isinstance(error, RequestError):
            error.annotate(origin=self.origin)
        if isinstance(error, ReadError | WriteError) and self._runner.machine.phase is Phase.CLOSED:
            raise PoolClosed(
                "the pool was closed during the exchange", origin=self.origin, request_sent=exchange.request_sent
            ) from error

    async def receive(self, timer: PhaseTimer) -> bytes:
        """Return the next piece of the body, b"" at its end; on any exception the connection has been given back."""
        exchange = self._exchange
        if exchange is None:
            why = "no request was sent on it" if self.head is None else "it was given up before the body was read"
            raise StreamClosed(f"there is nothing to read from this lease: {why}")
        timer.guard(exchange, self._runner.watchdog)
        try:
            data = await exchange.receive(timer)
        except BaseException as error:
            was_released = self.is_released
            self.fail(exchange, timer, error)
            if was_released and isinstance(error, TransportError):
                # That is what broke it; a TransportError is no cancellation.
                raise StreamClosed("the lease was given up while it was read") from error  # noqa: ASYNC104 - likewise
            raise
        timer.rest()
        if exchange.outcome is not None:
            self._finish()
        return data

    def take_whole(self) -> bytes | None:
        """The whole body, if it has arrived already; the connection is given back then. None if it must be read."""
        exchange = self._exchange
        content = None if exchange is None else exchange.take_whole()
        if content is not None:
            self._finish()
        return content

    @property
    def body_begun(self) -> bool:
        """Whether the body of the request was begun; one that can be read once cannot be sent again then."""
        return self._exchange is None or self._exchange.body_begun

    @property
    def connection(self) -> HTTPConnection:
        """The connection, for the facts a replay is judged by."""
        connection: HTTPConnection = self._entry.handle
        return connection

    def _check_quiet(self) -> None:
        """Look once more: any time may have passed since the connection was handed over.

        Raises:
            ReadError: the peer has closed the connection.
            RemoteProtocolError: the peer has sent something that answers nothing (RFC 9112 §9.2).
        """
        if self.is_released or self._exchange is not None:
            return
        reason = self.connection.look()
        if reason is None:
            return
        self.discard(reason)
        if reason is CloseReason.UNSOLICITED_DATA:
            raise RemoteProtocolError(
                "the server spoke before it was asked",
                reason=ProtocolReason.UNSOLICITED,
                origin=self.origin,
                request_sent="no",
            )
        raise ReadError(
            "the connection ended before the request was sent", origin=self.origin, phase="write", request_sent="no"
        )

    def _finish(self) -> None:
        if not self.is_released:
            self.is_released = True
            self._runner.give_back(self._entry, self._exchange)

    def __del__(self) -> None:
        if not self.is_released:
            self.is_released = True
            self._runner.reclaim(self._entry, self._exchange)
            what = self.label or f"a lease of a connection to {self.origin}"
            warnings.warn(
                f"{what} was dropped without being closed; its connection is closed and its slot comes back",
                ResourceWarning,
                stacklevel=1,
            )
