"""How much of something is allowed: a burst, and a rate after it."""

from __future__ import annotations


class Bucket:
    """A token bucket. Time is a parameter, so it needs no clock.

    Args:
        burst: how many at once.
        rate: how many a second after that.
        now: the time.
    """

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, burst: float, rate: float, now: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left = burst
        self._at = now

    def take(self, now: float) -> bool:
        """Take one; whether there was one."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
