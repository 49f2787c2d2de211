"""One heap for everything that has a time: connections, waiters, endpoints.

Each subject has at most one live record, and `subject.timer_at` says when it is due. A wish for a later time than the
record leaves the record alone: it fires early, the owner looks again and asks for the rest. So a connection that is
used a thousand times before it expires costs one record, not a thousand. Records of subjects that were cancelled stay
in the heap until they surface or until they outnumber the live ones.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

INF = float("inf")

#: Below this many dead records a clean-up is not worth its cost.
_COMPACT_ABOVE = 64


class Timed(Protocol):
    """A subject with a slot for its due time."""

    timer_at: float


Subject = TypeVar("Subject", bound=Timed)


class Timers(Generic[Subject]):
    """A heap of due times with lazy removal; every operation is O(log n) amortised."""

    __slots__ = ("_heap", "_live", "_serial")

    def __init__(self) -> None:
        # A record lives while its time is the subject's. The same time may have been asked for before: whichever record
        # of it surfaces first counts, and the others are dead from then on.
        self._heap: list[tuple[float, int, Subject]] = []
        # How many subjects have a due time.
        self._live = 0
        self._serial = 0

    def schedule(self, subject: Subject, at: float) -> bool:
        """Make the subject due at `at` or earlier. Returns whether it became due earlier than before."""
        if at >= subject.timer_at:
            return False
        if subject.timer_at == INF:
            self._live += 1
        subject.timer_at = at
        self._serial += 1
        heappush(self._heap, (at, self._serial, subject))
        self._compact()
        return True

    def cancel(self, subject: Subject) -> None:
        """The subject is no longer due at all."""
        if subject.timer_at != INF:
            subject.timer_at = INF
            self._live -= 1
            self._compact()

    def due(self, now: float) -> Iterator[Subject]:
        """Take out every subject that is due, oldest first; its `timer_at` is reset before it is yielded."""
        while self._heap and self._heap[0][0] <= now:
            at, _, subject = heappop(self._heap)
            if subject.timer_at == at:
                subject.timer_at = INF
                self._live -= 1
                yield subject

    @property
    def next_at(self) -> float:
        """When the earliest live record is due; infinity if there is none."""
        while self._heap:
            at, _, subject = self._heap[0]
            if subject.timer_at == at:
                return at
            heappop(self._heap)
        return INF

    def _compact(self) -> None:
        if len(self._heap) > 2 * self._live + _COMPACT_ABOVE:
            self._heap = list({record[2]: record for record in self._heap if record[2].timer_at == record[0]}.values())
            heapify(self._heap)
