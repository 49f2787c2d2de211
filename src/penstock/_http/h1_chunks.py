"""The chunked transfer coding (RFC 9112 §7.1), taken off here rather than by an engine.

llhttp as Python sees it does not say where a message ended, and h11 takes line feeds for line ends in trailers and
anything for an extension: neither lets its user bound the extensions, or find what follows the message, by the bytes
alone. What both accept, and no more, is accepted here.
"""

from __future__ import annotations

import re
from typing import Final

from .._errors import ProtocolReason
from .._grammar import TOKEN_PATTERN
from .h1_guards import first_fault
from .h1_judges import Refusal

#: What chunk sizes, extensions and line ends may cost beyond the data and 16 bytes a chunk. Go's number.
CHUNK_OVERHEAD: Final = 16384

#: A chunk size with its extensions.
_LONGEST_LINE: Final = 4096

#: Fewer bytes than this, from the line end before it, are no whole chunk size, and no wrong one yet.
_SHORTEST_LINE: Final = 4

#: Pieces taken in one call: bounds the time between two looks at the scheduler when chunks are tiny.
_PIECES_PER_CALL: Final = 64

_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'

# §7.1.1 without the "bad" white space. A size of 16 digits is 64 bits. The line end before it ends the chunk before.
_SIZE_LINE: Final = re.compile(
    rb"\r\n([0-9A-Fa-f]{1,16})(?:;" + TOKEN_PATTERN + rb"(?:=(?:" + TOKEN_PATTERN + rb"|" + _QUOTED + rb"))?)*+\r\n"
)


class ChunkDecoder:
    """Takes chunks off one body.

    Args:
        max_trailer_size: bytes of the trailers.
        max_trailers: their fields.

    Attributes:
        ended: whether the body and its trailers are complete.
        is_starved: whether `pull` is in vain before more bytes are fed.
        trailers: their lines, each with its line end, once `ended`.
        has_leftovers: whether bytes followed the end, once `ended`.
    """

    __slots__ = (
        "_at",
        "_buffer",
        "_excess",
        "_in_trailers",
        "_left",
        "_max_trailer_size",
        "_max_trailers",
        "ended",
        "has_leftovers",
        "is_starved",
        "trailers",
    )

    def __init__(self, *, max_trailer_size: int, max_trailers: int) -> None:
        self._max_trailer_size = max_trailer_size
        self._max_trailers = max_trailers
        # As if a chunk had ended before the first.
        self._buffer = b"\r\n"
        self._at = 0
        self._left = 0
        self._excess = 0
        self._in_trailers = False
        self.ended = False
        self.is_starved = False
        self.has_leftovers = False
        self.trailers = b""

    def feed(self, data: bytes) -> None:
        """Take bytes of the body."""
        if self._at < len(self._buffer):
            data = self._buffer[self._at :] + data
        self._buffer = data
        self._at = 0
        self.is_starved = False

    def pull(self, pieces: list[bytes]) -> None:
        """Append what there is, a bounded number of pieces; none means that more bytes are needed, or the end.

        Raises:
            Refusal: the chunks are malformed, or break a limit.
        """
        if self._in_trailers:
            self._take_trailers()
            return
        buffer, at, left = self._buffer, self._at, self._left
        for _ in range(_PIECES_PER_CALL):
            if not left:
                if len(buffer) - at < _SHORTEST_LINE:
                    self.is_starved = True
                    break
                match = _SIZE_LINE.match(buffer, at)
                if match is None:
                    _check_cut_line(buffer, at)
                    self.is_starved = True
                    break
                left = int(match[1], 16)
                self._count(match.end() - at, left)
                at = match.end()
                if not left:
                    # The line end of the last chunk may be the first half of the end.
                    self._at = at - 2
                    self._in_trailers = True
                    self._take_trailers()
                    return
            piece = buffer[at : at + left]
            if not piece:
                self.is_starved = True
                break
            at += len(piece)
            left -= len(piece)
            pieces.append(piece)
        if at == len(buffer):
            # A stream that waits keeps nothing of what it has passed on.
            self._buffer, at = b"", 0
        self._at = at
        self._left = left

    def _count(self, line: int, size: int) -> None:
        """Bound the extensions, in one line and in all, which are paid for by data (§7.1.1)."""
        if line > _LONGEST_LINE + 4:
            raise Refusal("a chunk size of the response is longer than allowed", ProtocolReason.LIMIT)
        self._excess += line - 16 - size
        if self._excess < 0:
            self._excess = 0
        elif self._excess > CHUNK_OVERHEAD:
            raise Refusal("the chunks of the response are mostly extensions", ProtocolReason.LIMIT)

    def _take_trailers(self) -> None:
        """Look for the end of the trailers, which begin after the line end at `_at`."""
        buffer, begin = self._buffer, self._at + 2
        end = buffer.find(b"\r\n\r\n", self._at)
        if end == self._at:
            stop = begin + 2
        else:
            stop = end + 4 if end >= 0 else len(buffer)
            lines = buffer[begin:stop]
            # The empty line at the end counts for nothing.
            fault = first_fault(lines, self._max_trailer_size + 2, self._max_trailers + 1, "trailer section")
            if fault is not None:
                raise fault
            if end < 0:
                return
            self.trailers = lines[:-2]
        self.ended = True
        self.has_leftovers = len(buffer) > stop


def _check_cut_line(buffer: bytes, at: int) -> None:
    """Refuse the line at `at`, which is no chunk size, unless it only lacks its end."""
    begin = at + 2
    end = buffer.find(b"\r\n", begin, begin + _LONGEST_LINE + 2)
    if end >= 0:
        if buffer[at:begin] != b"\r\n":
            raise Refusal("a chunk of the response is not as long as its size")
        raise Refusal("a chunk size of the response is malformed")
    if len(buffer) > begin + _LONGEST_LINE + 1:
        raise Refusal("a chunk size of the response is longer than allowed", ProtocolReason.LIMIT)
