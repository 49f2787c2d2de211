"""Streams that were reset from our side, until the server is known to have seen it.

A server counts a stream until it has seen its reset, so its place must not be given to another one before. Frames are
answered in order: the answer to a PING that was sent after a reset proves that the reset was seen. Many resets share
one PING; those that come while it is under way wait for the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._errors import ProtocolReason
from .bucket import Bucket
from .h2_frames import Code, ConnectionFault

if TYPE_CHECKING:
    from .._http2_config import HTTP2Config


class Resets:
    """The resets of one connection, and how many more it may see.

    Args:
        config: the budget.
        now: the time.
    """

    __slots__ = ("_budget", "_new", "_pinged")

    def __init__(self, config: HTTP2Config, now: float) -> None:
        self._budget = None if config.reset_burst is None else Bucket(config.reset_burst, config.reset_rate, now)
        # With what is left of each stream's window.
        self._new: dict[int, int] = {}
        self._pinged: dict[int, int] = {}

    def __contains__(self, stream: int) -> bool:
        """Whether the server may not have seen the stream's reset yet, so that frames on it are only late."""
        return stream in self._new or stream in self._pinged

    def __len__(self) -> int:
        """Resets that may not have been seen."""
        return len(self._new) + len(self._pinged)

    @property
    def wants_ping(self) -> bool:
        """Whether a PING would tell something new."""
        return bool(self._new)

    def add(self, stream: int, window: int, now: float) -> bool:
        """A stream was reset that had so much of its window left; whether that was within the budget."""
        self._new[stream] = window
        return self._budget is None or self._budget.take(now)

    def pinged(self) -> None:
        """A PING follows the resets so far."""
        self._pinged.update(self._new)
        self._new.clear()

    def answered(self) -> int:
        """The PING was answered: how many resets the server has seen by that."""
        seen = len(self._pinged)
        self._pinged.clear()
        return seen

    def arrived(self, stream: int, size: int) -> None:
        """Late content came; no-op for a stream that is not here.

        Raises:
            ConnectionFault: more than the stream's window allowed when it was reset.
        """
        for windows in (self._new, self._pinged):
            if stream in windows:
                windows[stream] -= size
                if windows[stream] < 0:
                    raise ConnectionFault(
                        Code.FLOW_CONTROL_ERROR, ProtocolReason.FRAMING, "more content than a stream's window allowed"
                    )

    def ended(self, stream: int) -> bool:
        """The server has ended the stream by itself; whether that frees a place."""
        if stream in self._new:
            del self._new[stream]
        elif stream in self._pinged:
            del self._pinged[stream]
        else:
            return False
        return True
