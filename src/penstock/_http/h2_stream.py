"""One exchange over HTTP/2: a stream, and what has arrived on it.

The connection's reader puts in what arrives; the caller takes it out and waits in between. Content that nobody takes
is bounded by the stream's window, which is opened again as it is taken.

Rules of this file:

- Whatever ends a stream early ends it with a reset, and no other stream is touched: a cancellation, a limit, a caller
  who leaves, a malformed answer.
- Every stream fails with an error of its own, whose cause is what happened to the connection.
- Whatever leaves an exchange as an exception has set its outcome before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from .._errors import (
    LocalProtocolError,
    ProtocolReason,
    ReadError,
    RemoteProtocolError,
    RequestError,
    quote_peer,
)
from .._events import CloseReason
from .exchange import PEERS_FAULT, Outcome, ResponseHead, reason_of
from .h1_head import MAX_INFORMATIONAL
from .h2_fields import check_field, content_length, take_status
from .h2_frames import MAX_FRAME_SIZE, Code, StreamFault, code_name
from .h2_upload import HTTP2Upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._errors import RequestSent, TransportError
    from .._net.timer import PhaseTimer
    from .._types import HeaderList
    from .h2 import HTTP2Connection
    from .h2_decoder import HeaderBlock
    from .request import WireRequest

#: Pieces taken without waiting before other tasks get a turn.
_TURNS: Final = 16

#: Bytes of a piece below which it is joined to the one before it.
_SMALL: Final = 1024

_NO_CONTENT: Final = (204, 304)


class HTTP2Exchange:
    """One request and its response; see `Exchange` for the contract.

    Attributes:
        window: bytes that the server may still send on the stream.
        has_head: whether the final head has arrived.
        upload: what is still being sent of the request, if anything is.
    """

    __slots__ = (
        "_connection",
        "_content_left",
        "_ended",
        "_error",
        "_fields_left",
        "_head",
        "_head_left",
        "_informational",
        "_is_leaving",
        "_method",
        "_outcome_at_end",
        "_owed",
        "_pieces",
        "_queued_from",
        "_queued_to",
        "_stream",
        "_task",
        "_timer",
        "_turns",
        "_wants_close",
        "body_begun",
        "callers_error",
        "has_head",
        "outcome",
        "refused",
        "response_started",
        "trailers",
        "upload",
        "window",
    )

    def __init__(self, connection: HTTP2Connection) -> None:
        session = connection.session
        self._connection = connection
        self._stream = 0
        self._method = b""
        self._wants_close = False
        self._task: trio.lowlevel.Task | None = None
        self._timer: PhaseTimer | None = None
        # Whether the request is all in the connection's output, and has not left it.
        self._is_leaving = False
        self._head: ResponseHead | None = None
        self._head_left = session.max_head_size
        self._fields_left = session.max_head_fields
        self._informational = 0
        # What the response has still to bring; None if it did not say.
        self._content_left: int | None = None
        self._pieces: list[bytes | bytearray] = []
        self._ended = False
        self._outcome_at_end = Outcome(None)
        self._error: TransportError | None = None
        # Read by the caller, and not yet given back to the stream's window.
        self._owed = 0
        self._turns = 0
        # Where the request begins and ends in what the connection sends.
        self._queued_from = self._queued_to = -1
        self.window = session.config.stream_window
        self.has_head = False
        self.upload: HTTP2Upload | None = None
        self.response_started = False
        self.refused = False
        self.body_begun = False
        self.callers_error: BaseException | None = None
        self.trailers: HeaderList = []
        self.outcome: Outcome | None = None

    @property
    def request_sent(self) -> RequestSent:
        """How much of the request was handed to the network."""
        sent = self._connection.sent
        if self._queued_from < 0 or sent <= self._queued_from:
            return "no"
        return "fully" if 0 <= self._queued_to <= sent else "partly"

    @property
    def is_sending(self) -> bool:
        """Whether the request is still being sent."""
        return self._queued_to < 0

    # ---- the request -------------------------------------------------------------------------------------------------

    async def send(self, request: WireRequest, timer: PhaseTimer) -> ResponseHead:
        """Send the request and return the final head; see `Exchange.send`."""
        connection = self._connection
        try:
            if self._stream or self.outcome is not None:
                raise LocalProtocolError("an exchange carries one request", phase="write")
            if connection.must_prove_life:
                await self._prove_life(timer)
            self._timer = timer
            self._open(request)
            upload = self.upload
            if upload is None:
                timer.first_byte()
            else:
                connection.start(upload, timer)
            informational = 0
            while self._head is None:
                self._raise_error()
                await self._wait()
                if informational != self._informational and self.upload is None:
                    informational = self._informational
                    timer.first_byte()
            if self._ended and not self._pieces:
                self.outcome = self.outcome or self._outcome_at_end
            if upload is not None and upload.is_stopping:
                await self._stop_upload(upload)
            return self._head
        except BaseException as error:
            if request.is_source_of(error):
                self.callers_error = error
            self._fail(error)
            if self.upload is not None:
                await self._stop_upload(self.upload)  # noqa: ASYNC102 - it is shielded, and ends what it waits for
            raise

    def _open(self, request: WireRequest) -> None:
        connection = self._connection
        session = connection.session
        if connection.reason is not None or not session.takes_more or len(session.streams) >= session.capacity:
            # The server changed its mind between the hand-over and now.
            self.refused = True
            self.outcome = Outcome(connection.look())
            raise RemoteProtocolError(
                "the server takes no further stream on this connection", reason=ProtocolReason.GOAWAY, phase="write"
            )
        body = request.body
        content = body.small
        waits = request.header_set.expects_continue
        if not waits and (content is None or request.trailers is not None):
            self.body_begun = True
            body.restart()
        self._method = request.method
        self._wants_close = request.wants_close
        start = session.queued
        nothing = not content and content is not None and request.trailers is None
        self._stream = stream = session.open(self, request, end_stream=nothing)
        self._queued_from = start
        if nothing:
            self._queued_to = session.queued
        elif content and not waits and request.trailers is None and len(content) <= session.room(stream):
            session.send_data(stream, content, end_stream=True)
            self._queued_to = session.queued
        else:
            self.upload = HTTP2Upload(connection, self, stream, request)
        connection.wake_writer()

    def sent_all(self) -> None:
        """The upload has put the last of the request into the connection's output."""
        self._queued_to = self._connection.session.queued

    async def _prove_life(self, timer: PhaseTimer) -> None:
        """Wait for a sign of life, before anything is sent: what is not sent can be sent elsewhere."""
        connection = self._connection
        connection.ask_for_life(self)
        timer.first_byte()
        try:
            while connection.must_prove_life and self._error is None:
                await self._wait()
        finally:
            connection.stop_asking(self)
        self._raise_error()

    async def _stop_upload(self, upload: HTTP2Upload) -> None:
        """Nothing of the caller's runs on behind their back once it is not wanted any more."""
        upload.stop()
        if not upload.stopped.is_set():
            with trio.CancelScope(shield=True):
                await upload.stopped.wait()

    # ---- the response ------------------------------------------------------------------------------------------------

    async def receive(self, timer: PhaseTimer) -> bytes:
        """The next piece of the body; see `Exchange.receive`."""
        try:
            piece = self.try_receive()
            if piece is None:
                timer.read()
                while piece is None:
                    await self._wait()
                    piece = self.try_receive()
                self._turns = 0
            else:
                self._turns += 1
                if self._turns > _TURNS:
                    self._turns = 0
                    await trio.lowlevel.checkpoint()
            if self._ended and self.upload is not None:
                await self._stop_upload(self.upload)
            return piece
        except BaseException as error:
            self._fail(error)
            if self.upload is not None:
                await self._stop_upload(self.upload)  # noqa: ASYNC102 - it is shielded, and ends what it waits for
            raise

    def try_receive(self) -> bytes | None:
        """The next piece of the body without waiting; see `Exchange.try_receive`."""
        pieces = self._pieces
        if pieces:
            piece = bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            if self._ended:
                self.outcome = self.outcome or self._outcome_at_end
            else:
                self._credit(len(piece))
            return piece
        self._raise_error()
        if self._ended:
            self.outcome = self.outcome or self._outcome_at_end
            return b""
        if not self.has_head or self.outcome is not None:
            raise LocalProtocolError("the exchange has no body to read")
        return None

    def take_whole(self) -> bytes | None:
        """The whole body, if the stream has ended with it; see `Exchange.take_whole`."""
        if not self._ended or self.outcome is not None or self.upload is not None or self._error is not None:
            return None
        # Who takes a body whole asks for no trailers.
        return None if self.trailers else self.try_receive()

    def _credit(self, size: int) -> None:
        """Let the server send as much more, but not for every piece."""
        self._owed += size
        if self._owed * 2 >= self._connection.session.config.stream_window:
            self.window += self._owed
            self._connection.session.consumed(self._stream, self._owed)
            self._connection.wake_writer()
            self._owed = 0

    def abandon(self, reason: CloseReason) -> None:
        """End an exchange that runs, by a reset of its stream; see `Exchange.abandon`."""
        if self.outcome is not None:
            return
        self._pieces.clear()
        failed = reason in PEERS_FAULT
        if self._ended or self._error is not None:
            self.outcome = self._outcome_at_end
        elif self._stream and self._stream in self._connection.session.streams:
            self._connection.reset(self._stream, Code.CANCEL)
            self.outcome = Outcome(self._reason_to_close(), failed=failed, resetting=True)
        else:
            self.outcome = Outcome(self._connection.reason, failed=failed)
        if self.upload is not None:
            self.upload.stop()
        if self._task is not None:
            # Somebody else gave the exchange up.
            self._error = self._error or ReadError("the exchange was given up while it ran", phase="read")
            self._wake()

    def interrupt(self) -> None:
        """A limit passed: this stream ends, and no other; see `Exchange.interrupt`."""
        if self.outcome is not None or self._ended or self._error is not None:
            return
        self.abandon(CloseReason.TIMED_OUT)
        self._error = ReadError("a limit passed", phase="read")
        self._connection.stream_timed_out()
        self._wake()

    async def drain(
        self,
        timer: PhaseTimer | None,  # noqa: ARG002 - `Exchange` asks
        max_bytes: int = 65536,  # noqa: ARG002 - likewise
        *,
        on_piece: Callable[[], None] | None = None,  # noqa: ARG002 - likewise: a piece ends the exchange
    ) -> bool:
        """Wait for the end of the stream, and for nothing else; see `Exchange.drain`."""
        while self._may_just_end():
            await self._wait()
        return self._drop_rest()

    def try_drain(self) -> bool | None:
        """Drop what has arrived, and end the stream if more will come; see `Exchange.try_drain`."""
        return None if self._may_just_end() else self._drop_rest()

    def _may_just_end(self) -> bool:
        """Whether the end may be all that is missing.

        A reset costs less than reading on, but servers count resets as those of an attacker: none is sent for a stream
        that was read as far as its content goes, before it shows that it goes on.
        """
        return (
            self.outcome is None
            and not self._ended
            and self._error is None
            and self._task is None
            and self.has_head
            and self.upload is None
            and not self._pieces
            and not self._content_left
        )

    def _drop_rest(self) -> bool:
        self.abandon(CloseReason.EARLY_BODY_CLOSE)
        return self.outcome is not None and self.outcome.close is None

    # ---- what the session tells --------------------------------------------------------------------------------------

    def on_fields(self, block: HeaderBlock, *, ends: bool) -> None:
        """A header block arrived: an interim head, the final one, or trailers.

        Raises:
            StreamFault: it is malformed, or beyond a limit.
        """
        fields, size, fault = block
        self.response_started = True
        # Each field counts as over HTTP/1.1, with a colon, a space and a line end.
        self._head_left -= size + 4 * len(fields)
        self._fields_left -= len(fields)
        if self._head_left < 0:
            raise _beyond("the head of the response is larger than allowed", "max_head_size")
        if self._fields_left < 0:
            raise _beyond("the response has more header fields than allowed", "max_head_fields")
        if self.has_head:
            if fields:
                # There are no pseudo-fields in trailers (RFC 9113 §8.1).
                check_field(*fields[0])
            if fault is not None:
                raise fault
            self.trailers = fields
            self._check_complete()
            return
        status = take_status(fields)
        if fault is not None:
            raise fault
        if status < 200:
            self._on_interim(status, ends=ends)
            return
        length = content_length(fields)
        if self._method == b"HEAD" or status in _NO_CONTENT:
            length = 0
        self._content_left = length
        self._head = ResponseHead(status, b"", fields, "HTTP/2", dict(fields))
        self._timer = None
        self.has_head = True
        if ends:
            self._check_complete()
        elif status >= 300 and self.upload is not None:
            # A refusal: the rest of the request is of no use (RFC 9110 §15).
            self.upload.stop()
        else:
            self._permit()
        self._wake()

    def _permit(self) -> None:
        """The server asks for the content, or answers as if it had it."""
        if self.upload is not None and self.upload.permit is not None:
            self.upload.permit.set()

    def _on_interim(self, status: int, *, ends: bool) -> None:
        self._informational += 1
        if ends:
            raise StreamFault(Code.PROTOCOL_ERROR, ProtocolReason.FRAMING, "an interim response ends the stream")
        if self._informational > MAX_INFORMATIONAL:
            raise _beyond(f"more than {MAX_INFORMATIONAL} interim responses", "interim_responses")
        if status == 100:
            self._permit()
        self._wake()

    def on_data(self, data: bytes, *, padding: int, ends: bool) -> None:
        """Content arrived.

        Raises:
            StreamFault: the content has not the announced length.
        """
        if self._content_left is not None:
            self._content_left -= len(data)
            if self._content_left < 0:
                raise StreamFault(Code.PROTOCOL_ERROR, ProtocolReason.FRAMING, "more content than announced")
        if ends:
            self._check_complete()
        elif padding:
            self._credit(padding)
        if data:
            self._keep(data)
            self._wake()

    def _keep(self, data: bytes) -> None:
        """Keep a piece until it is taken; small ones together, because each would cost far more than it holds."""
        pieces = self._pieces
        if not pieces or len(data) >= _SMALL or len(pieces[-1]) >= MAX_FRAME_SIZE:
            pieces.append(data)
            return
        last = pieces[-1]
        if not isinstance(last, bytearray):
            last = pieces[-1] = bytearray(last)
        last += data

    def _check_complete(self) -> None:
        if self._content_left:
            raise StreamFault(
                Code.PROTOCOL_ERROR,
                ProtocolReason.TRUNCATED,
                f"the response ended {self._content_left} bytes before its announced length",
            )

    def on_end(self, *, resetting: bool) -> None:
        """The response is complete, and valid."""
        self._ended = True
        self._outcome_at_end = Outcome(self._reason_to_close(), resetting=resetting)
        if self.upload is not None:
            self.upload.stop()
        self._wake()

    def on_fault(self, fault: StreamFault, *, resetting: bool) -> None:
        """The response was refused by us, and the stream reset where it was still open."""
        error = RemoteProtocolError(fault.message, reason=fault.reason, limit=fault.limit, phase="read")
        self._end(error, Outcome(self._reason_to_close(), failed=True, resetting=resetting))

    def on_reset(self, code: int, *, refused: bool) -> None:
        """The server reset the stream."""
        self.refused = refused
        what = "before its response was complete" if code == Code.NO_ERROR else f"with {code_name(code)}"
        error = RemoteProtocolError(f"the server reset the stream {what}", reason=ProtocolReason.RESET, phase="read")
        self._end(error, Outcome(self._reason_to_close(), failed=code != Code.NO_ERROR))

    def on_goaway(self, code: int, said: bytes, *, refused: bool) -> None:
        """The server closes the connection and will not process this stream."""
        quote = f": {quote_peer(said)}" if said else ""
        self.refused = refused
        error = RemoteProtocolError(
            f"the server closes the connection ({code_name(code)}{quote}) without processing the request",
            reason=ProtocolReason.GOAWAY,
            phase="read",
        )
        self._end(error, Outcome(CloseReason.GOAWAY, failed=code != Code.NO_ERROR))

    def on_break(self, error: TransportError, reason: CloseReason) -> None:
        """The connection is gone."""
        self._end(error, Outcome(reason, failed=reason in PEERS_FAULT or reason is CloseReason.PEER_CLOSED))

    def on_progress(self) -> None:
        """The connection's output moves slowly: until the request has left it, the limit on writing holds."""
        timer = self._timer
        if timer is None or self.has_head or self.is_sending:
            return
        if self._connection.sent < self._queued_to:
            self._is_leaving = True
            timer.write()
        elif self._is_leaving:
            self._is_leaving = False
            timer.first_byte()

    def on_life(self) -> None:
        """The connection has given a sign of life."""
        self._wake()

    def _end(self, error: TransportError, outcome: Outcome) -> None:
        if self.outcome is not None or self._ended or self._error is not None:
            return
        error.annotate(request_sent=self.request_sent)
        self._error = error
        # Set when the error is raised: what arrived before it is read first, and beside an outcome would pass for all.
        self._outcome_at_end = outcome
        if self.upload is not None:
            self.upload.stop()
        self._wake()

    def _reason_to_close(self) -> CloseReason | None:
        return CloseReason.CONNECTION_CLOSE_HEADER if self._wants_close else None

    # ---- waiting -----------------------------------------------------------------------------------------------------

    async def _wait(self) -> None:
        if self._task is not None:
            raise LocalProtocolError("another task waits on this exchange")
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _wake(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def _raise_error(self) -> None:
        """Raise what ended the exchange, if something did; what the caller's own body raised comes first."""
        if self.upload is not None and self.upload.failure is not None:
            raise self.upload.failure
        if self._error is not None:
            self.outcome = self.outcome or self._outcome_at_end
            raise self._error

    def upload_failed(self, error: BaseException, *, is_callers: bool) -> None:
        """The caller's body raised: the stream is of no use, and whoever waits is told."""
        if is_callers:
            self.callers_error = error
        self.abandon(CloseReason.DISCARDED)
        self._wake()

    def _fail(self, error: BaseException) -> None:
        """An exception leaves: give it what is known, and end the stream."""
        is_callers = error is self.callers_error
        if isinstance(error, RequestError) and not is_callers:
            error.annotate(request_sent=self.request_sent)
        if self.outcome is None:
            self.abandon(CloseReason.DISCARDED if is_callers else reason_of(error))


def _beyond(message: str, limit: str) -> StreamFault:
    return StreamFault(Code.ENHANCE_YOUR_CALM, ProtocolReason.LIMIT, message, limit=limit)
