"""The chunked transfer coding (RFC 9112 §7.1), taken off here rather than by an engine.

llhttp as Python sees it does not say where a message ended, and h11 takes line feeds for line ends in trailers and
anything for an extension: neither lets its user bound the extensions, or find what follows the message, by the bytes
alone. What both accept, and no more, is accepted here.
"""

from __future__ import annotations

import re
from typing import Final

from .._errors import ProtocolReason
from .h1_engines import Refusal
from .h1_guards import first_fault

#: What chunk sizes, extensions and line ends may cost beyond the data and 16 bytes a chunk. Go's number.
CHUNK_OVERHEAD: Final = 16384

#: A chunk size with its extensions.
_LONGEST_LINE: Final = 4096

#: Pieces taken in one call: bounds the time between two looks at the scheduler when chunks are tiny.
_PIECES_PER_CALL: Final = 64

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'

# §7.1.1 without the "bad" white space. A size of 16 digits is 64 bits.
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*+")


class ChunkDecoder:
    """Takes chunks off one body.

    Args:
        max_trailer_size: bytes of the trailers.
        max_trailers: their fields.

    Attributes:
        ended: whether the body and its trailers are complete.
        trailers: their lines, each with its line end, once `ended`.
        has_leftovers: whether bytes followed the end, once `ended`.
    """

    __slots__ = (
        "_at",
        "_buffer",
        "_excess",
        "_has_begun",
        "_in_trailers",
        "_left",
        "_max_trailer_size",
        "_max_trailers",
        "ended",
        "has_leftovers",
        "trailers",
    )

    def __init__(self, *, max_trailer_size: int, max_trailers: int) -> None:
        self._max_trailer_size = max_trailer_size
        self._max_trailers = max_trailers
        self._buffer = b""
        self._at = 0
        self._left = 0
        self._excess = 0
        self._has_begun = False
        self._in_trailers = False
        self.ended = False
        self.has_leftovers = False
        self.trailers = b""

    def feed(self, data: bytes) -> None:
        """Take bytes of the body."""
        if self._at < len(self._buffer):
            data = self._buffer[self._at :] + data
        self._buffer = data
        self._at = 0

    def pull(self, pieces: list[bytes]) -> None:
        """Append what there is, a bounded number of pieces; none means that more bytes are needed, or the end.

        Raises:
            Refusal: the chunks are malformed, or break a limit.
        """
        buffer = self._buffer
        for _ in range(_PIECES_PER_CALL):
            if self._in_trailers:
                self._take_trailers()
                return
            if not self._left and not self._take_size():
                return
            if self._left:
                piece = buffer[self._at : self._at + self._left]
                if not piece:
                    return
                self._at += len(piece)
                self._left -= len(piece)
                pieces.append(piece)

    def _take_size(self) -> bool:
        """Read the line before a chunk, with the line end after the chunk before; False if it is not whole."""
        buffer, at = self._buffer, self._at
        if self._has_begun:
            at += 2
        end = buffer.find(b"\r\n", at, at + _LONGEST_LINE + 2)
        if end < 0:
            if len(buffer) > at + _LONGEST_LINE + 1:
                raise Refusal("a chunk size of the response is longer than allowed", ProtocolReason.LIMIT)
            return False
        if self._has_begun and buffer[at - 2 : at] != b"\r\n":
            raise Refusal("a chunk of the response is not as long as its size")
        match = _SIZE.fullmatch(buffer, at, end)
        if match is None:
            raise Refusal("a chunk size of the response is malformed")
        size = int(match[1], 16)
        self._excess = max(0, self._excess + end + 4 - at - 16 - size)
        if self._excess > CHUNK_OVERHEAD:
            raise Refusal("the chunks of the response are mostly extensions", ProtocolReason.LIMIT)
        self._has_begun = True
        self._left = size
        self._in_trailers = not size
        self._at = end + 2 if size else end
        return True

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
