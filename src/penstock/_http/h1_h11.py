"""Heads read by h11, line by line, each line once.

h11 judges every line of a head by itself: only several Content-Length or Transfer-Encoding fields concern each other,
and those the framing refuses for every engine. So a line that h11 has accepted is remembered with what h11 said of it,
and most lines of most answers are the same as in the answer before.

Of a line, h11 judges the name and the characters of the value. Which characters may stand in a head is checked here for
every engine, more strictly, so a name that h11 has accepted needs no second opinion, whatever its value; except where
the value means something to h11. What is remembered can only accept; every refusal is h11's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import h11
from h11 import InformationalResponse, Response

from .h1_engines import Refusal, check_characters
from .headers import is_secret

if TYPE_CHECKING:
    from .._types import HeaderList

#: An API's answers have a dozen lines that come back, and a few that never do.
_LINES_KEPT: Final = 512
_LONGEST_LINE_KEPT: Final = 256

_NAMES_KEPT: Final = 512
_LONGEST_NAME_KEPT: Final = 64

#: Digits of a Content-Length that is surely good.
_USUAL_LENGTH: Final = 15

#: h11 normalises these, while here every value stays as sent, for the framing to judge.
_REWRITTEN: Final = (b"content-length", b"transfer-encoding")

_INTERIM: Final = b"HTTP/1.1 103 \r\n"
_REQUEST: Final = h11.Request(method=b"GET", target=b"/", headers=[(b"Host", b"-")])


class H11Engine:
    """Reads heads with h11; see `HTTP1Engine`."""

    __slots__ = ("_fields", "_judge", "_names", "_statuses", "name")

    def __init__(self) -> None:
        self.name = "h11"
        self._judge = _ask()
        self._statuses: dict[bytes, tuple[int, bytes]] = {}
        self._fields: dict[bytes, tuple[bytes, bytes]] = {}
        # As servers spell them, with what they are in lower case.
        self._names: dict[bytes, bytes] = {}

    def read_head(self, head: bytes) -> tuple[int, bytes, HeaderList]:
        """See `HTTP1Engine.read_head`."""
        lines = head[:-4].split(b"\r\n")
        status_line = lines.pop(0)
        status, reason = self._statuses.get(status_line) or self._read_status(status_line)
        fields: list[Any] = list(map(self._fields.get, lines))
        if None in fields:
            self._read_missing(lines, fields)
        return status, reason, fields

    def _read_status(self, line: bytes) -> tuple[int, bytes]:
        check_characters(line)
        event = _read(_ask(), line + b"\r\n\r\n")
        known = (event.status_code, bytes(event.reason))
        if len(self._statuses) >= _LINES_KEPT:
            self._statuses.clear()
        if len(line) <= _LONGEST_LINE_KEPT:
            self._statuses[line] = known
        return known

    def _read_missing(self, lines: list[bytes], fields: list[Any]) -> None:
        """Fill the gaps in `fields`, by asking h11 where a name is new."""
        unknown = []
        for at, pair in enumerate(fields):
            if pair is None:
                line = lines[at]
                check_characters(line)
                raw_name, colon, value = line.partition(b":")
                name = self._names.get(raw_name) if colon else None
                if name is None or (name in _REWRITTEN and not _is_usual_length(name, value)):
                    unknown.append(at)
                else:
                    fields[at] = self._keep(line, (name, value.strip(b" \t")))
        if unknown:
            self._ask_for(unknown, lines, fields)

    def _ask_for(self, unknown: list[int], lines: list[bytes], fields: list[Any]) -> None:
        names = self._names
        if len(names) >= _NAMES_KEPT:
            names.clear()
        for at, pair in zip(unknown, self._read_fields([lines[at] for at in unknown]), strict=True):
            fields[at] = self._keep(lines[at], pair)
            raw_name = lines[at].partition(b":")[0]
            if len(names) < _NAMES_KEPT and len(raw_name) <= _LONGEST_NAME_KEPT:
                names[raw_name] = pair[0]

    def _keep(self, line: bytes, pair: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
        """Remember a line, unless it is long or may be secret."""
        if len(line) <= _LONGEST_LINE_KEPT and not is_secret(pair[0]):
            if len(self._fields) >= _LINES_KEPT:
                # Most of them were never seen again. Those that are will be back with the next answer.
                self._fields.clear()
            self._fields[line] = pair
        return pair

    def _read_fields(self, lines: list[bytes]) -> HeaderList:
        try:
            # Any number of interim responses may come, so that one h11 connection can judge for ever.
            event = _read(self._judge, _INTERIM + b"\r\n".join(lines) + b"\r\n\r\n")
        except BaseException:
            # What it was given, in part or whole, must not meet the next lines.
            self._judge = _ask()
            raise
        items = event.headers.raw_items()
        if len(items) != len(lines) or self._judge.trailing_data[0]:
            # Equal lengths taken for one, a fold, or what the guards should have refused; none of it stays behind.
            self._judge = _ask()
            raise Refusal("the response is malformed: a line is no header field, or a length stands there twice")
        fields: HeaderList = []
        for line, (raw_name, value) in zip(lines, items, strict=True):
            name = bytes(raw_name).lower()
            if name in _REWRITTEN:
                value = line[len(name) + 1 :].strip(b" \t")
            fields.append((name, bytes(value)))
        return fields


def _is_usual_length(name: bytes, value: bytes) -> bool:
    digits = value.strip(b" \t")
    return name == b"content-length" and digits.isdigit() and len(digits) <= _USUAL_LENGTH


def _ask() -> h11.Connection:
    """A connection on which h11 waits for a response."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(_REQUEST)
    return connection


def _read(connection: h11.Connection, head: bytes) -> InformationalResponse | Response:
    connection.receive_data(head)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise Refusal(f"the response is malformed: {_strip(error)}") from error
    assert isinstance(event, (InformationalResponse, Response))
    return event


def _strip(error: h11.RemoteProtocolError) -> str:
    """h11's words without the peer's bytes, which the error shows bounded and escaped."""
    return str(error).split(":", 1)[0].split(" b'", 1)[0].split(" bytearray", 1)[0][:80]
