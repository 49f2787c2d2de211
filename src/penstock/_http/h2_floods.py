"""Frames that cost us more than they are worth, counted (RFC 9113 §10.5).

A few frames without use are common; a flood of them is an attack, and ends the connection with ENHANCE_YOUR_CALM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._errors import ProtocolReason
from .bucket import Bucket
from .h2_frames import Code, ConnectionFault, Kind

if TYPE_CHECKING:
    from .._http2_config import HTTP2Config

# Envoy's formula for how many WINDOW_UPDATE frames are of use.
_UPDATES_AT_FIRST: Final = 5
_UPDATES_PER_STREAM: Final = 2
_UPDATES_PER_DATA: Final = 20


class Floods:
    """What one connection has been sent without use.

    Args:
        config: the limits.
        now: the time.
    """

    __slots__ = ("_empty_data", "_glitches", "_max_empty_data", "_resets_left", "_updates_left")

    def __init__(self, config: HTTP2Config, now: float) -> None:
        self._glitches = Bucket(config.glitch_burst, config.glitch_rate, now)
        self._max_empty_data = config.max_empty_data
        self._empty_data = 0
        self._updates_left = _UPDATES_AT_FIRST
        self._resets_left = 0

    def stream_opened(self) -> None:
        """A stream was opened, and its window may be updated."""
        self._updates_left += _UPDATES_PER_STREAM
        self._resets_left += 1

    def data_sent(self) -> None:
        """Content was sent, and its windows may be updated."""
        self._updates_left += _UPDATES_PER_DATA

    def glitch(self, now: float) -> None:
        """A frame without use came.

        Raises:
            ConnectionFault: they are too many.
        """
        if not self._glitches.take(now):
            raise _flood("frames without use", "glitch_burst")

    def window_update(self, now: float) -> None:
        """A WINDOW_UPDATE came; those beyond need are without use.

        Raises:
            ConnectionFault: they are too many.
        """
        if self._updates_left:
            self._updates_left -= 1
        else:
            self.glitch(now)

    def late(self, kind: Kind, now: float, *, is_expected: bool) -> None:
        """A frame came on a stream that has ended here.

        Args:
            kind: of the frame. DATA that was on its way is expected; a WINDOW_UPDATE is counted as such; and each
                stream may be reset once after its end, as servers do that do not want the rest of a request
                (RFC 9113 §8.1).
            now: the time.
            is_expected: whether the server may not have seen our reset of the stream.

        Raises:
            ConnectionFault: they are too many.
        """
        if kind is Kind.WINDOW_UPDATE or (kind is Kind.DATA and is_expected):
            return
        if kind is Kind.RST_STREAM and self._resets_left:
            self._resets_left -= 1
        else:
            self.glitch(now)

    def data(self, *, is_empty: bool) -> None:
        """A DATA frame came; an empty one holds nothing and ends nothing.

        Raises:
            ConnectionFault: there were too many empty ones in a row.
        """
        if not is_empty:
            self._empty_data = 0
            return
        self._empty_data += 1
        if self._empty_data > self._max_empty_data:
            raise _flood("empty DATA frames", "max_empty_data")


def _flood(of: str, limit: str) -> ConnectionFault:
    return ConnectionFault(Code.ENHANCE_YOUR_CALM, ProtocolReason.LIMIT, f"a flood of {of}", limit=limit)
