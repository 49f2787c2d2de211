"""HTTP/1.1 over a byte stream: one exchange at a time, first tried, then waited for.

The common case (a small body or none, an answer in one segment) is one write, one wait, one read: no nursery, no scope
and no closure. Only a body that does not go out at once is written by a task of its own, beside the reader.

Rules of this file:

- A write error never ends an exchange first: the server may have answered before it closed.
- A request that was not written whole, or an answer that was not read whole, closes the connection.
- Whatever leaves an exchange as an exception has set its outcome before.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Final

import trio

from .._errors import (
    LocalProtocolError,
    ReadError,
    RequestError,
    TransportError,
    WriteError,
)
from .._events import CloseReason
from .._net.stream import look
from .._net.tls_stream import TLSStream
from .exchange import PEERS_FAULT, SERVED, Outcome, reason_of
from .h1_body import BodyParser
from .h1_head import HeadParser
from .h1_lines import make_engine
from .h1_usual import WholeBody, read_at_once
from .upload import Upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._errors import RequestSent
    from .._net.stream import ByteStream
    from .._net.timer import PhaseTimer, Watchdog
    from .._types import HeaderList
    from .exchange import ConnectionEvent, ResponseHead
    from .h1_lines import HTTP1Engine
    from .request import WireRequest

#: One read. Larger pieces gain nothing over the parser's cost.
READ_SIZE: Final = 65536

#: Reads that succeed at once before other tasks get a turn.
_TURNS: Final = 16

#: How much of an early 2xx answer is kept while the upload goes on.
_READ_AHEAD: Final = 262144

#: How much of an unread body is read to save a connection: less than a new TLS handshake costs.
DRAIN_SIZE: Final = 65536


class Room(Enum):
    """Whether a connection can take an exchange."""

    UNUSED = "it has had none"
    NONE = "one runs, or the last one ended so that no other may follow"
    AGAIN = "the last one ended well"


class HTTP1Connection:
    """One HTTP/1.1 connection, which owns its stream.

    Args:
        stream: connected, and past its TLS handshake.
        max_head_size: bytes of interim responses, head and trailers of one response together.
        max_head_fields: their header fields together.
        engine: reads the heads; connections of one pool share it. None makes one.
    """

    __slots__ = (
        "_room",
        "_tls",
        "capacity",
        "engine",
        "has_answered",
        "http_version",
        "max_head_fields",
        "max_head_size",
        "reads_itself",
        "stream",
        "turns",
    )

    def __init__(
        self,
        stream: ByteStream,
        *,
        max_head_size: int = 65536,
        max_head_fields: int = 256,
        engine: HTTP1Engine | None = None,
    ) -> None:
        self.stream = stream
        self._tls = stream if isinstance(stream, TLSStream) else None
        self.engine = engine or make_engine()
        self.max_head_size = max_head_size
        self.max_head_fields = max_head_fields
        self.capacity = 1
        self.http_version = "HTTP/1.1"
        self.reads_itself = False
        # Before the exchange that was opened last: only one that ended well leaves room for another.
        self.has_answered = False
        # Reads since the last wait; in one place, so that short exchanges count together.
        self.turns = 0
        # The exchange itself is not kept: an idle connection has no use for its buffers.
        self._room = Room.UNUSED

    def open_exchange(self) -> HTTP1Exchange:
        """Begin an exchange.

        Raises:
            LocalProtocolError: another one runs, or the last one left the connection unusable.
        """
        if self._room is Room.NONE:
            raise LocalProtocolError("the connection cannot take another exchange")
        self.has_answered = self._room is Room.AGAIN
        self._room = Room.NONE
        return HTTP1Exchange(self)

    def exchange_served(self) -> None:
        """The exchange ended well: there is room for another."""
        self._room = Room.AGAIN

    def look(self) -> CloseReason | None:
        """Look once more before the connection is handed over; None if it is quiet."""
        return look(self.stream)

    def look_behind(self) -> CloseReason | None:
        """What came with the last answer and cannot be seen from outside any more; None if nothing did."""
        tls = self._tls
        return None if tls is None or not tls.is_ready else look(tls)

    async def run(self, report: Callable[[ConnectionEvent], None], watchdog: Watchdog) -> None:
        """Nothing happens between exchanges that the pool's own watch would not see."""

    def close(self) -> None:
        """Close at once, without waiting; may be repeated."""
        self.stream.close()


class HTTP1Exchange:
    """One request and its response; see `Exchange` for the contract."""

    __slots__ = (
        "_beside",
        "_body",
        "_broken",
        "_connection",
        "_has_begun",
        "_ready",
        "_stream",
        "body_begun",
        "callers_error",
        "outcome",
        "request_sent",
        "response_started",
    )

    #: No server of HTTP/1.1 can prove that it did not process a request.
    refused = False

    def __init__(self, connection: HTTP1Connection) -> None:
        self._connection = connection
        self._stream = connection.stream
        self._has_begun = False
        self._body: BodyParser | WholeBody | None = None
        self._ready: deque[bytes] | None = None
        self._broken: WriteError | None = None
        self._beside: trio.CancelScope | None = None
        self.request_sent: RequestSent = "no"
        self.response_started = False
        self.body_begun = False
        self.callers_error: BaseException | None = None
        self.outcome: Outcome | None = None

    @property
    def trailers(self) -> HeaderList:
        """See `Exchange.trailers`."""
        return [] if self._body is None else self._body.trailers

    async def send(self, request: WireRequest, timer: PhaseTimer) -> ResponseHead:
        """Send the request and return the final head; see `Exchange.send`."""
        try:
            if self._has_begun or self.outcome is not None:
                raise LocalProtocolError("an exchange carries one request")
            self._has_begun = True
            whole = request.whole
            if whole is None and not request.expects_continue:
                self.body_begun = True
                request.body.restart()
            data = whole or request.head
            stream = self._stream
            try:
                sent = stream.try_send(data)
            except WriteError as error:
                self._broken = error
                # Whoever makes the content must not wait for a reader that will never come. What a clean-up raises must
                # hide neither an answer nor this.
                with suppress(Exception):
                    await request.body.aclose()
                return await self._read_head(request, timer, stream.try_receive(READ_SIZE), armed=-1)
            if whole is None or sent < len(data):
                self.request_sent = "partly" if sent else "no"
                rest = memoryview(data)[sent:]
                return await self._send_beside_reading(request, timer, rest, with_body=whole is None)
            self.request_sent = "fully"
            timer.first_byte()
            connection = self._connection
            connection.turns = 0
            await stream.wait_readable()
            answer = stream.try_receive(READ_SIZE)
            if answer:
                self.response_started = True
                found = read_at_once(
                    answer,
                    request.method,
                    connection.engine,
                    connection.max_head_size,
                    connection.max_head_fields,
                    close=request.header_set.wants_close,
                )
                if found is not None:
                    head, self._body = found
                    return head
            return await self._read_head(request, timer, answer, armed=0)
        except BaseException as error:
            if request.is_source_of(error):
                self.callers_error = error
            self._fail(error)
            if self._broken is not None and isinstance(error, TransportError):
                raise self._broken.annotate(request_sent=self.request_sent) from error  # noqa: ASYNC104 - a TransportError is no cancellation
            raise

    async def _read_head(
        self,
        request: WireRequest,
        timer: PhaseTimer,
        data: bytes | None,
        *,
        armed: int | None,
        permit: trio.Event | None = None,
    ) -> ResponseHead:
        """Read until the final head is whole.

        Args:
            request: what is answered.
            timer: of the request.
            data: what was received already; None if nothing is there yet.
            armed: how many interim responses had come when the timer was set, -1 if it was not. It is set once for the
                whole head and anew after an interim response: a head that drips is late. None beside an upload: the
                timer belongs to that.
            permit: set once the server asks for the content, or answers as if it had it.
        """
        connection, stream = self._connection, self._stream
        parser = HeadParser(connection.engine, connection.max_head_size, connection.max_head_fields)
        while True:
            if data:
                self.response_started = True
                found = parser.feed(data)
                if found is not None:
                    close = request.wants_close
                    self._body = BodyParser(found, request.method, close=close, engine=connection.engine)
                    if permit is not None and found.head.status < 300:
                        permit.set()
                    return found.head
                if permit is not None and parser.continues:
                    permit.set()
                connection.turns += 1
                if connection.turns > _TURNS:
                    await self._give_turn()
            elif data is None:
                if armed is not None and armed != parser.informational:
                    armed = parser.informational
                    timer.first_byte()
                connection.turns = 0
                await stream.wait_readable()
            else:
                self.outcome = Outcome(CloseReason.PEER_CLOSED, failed=True)
                what = "in the middle of the head" if self.response_started else "without an answer"
                raise ReadError(f"the server closed the connection {what}", phase="read")
            data = stream.try_receive(READ_SIZE)

    async def _send_beside_reading(
        self, request: WireRequest, timer: PhaseTimer, unsent: memoryview, *, with_body: bool
    ) -> ResponseHead:
        """Write the rest in a task of its own while this one reads."""
        upload = Upload(self._stream, request, timer, with_body=with_body)
        head: ResponseHead | None = None
        reader_error: BaseException | None = None
        # The nursery must see no exception, or it would wrap them all in groups.
        async with trio.open_nursery() as nursery:
            self._beside = nursery.cancel_scope
            nursery.start_soon(upload.run, unsent, nursery.cancel_scope)
            try:
                head = await self._read_head(request, timer, None, armed=None, permit=upload.permit)
                if head.status < 300 and not upload.ended:
                    await self._read_ahead(upload)
            except BaseException as error:  # noqa: ASYNC103, BLE001 - raised below, outside the nursery
                reader_error = error
            had_failed = upload.failure is not None
            nursery.cancel_scope.cancel()
        self._beside = None
        self.body_begun = self.body_begun or upload.permitted
        self.request_sent = upload.sent or self.request_sent
        self._broken = upload.broken
        timed_out = self.outcome is not None and self.outcome.close is CloseReason.TIMED_OUT
        # By a limit, or by somebody else who gave the exchange up.
        was_ended = timed_out or (self.outcome is not None and isinstance(reader_error, trio.Cancelled))
        # A body that is stopped for an answer or a limit may raise in its clean-up; that must hide neither of them.
        was_stopped = was_ended or (reader_error is None and not had_failed)
        if upload.failure is not None and not (was_stopped and isinstance(upload.failure, Exception)):
            raise upload.failure
        if was_ended:
            # The reader saw a cancellation that was ours, and ends with the nursery.
            why = "a limit passed" if timed_out else "the exchange was given up while it ran"
            raise ReadError(why, phase="read") from upload.failure
        if reader_error is not None:
            raise reader_error
        assert head is not None
        return head

    async def _read_ahead(self, upload: Upload) -> None:
        """A 2xx before the request was sent is no refusal: let the upload end, and keep what arrives meanwhile.

        Beyond the bound the answer is left where it is, and the write limit decides if nothing moves any more.
        """
        pieces: deque[bytes] = deque()
        kept = 0
        # Empty, not None: the exchange does not end before somebody has taken what is kept.
        self._ready = deque()
        try:
            with trio.CancelScope() as upload.reading_ahead:
                while kept < _READ_AHEAD:
                    piece = self.try_receive()
                    if piece is None:
                        await self._stream.wait_readable()
                    elif piece:
                        pieces.append(piece)
                        kept += len(piece)
                    else:
                        break
                await trio.sleep_forever()
        finally:
            self._ready = pieces or None

    async def receive(self, timer: PhaseTimer) -> bytes:
        """The next piece of the body; see `Exchange.receive`."""
        connection = self._connection
        try:
            connection.turns += 1
            if connection.turns > _TURNS:
                await self._give_turn()
            while True:
                piece = self.try_receive()
                if piece is not None:
                    return piece
                timer.read()
                connection.turns = 0
                await self._stream.wait_readable()
        except BaseException as error:
            self._fail(error)
            raise

    def try_receive(self) -> bytes | None:
        """The next piece of the body without waiting; see `Exchange.try_receive`."""
        if self._ready:
            return self._take_kept(self._ready)
        body = self._body
        if body is None or (self.outcome is not None and not body.ended):
            raise self._explain_end()
        try:
            while True:
                piece = body.next_piece()
                if body.ended and self.outcome is None and self._ready is None:
                    self._end(body)
                if piece is not None:
                    return piece
                assert isinstance(body, BodyParser)
                data = self._stream.try_receive(READ_SIZE)
                if data is None:
                    return None
                if data:
                    body.feed(data)
                else:
                    body.feed_eof(clean=self._stream.ended_cleanly)
        except BaseException as error:
            self._fail(error)
            if self._broken is not None and isinstance(error, TransportError):
                raise self._broken.annotate(request_sent=self.request_sent) from error  # noqa: ASYNC104 - a TransportError is no cancellation
            raise

    def take_whole(self) -> bytes | None:
        """The whole body, if it has arrived with the head; see `Exchange.take_whole`."""
        body = self._body
        if body is None or self.outcome is not None or self._ready is not None:
            return None
        content = body.take_whole()
        if type(body) is WholeBody:
            self.outcome = SERVED
            self._connection.exchange_served()
        elif content is not None:
            self._end(body)
        return content

    def _take_kept(self, kept: deque[bytes]) -> bytes:
        """The next piece that was read ahead; the exchange ends with the last one, if the message did."""
        piece = kept.popleft()
        if not kept:
            self._ready = None
            body = self._body
            if body is not None and body.ended and self.outcome is None:
                self._end(body)
        return piece

    def abandon(self, reason: CloseReason) -> None:
        """End an exchange that runs; its connection must be closed."""
        if self.outcome is None:
            self.outcome = Outcome(reason, failed=reason in PEERS_FAULT)
            if self._beside is not None:
                # The caller's body may be waiting for anything.
                self._beside.cancel()

    def interrupt(self) -> None:
        """A limit passed: close the stream under whoever waits; see `Exchange.interrupt`."""
        if self.outcome is not None:
            # The stream may carry somebody else's exchange by now.
            return
        self.abandon(CloseReason.TIMED_OUT)
        self._stream.close()

    async def drain(
        self, timer: PhaseTimer | None, max_bytes: int = DRAIN_SIZE, *, on_piece: Callable[[], None] | None = None
    ) -> bool:
        """Read and drop the rest of the body; see `Exchange.drain`."""
        try:
            left = max_bytes
            while self._is_worth_draining(left):
                piece = self.try_receive()
                if piece is None:
                    if timer is not None:
                        timer.read()
                    await self._stream.wait_readable()
                else:
                    left -= len(piece)
                    if piece and on_piece is not None:
                        on_piece()
        except TransportError as error:
            self._fail(error)
        except BaseException:
            # Whoever cancels this has no more time for a rest that nobody wants.
            self.abandon(CloseReason.EARLY_BODY_CLOSE)
            raise
        return self._is_reusable()

    def try_drain(self) -> bool | None:
        """Drop what has arrived already; see `Exchange.try_drain`."""
        try:
            left = DRAIN_SIZE
            while self._is_worth_draining(left):
                piece = self.try_receive()
                if piece is None:
                    return None
                left -= len(piece)
        except TransportError as error:
            self._fail(error)
        return self._is_reusable()

    def _is_reusable(self) -> bool:
        return self.outcome is not None and self.outcome.close is None

    def _is_worth_draining(self, left: int) -> bool:
        """Whether the connection could still be kept; if not, the exchange is given up."""
        if self.outcome is not None:
            return False
        body = self._body
        if body is None or self.request_sent != "fully" or body.close is not None:
            self.abandon((body and body.close) or CloseReason.EARLY_BODY_CLOSE)
            return False
        if left < 0 or (body.content_left or 0) > left:
            self.abandon(CloseReason.EARLY_BODY_CLOSE)
            return False
        return True

    async def _give_turn(self) -> None:
        """Let other tasks run although the bytes are always there."""
        self._connection.turns = 0
        await trio.lowlevel.checkpoint()

    def _explain_end(self) -> RequestError:
        """Why there is nothing to read."""
        if self.outcome is not None and self.outcome.close is CloseReason.TIMED_OUT:
            return ReadError("a limit passed", phase="read")
        return LocalProtocolError("the exchange has no body to read")

    def _end(self, body: BodyParser | WholeBody) -> None:
        """The message is complete; say what that means for the connection."""
        close = body.close
        if close is None and self.request_sent != "fully":
            close = CloseReason.IO_ERROR if self._broken is not None else CloseReason.EARLY_BODY_CLOSE
        if close is not None or body.idle_hint is not None:
            self.outcome = Outcome(close, idle_hint=body.idle_hint)
        else:
            self.outcome = SERVED
        if close is None:
            self._connection.exchange_served()

    def _fail(self, error: BaseException) -> None:
        """An exception leaves: give it what is known, and the connection its reason to close."""
        is_callers = error is self.callers_error
        if isinstance(error, RequestError) and not is_callers:
            error.annotate(request_sent=self.request_sent)
        if self.outcome is None:
            self.abandon(CloseReason.DISCARDED if is_callers else reason_of(error))
