"""Which of the connections with room is taken next.

An order holds the connections of one endpoint that could take another exchange. `lifo` takes the one that came back
last, so that surplus ages out; `round_robin` the one that came back first, so that all stay warm; `least_loaded` the
one with the fewest exchanges in flight, and among those the one that has carried the fewest so far.

Where connections carry several exchanges, surplus ages out only if few connections are filled and the others are left
alone. So `lifo` becomes `Packed` there.
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .connection import ConnectionEntry


class ReuseOrder(Protocol):
    """The connections of one endpoint that have room, in the order of the strategy."""

    def add(self, entry: ConnectionEntry) -> None:
        """The connection has room, or its load changed."""

    def restore(self, entry: ConnectionEntry) -> None:
        """The connection is back from a probe, and counts as idle for long as before."""

    def discard(self, entry: ConnectionEntry) -> None:
        """The connection has no room any more; no-op if it is not here."""

    def choose(self) -> ConnectionEntry | None:
        """The connection to take next; it stays in the order."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[ConnectionEntry]: ...


class NewestFirst(OrderedDict["ConnectionEntry", None]):
    """`lifo`."""

    def add(self, entry: ConnectionEntry) -> None:
        """Put it last: it is the newest."""
        self[entry] = None
        self.move_to_end(entry)

    def restore(self, entry: ConnectionEntry) -> None:
        """Put it first: a probe must not make it look newer than what was used meanwhile."""
        self[entry] = None
        self.move_to_end(entry, last=False)

    def discard(self, entry: ConnectionEntry) -> None:
        """Take it out if it is here."""
        self.pop(entry, None)

    def choose(self) -> ConnectionEntry | None:
        """The one that came last."""
        return next(reversed(self), None)


class OldestFirst(NewestFirst):
    """`round_robin`."""

    def choose(self) -> ConnectionEntry | None:
        """The one that came first."""
        return next(iter(self), None)


class LeastLoaded:
    """`least_loaded`: a heap with lazy removal, O(log n)."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, ConnectionEntry]] = []
        self._keys: dict[ConnectionEntry, tuple[int, int, int]] = {}

    def key(self, entry: ConnectionEntry) -> tuple[int, int, int]:
        """What the connections are sorted by; unlike that of any other."""
        return (entry.in_use, entry.exchanges, entry.id)

    def add(self, entry: ConnectionEntry) -> None:
        """Sort it in by its present load."""
        key = self.key(entry)
        if self._keys.get(entry) != key:
            self._keys[entry] = key
            heappush(self._heap, (*key, entry))
            self._compact()

    def restore(self, entry: ConnectionEntry) -> None:
        """Its load is what it was."""
        self.add(entry)

    def discard(self, entry: ConnectionEntry) -> None:
        """Forget it; its record in the heap dies when it surfaces, or in a clean-up."""
        if self._keys.pop(entry, None) is not None:
            self._compact()

    def choose(self) -> ConnectionEntry | None:
        """The one with the smallest key."""
        while self._heap:
            record = self._heap[0]
            if self._keys.get(record[3]) == record[:3]:
                return record[3]
            heappop(self._heap)
        return None

    def _compact(self) -> None:
        if len(self._heap) > 2 * len(self._keys) + 64:
            self._heap = [(*key, live) for live, key in self._keys.items()]
            heapify(self._heap)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[ConnectionEntry]:
        return iter(self._keys)


class Packed(LeastLoaded):
    """`lifo` where connections carry several exchanges: the oldest first, up to so many each; then the least loaded."""

    def __init__(self, soft_limit: int, entries: Iterable[ConnectionEntry]) -> None:
        super().__init__()
        self._soft_limit = soft_limit
        for entry in entries:
            self.add(entry)

    def key(self, entry: ConnectionEntry) -> tuple[int, int, int]:
        """All below the soft limit are alike; their age decides."""
        return (0 if entry.in_use < self._soft_limit else entry.in_use, 0, entry.id)


def reuse_order(name: str) -> ReuseOrder:
    """An empty order of the named strategy."""
    return _ORDERS[name]()


_ORDERS: dict[str, type[NewestFirst | LeastLoaded]] = {
    "lifo": NewestFirst,
    "round_robin": OldestFirst,
    "least_loaded": LeastLoaded,
}
