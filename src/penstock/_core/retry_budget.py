"""How many retries an endpoint may get: a share of its requests, and a few a second besides.

Retries are extra load, and they are made when a server has too much of it already. So they are counted against the
requests of the last ten seconds, in slots of one second each: what is counted leaves with its slot.
"""

from __future__ import annotations

from typing import Final

#: Seconds that count; Finagle's window.
WINDOW: Final = 10


class RetryBudget:
    """The requests and retries of one endpoint in the last ten seconds. Requests without a policy are not counted."""

    __slots__ = ("_requests", "_retries", "_second")

    def __init__(self) -> None:
        self._requests = [0] * WINDOW
        self._retries = [0] * WINDOW
        self._second = -WINDOW

    def has_lapsed(self, now: float) -> bool:
        """Whether nothing of it counts any more."""
        return int(now) >= self._second + WINDOW

    def deposit(self, now: float) -> None:
        """A request begins."""
        self._requests[self._slot(now)] += 1

    def withdraw(self, now: float, *, ratio: float, rate: float) -> bool:
        """Ask for one retry; it is counted if it is allowed.

        Args:
            now: the time.
            ratio: retries for each request.
            rate: retries a second besides.
        """
        slot = self._slot(now)
        if sum(self._retries) + 1 > ratio * sum(self._requests) + rate * WINDOW:
            return False
        self._retries[slot] += 1
        return True

    def _slot(self, now: float) -> int:
        """The place of this second, emptied of what was counted a window ago."""
        second = int(now)
        for passed in range(max(self._second + 1, second - WINDOW + 1), second + 1):
            self._requests[passed % WINDOW] = 0
            self._retries[passed % WINDOW] = 0
        self._second = max(self._second, second)
        return second % WINDOW
