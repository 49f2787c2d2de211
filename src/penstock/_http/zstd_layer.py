"""Zstandard, where its package is installed; imported only when a body needs it.

The package has no bound on the output of a step, but the format has: a block holds at most 128 KiB. So the input is
cut at its blocks (RFC 8878 §3.1.1), and the package is given one block at a time.
"""

from __future__ import annotations

from typing import Final

import zstandard

from .inflate import MAX_MEMBERS, corrupt

#: RFC 9659: what a client must support, and the most a server may use.
MAX_WINDOW: Final = 8 << 20

_MAGIC: Final = 0xFD2FB528
_SKIPPABLE: Final = 0x184D2A50
_RLE: Final = 1
_RESERVED: Final = 3


class ZstdLayer:
    """One or more zstd frames."""

    __slots__ = ("_cutter", "_frame", "_frames", "_input", "_output")

    def __init__(self) -> None:
        self._input = b""
        self._output = b""
        self._frames = 0
        self._cutter = BlockCutter()
        self._frame: zstandard.ZstdDecompressionObj | None = None

    def feed(self, data: bytes) -> None:
        self._input += data

    def pull(self, max_bytes: int) -> bytes:
        at = 0
        while not self._output:
            step = self._cutter.cut(self._input, at)
            if not step:
                break
            self._output = self._decompress(self._input[at : at + step])
            at += step
        self._input = self._input[at:]
        piece, self._output = self._output[:max_bytes], self._output[max_bytes:]
        return piece

    def _decompress(self, data: bytes) -> bytes:
        if self._frame is None:
            self._frames += 1
            if self._frames > MAX_MEMBERS:
                raise corrupt(f"it has more than {MAX_MEMBERS} zstd frames")
            self._frame = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj()
        try:
            output = self._frame.decompress(data)
        except zstandard.ZstdError as error:
            raise corrupt(f"zstd says {error}") from error
        if self._cutter.is_between_frames:
            self._frame = None
        return output

    def finish(self) -> None:
        if self._input or not self._cutter.is_between_frames:
            raise corrupt("it was cut short")


class BlockCutter:
    """Knows where the next block of a zstd stream ends.

    Attributes:
        is_between_frames: whether what was cut so far is whole frames.
    """

    __slots__ = ("_has_checksum", "_is_last", "_left", "is_between_frames")

    def __init__(self) -> None:
        self.is_between_frames = True
        self._left = 0
        self._is_last = False
        self._has_checksum = False

    def cut(self, data: bytes, at: int) -> int:
        """How many bytes of `data` from `at` may be given on in one step; 0 if more are needed first."""
        if not self._left:
            self._left = self._begin_frame(data, at) if self.is_between_frames else self._begin_block(data, at)
        step = min(self._left, len(data) - at)
        self._left -= step
        if not self._left and self._is_last:
            self._is_last = False
            self.is_between_frames = True
        return step

    def _begin_frame(self, data: bytes, at: int) -> int:
        """Size of the frame header, or of a whole skippable frame."""
        if len(data) - at < 5:
            return 0
        magic = int.from_bytes(data[at : at + 4], "little")
        if magic & 0xFFFFFFF0 == _SKIPPABLE:
            if len(data) - at < 8:
                return 0
            self.is_between_frames = False
            self._is_last = True
            return 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        if magic != _MAGIC:
            raise corrupt("there is no zstd frame where one should begin")
        descriptor = data[at + 4]
        is_single = descriptor >> 5 & 1
        self._has_checksum = bool(descriptor >> 2 & 1)
        self.is_between_frames = False
        content_size = (is_single, 2, 4, 8)[descriptor >> 6]
        return 5 + (1 - is_single) + (0, 1, 2, 4)[descriptor & 3] + content_size

    def _begin_block(self, data: bytes, at: int) -> int:
        """Size of the next block with its header, and with the checksum if it is the last."""
        if len(data) - at < 3:
            return 0
        header = int.from_bytes(data[at : at + 3], "little")
        kind = header >> 1 & 3
        if kind == _RESERVED:
            raise corrupt("it has a zstd block of an unknown kind")
        self._is_last = bool(header & 1)
        checksum = 4 if self._is_last and self._has_checksum else 0
        return 3 + (1 if kind == _RLE else header >> 3) + checksum
