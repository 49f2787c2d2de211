"""One response: its head by way of an engine, its framing and its body here.

No engine is asked where a message ends, or what may be large: this file counts the head itself (interim responses, head
and trailers share one budget), checks version and framing, takes chunks off, and counts what has a length. An engine is
given whole heads and nothing else, so bytes left over cannot become the next answer by construction.

Everything here is a function of the bytes, never of how they were cut into segments.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from .._errors import PEER_SAID_LIMIT, ProtocolReason, RemoteProtocolError
from .._events import CloseReason
from .exchange import ResponseHead
from .h1_chunks import ChunkDecoder
from .h1_engines import LINES_BESIDE_FIELDS, Refusal
from .h1_guards import check_framing_fields, first_fault, read_lines
from .hints import parse_keep_alive

if TYPE_CHECKING:
    from .._types import HeaderList
    from .h1_engines import HTTP1Engine

#: Interim responses before a final one; Go's clients live with fewer.
MAX_INFORMATIONAL: Final = 16

_VERSIONS: Final = {b"1.1": "HTTP/1.1", b"1.0": "HTTP/1.0"}
_STARTS: Final = (b"HTTP/1.1 ", b"HTTP/1.0 ")
_START_SIZE: Final = 9

#: Framings whose bodies are as long as the head says; "none" is a length of 0.
_COUNTED: Final = ("length", "none")

_NO_CONTENT: Final = (204, 304)
_CLOSE: Final = re.compile(rb"(?i)(?:^|,)[ \t]*close[ \t]*(?:,|$)")


class ResponseParser:
    """Parses the one response to one request.

    Args:
        method: of the request.
        close: whether the request said that the connection ends with it.
        max_head_size: bytes of interim responses, head and trailers together.
        max_head_fields: their header fields together.
        engine: reads the heads.

    Attributes:
        ended: whether the message is complete.
        trailers: set once `ended`.
        idle_hint: seconds the server promised to keep the connection, None if it did not say.
        close: why the connection cannot be used again; meaningful once `ended`, but set as soon as it is known.
        informational: how many interim responses were skipped.
    """

    __slots__ = (
        "_budget",
        "_chunks",
        "_data_taken",
        "_engine",
        "_failure",
        "_fields_left",
        "_framing",
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

    def __init__(
        self, method: bytes, *, close: bool, max_head_size: int, max_head_fields: int, engine: HTTP1Engine
    ) -> None:
        self._engine = engine
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
        self._chunks: ChunkDecoder | None = None
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

        The engine sees whole heads only, and whatever it refuses is looked at anew in the order of its bytes, so the
        verdict comes from the bytes and not from how they were cut.

        Raises:
            RemoteProtocolError: the bytes are no HTTP/1 response, or break a limit.
        """
        known = len(self._wire)
        if known:
            self._wire += data
        else:
            head = self._take_usual(data)
            if head is not None:
                return head
            self._wire = data
        try:
            return self._find_head(known)
        except Refusal as refusal:
            raise self._error(refusal) from refusal.__cause__

    def _take_usual(self, data: bytes) -> ResponseHead | None:
        """One whole final head with nothing odd about it; None if it has to be looked at in the order of its bytes."""
        end = data.find(b"\r\n\r\n")
        size = end + 4
        if end < 0 or size > self._budget or not data.startswith(_STARTS):
            return None
        try:
            status, reason, headers = self._engine.read_head(data[:size])
            fields = dict(headers)
            check_framing_fields(headers, fields)
        except Refusal:
            return None
        if status < 200 or len(headers) > self._fields_left:
            return None
        self._budget -= size
        self._fields_left -= len(headers)
        version = _VERSIONS[data[5:8]]
        self._frame(status, version, headers, fields)
        if len(data) > size:
            self.feed(data[size:])
        return ResponseHead(status, reason, headers, version, fields)

    def _find_head(self, known: int) -> ResponseHead | None:
        """Look for the end of a head in what came after the first `known` bytes."""
        while True:
            wire = self._wire
            if known < _START_SIZE and not wire.startswith(_STARTS):
                _check_start(bytes(wire[: min(_START_SIZE, self._budget)]))
            end = wire.find(b"\r\n\r\n", known - 3 if known > 3 else 0)
            stop = end + 4 if end >= 0 else len(wire)
            lines = wire.count(b"\n", known, stop)
            is_clean = lines == wire.count(b"\r\n", known - 1 if known else 0, stop)
            self._lines += lines
            if not is_clean or stop > self._budget or self._lines > self._fields_left + LINES_BESIDE_FIELDS:
                fault = first_fault(wire[:stop], self._budget, self._fields_left + LINES_BESIDE_FIELDS, "head")
                assert fault is not None
                raise fault
            if end < 0:
                if known == 0:
                    self._wire = bytearray(wire)
                return None
            head = bytes(wire[:stop])
            fields = self._lines - LINES_BESIDE_FIELDS
            self._lines = 0
            found = self._take_head(head, fields, bytes(wire[stop:]))
            if found is not None or not self._wire:
                return found
            known = 0

    def _take_head(self, wire: bytes, lines: int, rest: bytes) -> ResponseHead | None:
        """Read one whole head with `lines` lines of fields; None if it was an interim response."""
        if wire[9:12] == b"101" and wire[12:13] in b" \r":
            raise Refusal("the server changes the protocol unasked", ProtocolReason.UPGRADE)
        status, reason, headers = read_lines(self._engine, wire)
        fields = dict(headers)
        check_framing_fields(headers, fields)
        self._budget -= len(wire)
        self._fields_left -= lines
        if status < 200:
            if status < 100:
                raise Refusal("the status of the response is below 100")
            self.informational += 1
            if self.informational > MAX_INFORMATIONAL:
                raise Refusal(f"there were more than {MAX_INFORMATIONAL} interim responses", ProtocolReason.LIMIT)
            self._wire = rest
            return None
        version = _VERSIONS[wire[5:8]]
        self._frame(status, version, headers, fields)
        self._wire = b""
        if rest:
            self.feed(rest)
        return ResponseHead(status, reason, headers, version, fields)

    def _frame(self, status: int, version: str, headers: HeaderList, fields: dict[bytes, bytes]) -> None:
        """Find out where the message ends and what it says about its connection (RFC 9112 §6.3, §9.3)."""
        if status in _NO_CONTENT or self._method == b"HEAD":
            self._framing = "none"
        elif b"transfer-encoding" in fields:
            self._framing = "chunked"
            self._chunks = ChunkDecoder(max_trailer_size=self._budget, max_trailers=self._fields_left)
        elif b"content-length" in fields:
            self._framing = "length"
            self._length = int(fields[b"content-length"])
        else:
            self._framing = "until_close"
            self.close = CloseReason.PEER_CLOSED
        connection = fields.get(b"connection")
        is_usual = connection is None or (connection == b"keep-alive" and len(fields) == len(headers))
        if self.close is None and (version == "HTTP/1.0" or (not is_usual and _says_close(headers))):
            # HTTP/1.0 also where it offers keep-alive: who speaks it may not know what that means (RFC 9112 §9.3).
            self.close = CloseReason.CONNECTION_CLOSE_HEADER
        if b"keep-alive" in fields:
            hint = parse_keep_alive(fields[b"keep-alive"])
            self.idle_hint = hint.timeout
            if hint.max == 0:
                self.close = self.close or CloseReason.KEEPALIVE_HINT

    # The body

    def feed(self, data: bytes) -> None:
        """Take bytes of the body; never called once it has ended."""
        self._last = data[: PEER_SAID_LIMIT + 1]
        if self._chunks is not None:
            self._chunks.feed(data)
        else:
            self._unread = self._unread + data if self._unread else data

    def take_whole(self) -> bytes | None:
        """The whole body, if its length is known, all of it has arrived and none of it was taken; else None."""
        data = self._unread
        if len(data) != self._length or self.ended or self._data_taken or self._framing not in _COUNTED:
            return None
        self._unread = b""
        self._data_taken = len(data)
        self.ended = True
        return data

    def next_piece(self) -> bytes | None:
        """The next piece of the body; b"" once it has ended, None if more bytes are needed.

        Raises:
            RemoteProtocolError: the body is malformed or breaks a limit; whole pieces before are returned first.
        """
        if self.ended:
            return b""
        if self._chunks is not None:
            return self._next_chunks(self._chunks)
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

    def _next_chunks(self, chunks: ChunkDecoder) -> bytes | None:
        if self._failure is not None:
            raise self._failure
        pieces: list[bytes] = []
        try:
            chunks.pull(pieces)
            if chunks.ended:
                self._end(chunks)
        except Refusal as refusal:
            self._failure = self._error(refusal)
            self._failure.__cause__ = refusal.__cause__
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._data_taken += len(piece)
        if piece or self.ended:
            return piece
        if self._failure is not None:
            raise self._failure
        return None

    def _end(self, chunks: ChunkDecoder) -> None:
        """Keep the trailers apart from the headers (RFC 9110 §6.5.1)."""
        if chunks.trailers:
            _, _, trailers = read_lines(self._engine, b"HTTP/1.1 200 OK\r\n" + chunks.trailers + b"\r\n")
            for name, _ in trailers:
                if name in (b"content-length", b"transfer-encoding"):
                    raise Refusal(f"{name.decode()} in the trailers of the response")
            self.trailers = trailers
        if chunks.has_leftovers:
            self.close = CloseReason.UNSOLICITED_DATA
        self.ended = True

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

    def _error(self, refusal: Refusal) -> RemoteProtocolError:
        said = bytes(self._wire[: PEER_SAID_LIMIT + 1]) or self._last
        return RemoteProtocolError(str(refusal), reason=refusal.reason, peer_said=said)


def _says_close(headers: HeaderList) -> bool:
    return any(name == b"connection" and _CLOSE.search(value) is not None for name, value in headers)


def _check_start(start: bytes) -> None:
    """Refuse what cannot become a status line at its first wrong byte: it may never send a blank line."""
    if any(expected.startswith(start) for expected in _STARTS):
        return
    if not start.startswith(b"HTTP/"):
        raise Refusal(f"the answer is not HTTP/1{_guess(start)}")
    if start[5:8] in _VERSIONS and not start[8:].isdigit():
        raise Refusal("the status line is malformed")
    raise Refusal("the version of the response is neither HTTP/1.1 nor HTTP/1.0", ProtocolReason.VERSION)


def _guess(start: bytes) -> str:
    """What the peer seems to speak, where its first bytes give it away."""
    if start[:1] in (b"\x15", b"\x16") and start[1:2] in (b"", b"\x03"):
        return ", the peer speaks TLS"
    if start[:3] == b"\0\0\0"[: len(start[:3])] or (len(start) > 3 and start[:2] == b"\0\0" and start[3] == 4):
        return ", the peer seems to speak HTTP/2"
    if start.startswith(b"SSH-"):
        return ", the peer speaks SSH"
    return ""
