"""Who reads the heads of HTTP/1.1 responses, and which parser a pool uses for it.

An engine is given one whole head at a time, which has passed the guards, and says what stands in it. Where a message
ends, and what its body is, no engine decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from .._errors import ProtocolReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._types import HeaderList, HTTP1EngineChoice


#: An API's answers have a dozen lines that come back, and a few that never do.
_LINES_KEPT: Final = 512
_LONGEST_LINE_KEPT: Final = 256

#: Secret, and never twice the same.
_NEVER_KEPT: Final = (b"set-cookie", b"set-cookie2")


# RFC 9110 §5.5 lets a recipient refuse control characters; llhttp does, and one rule must hold for every parser.
_PRINTABLE: Final = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))


class Refusal(Exception):
    """Something that the peer sent will not do; the parser turns it into an error that quotes the peer.

    Attributes:
        reason: what kind of rule it breaks.
    """

    def __init__(self, message: str, reason: ProtocolReason = ProtocolReason.FRAMING) -> None:
        super().__init__(message)
        self.reason = reason


class LineReader(Protocol):
    """A parser, as far as it is asked. It keeps nothing from one call to the next that could change a verdict.

    Attributes:
        name: as in `PoolConfig.http1_engine`.
    """

    name: str

    def read_status(self, line: bytes) -> tuple[int, bytes]:
        """Read a status line that begins with "HTTP/1.1 " or "HTTP/1.0 ": the status and the reason phrase.

        Raises:
            Refusal: it is malformed.
        """
        ...

    def read_fields(self, lines: Sequence[bytes]) -> HeaderList:
        """Read header fields: a pair for each line, its name in lower case, its value as sent without edge white space.

        Args:
            lines: at least one, without line ends and without control characters but HTAB.

        Raises:
            Refusal: one is malformed, or a fold.
        """
        ...


class HTTP1Engine:
    """Reads heads, each line once: most lines of most answers are the same as in the answer before.

    Parsers judge each line of a head by itself; only several framing fields concern each other, and those are refused
    for every parser. So a line that was accepted is remembered with what was read. What is remembered can only accept:
    every refusal is the parser's own. One engine serves one pool, and so one thread.

    Attributes:
        name: that of the parser.
    """

    __slots__ = ("_fields", "_reader", "_statuses", "name")

    def __init__(self, reader: LineReader) -> None:
        self.name = reader.name
        self._reader = reader
        self._statuses: dict[bytes, tuple[int, bytes]] = {}
        self._fields: dict[bytes, tuple[bytes, bytes]] = {}

    def read_head(self, lines: list[bytes]) -> tuple[int, bytes, HeaderList]:
        """Read a head.

        Args:
            lines: the status line, which begins with "HTTP/1.1 " or "HTTP/1.0 ", and the header fields, all without
                their line ends. The list is used up.

        Returns:
            The status, the reason phrase, and one pair for each field.

        Raises:
            Refusal: a line is malformed, a fold, or has a control character.
        """
        status_line = lines.pop(0)
        status, reason = self._statuses.get(status_line) or self._read_status(status_line)
        fields: list[Any] = list(map(self._fields.get, lines))
        if None in fields:
            self._read_missing(lines, fields)
        return status, reason, fields

    def _read_status(self, line: bytes) -> tuple[int, bytes]:
        _check_characters(line)
        known = self._reader.read_status(line)
        if len(self._statuses) < _LINES_KEPT and len(line) <= _LONGEST_LINE_KEPT:
            self._statuses[line] = known
        return known

    def _read_missing(self, lines: list[bytes], fields: list[Any]) -> None:
        """Fill the gaps in `fields` by asking the parser."""
        unknown: list[bytes] = []
        gaps: list[int] = []
        at = -1
        for _ in range(fields.count(None)):
            at = fields.index(None, at + 1)
            gaps.append(at)
            unknown.append(lines[at])
        _check_characters(b"".join(unknown))
        known = self._fields
        if len(known) >= _LINES_KEPT:
            # Most of them were never seen again. Those that are will be back with the next answer.
            known.clear()
        for at, line, pair in zip(gaps, unknown, self._reader.read_fields(unknown), strict=True):
            fields[at] = pair
            if len(line) <= _LONGEST_LINE_KEPT and pair[0] not in _NEVER_KEPT:
                known[line] = pair


def _check_characters(text: bytes) -> None:
    if text.translate(None, _PRINTABLE):
        raise Refusal("the head of the response has a control character")


def make_engine(choice: HTTP1EngineChoice = "auto") -> HTTP1Engine:
    """Make the engine of a pool.

    Raises:
        ImportError: httptools was asked for, and is not installed or too old.
    """
    if choice != "h11":
        try:
            from .h1_httptools import HttptoolsReader

            return HTTP1Engine(HttptoolsReader())
        except ImportError:
            if choice == "httptools":
                raise
    from .h1_h11 import H11Reader

    return HTTP1Engine(H11Reader())
