"""gzip and deflate, taken off with a bound on every step."""

from __future__ import annotations

import zlib
from typing import Final

from .._errors import DecodingError

#: A gzip body may be several members one after the other; aiohttp's bound.
MAX_MEMBERS: Final = 1024

_GZIP_WBITS: Final = 31
_RAW_WBITS: Final = -15


class _ZlibLayer:
    """What both have in common: a zlib object, and input it has not taken yet."""

    __slots__ = ("_inflater", "_input")

    def __init__(self, wbits: int) -> None:
        self._inflater = zlib.decompressobj(wbits)
        self._input = b""

    def feed(self, data: bytes) -> None:
        self._input += data

    def _inflate(self, max_bytes: int) -> bytes:
        try:
            output = self._inflater.decompress(self._input, max_bytes)
        except zlib.error as error:
            raise corrupt(f"zlib says {error}") from error
        self._input = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail
        return output

    def finish(self) -> None:
        if not self._inflater.eof:
            raise corrupt("it was cut short")


class GzipLayer(_ZlibLayer):
    """One or more gzip members (RFC 1952 §2.2)."""

    __slots__ = ("_members",)

    def __init__(self) -> None:
        super().__init__(_GZIP_WBITS)
        self._members = 1

    def pull(self, max_bytes: int) -> bytes:
        while True:
            if self._inflater.eof:
                if not self._input:
                    return b""
                self._members += 1
                if self._members > MAX_MEMBERS:
                    raise corrupt(f"it has more than {MAX_MEMBERS} gzip members")
                self._inflater = zlib.decompressobj(_GZIP_WBITS)
            output = self._inflate(max_bytes)
            if output or not self._input:
                return output


class DeflateLayer(_ZlibLayer):
    """zlib's format (RFC 9110 §8.4.1.2), or the bare deflate stream that some servers send under this name."""

    __slots__ = ("_is_format_known",)

    def __init__(self) -> None:
        super().__init__(zlib.MAX_WBITS)
        self._is_format_known = False

    def pull(self, max_bytes: int) -> bytes:
        if not self._is_format_known:
            if len(self._input) < 2:
                return b""
            self._is_format_known = True
            if not _is_zlib_header(self._input[0], self._input[1]):
                self._inflater = zlib.decompressobj(_RAW_WBITS)
        while True:
            if self._inflater.eof:
                if self._input:
                    raise corrupt("something follows its end")
                return b""
            output = self._inflate(max_bytes)
            if output or not self._input:
                return output


def _is_zlib_header(method: int, flags: int) -> bool:
    """RFC 1950 §2.2: method 8, a window of at most 32 KiB, and a check over both bytes."""
    return method & 0x0F == 8 and method >> 4 <= 7 and (method << 8 | flags) % 31 == 0


def corrupt(what: str) -> DecodingError:
    """The error of a body that cannot be decoded."""
    return DecodingError(f"the body cannot be decoded: {what}", phase="read")
