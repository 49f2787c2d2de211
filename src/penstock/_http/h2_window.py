"""The window by which the server may send content on a whole connection (RFC 9113 §6.9).

It is credited as content arrives, not as it is read: what waits for readers is bounded by the windows of their
streams, and one who does not read must not hold up the others.
"""

from __future__ import annotations

from .._errors import ProtocolReason
from .h2_frames import DEFAULT_WINDOW, LARGEST_WINDOW, Code, ConnectionFault


class ReceiveWindow:
    """The connection's window.

    Args:
        batch: bytes that are credited at a time, or half the window if that is less.
    """

    __slots__ = ("_batch", "_left", "_size", "_uncredited")

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._size = self._left = DEFAULT_WINDOW
        self._uncredited = 0

    def grow(self, size: int) -> int:
        """Make the window at least so large; by how much the server has to be told, 0 if it is large enough."""
        growth = min(size, LARGEST_WINDOW) - self._size
        if growth <= 0:
            return 0
        self._size += growth
        self._left += growth
        return growth

    def arrived(self, size: int) -> None:
        """Content, or its padding, has arrived.

        Raises:
            ConnectionFault: the server had no right to send so much.
        """
        self._left -= size
        self._uncredited += size
        if self._left < 0:
            raise ConnectionFault(
                Code.FLOW_CONTROL_ERROR, ProtocolReason.FRAMING, "more content than the connection's window allows"
            )

    def credit(self) -> int:
        """How much the server has to be told of; 0 as long as a batch is not full."""
        if self._uncredited < min(self._batch, self._size // 2):
            return 0
        credit, self._uncredited = self._uncredited, 0
        self._left += credit
        return credit
