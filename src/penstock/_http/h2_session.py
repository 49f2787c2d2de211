"""The protocol side of one HTTP/2 connection: bytes in, calls on its exchanges and bytes out. No I/O, no clock.

h2 keeps what it is good at: how a stream is opened and what may be sent on it, SETTINGS, the windows we send by. Kept
from it is what it would answer by ending the connection, or not at all:

- GOAWAY. h2 closes itself and drops what it still had to send, while the server finishes streams up to the last one it
  names (RFC 9113 §6.8).
- DATA. It is counted and credited here: the connection's window as it arrives, so that a reader who does not read
  holds his own stream's window and nobody else's; a stream's window as it is read, in halves. A response of another
  length than it announced costs its stream.
- Header blocks, see `h2_decoder`. A stream leaves h2 as soon as it has ended, so h2 need not know what came on it.
- Frames on streams that have ended here. Their header blocks are decoded, for the table's sake, and their DATA is
  credited; nothing is answered, where h2 answers each with a reset.

A stream that is reset holds its place until the server is known to have seen the reset: a PING follows it, and PINGs
are answered in order. Many resets share one PING.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from h2.events import StreamReset
from h2.exceptions import StreamClosedError

from .._errors import LocalProtocolError, ProtocolReason, quote_peer
from .._events import CloseReason
from .exchange import CapacityChanged, GoingAway, LimitCrossed, ResetsSeen
from .h2_decoder import FieldDecoder
from .h2_engine import Engine
from .h2_fields import request_fields, size_of
from .h2_floods import Floods
from .h2_frames import (
    ACK,
    END_STREAM,
    LARGEST_WINDOW,
    Code,
    ConnectionFault,
    Frame,
    Kind,
    StreamFault,
    build,
    code_name,
    goaway,
    window_update,
)
from .h2_gate import FrameGate, unpadded
from .h2_pings import Pings
from .h2_resets import Resets
from .h2_window import ReceiveWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .._http2_config import HTTP2Config
    from .._types import HeaderList
    from .exchange import ConnectionEvent
    from .h2_pings import PingPace
    from .h2_stream import HTTP2Exchange
    from .request import WireRequest

#: What a server allows that does not say (RFC 9113 §6.5.2 recommends at least this).
UNSAID_STREAMS: Final = 100

#: Frames taken in before other tasks get a turn. The dearest kind, SETTINGS, takes 75 µs.
_FRAMES_AT_A_TIME: Final = 128

_LAST_STREAM: Final = (1 << 31) - 1

#: Refused streams in a row before the connection is given up.
_REFUSALS: Final = 2

#: Content of a frame that we send, whatever more the server takes (some take 16 MiB): uploads take turns by frames, and
#: what is in the output is out of reach of the limits of time.
_LARGEST_DATA: Final = 65536

_PING_SIZE: Final = 8


class HTTP2Session:
    """What has been said on one connection, and what that means.

    Args:
        config: the limits.
        max_head_size: bytes of interim responses, head and trailers of one response together.
        max_head_fields: their fields together.
        secure: whether the scheme is https.
        pace: how often the server may be asked for a sign of life.
        now: the time.

    Attributes:
        streams: the exchanges whose streams are open, by stream identifier.
        events: what the pool is to be told of; taken by the owner.
        pings: signs of life.
        output: frames to send, in order.
        queued: bytes that were ever put into `output`.
        replies: bytes that answer the server's own SETTINGS and PING and have not left yet; reduced by the owner.
        is_ready: whether the server's SETTINGS have arrived.
        has_answered: whether a response has begun on this connection.
        takes_more: whether a further stream may be opened.
        going_away: why not, unless the connection broke.
        has_more_room: whether the server may have let us send more content; reset by the owner.
        complaint: what the server said was wrong as it announced the end of the connection; empty if nothing.
    """

    def __init__(
        self,
        config: HTTP2Config,
        *,
        max_head_size: int,
        max_head_fields: int,
        secure: bool,
        pace: PingPace,
        now: float,
    ) -> None:
        self.config = config
        self.max_head_size = max_head_size
        self.max_head_fields = max_head_fields
        self.streams: dict[int, HTTP2Exchange] = {}
        self.events: list[ConnectionEvent] = []
        self.pings = Pings(pace, config.ping_timeout, now)
        self.output: list[bytes] = []
        self.queued = 0
        self.replies = 0
        self.is_ready = False
        self.has_answered = False
        self.takes_more = True
        self.going_away: CloseReason | None = None
        self.has_more_room = False
        self.complaint = ""
        self._pace = pace
        self._scheme = b"https" if secure else b"http"
        self._gate = FrameGate(config)
        self._floods = Floods(config, now)
        self._resets = Resets(config, now)
        self._window = ReceiveWindow(config.stream_window)
        self._limit = UNSAID_STREAMS
        self._refusals = 0
        self._newest = 0
        self._last_allowed = LARGEST_WINDOW
        self._ping_number = 0
        # What of the last bytes was not taken in yet.
        self._frames: Iterator[Frame] | None = None
        self._stream_timeouts = 0
        self._handlers: dict[int, Callable[[Frame, float], None]] = {
            Kind.DATA: self._on_data,
            Kind.HEADERS: self._on_headers,
            Kind.RST_STREAM: self._on_reset,
            Kind.SETTINGS: self._on_settings,
            Kind.PING: self._on_ping,
            Kind.GOAWAY: self._on_goaway,
            Kind.WINDOW_UPDATE: self._on_window_update,
        }
        self._decoder = FieldDecoder(2 * max_head_size + 32 * max_head_fields)
        self._h2 = Engine(config, max_head_size=max_head_size)
        self._collect()
        self._grow_window(config.connection_window)

    # ---- what is allowed ---------------------------------------------------------------------------------------------

    @property
    def capacity(self) -> int:
        """How many exchanges may run at once."""
        return min(self._limit, self.config.max_streams) if self.takes_more else 0

    def _go_away(self, reason: CloseReason) -> None:
        """No further stream on this connection."""
        if self.takes_more:
            self.takes_more = False
            self.going_away = reason
            self.events.append(GoingAway(reason))

    # ---- sending -----------------------------------------------------------------------------------------------------

    def take_output(self) -> bytes:
        """Everything that is to be sent."""
        data = self.output[0] if len(self.output) == 1 else b"".join(self.output)
        self.output = []
        return data

    def _put(self, data: bytes) -> None:
        self.output.append(data)
        self.queued += len(data)

    def _collect(self) -> int:
        """Take over what h2 wants to send; how many bytes."""
        data = self._h2.data_to_send()
        if data:
            self._put(data)
        return len(data)

    def open(self, exchange: HTTP2Exchange, request: WireRequest, *, end_stream: bool) -> int:
        """Send the head of a request on a new stream; the identifier of the stream.

        Raises:
            LocalProtocolError: the head is larger than the server takes; nothing was sent.
        """
        fields = request_fields(request, self._scheme)
        allowed = self._h2.remote_settings.max_header_list_size
        if allowed is not None and size_of(fields) > allowed:
            raise LocalProtocolError(
                f"the head of the request is larger than the {allowed} bytes that the server takes", phase="write"
            )
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream, fields, end_stream=end_stream)
        self._collect()
        self._newest = stream
        self.streams[stream] = exchange
        self._floods.stream_opened()
        self._grow_window((len(self.streams) + 1) * self.config.stream_window)
        if stream + 2 > _LAST_STREAM:
            self._go_away(CloseReason.MAX_REQUESTS)
        return stream

    def room(self, stream: int) -> int:
        """How many bytes of content may be sent on a stream now; never more than fit into one frame."""
        return min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size, _LARGEST_DATA)

    @property
    def connection_room(self) -> int:
        """How many bytes of content may be sent on all streams together."""
        return self._h2.outbound_flow_control_window

    def send_data(self, stream: int, data: bytes | memoryview, *, end_stream: bool) -> None:
        """Send content, at most as much as `room` says."""
        self._h2.send_data(stream, bytes(data), end_stream=end_stream)
        self._collect()
        self._floods.data_sent()

    def send_trailers(self, stream: int, fields: HeaderList) -> None:
        """End a request with trailers."""
        self._h2.send_headers(stream, fields, end_stream=True)
        self._collect()

    def reset(self, stream: int, code: int, now: float) -> None:
        """End a stream from our side. Its place is free when `ResetsSeen` says so."""
        exchange = self.streams[stream]
        # h2 may have closed it by itself, for a window that grew too large.
        with suppress(StreamClosedError):
            self._h2.reset_stream(stream, code)
        self._collect()
        self._forget(stream)
        if not self._resets.add(stream, exchange.window, now):
            self._go_away(CloseReason.TOO_MANY_RESETS)
        self._ask_for_resets(now)

    def _forget(self, stream: int) -> None:
        """The stream has ended, for us and for the engine."""
        del self.streams[stream]
        self._h2.forget(stream)

    def consumed(self, stream: int, size: int) -> None:
        """Somebody has read content of an open stream: let the server send that much more."""
        if stream in self.streams:
            self._put(window_update(stream, size))

    def ask(self, now: float) -> None:
        """Send a PING."""
        self._ping_number += 1
        self._h2.ping(self._ping_number.to_bytes(_PING_SIZE, "big"))
        self._collect()
        self.pings.sent(now)
        self._resets.pinged()

    def _ask_for_resets(self, now: float) -> None:
        if self._resets.wants_ping and self.pings.may_send(now):
            self.ask(now)

    def look(self, now: float) -> None:
        """Time has passed: ask for a sign of life if one is due."""
        if self.pings.is_due(now, in_flight=bool(self.streams)):
            self.ask(now)
        else:
            self._ask_for_resets(now)

    @property
    def next_look(self) -> float:
        """When `look` has something to do, or the connection is dead."""
        return self.pings.next_look(in_flight=bool(self.streams), wanted=self._resets.wants_ping)

    def stream_timed_out(self, limit: int, now: float) -> None:
        """A stream waited in vain. So many in a row, and nothing heard meanwhile: nothing more is risked on it."""
        self._stream_timeouts += 1
        if self._stream_timeouts >= limit:
            self._go_away(CloseReason.STALLED)
            if self.pings.may_send(now):
                self.ask(now)

    def stop_sending(self, now: float) -> None:
        """Nothing can be sent any more; what has been sent may still be answered, but not in silence."""
        self._go_away(CloseReason.IO_ERROR)
        if not self.pings.waits:
            self.pings.sent(now)

    def say_goodbye(self, code: int = Code.NO_ERROR) -> None:
        """The last frame."""
        self._put(goaway(code))

    # ---- receiving ---------------------------------------------------------------------------------------------------

    def feed(self, data: bytes, now: float) -> bool:
        """Take in what has arrived, as much of it as others can wait for.

        Returns:
            Whether there is more of it, to be taken in by a further call with no data.

        Raises:
            ConnectionFault: the connection cannot go on. What was whole before has been delivered.
        """
        self.pings.heard(now)
        if self._frames is None:
            self._frames = self._gate.feed(data)
        more = self._take_in(self._frames, now)
        if not more:
            self._frames = None
        self._credit_connection()
        return more

    def _take_in(self, frames: Iterator[Frame], now: float) -> bool:
        left = _FRAMES_AT_A_TIME
        for frame in frames:
            self._stream_timeouts = 0
            try:
                self._handlers.get(frame.kind, self._on_useless)(frame, now)
            except StreamFault as fault:
                if fault.limit is not None:
                    self.events.append(LimitCrossed(fault.limit))
                self._end_badly(frame, fault, now)
            left -= 1
            if not left:
                return True
        return False

    def _end_badly(self, frame: Frame, fault: StreamFault, now: float) -> None:
        stream = frame.stream
        exchange = self.streams[stream]
        ended = (
            (frame.kind == Kind.HEADERS or (frame.kind == Kind.DATA and exchange.has_head))
            and frame.flags & END_STREAM
            and not exchange.is_sending
        )
        if ended:
            self._forget(stream)
        else:
            self.reset(stream, fault.code, now)
        exchange.on_fault(fault, resetting=not ended)

    def _on_useless(self, _: Frame, now: float) -> None:
        """PRIORITY (RFC 9113 §5.3.2), or a kind that we do not know (§5.5)."""
        self._floods.glitch(now)

    def _find(self, stream: int, kind: Kind, now: float) -> HTTP2Exchange | None:
        """The exchange of a frame's stream; None if it has ended here: then the frame is late, or a glitch."""
        exchange = self.streams.get(stream)
        if exchange is None:
            if stream % 2 == 0 or stream > self._newest:
                raise ConnectionFault(
                    Code.PROTOCOL_ERROR,
                    ProtocolReason.FRAMING,
                    f"a {kind.name} frame on stream {stream}, which was not opened",
                )
            self._floods.late(kind, now, is_expected=stream in self._resets)
        return exchange

    def _on_headers(self, frame: Frame, now: float) -> None:
        exchange = self._find(frame.stream, Kind.HEADERS, now)
        block = self._decoder.decode(frame.payload)
        ends = bool(frame.flags & END_STREAM)
        if exchange is None:
            if ends:
                self._stream_ended_late(frame.stream)
            return
        if exchange.has_head and not ends:
            raise StreamFault(Code.PROTOCOL_ERROR, ProtocolReason.FRAMING, "trailers that do not end the response")
        self.has_answered = True
        self._refusals = 0
        exchange.on_fields(block, ends=ends)
        if ends:
            self._remote_ended(frame.stream, exchange, now)

    def _on_data(self, frame: Frame, now: float) -> None:
        size = len(frame.payload)
        self._window.arrived(size)
        exchange = self._find(frame.stream, Kind.DATA, now)
        data = unpadded(frame)
        ends = bool(frame.flags & END_STREAM)
        self._floods.data(is_empty=not data and not ends)
        if exchange is None:
            self._resets.arrived(frame.stream, size)
            if ends:
                self._stream_ended_late(frame.stream)
            return
        exchange.window -= size
        if exchange.window < 0:
            raise ConnectionFault(
                Code.FLOW_CONTROL_ERROR, ProtocolReason.FRAMING, "more data than the stream's window allows"
            )
        if not exchange.has_head:
            raise StreamFault(Code.PROTOCOL_ERROR, ProtocolReason.FRAMING, "content without a head")
        exchange.on_data(data, padding=size - len(data), ends=ends)
        if ends:
            self._remote_ended(frame.stream, exchange, now)

    def _remote_ended(self, stream: int, exchange: HTTP2Exchange, now: float) -> None:
        """The response is complete. What was not sent of the request by now is not wanted (RFC 9113 §8.1)."""
        if exchange.is_sending:
            self.reset(stream, Code.NO_ERROR, now)
            exchange.on_end(resetting=True)
        else:
            self._forget(stream)
            exchange.on_end(resetting=False)

    def _stream_ended_late(self, stream: int) -> None:
        """The server has ended a stream that we reset: its place is free."""
        if self._resets.ended(stream):
            self.events.append(ResetsSeen(1))

    def _on_reset(self, frame: Frame, now: float) -> None:
        exchange = self._find(frame.stream, Kind.RST_STREAM, now)
        if exchange is None:
            self._stream_ended_late(frame.stream)
            return
        code = int.from_bytes(frame.payload, "big")
        self._h2.hear(frame)
        self._forget(frame.stream)
        if code == Code.REFUSED_STREAM:
            self._refusals += 1
            if self._refusals >= _REFUSALS:
                self._go_away(CloseReason.REFUSED_STREAMS)
        elif code == Code.ENHANCE_YOUR_CALM:
            self._pace.slow_down()
        elif code == Code.HTTP_1_1_REQUIRED:
            self._go_away(CloseReason.HTTP1_REQUIRED)
        exchange.on_reset(code, refused=code in (Code.REFUSED_STREAM, Code.HTTP_1_1_REQUIRED))

    def _on_settings(self, frame: Frame, now: float) -> None:
        if self.is_ready:
            self._floods.glitch(now)
        self._h2.hear(frame)
        self.replies += self._collect()
        if frame.flags & ACK:
            return
        self.is_ready = True
        before = self.capacity
        said = self._h2.allowed_streams
        self._limit = UNSAID_STREAMS if said is None else said
        self.has_more_room = True
        if self.capacity != before:
            self.events.append(CapacityChanged(self.capacity))

    def _on_ping(self, frame: Frame, now: float) -> None:
        if not frame.flags & ACK:
            self._floods.glitch(now)
            answer = build(Kind.PING, ACK, 0, frame.payload)
            self._put(answer)
            self.replies += len(answer)
            return
        if not self.pings.waits or frame.payload != self._ping_number.to_bytes(_PING_SIZE, "big"):
            self._floods.glitch(now)
            return
        self.pings.answered()
        seen = self._resets.answered()
        if seen:
            self.events.append(ResetsSeen(seen))
        self._ask_for_resets(now)

    def _on_goaway(self, frame: Frame, now: float) -> None:
        last = int.from_bytes(frame.payload[:4], "big") & LARGEST_WINDOW
        code = int.from_bytes(frame.payload[4:8], "big")
        if not self.takes_more:
            self._floods.glitch(now)
        if code == Code.ENHANCE_YOUR_CALM:
            self._pace.slow_down()
        self._go_away(CloseReason.HTTP1_REQUIRED if code == Code.HTTP_1_1_REQUIRED else CloseReason.GOAWAY)
        # A later GOAWAY may name an earlier stream, never a later one (RFC 9113 §6.8).
        self._last_allowed = min(self._last_allowed, last)
        said = frame.payload[8:]
        if code != Code.NO_ERROR:
            self.complaint = f"{code_name(code)}: {quote_peer(said)}" if said else code_name(code)
        for stream in [stream for stream in self.streams if stream > self._last_allowed]:
            exchange = self.streams[stream]
            self._forget(stream)
            # A server that refuses the very first stream with an error means it, and will refuse the next one too.
            means_it = stream == 1 and code not in (Code.NO_ERROR, Code.HTTP_1_1_REQUIRED)
            exchange.on_goaway(code, said, refused=not means_it)

    def _on_window_update(self, frame: Frame, now: float) -> None:
        self._floods.window_update(now)
        if frame.stream:
            if self._find(frame.stream, Kind.WINDOW_UPDATE, now) is None:
                return
            if not int.from_bytes(frame.payload, "big") & LARGEST_WINDOW:
                raise StreamFault(Code.PROTOCOL_ERROR, ProtocolReason.FRAMING, "a WINDOW_UPDATE by nothing")
        for event in self._h2.hear(frame):
            if isinstance(event, StreamReset):
                # The window became too large, and h2 has reset the stream (RFC 9113 §6.9.1).
                raise StreamFault(Code.FLOW_CONTROL_ERROR, ProtocolReason.FRAMING, "a window of more than 2³¹−1 bytes")
        self.has_more_room = True

    # ---- the window we receive by ------------------------------------------------------------------------------------

    def _grow_window(self, size: int) -> None:
        growth = self._window.grow(size)
        if growth:
            self._put(window_update(0, growth))

    def _credit_connection(self) -> None:
        credit = self._window.credit()
        if credit:
            self._put(window_update(0, credit))
