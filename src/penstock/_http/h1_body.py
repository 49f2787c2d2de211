"""The body of one response: where it ends (RFC 9112 §6.3), and what it says about its connection.

Bodies are framed and counted here, whoever read the head. An engine never sees a body, so bytes left over cannot
become the next answer by construction.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from .._errors import PEER_SAID_LIMIT, ProtocolReason, RemoteProtocolError
from .._events import CloseReason
from .h1_chunks import ChunkDecoder
from .h1_guards import read_lines
from .h1_judges import Refusal
from .hints import parse_keep_alive

if TYPE_CHECKING:
    from .._types import HeaderList
    from .h1_head import FinalHead
    from .h1_lines import HTTP1Engine

#: Statuses whose answers have no body, whatever their fields say.
NO_CONTENT: Final = (204, 304)

#: Framings whose bodies are as long as the head says; "none" is a length of 0.
_COUNTED: Final = ("length", "none")

_CLOSE: Final = re.compile(rb"(?i)(?:^|,)[ \t]*close[ \t]*(?:,|$)")


class BodyParser:
    """Finds the end of a body in bytes that come in any pieces.

    Args:
        found: the head, and what followed it.
        method: of the request.
        close: whether the request said that the connection ends with it.
        engine: reads the trailers.

    Attributes:
        ended: whether the message is complete.
        trailers: set once `ended`.
        idle_hint: seconds the server promised to keep the connection, None if it did not say.
        close: why the connection cannot be used again; meaningful once `ended`, but set as soon as it is known.
    """

    __slots__ = (
        "_chunks",
        "_engine",
        "_failure",
        "_framing",
        "_last",
        "_length",
        "_taken",
        "_unread",
        "close",
        "ended",
        "idle_hint",
        "trailers",
    )

    def __init__(self, found: FinalHead, method: bytes, *, close: bool, engine: HTTP1Engine) -> None:
        head, fields, length, rest, size_left, fields_left = found
        self._engine = engine
        self._framing = ""
        self._length = 0
        self._taken = 0
        self._chunks: ChunkDecoder | None = None
        self._unread = b""
        self._last = b""
        self._failure: RemoteProtocolError | None = None
        self.ended = False
        self.trailers: HeaderList = []
        self.idle_hint: float | None = None
        self.close: CloseReason | None = None
        if head.status in NO_CONTENT or method == b"HEAD":
            self._framing = "none"
        elif b"transfer-encoding" in fields:
            self._framing = "chunked"
            self._chunks = ChunkDecoder(max_trailer_size=size_left, max_trailers=fields_left)
        elif length is not None:
            self._framing = "length"
            self._length = length
        else:
            self._framing = "until_close"
            self.close = CloseReason.PEER_CLOSED
        # HTTP/1.0 also where it offers keep-alive: who speaks it may not know what that means (RFC 9112 §9.3).
        if self.close is None and (close or head.http_version == "HTTP/1.0" or _says_close(head.headers, fields)):
            self.close = CloseReason.CONNECTION_CLOSE_HEADER
        if b"keep-alive" in fields:
            hint = parse_keep_alive(fields[b"keep-alive"])
            self.idle_hint = hint.timeout
            if hint.max == 0:
                self.close = self.close or CloseReason.KEEPALIVE_HINT
        if rest:
            self.feed(rest)

    @property
    def content_left(self) -> int | None:
        """Bytes of the body still to come where the length was announced."""
        return self._length - self._taken if self._framing == "length" else None

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
        if len(data) != self._length or self.ended or self._taken or self._framing not in _COUNTED:
            return None
        self._unread = b""
        self._taken = len(data)
        self.ended = True
        return data

    def next_piece(self) -> bytes | None:
        """The next piece of the body; b"" once it has ended, None if more bytes are needed.

        Raises:
            RemoteProtocolError: the body is malformed or breaks a limit; whole pieces before are returned first.
        """
        if self.ended:
            return b""
        chunks = self._chunks
        if chunks is not None:
            return None if chunks.is_starved else self._next_chunks(chunks)
        data, self._unread = self._unread, b""
        if self._framing == "until_close":
            self._taken += len(data)
            return data or None
        left = self._length - self._taken
        if len(data) > left:
            # RFC 9112 §9.2: what follows answers nothing that was asked.
            self.close = CloseReason.UNSOLICITED_DATA
            data = data[:left]
        self._taken += len(data)
        self.ended = self._taken == self._length
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
            self._failure = self._explain(refusal)
            self._failure.__cause__ = refusal.__cause__
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._taken += len(piece)
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
        taken = self._taken
        if self._framing == "length":
            what = f"received {taken} of {self._length} bytes"
        elif self._framing == "chunked":
            what = f"received {taken} bytes, but no last chunk"
        else:
            what = f"received {taken} bytes, but TLS was not closed in good order"
        raise RemoteProtocolError(f"the body of the response was cut short: {what}", reason=ProtocolReason.TRUNCATED)

    def _explain(self, refusal: Refusal) -> RemoteProtocolError:
        return RemoteProtocolError(str(refusal), reason=refusal.reason, peer_said=self._last)


def _says_close(headers: HeaderList, fields: dict[bytes, bytes]) -> bool:
    connection = fields.get(b"connection")
    if connection is None or (connection == b"keep-alive" and len(fields) == len(headers)):
        return False
    return any(name == b"connection" and _CLOSE.search(value) is not None for name, value in headers)
