"""h11 as a judge of lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import h11
from h11 import InformationalResponse, Response

from .h1_judges import Refusal

if TYPE_CHECKING:
    from .._types import HeaderList

#: h11 normalises these, while here every value stays as sent, for the framing to judge.
_REWRITTEN: Final = (b"content-length", b"transfer-encoding")

_INTERIM: Final = b"HTTP/1.1 103 \r\n"
_REQUEST: Final = h11.Request(method=b"GET", target=b"/", headers=[(b"Host", b"-")])


class H11Judge:
    """See `Judge`."""

    __slots__ = ("_connection", "name")

    def __init__(self) -> None:
        self.name = "h11"
        self._connection = _ask()

    def read_status(self, line: bytes) -> tuple[int, bytes]:
        """See `Judge.read_status`."""
        event = _read(_ask(), line + b"\r\n\r\n")
        return event.status_code, bytes(event.reason)

    def read_fields(self, lines: list[bytes]) -> HeaderList:
        """See `Judge.read_fields`."""
        try:
            # Any number of interim responses may come, so that one h11 connection can judge for ever.
            event = _read(self._connection, _INTERIM + b"\r\n".join(lines) + b"\r\n\r\n")
        except BaseException:
            # What it was given, in part or whole, must not meet the next lines.
            self._connection = _ask()
            raise
        items = event.headers.raw_items()
        if len(items) != len(lines) or self._connection.trailing_data[0]:
            # Equal lengths taken for one, a fold, or what the guards should have refused; none of it stays behind.
            self._connection = _ask()
            raise Refusal("the response is malformed: a line is no header field, or a length stands there twice")
        fields: HeaderList = []
        for line, (raw_name, value) in zip(lines, items, strict=True):
            name = bytes(raw_name).lower()
            if name in _REWRITTEN:
                value = line[len(name) + 1 :].strip(b" \t")
            fields.append((name, bytes(value)))
        return fields


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
