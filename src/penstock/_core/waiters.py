"""Who waits for a connection of an upstream, and who is next.

Order: the lowest priority number first; inside one class the tenants take turns; inside one tenant strictly first
come, first served. Every waiter ends exactly once. Joining, leaving and being served are O(1).

Beside the order of service the queue remembers which waiters no dial runs for (see `covering`): that is what the dial
planner serves, and what decides which upstream gets a freed slot of the total.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from enum import IntEnum
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from .covering import Covering
from .timers import INF

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .connection import ConnectionEntry
    from .endpoint import Endpoint


class WaiterState(IntEnum):
    """How a waiter stands; everything after QUEUED is an end."""

    NEW = 0
    QUEUED = 1
    DELIVERED = 2
    FAILED = 3
    TIMED_OUT = 4
    CANCELLED = 5
    REJECTED = 6


class Waiter:
    """One acquirer.

    Attributes:
        number: order of arrival, over the whole pool.
        stands_for: the place of the waiter whose request it sends again, and which has had its turn; 0 if none.
        arrival: order in which it joined the queue, whether or not it had been there before.
        endpoint: what it asked for.
        entry: the connection, once DELIVERED.
        dial: the entry being dialled on its behalf, if any.
        fresh: whether it accepts a connection that was just dialled, and no other (a replay).
        retried: whether it outlived one dial that failed for lack of local resources.
        limit: the name and the seconds of the setting that its deadline comes from, for the owner's error.
        handle: what the owner attached; the core never looks inside.
        failure: what the owner will raise, attached by it when the waiter ended without a connection.
    """

    __slots__ = (
        "arrival",
        "connect_timeout",
        "deadline",
        "dial",
        "endpoint",
        "entry",
        "failure",
        "fresh",
        "handle",
        "limit",
        "number",
        "priority",
        "queued_at",
        "retried",
        "stands_for",
        "state",
        "tenant",
        "timer_at",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        deadline: float = INF,
        limit: tuple[str, float | None] = ("pool_timeout", None),
        priority: int = 0,
        tenant: str | None = None,
        connect_timeout: float | None = None,
        fresh: bool = False,
        stands_for: int = 0,
    ) -> None:
        self.endpoint = endpoint
        self.deadline = deadline
        self.limit = limit
        self.priority = priority
        self.tenant = tenant
        self.connect_timeout = connect_timeout
        self.fresh = fresh
        self.number = 0
        self.stands_for = stands_for
        self.arrival = 0
        self.queued_at = INF
        self.state = WaiterState.NEW
        self.entry: ConnectionEntry | None = None
        self.dial: ConnectionEntry | None = None
        self.retried = False
        self.handle: Any = None
        self.failure: BaseException | None = None
        self.timer_at = INF

    @property
    def place(self) -> int:
        """Where it stands among those of its class and tenant: by the arrival of the first that asked for this."""
        return self.stands_for or self.number

    def served_with(self, entry: ConnectionEntry) -> None:
        """It owns one exchange of the connection."""
        self.state = WaiterState.DELIVERED
        self.entry = entry


class WaitQueue:
    """The waiters of one upstream.

    Attributes:
        size: waiters that any connection with room serves.
        fresh: waiters that only a new connection serves, in order of arrival; they have had their turn before.
        covering: which waiters, of both kinds, have a dial that runs on their behalf.
    """

    __slots__ = ("_classes", "_priorities", "covering", "fresh", "size")

    def __init__(self) -> None:
        self.size = 0
        self.fresh: OrderedDict[Waiter, None] = OrderedDict()
        self.covering = Covering()
        # Class → tenant → waiters. The tenant whose turn it is stands first.
        self._classes: dict[int, OrderedDict[str | None, OrderedDict[Waiter, None]]] = {}
        self._priorities: list[int] = []

    def push(self, waiter: Waiter) -> None:
        """Join at the end of the own class and tenant."""
        if waiter.fresh:
            self.fresh[waiter] = None
        else:
            self._line(waiter)[waiter] = None
            self.size += 1
        self.covering.add(waiter, first=False)

    def rejoin(self, waiter: Waiter) -> None:
        """Join again where it stood: its turn had come, and what it was given was no good.

        Costs time in proportion to those before it, who have come back as well.
        """
        line = self._line(waiter)
        before = list(takewhile(lambda other: other.place < waiter.place, line))
        for other in (waiter, *reversed(before)):
            line[other] = None
            line.move_to_end(other, last=False)
        self._classes[waiter.priority].move_to_end(waiter.tenant, last=False)
        self.size += 1
        self.covering.add(waiter, first=True)

    def remove(self, waiter: Waiter) -> None:
        """Leave the queue, wherever it stands in it."""
        self.covering.drop(waiter)
        if waiter.fresh:
            del self.fresh[waiter]
            return
        tenants = self._classes[waiter.priority]
        line = tenants[waiter.tenant]
        del line[waiter]
        if not line:
            del tenants[waiter.tenant]
            if not tenants:
                del self._classes[waiter.priority]
                self._priorities.remove(waiter.priority)
        self.size -= 1

    @property
    def next(self) -> Waiter:
        """The waiter whose turn it is; there must be one."""
        tenants = self._classes[self._priorities[0]]
        return next(iter(next(iter(tenants.values()))))

    def pop(self) -> Waiter:
        """Take out the waiter whose turn it is, and pass the turn to the next tenant of its class."""
        waiter = self.next
        tenants = self._classes[waiter.priority]
        if len(tenants) > 1:
            tenants.move_to_end(waiter.tenant)
        self.remove(waiter)
        return waiter

    def pop_fresh(self) -> Waiter:
        """Take out the oldest waiter that only a new connection serves."""
        waiter = next(iter(self.fresh))
        self.remove(waiter)
        return waiter

    def __len__(self) -> int:
        return self.size + len(self.fresh)

    @property
    def oldest_uncovered(self) -> Waiter | None:
        """The waiter that has waited longest without a dial on its behalf."""
        return next(iter(self.covering.uncovered), None)

    def __iter__(self) -> Iterator[Waiter]:
        """All waiters, in order of class, then tenant, then arrival."""
        yield from self.fresh
        for priority in self._priorities:
            for line in self._classes[priority].values():
                yield from line

    def _line(self, waiter: Waiter) -> OrderedDict[Waiter, None]:
        tenants = self._classes.get(waiter.priority)
        if tenants is None:
            tenants = self._classes[waiter.priority] = OrderedDict()
            insort(self._priorities, waiter.priority)
        line = tenants.get(waiter.tenant)
        if line is None:
            line = tenants[waiter.tenant] = OrderedDict()
        return line
