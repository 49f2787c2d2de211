"""When a connection is asked for a sign of life, and how long the answer may take.

A PING serves three ends: it finds out that a connection is dead before a request is sent on it (after it was idle for
`ping_idle` seconds) or while streams wait in silence (after `ping_interval` seconds), and it tells which resets the
server has seen, because frames are answered in order. Every byte that arrives is a sign of life, whatever it says; only
silence ends a connection.
"""

from __future__ import annotations

from typing import Final

from .._core.timers import INF

#: What the pause between two PINGs becomes at the first call for calm, before it doubles.
_FIRST_GAP: Final = 1.0
_LONGEST: Final = 300.0


class PingPace:
    """How often a server is asked; shared by all connections to it, so that its call for calm is remembered.

    Args:
        interval: seconds of silence with streams in flight after which it is asked; None for never.

    Attributes:
        gap: least number of seconds between two PINGs of a connection.
    """

    __slots__ = ("gap", "interval")

    def __init__(self, interval: float | None) -> None:
        self.interval = INF if interval is None else interval
        self.gap = 0.0

    def slow_down(self) -> None:
        """The server said ENHANCE_YOUR_CALM, which is what it says to PINGs that come too often."""
        self.interval = min(self.interval * 2, max(self.interval, _LONGEST))
        self.gap = min(max(self.gap * 2, _FIRST_GAP), _LONGEST)


class Pings:
    """The PINGs of one connection: what was sent, and when the next thing is due.

    Args:
        pace: of the server.
        timeout: seconds within which something has to arrive after a PING.
        now: the time.

    Attributes:
        heard_at: when something arrived last.
        sent_at: when the PING was sent that waits for its answer; infinity if none does.
    """

    __slots__ = ("_last_sent_at", "_pace", "_timeout", "heard_at", "sent_at")

    def __init__(self, pace: PingPace, timeout: float, now: float) -> None:
        self._pace = pace
        self._timeout = timeout
        self._last_sent_at = -INF
        self.heard_at = now
        self.sent_at = INF

    def heard(self, now: float) -> None:
        """Something arrived."""
        self.heard_at = now

    def answered(self) -> None:
        """The answer arrived."""
        self.sent_at = INF

    def sent(self, now: float) -> None:
        """A PING was sent."""
        self.sent_at = self._last_sent_at = now

    @property
    def waits(self) -> bool:
        """Whether an answer is outstanding."""
        return self.sent_at != INF

    def may_send(self, now: float) -> bool:
        """Whether another PING would not come too soon."""
        return not self.waits and now >= self._last_sent_at + self._pace.gap

    def next_look(self, *, in_flight: bool, wanted: bool) -> float:
        """When to look again.

        Args:
            in_flight: whether there are streams.
            wanted: whether a PING is wanted that `may_send` forbade.
        """
        if self.waits:
            return max(self.sent_at, self.heard_at) + self._timeout
        at = INF
        if in_flight:
            at = max(self.heard_at + self._pace.interval, self._last_sent_at + self._pace.gap)
        if wanted:
            at = min(at, self._last_sent_at + self._pace.gap)
        return at

    def is_dead(self, now: float) -> bool:
        """Whether the answer is overdue, and nothing else has arrived meanwhile."""
        return self.waits and now >= max(self.sent_at, self.heard_at) + self._timeout

    def is_due(self, now: float, *, in_flight: bool) -> bool:
        """Whether the silence asks for a PING."""
        return in_flight and self.may_send(now) and now >= self.heard_at + self._pace.interval
