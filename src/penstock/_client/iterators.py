"""What `Response.aiter_…` return: objects that ask for one piece at a time and own nothing.

Not async generators: one that is broken off and forgotten would be finalised at some later time, by then in a
cancelled scope, with a warning, and with the connection held in between.
"""

from __future__ import annotations

import codecs
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from .._errors import DecodingError, ProtocolReason, RemoteProtocolError, RequestError
from .._http.sse import EventParser
from .lines import MAX_LINE_LENGTH, LineSplitter

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._http.sse import ServerSentEvent
    from .._net.timer import EventTimer
    from .body import ResponseBody
    from .call import Call

_BOM: Final = b"\xef\xbb\xbf"


class PieceSource(Protocol):
    """Where decoded pieces come from."""

    async def next_decoded(self) -> bytes:
        """The next piece, b"" at the end."""
        ...

    def fail(self, error: BaseException) -> None:
        """What was read breaks the rules: nothing more is wanted."""
        ...


class KeptContent:
    """A body that was read already, as a source."""

    __slots__ = ("_content",)

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def next_decoded(self) -> bytes:
        content, self._content = self._content, b""
        return content

    def fail(self, error: BaseException) -> None:
        pass


class RawIterator:
    """Pieces as they came."""

    __slots__ = ("_body",)

    def __init__(self, body: ResponseBody) -> None:
        self._body = body

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._body.next_raw()
        if not piece:
            raise StopAsyncIteration
        return piece


class BytesIterator:
    """Decoded pieces, of one size if that was asked for; the last may be shorter."""

    __slots__ = ("_pending", "_size", "_source")

    def __init__(self, source: PieceSource, size: int | None) -> None:
        self._source = source
        self._size = size
        self._pending = bytearray()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._size is None:
            piece = await self._source.next_decoded()
        else:
            piece = await self._next_of_size(self._size)
        if not piece:
            raise StopAsyncIteration
        return piece

    async def _next_of_size(self, size: int) -> bytes:
        while len(self._pending) < size and (piece := await self._source.next_decoded()):
            self._pending += piece
        # Taking from the front of a bytearray moves no bytes.
        taken = bytes(self._pending[:size])
        del self._pending[:size]
        return taken


class LineIterator:
    """Lines of text."""

    __slots__ = ("_decoder", "_ready", "_source", "_splitter")

    def __init__(self, source: PieceSource, encoding: str) -> None:
        self._source = source
        self._decoder: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder(encoding)("replace")
        self._splitter = LineSplitter()
        self._ready: deque[str] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while not self._ready:
            if self._decoder is None:
                raise StopAsyncIteration
            piece = await self._source.next_decoded()
            text = self._decoder.decode(piece, final=not piece)
            try:
                self._ready.extend(self._splitter.feed(text))
            except RequestError as error:
                self._source.fail(error)
                raise
            if not piece:
                self._decoder = None
                self._ready.extend(self._splitter.finish())
        return self._ready.popleft()


class EventIterator:
    """Server-sent events.

    Args:
        source: where they come from.
        timer: limits the time between two events, if that is not None.
        last_event_id: what an earlier stream ended with, if this one goes on with it.
        retry: likewise.
    """

    __slots__ = ("_is_over", "_last_id", "_parser", "_ready", "_source", "_timer")

    def __init__(
        self,
        source: PieceSource,
        *,
        timer: EventTimer | None = None,
        last_event_id: str = "",
        retry: int | None = None,
    ) -> None:
        self._source = source
        self._timer = timer
        self._parser = EventParser(last_event_id=last_event_id, retry=retry)
        self._is_over = False
        self._last_id = last_event_id
        # The next one last. A deque would take 760 bytes for each stream, which mostly has none ready.
        self._ready: list[ServerSentEvent] = []

    def __aiter__(self) -> Self:
        return self

    @property
    def last_event_id(self) -> str:
        """The last event id as of the latest event that was given out."""
        return self._last_id if self._ready else self._parser.last_event_id

    @property
    def retry(self) -> int | None:
        """The latest reconnection time in milliseconds, None if the server set none."""
        return self._parser.retry

    async def __anext__(self) -> ServerSentEvent:
        if self._timer is not None and not self._ready:
            self._timer.expect_event()
        while not self._ready:
            if self._is_over:
                raise StopAsyncIteration
            piece = await self._source.next_decoded()
            try:
                if piece:
                    self._ready = self._parser.feed(piece)
                    self._ready.reverse()
                else:
                    self._parser.finish()
                    self._is_over = True
            except RequestError as error:
                self._source.fail(error)
                raise
        event = self._ready.pop()
        self._last_id = event.id
        return event


class JSONLineIterator:
    """The values of a body of JSON lines.

    Lines end at LF and nowhere else: a lone CR is white space inside a value (RFC 8259 §2).
    """

    __slots__ = ("_call", "_is_over", "_limit", "_line", "_loads", "_number", "_ready", "_source")

    def __init__(
        self,
        source: PieceSource,
        call: Call,
        loads: Callable[[bytes], Any],
        *,
        limit: int = MAX_LINE_LENGTH,
    ) -> None:
        self._source = source
        self._call = call
        self._loads = loads
        self._limit = limit
        self._line = bytearray()
        self._ready: deque[bytes] = deque()
        self._number = 0
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while True:
            while not self._ready:
                if self._is_over:
                    raise StopAsyncIteration
                self._take(await self._source.next_decoded())
            line = self._ready.popleft()
            self._number += 1
            if self._number == 1:
                line = line.removeprefix(_BOM)
            if line and not line.isspace():
                return self._read(line)

    def _take(self, piece: bytes) -> None:
        """Cut a piece into lines; every byte is looked at once."""
        if not piece:
            self._is_over = True
            self._ready.append(bytes(self._line))
            self._line.clear()
            return
        first, *others = piece.split(b"\n")
        if len(self._line) + len(first) > self._limit or (others and max(map(len, others)) > self._limit):
            error = RemoteProtocolError(
                f"the server sent a line longer than {self._limit} bytes", reason=ProtocolReason.LIMIT
            )
            self._source.fail(error)
            raise error
        self._line += first
        if others:
            self._ready.append(bytes(self._line))
            self._line[:] = others.pop()
            self._ready.extend(others)

    def _read(self, line: bytes) -> Any:
        try:
            return self._loads(line)
        except (ValueError, RecursionError) as error:
            what = "is nested too deeply" if isinstance(error, RecursionError) else f"is no JSON: {error}"
            refusal = DecodingError(
                f"line {self._number} of the body of {self._call} {what}", origin=self._call.url.origin, phase="read"
            )
            refusal.line = self._number
            raise refusal from error
