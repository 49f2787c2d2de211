"""One response read by h11, with the guards that h11 leaves to its user.

h11 bounds only what is incomplete, takes any version, lets Transfer-Encoding win over Content-Length, and keeps what
follows a message as the beginning of the next. So this file counts the head itself (interim responses, head and
trailers share one budget), checks version and framing, and uses a fresh h11 connection for every exchange: bytes left
over cannot become the next answer by construction (making one costs less than h11's own reuse). h11 reads heads and
chunked bodies; a body that ends by count, or with the connection, is counted here.

Everything here is a function of the bytes, never of how they were cut into segments.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import h11
from h11 import Data, EndOfMessage, InformationalResponse, Response

from .._errors import PEER_SAID_LIMIT, ProtocolReason, RemoteProtocolError
from .._events import CloseReason
from .exchange import ResponseHead
from .hints import parse_keep_alive

if TYPE_CHECKING:
    from .._types import HeaderList

#: Interim responses before a final one; Go's clients live with fewer.
MAX_INFORMATIONAL: Final = 16

#: What chunk sizes, extensions and line ends may cost beyond twice the data and 16 bytes a chunk. Go's number.
CHUNK_OVERHEAD: Final = 16384

#: Body events taken in one call: bounds the time between two looks at the scheduler when chunks are tiny.
_EVENTS_PER_CALL: Final = 64

#: Line ends of a head that end no field: those of the status line and the blank line.
_LINES_BESIDE_FIELDS: Final = 2

_VERSIONS: Final = {b"1.1": "HTTP/1.1", b"1.0": "HTTP/1.0"}
_STARTS: Final = (b"HTTP/1.1 ", b"HTTP/1.0 ")
_START_SIZE: Final = 9

# RFC 9110 §5.5 lets a recipient refuse control characters; llhttp does, and one rule must hold for every engine.
_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\r\n")) + b"\x7f"

_NO_CONTENT: Final = (204, 304)
_CLOSE = re.compile(rb"(?i)(?:^|,)[ \t]*close[ \t]*(?:,|$)")

#: Requests as h11 is told of them. It needs the method and whether we close, not what is really on the wire.
_ANNOUNCED: dict[tuple[bytes, bool], h11.Request] = {}


def _announcement(method: bytes, close: bool) -> h11.Request:
    known = _ANNOUNCED.get((method, close))
    if known is None:
        headers = [(b"Host", b"-"), (b"Connection", b"close")] if close else [(b"Host", b"-")]
        known = h11.Request(method=method, target=b"/", headers=headers)
        if len(_ANNOUNCED) < 64:
            _ANNOUNCED[(method, close)] = known
    return known


class ResponseParser:
    """Parses the one response to one request.

    Attributes:
        ended: whether the message is complete.
        trailers: set once `ended`.
        idle_hint: seconds the server promised to keep the connection, None if it did not say.
        close: why the connection cannot be used again; meaningful once `ended`, but set as soon as it is known.
        content_left: bytes of the body still to come where the length is known, else None.
        informational: how many interim responses were skipped.
    """

    __slots__ = (
        "_body_fed",
        "_budget",
        "_chunks",
        "_data_taken",
        "_failure",
        "_fields_left",
        "_framing",
        "_h11",
        "_last",
        "_length",
        "_lines",
        "_method",
        "_unread",
        "_wire",
        "close",
        "ended",
        "idle_hint",
        "informational",
        "trailers",
    )

    def __init__(self, method: bytes, *, close: bool, max_head_size: int, max_head_fields: int) -> None:
        self._h11 = h11.Connection(h11.CLIENT, max_head_size)
        self._h11.send(_announcement(method, close))
        self._method = method
        self._budget = max_head_size
        self._fields_left = max_head_fields
        self._wire: bytes | bytearray = b""
        self._last = b""
        self._unread = b""
        self._lines = 0
        self._framing = ""
        self._length = 0
        self._data_taken = 0
        self._body_fed = 0
        self._chunks = 0
        self._failure: RemoteProtocolError | None = None
        self.ended = False
        self.trailers: HeaderList = []
        self.idle_hint: float | None = None
        self.close: CloseReason | None = CloseReason.CONNECTION_CLOSE_HEADER if close else None
        self.informational = 0

    @property
    def content_left(self) -> int | None:
        """Bytes of the body still to come where the length was announced."""
        return self._length - self._data_taken if self._framing == "length" else None

    # The head

    def feed_head(self, data: bytes) -> ResponseHead | None:
        """Take bytes that arrived before the final head was complete; None means more are needed.

        h11 sees whole heads only, and only those that passed the checks here, so the verdict comes from the bytes and
        not from how they were cut.

        Raises:
            RemoteProtocolError: the bytes are no HTTP/1 response, or break a limit.
        """
        known = len(self._wire)
        if known:
            self._wire += data
        else:
            self._wire = data
        while True:
            wire = self._wire
            if known < _START_SIZE and not wire.startswith(_STARTS):
                self._check_start(bytes(wire[:_START_SIZE]))
            end = wire.find(b"\r\n\r\n", known - 3 if known > 3 else 0)
            stop = end + 4 if end >= 0 else len(wire)
            lines = wire.count(b"\n", known, stop)
            if lines != wire.count(b"\r\n", known - 1 if known else 0, stop):
                # RFC 9112 §2.2 allows a bare LF as a line end, and does not demand it; refusing is the safer reading.
                raise self._broken("the head of the response has a bare line feed")
            self._lines += lines
            if self._lines > self._fields_left + _LINES_BESIDE_FIELDS:
                raise self._over_limit("the response has more header fields than allowed")
            if stop > self._budget:
                raise self._over_limit("the head of the response is longer than allowed")
            if end < 0:
                if known == 0:
                    self._wire = bytearray(wire)
                return None
            head = self._take_head(bytes(wire[:stop]), bytes(wire[stop:]))
            if head is not None or not self._wire:
                return head
            known = 0

    def _check_start(self, start: bytes) -> None:
        """Refuse what cannot become a status line at its first wrong byte: it may never send a blank line."""
        if any(expected.startswith(start) for expected in _STARTS):
            return
        if not start.startswith(b"HTTP/"):
            raise self._broken(f"the answer is not HTTP/1{_guess(start)}")
        if start[5:8] in _VERSIONS and not start[8:].isdigit():
            raise self._broken("the status line is malformed")
        raise self._error("the version of the response is neither HTTP/1.1 nor HTTP/1.0", ProtocolReason.VERSION)

    def _take_head(self, wire: bytes, rest: bytes) -> ResponseHead | None:
        """Parse one whole head; None if it was an interim response."""
        if len(wire.translate(None, _CONTROLS)) != len(wire):
            raise self._broken("the head of the response has a control character")
        if wire[9:12] == b"101" and wire[12:13] in b" \r":
            raise self._error("the server changes the protocol unasked", ProtocolReason.UPGRADE)
        self._h11.receive_data(wire)
        try:
            event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            raise self._malformed(error) from error
        self._budget -= len(wire)
        self._fields_left -= self._lines - _LINES_BESIDE_FIELDS
        self._lines = 0
        if type(event) is InformationalResponse:
            self.informational += 1
            if self.informational > MAX_INFORMATIONAL:
                raise self._over_limit(f"there were more than {MAX_INFORMATIONAL} interim responses")
            self._wire = rest
            return None
        assert type(event) is Response
        headers = [(name.lower(), value) for name, value in event.headers.raw_items()]
        version = _VERSIONS[event.http_version]
        self._frame(event.status_code, version, headers)
        self._wire = b""
        if rest:
            self.feed(rest)
        return ResponseHead(event.status_code, event.reason, headers, version)

    def _frame(self, status: int, version: str, headers: HeaderList) -> None:
        """Find out where the message ends and what it says about its connection (RFC 9112 §6.3, §9.3)."""
        fields = dict(headers)
        chunked = b"transfer-encoding" in fields
        length = fields.get(b"content-length")
        if chunked and length is not None:
            # §6.3 (3): "ought to be handled as an error".
            raise self._broken("the response has both content-length and transfer-encoding")
        if status in _NO_CONTENT or self._method == b"HEAD":
            self._framing = "none"
        elif chunked:
            self._framing = "chunked"
        elif length is not None:
            self._framing = "length"
            self._length = int(length)
        else:
            self._framing = "until_close"
            self.close = CloseReason.PEER_CLOSED
        if self.close is None and (version == "HTTP/1.0" or self._says_close(headers, fields)):
            # HTTP/1.0 also where it offers keep-alive: h11 does not go on after it.
            self.close = CloseReason.CONNECTION_CLOSE_HEADER
        if b"keep-alive" in fields:
            hint = parse_keep_alive(fields[b"keep-alive"])
            self.idle_hint = hint.timeout
            if hint.max == 0:
                self.close = self.close or CloseReason.KEEPALIVE_HINT

    @staticmethod
    def _says_close(headers: HeaderList, fields: dict[bytes, bytes]) -> bool:
        last = fields.get(b"connection")
        if last is None or (last == b"keep-alive" and len(fields) == len(headers)):
            return False
        return any(name == b"connection" and _CLOSE.search(value) is not None for name, value in headers)

    # The body

    def feed(self, data: bytes) -> None:
        """Take bytes of the body; never called once it has ended."""
        self._body_fed += len(data)
        self._last = data
        if self._framing == "chunked":
            self._h11.receive_data(data)
        else:
            self._unread = self._unread + data if self._unread else data

    def next_piece(self) -> bytes | None:
        """The next piece of the body; b"" once it has ended, None if more bytes are needed.

        Raises:
            RemoteProtocolError: the body is malformed or breaks a limit; whole pieces before are returned first.
        """
        if self.ended:
            return b""
        if self._framing != "chunked":
            return self._next_plain_piece()
        if self._failure is not None:
            raise self._failure
        pieces: list[bytes] = []
        try:
            self._take_events(pieces)
        except h11.RemoteProtocolError as error:
            self._failure = self._malformed(error)
            self._failure.__cause__ = error
        except RemoteProtocolError as error:
            self._failure = error
        if len(pieces) == 1:
            return pieces[0]
        if pieces or self.ended:
            return b"".join(pieces)
        if self._failure is not None:
            raise self._failure
        return None

    def _take_events(self, pieces: list[bytes]) -> None:
        next_event = self._h11.next_event
        for _ in range(_EVENTS_PER_CALL):
            event = next_event()
            if type(event) is Data:
                piece = bytes(event.data)
                pieces.append(piece)
                self._data_taken += len(piece)
                self._chunks += event.chunk_start
            elif type(event) is EndOfMessage:
                self._end(event)
                return
            else:
                self._check_overhead(0)
                return

    def feed_eof(self, *, clean: bool) -> None:
        """The peer ended the connection in the body.

        Args:
            clean: False if the end could be an attacker's (TLS without close_notify, RFC 9112 §9.8).

        Raises:
            RemoteProtocolError: the body is not complete.
        """
        if self._framing == "until_close" and clean:
            self.ended = True
            return
        taken = self._data_taken
        if self._framing == "length":
            what = f"received {taken} of {self._length} bytes"
        elif self._framing == "chunked":
            what = f"received {taken} bytes, but no last chunk"
        else:
            what = f"received {taken} bytes, but TLS was not closed in good order"
        raise RemoteProtocolError(f"the body of the response was cut short: {what}", reason=ProtocolReason.TRUNCATED)

    def _next_plain_piece(self) -> bytes | None:
        """A body that ends by count, or with the connection, needs no parser: h11 would cost more than the rest."""
        data, self._unread = self._unread, b""
        if self._framing == "until_close":
            self._data_taken += len(data)
            return data or None
        left = self._length - self._data_taken
        if len(data) > left:
            # RFC 9112 §9.2: what follows answers nothing that was asked.
            self.close = CloseReason.UNSOLICITED_DATA
            data = data[:left]
        self._data_taken += len(data)
        self.ended = self._data_taken == self._length
        return data if data or self.ended else None

    def _end(self, event: EndOfMessage) -> None:
        left, _ = self._h11.trailing_data
        self._check_overhead(len(left) + self._take_trailers(event))
        self.ended = True
        if left:
            self.close = CloseReason.UNSOLICITED_DATA

    def _take_trailers(self, event: EndOfMessage) -> int:
        """Keep the trailers apart from the headers (RFC 9110 §6.5.1); returns their size."""
        self.trailers = [(name.lower(), value) for name, value in event.headers.raw_items()]
        if len(self.trailers) > self._fields_left:
            raise self._over_limit("the response has more header fields than allowed")
        size = sum(len(name) + len(value) + 4 for name, value in self.trailers)
        if size > self._budget:
            raise self._over_limit("the trailers of the response are longer than allowed")
        return size

    def _check_overhead(self, elsewhere: int) -> None:
        """Bound what is spent on chunk extensions (RFC 9112 §7.1.1).

        Args:
            elsewhere: bytes known to be trailers or leftovers; 0 while the body goes on.
        """
        overhead = self._body_fed - elsewhere - 2 * self._data_taken - 16 * self._chunks
        if overhead > CHUNK_OVERHEAD and (elsewhere or overhead - len(self._h11.trailing_data[0]) > CHUNK_OVERHEAD):
            raise self._over_limit("the chunks of the response are mostly extensions")

    # Errors

    def _malformed(self, error: h11.RemoteProtocolError) -> RemoteProtocolError:
        if error.error_status_hint == 431:
            return self._over_limit("a line of the response is longer than allowed")
        return self._broken(f"the response is malformed: {_strip(error)}")

    def _broken(self, message: str) -> RemoteProtocolError:
        return self._error(message, ProtocolReason.FRAMING)

    def _over_limit(self, message: str) -> RemoteProtocolError:
        return self._error(message, ProtocolReason.LIMIT)

    def _error(self, message: str, reason: ProtocolReason) -> RemoteProtocolError:
        said = bytes(self._wire[: PEER_SAID_LIMIT + 1]) or self._last[: PEER_SAID_LIMIT + 1]
        return RemoteProtocolError(message, reason=reason, peer_said=said)


def _strip(error: h11.RemoteProtocolError) -> str:
    """h11's words without the peer's bytes, which the error shows bounded and escaped."""
    return str(error).split(":", 1)[0].split(" b'", 1)[0].split(" bytearray", 1)[0][:80]


def _guess(start: bytes) -> str:
    """What the peer seems to speak, where its first bytes give it away."""
    if start[:1] in (b"\x15", b"\x16") and start[1:2] in (b"", b"\x03"):
        return ", the peer speaks TLS"
    if start[:3] == b"\0\0\0"[: len(start[:3])] or (len(start) > 3 and start[:2] == b"\0\0" and start[3] == 4):
        return ", the peer seems to speak HTTP/2"
    if start.startswith(b"SSH-"):
        return ", the peer speaks SSH"
    return ""
