"""HTTP/2 over a byte stream: one reader, one writer, and exchanges that never touch the stream themselves.

The reader is the task that runs the connection. It reads always, also while nobody waits, so that a PING is answered
and a GOAWAY heard on an idle connection. The writer sends what the session has put into its output, everything at once
each time it wakes, so that the requests of one moment leave in one write. Only what a lone request has to say is tried
at once, in the step that says it; what does not leave then is the writer's. So a caller who is cancelled never cuts a
frame in half.

Rules of this file:

- A write error ends nothing by itself: the server may have answered before it closed. The reader finds the end.
- While the answers to a server's own PING and SETTINGS do not leave, nothing more of it is read.
- What the pool must know is reported by the two tasks, never from within a call of the pool's own.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from .._core.timers import INF
from .._errors import (
    ConnectError,
    NetworkError,
    ReadError,
    RemoteProtocolError,
    TransportError,
    WriteError,
)
from .._events import CloseReason
from .._net.stream import send_all
from .exchange import Broken, LimitCrossed
from .h2_frames import Code, ConnectionFault
from .h2_session import HTTP2Session
from .h2_stream import HTTP2Exchange

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._http2_config import HTTP2Config
    from .._net.stream import ByteStream
    from .._net.timer import PhaseTimer, Watchdog
    from .exchange import ConnectionEvent
    from .h2_pings import PingPace
    from .h2_upload import HTTP2Upload

_log = logging.getLogger("penstock.http2")

READ_SIZE: Final = 65536

#: After a read of less than this another one at once would most likely find nothing.
_LITTLE: Final = 16384

#: Reads, and writes, that succeed at once before other tasks get a turn.
_TURNS: Final = 16

#: Output above which uploads wait. Room for a few frames of each of many uploads, and for one large write.
HIGH_WATER: Final = 262144


async def open_http2(
    stream: ByteStream,
    *,
    config: HTTP2Config,
    max_head_size: int,
    max_head_fields: int,
    secure: bool,
    pace: PingPace,
    unhealthy_threshold: int = 3,
) -> HTTP2Connection:
    """Begin HTTP/2 on a stream that nothing was sent on, and wait for the server's SETTINGS (RFC 9113 §3.4).

    There is no time limit here: the dial's covers it. Whatever goes wrong, and after a cancellation as well, `stream`
    is the only thing left to close, and it is the caller's.

    Args:
        stream: connected, and past its TLS handshake.
        config: limits and windows.
        max_head_size: bytes of interim responses, head and trailers of one response together.
        max_head_fields: their fields together.
        secure: whether requests have the scheme https.
        pace: how often this server may be asked for a sign of life.
        unhealthy_threshold: streams that time out in a row, with nothing heard, before the connection is given up.

    Raises:
        ConnectError: the connection broke before the SETTINGS arrived.
        RemoteProtocolError: the server does not speak HTTP/2, or speaks it wrong.
    """
    now = trio.current_time()
    session = HTTP2Session(
        config, max_head_size=max_head_size, max_head_fields=max_head_fields, secure=secure, pace=pace, now=now
    )
    try:
        await send_all(stream, session.take_output())
        while not session.is_ready:
            data = stream.try_receive(READ_SIZE)
            if data is None:
                await stream.wait_readable()
            elif data:
                while session.feed(data, trio.current_time()):
                    data = b""
                    await trio.lowlevel.checkpoint()
            else:
                raise ConnectError("the server closed the connection before its SETTINGS", phase="connect")
    except ConnectionFault as fault:
        session.say_goodbye(fault.code)
        with suppress(NetworkError):
            stream.try_send(session.take_output())
        raise RemoteProtocolError(
            fault.message, reason=fault.reason, limit=fault.limit, phase="connect", request_sent="no"
        ) from fault
    except ConnectError:
        raise
    except NetworkError as error:
        raise ConnectError(
            f"the connection broke before the server's SETTINGS: {error.message}", phase="connect"
        ) from error
    return HTTP2Connection(stream, session, unhealthy_threshold=unhealthy_threshold)


class HTTP2Connection:
    """One HTTP/2 connection, which owns its stream. Made by `open_http2`.

    Attributes:
        session: the protocol.
        sent: bytes of the session's output that the stream has taken.
        blocked: uploads that wait for room, the one that waits for longest first.
        reason: why the connection is not usable any more; None if it is.
    """

    __slots__ = (
        "_asking",
        "_early",
        "_reader_waits",
        "_report",
        "_tasks",
        "_threshold",
        "_unsent",
        "_unsent_replies",
        "_watchdog",
        "_writer",
        "blocked",
        "http_version",
        "reads_itself",
        "reason",
        "sent",
        "session",
        "stream",
        "timer_at",
    )

    def __init__(self, stream: ByteStream, session: HTTP2Session, *, unhealthy_threshold: int) -> None:
        self.stream = stream
        self.session = session
        self.http_version = "HTTP/2"
        self.reads_itself = True
        self.reason: CloseReason | None = None
        # What `open_http2` sent.
        self.sent = session.queued - sum(map(len, session.output))
        self.blocked: OrderedDict[HTTP2Upload, None] = OrderedDict()
        self.timer_at = INF
        self._threshold = unhealthy_threshold
        # Exchanges that wait for a sign of life.
        self._asking: dict[HTTP2Exchange, None] = {}
        # What was taken from the output and not by the stream yet.
        self._unsent: memoryview | None = None
        self._unsent_replies = 0
        self._writer: trio.lowlevel.Task | None = None
        self._reader_waits: trio.Event | None = None
        self._tasks: trio.Nursery | None = None
        self._early: list[tuple[HTTP2Upload, PhaseTimer]] = []
        self._report: Callable[[ConnectionEvent], None] | None = None
        self._watchdog: Watchdog | None = None

    @property
    def capacity(self) -> int:
        """How many exchanges may run at once."""
        return self.session.capacity

    @property
    def has_answered(self) -> bool:
        """Whether a response has begun on this connection."""
        return self.session.has_answered

    def open_exchange(self) -> HTTP2Exchange:
        """Begin an exchange; its stream is opened when its request is sent."""
        return HTTP2Exchange(self)

    def look(self) -> CloseReason | None:
        """Why the connection cannot take another exchange; None if it can. The pool may not have been told yet."""
        return self.reason or self.session.going_away

    look_behind = look

    def close(self) -> None:
        """Close at once, without waiting; may be repeated."""
        if self.reason is None:
            self._break(ReadError("the connection was closed here", phase="read"), CloseReason.POOL_CLOSED)
        self._farewell(Code.NO_ERROR)

    def _farewell(self, code: int) -> None:
        """Say why, where that is possible without waiting, and close the stream."""
        if self._unsent is None:
            self.session.say_goodbye(code)
            with suppress(NetworkError):
                self.stream.try_send(self.session.take_output())
        self.stream.close()
        if self._watchdog is not None:
            self._watchdog.forget(self)
            self._watchdog = None

    # ---- for exchanges -----------------------------------------------------------------------------------------------

    def reset(self, stream: int, code: int) -> None:
        """End a stream from our side."""
        self.session.reset(stream, code, trio.current_time())
        self.wake_writer()

    def stream_timed_out(self) -> None:
        """A stream has waited in vain."""
        self.session.stream_timed_out(self._threshold, trio.current_time())
        self.wake_writer()

    def start(self, upload: HTTP2Upload, timer: PhaseTimer) -> None:
        """Run an upload as a task of the connection."""
        if self._tasks is None:
            # The connection was handed over in the step that made it, and its tasks begin with the next.
            self._early.append((upload, timer))
        else:
            self._tasks.start_soon(upload.run, timer)

    def room_for(self, stream: int) -> int:
        """How many bytes of content may be sent on a stream now; 0 or less if its upload has to wait."""
        session = self.session
        if session.queued - self.sent >= HIGH_WATER or stream not in session.streams:
            return 0
        return session.room(stream)

    def wake_uploads(self) -> None:
        """Wake as many uploads as have room, in the order in which they began to wait."""
        if not self.blocked:
            return
        session = self.session
        room = min(session.connection_room, HIGH_WATER - (session.queued - self.sent))
        for upload in list(self.blocked):
            if room <= 0:
                break
            own = session.room(upload.stream) if upload.stream in session.streams else 0
            if own > 0:
                room -= own
                del self.blocked[upload]
                upload.wake()

    @property
    def must_prove_life(self) -> bool:
        """Whether the connection has been silent for so long that it is asked before a request is sent on it."""
        idle = self.session.config.ping_idle
        if idle is None or self.reason is not None:
            return False
        now = trio.current_time()
        pings = self.session.pings
        return now >= pings.heard_at + idle and (pings.waits or pings.may_send(now))

    def ask_for_life(self, exchange: HTTP2Exchange) -> None:
        """Ask the server for a sign of life, and tell the exchange when it came."""
        self._asking[exchange] = None
        if not self.session.pings.waits:
            self.session.ask(trio.current_time())
            self.wake_writer()

    def stop_asking(self, exchange: HTTP2Exchange) -> None:
        """The exchange knows what it wanted to know."""
        self._asking.pop(exchange, None)

    # ---- tasks -------------------------------------------------------------------------------------------------------

    async def run(self, report: Callable[[ConnectionEvent], None], watchdog: Watchdog) -> None:
        """Read and write until the connection ends or is closed; see `HTTPConnection.run`."""
        self._report = report
        self._watchdog = watchdog
        async with trio.open_nursery() as self._tasks:
            self._tasks.start_soon(self._write)
            for upload, timer in self._early:
                self._tasks.start_soon(upload.run, timer)
            try:
                await self._read()
            finally:
                # Nobody must wait for a connection that nobody reads, whatever ended the reader.
                self._end(ReadError("the connection was given up", phase="read"), CloseReason.IO_ERROR)
                self._tasks.cancel_scope.cancel()

    async def _read(self) -> None:
        session, stream = self.session, self.stream
        turns = 0
        try:
            while self.reason is None:
                data = stream.try_receive(READ_SIZE)
                if data is None:
                    turns = 0
                    await stream.wait_readable()
                    continue
                if not data:
                    raise ReadError("the server closed the connection", phase="read")
                more = session.feed(data, trio.current_time())
                self._after_feed()
                while more and self.reason is None:
                    turns = 0
                    await trio.lowlevel.checkpoint()
                    more = session.feed(b"", trio.current_time())
                    self._after_feed()
                turns += 1
                if session.replies > session.config.max_unsent_replies:
                    self._reader_waits = trio.Event()
                    await self._reader_waits.wait()
                elif len(data) < _LITTLE:
                    turns = 0
                    await stream.wait_readable()
                elif turns > _TURNS:
                    turns = 0
                    await trio.lowlevel.checkpoint()
        except ConnectionFault as fault:
            if fault.limit is not None:
                session.events.append(LimitCrossed(fault.limit))
            self._end(
                RemoteProtocolError(fault.message, reason=fault.reason, limit=fault.limit, phase="read"),
                CloseReason.PROTOCOL_ERROR,
                fault.code,
            )
        except NetworkError as error:
            self._end(error, CloseReason.PEER_CLOSED if stream.ended_cleanly else CloseReason.IO_ERROR)
        except Exception as error:  # noqa: BLE001 - see there
            self._give_up(error)

    def _after_feed(self) -> None:
        session = self.session
        if session.events:
            self._report_events()
        if session.has_more_room:
            session.has_more_room = False
            self.wake_uploads()
        if self._asking:
            for exchange in list(self._asking):
                exchange.on_life()
        self.wake_writer()

    async def _write(self) -> None:
        session = self.session
        turns = 0
        try:
            while True:
                self._set_alarm()
                if session.events:
                    self._report_events()
                if self._unsent is None:
                    if not session.output:
                        turns = 0
                        await self._wait_for_output()
                        continue
                    self._take_output()
                if not self._try_send():
                    await self._send_slowly()
                if session.replies <= session.config.max_unsent_replies:
                    self._let_read_on()
                self.wake_uploads()
                turns += 1
                if turns > _TURNS:
                    turns = 0
                    await trio.lowlevel.checkpoint()
        except WriteError:
            # The reader will find the end, or an answer before it; silence is as bad as an end.
            session.stop_sending(trio.current_time())
            session.replies = 0
            self._report_events()
            self._set_alarm()
            self._let_read_on()
        except Exception as error:  # noqa: BLE001 - see there
            self._give_up(error)

    async def _send_slowly(self) -> None:
        """The server, or the way to it, takes no more at once: requests that wait in here are being written still."""
        progress = -1
        while self._unsent is not None:
            if self.sent != progress:
                progress = self.sent
                self._tell_progress()
            await self.stream.wait_writable()
            self._try_send()
        self._tell_progress()

    def _tell_progress(self) -> None:
        for exchange in self.session.streams.values():
            exchange.on_progress()

    async def _wait_for_output(self) -> None:
        self._writer = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._writer = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _take_output(self) -> None:
        self._unsent_replies = self.session.replies
        self._unsent = memoryview(self.session.take_output())

    def _try_send(self) -> bool:
        """Send what was taken, as far as it goes at once; whether all of it has left.

        Raises:
            WriteError: the connection broke.
        """
        unsent = self._unsent
        assert unsent is not None
        while unsent:
            taken = self.stream.try_send(unsent)
            if not taken:
                return False
            self.sent += taken
            unsent = self._unsent = unsent[taken:]
        self._unsent = None
        self.session.replies -= self._unsent_replies
        return True

    def wake_writer(self) -> None:
        """There is something to send, or to report."""
        session = self.session
        if self._writer is None or not (session.output or session.events):
            return
        if len(session.streams) <= 1 and not session.events:
            # A lone request is spared the way through the writer. What does not go at once is left to it, errors too.
            self._take_output()
            with suppress(WriteError):
                if self._try_send():
                    self._set_alarm()
                    return
        task, self._writer = self._writer, None
        trio.lowlevel.reschedule(task)

    def _let_read_on(self) -> None:
        if self._reader_waits is not None:
            self._reader_waits.set()
            self._reader_waits = None

    # ---- the end -----------------------------------------------------------------------------------------------------

    def _report_events(self) -> None:
        events, self.session.events = self.session.events, []
        if self._report is not None:
            for event in events:
                self._report(event)

    def _end(self, error: TransportError, reason: CloseReason, code: int = Code.NO_ERROR) -> None:
        """The connection cannot go on: everything on it fails, and the pool is told."""
        if self.reason is not None:
            return
        complaint = self.session.complaint
        if complaint and isinstance(error, NetworkError):
            told = ReadError(f"{error.message} ({complaint})", phase="read")
            told.__cause__ = error
            error = told
        self._break(error, reason)
        self._farewell(code)
        self._report_events()
        if self._report is not None:
            self._report(Broken(reason))

    def _give_up(self, error: Exception) -> None:
        """A mistake in here costs one connection, and not the pool."""
        _log.error("an HTTP/2 connection was given up", exc_info=error)
        told = ReadError(f"the connection was given up: {error!r}", phase="read")
        told.__cause__ = error
        self._end(told, CloseReason.IO_ERROR)

    def _break(self, error: TransportError, reason: CloseReason) -> None:
        """Every exchange fails, with an error of its own."""
        self.reason = reason
        session = self.session
        session.takes_more = False
        exchanges = [*session.streams.values(), *self._asking]
        session.streams.clear()
        for exchange in exchanges:
            exchange.on_break(_own(error), reason)

    # ---- signs of life -----------------------------------------------------------------------------------------------

    def _set_alarm(self) -> None:
        if self._watchdog is not None:
            at = self.session.next_look
            if at < INF:
                self._watchdog.schedule(self, at)

    def check(self, now: float) -> None:
        """The alarm went: the server is asked, or has not answered in time."""
        if self.reason is not None:
            return
        try:
            self._look_for_life(now)
        except Exception as error:  # noqa: BLE001 - see there
            self._give_up(error)

    def _look_for_life(self, now: float) -> None:
        session = self.session
        if session.pings.is_dead(now):
            silence = now - session.pings.heard_at
            self._end(
                ReadError(f"the server gave no sign of life for {silence:.3g} s (ping_timeout)", phase="read"),
                CloseReason.PING_TIMEOUT,
            )
            return
        session.look(now)
        self._set_alarm()
        self.wake_writer()


def _own(error: TransportError) -> TransportError:
    """The same error once more, for another stream; its cause is the original."""
    if isinstance(error, RemoteProtocolError):
        copy: TransportError = RemoteProtocolError(
            error.message, reason=error.reason, limit=error.limit, phase=error.phase
        )
    else:
        copy = ReadError(error.message, phase=error.phase)
    copy.__cause__ = error
    return copy
