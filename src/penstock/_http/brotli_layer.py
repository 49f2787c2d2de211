"""Brotli, where its package is installed; imported only when a body needs it."""

from __future__ import annotations

import brotli  # type: ignore[import-untyped]

from .inflate import corrupt


class BrotliLayer:
    """A brotli stream (RFC 7932). Large windows are an extension that the package refuses by itself."""

    __slots__ = ("_decompressor", "_has_more", "_input", "_output")

    def __init__(self) -> None:
        self._decompressor = brotli.Decompressor()
        if not hasattr(self._decompressor, "can_accept_more_data"):
            raise ImportError("brotli before 1.2 cannot bound its output")
        self._input = b""
        self._output = b""
        self._has_more = False

    def feed(self, data: bytes) -> None:
        self._input += data

    def pull(self, max_bytes: int) -> bytes:
        if not self._output:
            self._output = self._decompress(max_bytes)
        piece, self._output = self._output[:max_bytes], self._output[max_bytes:]
        return piece

    def _decompress(self, about: int) -> bytes:
        decompressor = self._decompressor
        while not decompressor.is_finished():
            data = b""
            # It says that it can accept more while it still holds output; only an empty answer tells.
            if not self._has_more and decompressor.can_accept_more_data():
                if not self._input:
                    return b""
                data, self._input = self._input, b""
            try:
                output: bytes = decompressor.process(data, output_buffer_limit=about)
            except brotli.error as error:
                raise corrupt(f"brotli says {error}") from error
            self._has_more = bool(output)
            if output:
                return output
        if self._input:
            raise corrupt("something follows its end")
        return b""

    def finish(self) -> None:
        if not self._decompressor.is_finished():
            raise corrupt("it was cut short")
