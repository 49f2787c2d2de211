"""Server-sent events: the parser of the HTML standard (§9.2.6), with bounds.

Bytes go in as they arrive, events come out as soon as their blank line is there. Every byte is looked at once: an
event may be as long as the bound without the cost growing faster than its length.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from .._errors import DecodingError, ProtocolReason, RemoteProtocolError

#: What one event may hold; far beyond what a model writes in one piece.
MAX_EVENT_SIZE: Final = 16 * 1024 * 1024

#: What a line costs to keep beside its bytes, so that millions of empty ones are bounded too.
LINE_COST: Final = 8

#: The longest reconnection time that is believed, in milliseconds: a day.
MAX_RETRY: Final = 86_400_000

_BOM: Final = b"\xef\xbb\xbf"
_COLON: Final = 0x3A


class ServerSentEvent(NamedTuple):
    """One event.

    Attributes:
        event: its type, "message" where the server named none.
        data: its data lines, joined by line feeds.
        id: the last event id the server has set so far, "" if none.
        retry: the reconnection time in milliseconds that came with this event, None if none did; at most a day.
    """

    event: str
    data: str
    id: str = ""
    retry: int | None = None

    def json(self, loads: Callable[[str], Any] = json.loads) -> Any:
        """The data as JSON, read by `loads`.

        Raises:
            DecodingError: it is no JSON, or nested too deeply.
        """
        try:
            return loads(self.data)
        except (ValueError, RecursionError) as error:
            raise DecodingError(f"the data of the event is no JSON: {error}", phase="read") from error


class EventParser:
    """Makes events from the bytes of one stream.

    Args:
        max_event_size: bytes of one event's data lines, each counted with 8 more, and of any one line.
        last_event_id: the id that holds until the stream sets one, where it goes on with an earlier stream.
        retry: likewise.

    Attributes:
        last_event_id: what to send as Last-Event-ID when the stream is opened again.
        retry: the latest reconnection time in milliseconds, None if the server set none.
        comments: how many comment lines there were; servers send them to show that they are alive.
    """

    __slots__ = (
        "_data",
        "_failure",
        "_id",
        "_is_at_start",
        "_line",
        "_max_size",
        "_retry",
        "_size",
        "_skip_lf",
        "_type",
        "comments",
        "last_event_id",
        "retry",
    )

    def __init__(
        self, *, max_event_size: int = MAX_EVENT_SIZE, last_event_id: str = "", retry: int | None = None
    ) -> None:
        self._max_size = max_event_size
        self._is_at_start = True
        self._line = bytearray()
        self._skip_lf = False
        self._data: list[bytes] = []
        self._size = 0
        self._type = ""
        self._id = last_event_id
        self._retry: int | None = None
        self._failure: RemoteProtocolError | None = None
        self.last_event_id = last_event_id
        self.retry = retry
        self.comments = 0

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """The events that `data` completes.

        Raises:
            RemoteProtocolError: an event is larger than allowed. Events before it were returned first.
        """
        if self._failure is not None:
            raise self._failure
        if self._skip_lf and data:
            self._skip_lf = False
            if data[0] == 0x0A:
                data = data[1:]
        if not data:
            return []
        if b"\r" in data:
            self._skip_lf = data[-1] == 0x0D
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        events: list[ServerSentEvent] = []
        try:
            self._take(data.split(b"\n"), events)
        except RemoteProtocolError as error:
            if not events:
                raise
            self._failure = error
        return events

    def _take(self, lines: list[bytes], events: list[ServerSentEvent]) -> None:
        """Take lines; the last is not complete yet."""
        rest = lines.pop()
        if lines and self._line:
            lines[0] = bytes(self._line + lines[0])
            self._line.clear()
        for line in lines:
            self._take_line(line, events)
        self._line += rest
        if len(self._line) + self._size > self._max_size:
            raise self._too_large()

    def finish(self) -> None:
        """The stream has ended: an event without its blank line is dropped, as the standard says.

        Raises:
            RemoteProtocolError: the last `feed` found an event larger than allowed.
        """
        if self._failure is not None:
            raise self._failure

    def _take_line(self, line: bytes, events: list[ServerSentEvent]) -> None:
        if self._is_at_start:
            self._is_at_start = False
            line = line.removeprefix(_BOM)
        if len(line) > self._max_size:
            raise self._too_large()
        if not line:
            self._dispatch(events)
        elif line[0] == _COLON:
            self.comments += 1
        else:
            field, _, value = line.partition(b":")
            self._take_field(field, value[1:] if value.startswith(b" ") else value)

    def _take_field(self, field: bytes, value: bytes) -> None:
        if field == b"data":
            self._data.append(value)
            self._size += len(value) + LINE_COST
            if self._size > self._max_size:
                raise self._too_large()
        elif field == b"event":
            self._type = _decode(value)
        elif field == b"id":
            if b"\0" not in value:
                self._id = _decode(value)
        elif field == b"retry" and value.isdigit():
            self._retry = self.retry = min(int(value), MAX_RETRY) if len(value) < 16 else MAX_RETRY

    def _dispatch(self, events: list[ServerSentEvent]) -> None:
        self.last_event_id = self._id
        if self._data:
            data = _decode(b"\n".join(self._data))
            events.append(ServerSentEvent(self._type or "message", data, self._id, self._retry))
            self._data = []
            self._size = 0
        self._type = ""
        self._retry = None

    def _too_large(self) -> RemoteProtocolError:
        return RemoteProtocolError(
            f"the server sent an event larger than {self._max_size} bytes",
            reason=ProtocolReason.LIMIT,
            peer_said=bytes(self._line[:65]) or b"",
        )


def _decode(value: bytes) -> str:
    """Decode as the stream would be: sequences never span a line end, so each part can be decoded by itself."""
    return value.decode("utf-8", "replace")
