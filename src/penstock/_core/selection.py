"""Which of the connections with room is taken next.

An order holds the connections of one endpoint that could take another exchange. `lifo` takes the one that came back
last, so that surplus ages out; `round_robin` the one that came back first, so that all stay warm; `least_loaded` the
one with the fewest exchanges in flight, and among those the one that has carried the fewest so far.

A host among thousands is seldom in the processor's caches, and each object that is looked at has to be fetched. So the
usual orders keep nothing of their own: they go through the endpoint and its connections, which whoever takes a
connection needs anyway.

Where connections carry several exchanges, surplus ages out only if few connections are filled and the others are left
alone. So `lifo` becomes `Packed` there.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .connection import ConnectionEntry
    from .endpoint import Endpoint


class ReuseOrder(Protocol):
    """The connections of an endpoint that have room, in the order of the strategy."""

    def add(self, entry: ConnectionEntry) -> None:
        """The connection has room, or its load changed."""

    def restore(self, entry: ConnectionEntry) -> None:
        """The connection is back from a probe, and counts as idle for long as before."""

    def discard(self, entry: ConnectionEntry) -> None:
        """The connection has no room any more; no-op if it is not here."""

    def pop(self, endpoint: Endpoint) -> ConnectionEntry | None:
        """Take out the connection to use next; whoever uses it adds it again if it still has room."""

    def all(self, endpoint: Endpoint) -> Iterator[ConnectionEntry]:
        """All of them."""


class NewestFirst:
    """`lifo`: a ring from the endpoint through the one that came first to the one that came last."""

    __slots__ = ()

    def add(self, entry: ConnectionEntry) -> None:
        """Put it last: it is the newest."""
        if entry.ready_after is not None:
            self.discard(entry)
        endpoint = entry.endpoint
        entry.ready_before = last = endpoint.ready_before
        entry.ready_after = endpoint
        last.ready_after = endpoint.ready_before = entry

    def restore(self, entry: ConnectionEntry) -> None:
        """Put it first: a probe must not make it look newer than what was used meanwhile."""
        endpoint = entry.endpoint
        entry.ready_before = endpoint
        entry.ready_after = first = endpoint.ready_after
        first.ready_before = endpoint.ready_after = entry

    def discard(self, entry: ConnectionEntry) -> None:
        """Take it out if it is here."""
        before, after = entry.ready_before, entry.ready_after
        if after is not None:
            before.ready_after = after
            after.ready_before = before
            entry.ready_before = entry.ready_after = None

    def pop(self, endpoint: Endpoint) -> ConnectionEntry | None:
        """The one that came last."""
        if endpoint.ready_before is endpoint:
            return None
        last: ConnectionEntry = endpoint.ready_before
        endpoint.ready_before = before = last.ready_before
        before.ready_after = endpoint
        last.ready_before = last.ready_after = None
        return last

    def all(self, endpoint: Endpoint) -> Iterator[ConnectionEntry]:
        """From the first to the last."""
        entry = endpoint.ready_after
        while entry is not endpoint:
            yield entry
            entry = entry.ready_after


class OldestFirst(NewestFirst):
    """`round_robin`."""

    __slots__ = ()

    def pop(self, endpoint: Endpoint) -> ConnectionEntry | None:
        """The one that came first."""
        if endpoint.ready_after is endpoint:
            return None
        first: ConnectionEntry = endpoint.ready_after
        self.discard(first)
        return first


#: Bits of a connection's number in a key, and of how many exchanges it has carried.
_BITS = 64
_NUMBER = (1 << _BITS) - 1


class LeastLoaded:
    """`least_loaded`: a heap with lazy removal, O(log n).

    The one to use next stands outside of it, for often it has just come and goes again at once: a walk through the heap
    meets many numbers that no cache holds.
    """

    __slots__ = ("_first", "_heap", "_listed")

    def __init__(self) -> None:
        # None while it is not known; then it is in the heap, if there is any.
        self._first: ConnectionEntry | None = None
        # Plain numbers, for they are compared often. One is live while it is the `ready_key` of the connection whose
        # number it ends in.
        self._heap: list[int] = []
        self._listed: dict[int, ConnectionEntry] = {}

    def key(self, entry: ConnectionEntry) -> int:
        """What the connections are sorted by; unlike that of any other."""
        return ((entry.in_use << _BITS) + entry.exchanges << _BITS) + entry.id

    def add(self, entry: ConnectionEntry) -> None:
        """Sort it in by its present load."""
        key = self.key(entry)
        if entry.ready_key == key:
            return
        if entry is self._first:
            self._first = None
        entry.ready_key = key
        self._listed[entry.id] = entry
        first = self._first
        if first is None:
            if not self._heap or key <= self._heap[0]:
                self._first = entry
                return
        elif first.ready_key > key:
            self._first, key = entry, first.ready_key
        heappush(self._heap, key)
        self._compact()

    def restore(self, entry: ConnectionEntry) -> None:
        """Its load is what it was."""
        self.add(entry)

    def discard(self, entry: ConnectionEntry) -> None:
        """Forget it; its key in the heap dies when it surfaces, or in a clean-up."""
        if entry.ready_key is not None:
            if entry is self._first:
                self._first = None
            entry.ready_key = None
            del self._listed[entry.id]
            self._compact()

    def pop(self, _: Endpoint) -> ConnectionEntry | None:
        """The one with the smallest key."""
        entry, self._first = self._first, None
        while entry is None:
            if not self._heap:
                return None
            key = heappop(self._heap)
            entry = self._listed.get(key & _NUMBER)
            if entry is not None and entry.ready_key != key:
                entry = None
        entry.ready_key = None
        del self._listed[entry.id]
        return entry

    def _compact(self) -> None:
        if len(self._heap) > 2 * len(self._listed) + 64:
            self._heap = [entry.ready_key for entry in self._listed.values() if entry is not self._first]
            heapify(self._heap)

    def all(self, _: Endpoint) -> Iterator[ConnectionEntry]:
        """In no order."""
        return iter(self._listed.values())


class Packed(LeastLoaded):
    """`lifo` where connections carry several exchanges: the oldest first, up to so many each; then the least loaded."""

    __slots__ = ("_soft_limit",)

    def __init__(self, soft_limit: int, entries: Iterable[ConnectionEntry]) -> None:
        super().__init__()
        self._soft_limit = soft_limit
        for entry in entries:
            self.add(entry)

    def key(self, entry: ConnectionEntry) -> int:
        """All below the soft limit are alike; their age decides."""
        return entry.id if entry.in_use < self._soft_limit else (entry.in_use << _BITS) + entry.id


NEWEST_FIRST = NewestFirst()
_OLDEST_FIRST = OldestFirst()


def reuse_order(name: str) -> ReuseOrder:
    """The order of the named strategy, for an endpoint without connections."""
    return _ORDERS[name]()


_ORDERS: dict[str, Callable[[], ReuseOrder]] = {
    "lifo": lambda: NEWEST_FIRST,
    "round_robin": lambda: _OLDEST_FIRST,
    "least_loaded": LeastLoaded,
}
