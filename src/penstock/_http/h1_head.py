"""The head of one response: found in the bytes here, read by an engine.

No engine is asked where a head ends or what may be large: this file counts bytes and fields (interim responses, head
and trailers share one budget) and checks the version. An engine is given whole heads and nothing else. Everything is
looked at in the order of its bytes, so a verdict is a function of them, never of how they were cut into segments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from .._errors import PEER_SAID_LIMIT, ProtocolReason, RemoteProtocolError
from .exchange import ResponseHead
from .h1_guards import check_framing_fields, first_fault, read_lines
from .h1_judges import Refusal

if TYPE_CHECKING:
    from .h1_lines import HTTP1Engine

#: Interim responses before a final one; Go's clients live with fewer.
MAX_INFORMATIONAL: Final = 16

_VERSIONS: Final = {b"1.1": "HTTP/1.1", b"1.0": "HTTP/1.0"}
_STARTS: Final = (b"HTTP/1.1 ", b"HTTP/1.0 ")
_START_SIZE: Final = 9

#: Line ends of a head that end no field: those of the status line and the blank line.
_LINES_BESIDE_FIELDS: Final = 2


class FinalHead(NamedTuple):
    """A final head, and what its body has to go by.

    Attributes:
        head: what the caller sees.
        fields: the headers by name, whichever of those with one name.
        length: the announced length of the body, None if there is none.
        rest: what followed the head in the bytes.
        size_left: of the budget, for trailers.
        fields_left: of the fields, for trailers.
    """

    head: ResponseHead
    fields: dict[bytes, bytes]
    length: int | None
    rest: bytes
    size_left: int
    fields_left: int


class HeadParser:
    """Finds the final head of one response in bytes that come in any pieces.

    Args:
        engine: reads the heads.
        max_size: bytes of interim responses, head and trailers together.
        max_fields: their header fields together.

    Attributes:
        informational: how many interim responses were skipped.
        continues: whether 100 (Continue) was one of them.
    """

    __slots__ = ("_engine", "_fields_left", "_lines", "_size_left", "_wire", "continues", "informational")

    def __init__(self, engine: HTTP1Engine, max_size: int, max_fields: int) -> None:
        self._engine = engine
        self._size_left = max_size
        self._fields_left = max_fields
        self._wire: bytes | bytearray = b""
        self._lines = 0
        self.informational = 0
        self.continues = False

    def feed(self, data: bytes) -> FinalHead | None:
        """Take bytes that arrived before the final head was complete; None means more are needed.

        Raises:
            RemoteProtocolError: the bytes are no HTTP/1 response, or break a limit.
        """
        known = len(self._wire)
        if known:
            self._wire += data
        else:
            self._wire = data
        try:
            return self._find(known)
        except Refusal as refusal:
            said = bytes(self._wire[: PEER_SAID_LIMIT + 1])
            raise RemoteProtocolError(str(refusal), reason=refusal.reason, peer_said=said) from refusal.__cause__

    def _find(self, known: int) -> FinalHead | None:
        """Look for the end of a head in what came after the first `known` bytes."""
        while True:
            wire = self._wire
            if known < _START_SIZE and not wire.startswith(_STARTS):
                _check_start(bytes(wire[: min(_START_SIZE, self._size_left)]))
            end = wire.find(b"\r\n\r\n", known - 3 if known > 3 else 0)
            stop = end + 4 if end >= 0 else len(wire)
            lines = wire.count(b"\n", known, stop)
            is_clean = lines == wire.count(b"\r\n", known - 1 if known else 0, stop)
            self._lines += lines
            if not is_clean or stop > self._size_left or self._lines > self._fields_left + _LINES_BESIDE_FIELDS:
                fault = first_fault(wire[:stop], self._size_left, self._fields_left + _LINES_BESIDE_FIELDS, "head")
                assert fault is not None
                raise fault
            if end < 0:
                if known == 0:
                    self._wire = bytearray(wire)
                return None
            head = bytes(wire[:stop])
            fields = self._lines - _LINES_BESIDE_FIELDS
            self._lines = 0
            found = self._read(head, fields, bytes(wire[stop:]))
            if found is not None or not self._wire:
                return found
            known = 0

    def _read(self, wire: bytes, lines: int, rest: bytes) -> FinalHead | None:
        """Read one whole head with `lines` lines of fields; None if it was an interim response."""
        if wire[9:12] == b"101" and wire[12:13] in b" \r":
            raise Refusal("the server changes the protocol unasked", ProtocolReason.UPGRADE)
        status, reason, headers = read_lines(self._engine, wire)
        fields = dict(headers)
        length = check_framing_fields(headers, fields)
        self._size_left -= len(wire)
        self._fields_left -= lines
        if status < 200:
            if status < 100:
                raise Refusal("the status of the response is below 100")
            self.informational += 1
            self.continues = self.continues or status == 100
            if self.informational > MAX_INFORMATIONAL:
                raise Refusal(f"there were more than {MAX_INFORMATIONAL} interim responses", ProtocolReason.LIMIT)
            self._wire = rest
            return None
        head = ResponseHead(status, reason, headers, _VERSIONS[wire[5:8]], fields)
        return FinalHead(head, fields, length, rest, self._size_left, self._fields_left)


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
