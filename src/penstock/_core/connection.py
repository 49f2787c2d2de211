"""A connection as the pool keeps it: its states, the table of its transitions, and its entry.

Rules of the file:

1. Every change of state goes through `ConnectionEntry.step`; the table below is the only place that knows which
   changes exist. A pair that is not in it is a bug of the machine, reported loudly as a `KeyError`.
2. DRAINING is one-way: a latched connection finishes what it carries and takes nothing new.
3. CLOSING still holds its slot. Only CLOSED gives it back.
4. The capacity rule is the same for both protocols: a connection with `in_use + resetting < capacity` may take another
   exchange. HTTP/1.1 has a capacity of 1. Over HTTP/2 the server may lower its limit below what is in flight: then less
   than nothing is left, and so many exchanges have to end before the next begins. IDLE means `in_use == 0`.

The diagram in the documentation is drawn from `TRANSITIONS`.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from .expiry import hinted_idle
from .timers import INF

if TYPE_CHECKING:
    from .._events import CloseReason
    from .endpoint import Endpoint
    from .waiters import Waiter


class State(IntEnum):
    """Where a connection stands."""

    DIALING = 0
    IDLE = 1
    ACTIVE = 2
    PROBING = 3
    DRAINING = 4
    CLOSING = 5
    CLOSED = 6


class Signal(IntEnum):
    """What happens to a connection."""

    CONNECTED = 0
    DIAL_FAILED = 1
    TAKEN = 2
    FREED = 3
    PROBE = 4
    PROBE_OK = 5
    LATCH = 6
    CLOSE = 7
    CLOSED = 8


TRANSITIONS: dict[State, dict[Signal, State]] = {
    State.DIALING: {
        Signal.CONNECTED: State.IDLE,
        Signal.DIAL_FAILED: State.CLOSED,
        Signal.CLOSE: State.CLOSING,
    },
    State.IDLE: {
        Signal.TAKEN: State.ACTIVE,
        Signal.PROBE: State.PROBING,
        Signal.CLOSE: State.CLOSING,
    },
    State.ACTIVE: {
        Signal.TAKEN: State.ACTIVE,
        Signal.FREED: State.IDLE,
        Signal.LATCH: State.DRAINING,
        Signal.CLOSE: State.CLOSING,
    },
    State.PROBING: {
        Signal.PROBE_OK: State.IDLE,
        Signal.CLOSE: State.CLOSING,
    },
    State.DRAINING: {
        Signal.CLOSE: State.CLOSING,
    },
    State.CLOSING: {
        Signal.CLOSED: State.CLOSED,
    },
    State.CLOSED: {},
}


class _ForEveryExchange:
    """What every exchange reads or writes of its connection.

    The slots of a base class come first, so these lie together: an entry among thousands is seldom in the processor's
    caches, and each further line of memory would have to be fetched. A number is an object elsewhere, too, and whoever
    copies it fetches it: so those that say how long a connection may be used are left alone while it is `watched`.
    """

    __slots__ = (
        "became_idle_after",
        "became_idle_before",
        "capacity",
        "endpoint",
        "exchanges",
        "idle_hint",
        "idle_since",
        "in_use",
        "ready_after",
        "ready_before",
        "ready_key",
        "resetting",
        "state",
        "watched",
    )


class ConnectionEntry(_ForEveryExchange):
    """The pool's record of one connection, from before its dial until after its close.

    Attributes:
        id: unique in the pool, never used again.
        endpoint: whose slot it holds.
        handle: what the owner attached; the core never looks inside.
        covered: while DIALING, the waiters on whose behalf the dial runs.
        began: while DIALING, the arrival of the latest waiter that was there when the dial began.
        capacity: exchanges that the server allows at once.
        resetting: exchanges that ended by a reset which the server may not have seen, and which count there as running.
            Below 0 while the server has seen one whose holder has not given it back yet.
        failed: whether a failed exchange was counted against the endpoint.
        expires_at: end of its longest life; set when it opens.
        idle_since: when it last came back.
        idle_timeout: how long it may be idle since then, soft: a floor connection may stay longer.
        barred_until: while the server allows no exchange at all, when the connection is given up; otherwise infinity.
        idle_hint: how long the server says it keeps it idle since then; None if it says nothing.
        watched: whether its timer is due before it can be too old or idle for too long. While no timer of the pool is
            due, it is neither. Never where connections are not kept.
        seen_alive_at: when that was looked at last, while it was idle.
        became_idle_before: the one that has been idle for a little longer, while it is idle (see `idle`).
        became_idle_after: the one that has been idle for a little less.
        ready_before: the one before it among those with room, while it has any (see `selection`).
        ready_after: the one after it.
        ready_key: where it stands in an order that sorts by numbers instead; None while it is in none.
        timer_at: when its timer is due (see `timers`).
    """

    __slots__ = (
        "barred_until",
        "began",
        "close_reason",
        "covered",
        "expires_at",
        "failed",
        "generation",
        "handle",
        "id",
        "idle_timeout",
        "opened_at",
        "seen_alive_at",
        "timer_at",
    )

    def __init__(self, number: int, endpoint: Endpoint, *, generation: int) -> None:
        self.id = number
        self.endpoint = endpoint
        self.generation = generation
        self.covered: OrderedDict[Waiter, None] = OrderedDict()
        self.began = 0
        self.state = State.DIALING
        self.handle: Any = None
        self.capacity = 0
        self.in_use = 0
        self.resetting = 0
        self.exchanges = 0
        self.failed = False
        self.opened_at = INF
        self.expires_at = INF
        self.idle_since = INF
        self.idle_timeout = INF
        self.idle_hint: float | None = None
        self.seen_alive_at = -INF
        self.barred_until = INF
        self.timer_at = INF
        self.watched = False
        self.close_reason: CloseReason | None = None
        self.became_idle_before: Any = None
        self.became_idle_after: Any = None
        self.ready_before: Any = None
        self.ready_after: Any = None
        self.ready_key: Any = None

    @property
    def waiter(self) -> Waiter | None:
        """While DIALING, the first waiter on whose behalf the dial runs, if any."""
        return next(iter(self.covered), None)

    @property
    def idle_until(self) -> float:
        """End of its idle time."""
        return self.idle_since + self.idle_timeout

    @property
    def usable_until(self) -> float:
        """When it is too old, or has been idle for as long as its server promised; hard."""
        if self.idle_hint is None:
            return self.expires_at
        return min(self.expires_at, self.idle_since + hinted_idle(self.idle_hint))

    @property
    def checked_at(self) -> float:
        """When it was last known to be alive."""
        return max(self.idle_since, self.seen_alive_at)

    @property
    def is_open(self) -> bool:
        """Whether it is connected, and neither latched nor being closed."""
        return self.state in (State.IDLE, State.ACTIVE, State.PROBING)

    def step(self, signal: Signal) -> None:
        """Move along the table."""
        self.state = TRANSITIONS[self.state][signal]

    def __repr__(self) -> str:
        return f"<connection {self.id} {self.state.name} to {self.endpoint.origin}>"
