"""Plan, refill, floor: which dials start, which connections make room for them, and how a connection ends.

Rules of the file:

1. *Plan*: waiters without a dial get one, as far as `_hindrance` allows. A dial belongs to the pool. It runs on behalf
   of some waiters ("covers" them, see `covering`), but whatever comes first serves whoever is next; a waiter that
   leaves passes its place on, to the next that comes if nobody else needs it.
2. *Refill*: a freed slot of the total goes to the upstream with the oldest waiter that could use it. While the total is
   full and somebody could use a slot, the connection that has been idle longest is closed to make one.
3. *Floor*: what is left goes to the floors of endpoints in use.
4. Nothing here gives a connection to anybody; that is the business of `duties`.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from typing import TYPE_CHECKING

from .. import _events as events
from .._events import CloseReason
from .actions import Close, Dial, Emit, WakeAt
from .connection import ConnectionEntry, Signal, State
from .endpoint import Counters
from .idle import IdleLine
from .sizing import Hindrance, floor_deficit, hindrance
from .stalled import StalledLine
from .timers import INF, Timers

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._config import PoolConfig
    from .actions import Action
    from .endpoint import Endpoint, EndpointKey, Upstream
    from .waiters import Waiter


class Phase(Enum):
    """Where the pool stands. SUSPENDED holds new acquires back; DRAINING and CLOSED are one-way."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    DRAINING = "draining"
    CLOSED = "closed"


class Planning:
    """The ledger of a pool and what keeps its size right.

    Args:
        config: the limits.
        chance: returns numbers from 0 to 1; used for jitter only.

    Attributes:
        actions: what is to be done; the owner takes the list with `take_actions` whenever it is not empty.
        observed: whether anybody listens; events are built only then.
        total: slots in use, over all endpoints.
        closing: how many of them are being closed.
        waiting: waiters in all queues.
        arrivals: how many have come for a connection; the number of the latest.
        idle: every connection without an exchange, IDLE or PROBING, the one idle for longest first.
        forgotten: what was counted for endpoints that are no longer kept.
    """

    def __init__(self, config: PoolConfig, *, chance: Callable[[], float]) -> None:
        self.config = config
        self.phase = Phase.RUNNING
        self.generation = 0
        self.actions: list[Action] = []
        self.observed = False
        self.endpoints: dict[EndpointKey, Endpoint] = {}
        self.total = 0
        self.closing = 0
        self.waiting = 0
        self.arrivals = 0
        self.idle = IdleLine()
        self.forgotten = Counters()
        self._chance = chance
        # Limits that may be missing, as numbers.
        self._max_exchanges = INF if config.max_requests_per_connection is None else config.max_requests_per_connection
        self._check_interval = INF if config.health_check_interval is None else config.health_check_interval
        self._timers: Timers[ConnectionEntry | Waiter | Endpoint] = Timers()
        self._wake_at = INF
        self._connection_number = 0
        # Upstreams that the total limit alone holds up, and those of them that have no slot at all.
        self._stalled = StalledLine()
        self._starving = StalledLine()
        # The connection with other exchanges that was latched last for the sake of a starving upstream.
        self._yielding: ConnectionEntry | None = None
        # Endpoints below their floor because of the total limit.
        self._below_floor: OrderedDict[Endpoint, None] = OrderedDict()
        # Dials that failed in a row for lack of local resources, and until when the floors are left alone for it.
        self._shortages = 0
        self._floors_paused_until = 0.0

    # ---- plan --------------------------------------------------------------------------------------------------------

    def _hindrance(self, now: float, endpoint: Endpoint) -> Hindrance | None:
        """What forbids one more dial for a waiter."""
        return Hindrance.BARRED if endpoint.barred else self._limit(now, endpoint)

    def _limit(self, now: float, endpoint: Endpoint) -> Hindrance | None:
        """What forbids one more dial for whatever purpose."""
        return hindrance(
            endpoint,
            now,
            max_dials=self.config.max_dials_per_host,
            total_free=self.config.max_connections - self.total,
        )

    def _plan(self, now: float, endpoint: Endpoint) -> None:
        """Start the dials that waiters need, then those that the floor needs."""
        if self.phase is not Phase.RUNNING:
            return
        upstream = endpoint.upstream
        while upstream.queue.oldest_uncovered is not None:
            held_up = self._hindrance(now, endpoint)
            if held_up is Hindrance.TOTAL_LIMIT:
                self._stall(upstream)
                self._make_room(now)
            elif held_up is Hindrance.ENDPOINT_LIMIT:
                self._make_way(now, endpoint)
            if held_up is not None:
                break
            self._dial(now, endpoint)
        if endpoint.min_idle or endpoint.target:
            self._keep_floor(now, endpoint)

    def _dial(self, now: float, endpoint: Endpoint) -> None:
        """Take a slot and dial, on behalf of the oldest waiters without a dial if there are any."""
        self._connection_number += 1
        entry = ConnectionEntry(self._connection_number, endpoint, generation=self.generation)
        endpoint.connections[entry] = None
        endpoint.dials[entry] = None
        self.total += 1
        endpoint.counters.dials_started += 1
        endpoint.upstream.queue.covering.begin(entry)
        if self.observed:
            self._emit(events.DialStarted(now, endpoint.origin, entry.id))
        self.actions.append(Dial(entry))

    def _end_dial(self, entry: ConnectionEntry) -> list[Waiter]:
        """The dial covers nobody any more. Returns the waiters on whose behalf it ran."""
        del entry.endpoint.dials[entry]
        return entry.endpoint.upstream.queue.covering.end(entry)

    def _expect(self, endpoint: Endpoint, capacity: int) -> None:
        """A connection showed how many exchanges the next one will carry, and so how many waiters a dial covers."""
        if not endpoint.multiplexes:
            return
        # A server that allows nothing at all says nothing about its next connection.
        expected = INF if capacity <= 0 else min(capacity, self._max_exchanges)
        if expected != endpoint.expected:
            endpoint.expected = expected
            endpoint.upstream.queue.covering.expect(endpoint.dials)

    def _keep_floor(self, now: float, endpoint: Endpoint) -> None:
        deficit = floor_deficit(endpoint, now, self.config.idle_timeout)
        if deficit <= 0 or self.phase is not Phase.RUNNING:
            return
        if now < self._floors_paused_until:
            self._schedule(endpoint, self._floors_paused_until)
            return
        for _ in range(self._cut_to_idle_limit(endpoint, deficit)):
            held_up = self._limit(now, endpoint)
            if held_up is Hindrance.TOTAL_LIMIT:
                self._below_floor[endpoint] = None
            if held_up is not None:
                break
            self._dial(now, endpoint)

    def _cut_to_idle_limit(self, endpoint: Endpoint, deficit: int) -> int:
        """A connection that nobody uses at once is idle: dialling more than may be idle would never end."""
        limit = self.config.max_idle_connections
        if limit is None:
            return deficit
        there = endpoint.live + len(endpoint.dials)
        room = max(0, limit - len(self.idle) - len(endpoint.dials))
        if endpoint.target > there + room:
            endpoint.target = there + room if endpoint.live < there + room else 0
        return min(deficit, room)

    # ---- refill ------------------------------------------------------------------------------------------------------

    def _free_slot(self, now: float, entry: ConnectionEntry) -> None:
        endpoint = entry.endpoint
        del endpoint.connections[entry]
        endpoint.barred.pop(entry, None)
        self.total -= 1
        endpoint.counters.closed += 1
        reason = entry.close_reason
        assert reason is not None
        endpoint.closed_by_reason[reason.value] = endpoint.closed_by_reason.get(reason.value, 0) + 1
        if self.observed:
            self._emit(events.ConnectionClosed(now, endpoint.origin, entry.id, reason))
        self._stall(endpoint.upstream)
        self._refill(now)
        self._plan(now, endpoint)
        if self._stalled.notes:
            self._make_room(now)

    def _refill(self, now: float) -> None:
        """Give free slots of the total to the oldest waiters that can use them, then to floors that lack one."""
        if self.phase is not Phase.RUNNING:
            return
        while self.total < self.config.max_connections and (upstream := self._oldest_stalled(now)) is not None:
            self._dial(now, upstream.endpoint)
        while self.total < self.config.max_connections and self._below_floor:
            endpoint, _ = self._below_floor.popitem(last=False)
            self._keep_floor(now, endpoint)

    def _stall(self, upstream: Upstream) -> None:
        self._stalled.add(upstream)
        if not upstream.endpoint.slots:
            self._starving.add(upstream)

    def _oldest_stalled(self, now: float) -> Upstream | None:
        """The upstream whose waiter has been held up longest by the total limit alone."""
        return self._stalled.first(
            lambda upstream: self._hindrance(now, upstream.endpoint) in (None, Hindrance.TOTAL_LIMIT)
        )

    def _must_yield(self, now: float, entry: ConnectionEntry) -> bool:
        """Whether a connection that came back is given up although its own upstream has a use for it.

        An upstream whose slots are all in use passes them on among its own waiters and would never let one go; one
        with several exchanges on each connection may not even need waiters for that. So a slot is given up while
        another upstream has none at all and has waited longer than anybody here. Between upstreams that have
        connections, closing and dialling in turn would cost more than it evens out.
        """
        queue = entry.endpoint.upstream.queue
        if self.phase is not Phase.RUNNING or self.closing:
            return False
        if entry.in_use:
            if self._yielding is not None and self._yielding.state is State.DRAINING:
                return False
        elif not queue.size:
            # It will be idle, and idle ones make room anyway.
            return False
        starving = self._starving.first(
            lambda upstream: (
                not upstream.endpoint.slots and self._hindrance(now, upstream.endpoint) is Hindrance.TOTAL_LIMIT
            )
        )
        if starving is None:
            return False
        oldest = starving.queue.oldest_uncovered
        assert oldest is not None
        return not queue.size or oldest.number < queue.next.number

    def _make_room(self, now: float) -> None:
        """The total is the bottleneck: close what has been idle longest, unless something is closing already."""
        if self.phase is not Phase.RUNNING or self.closing or not self.idle:
            return
        if self._oldest_stalled(now) is not None:
            self._close(now, self.idle.oldest, CloseReason.STALLED_GROUP)

    def _make_way(self, now: float, endpoint: Endpoint) -> None:
        """The endpoint is full of connections that somebody does not want: close the idle ones, unless some close."""
        oldest = endpoint.upstream.queue.oldest_uncovered
        if (
            oldest is not None
            and oldest.fresh
            and endpoint.idle > endpoint.probing
            and not endpoint.closing
            and endpoint.slots >= endpoint.max_connections
            and not endpoint.barred
            and self.phase is Phase.RUNNING
        ):
            self._close_idle(now, endpoint, CloseReason.SUSPECT)

    # ---- closing -----------------------------------------------------------------------------------------------------

    def _retire(self, now: float, entry: ConnectionEntry, reason: CloseReason) -> None:
        """No new exchange on this connection; it is closed now, or when its last exchange ends.

        It bars nobody any more, and is missing from the floor: a plan has to follow.
        """
        if entry.in_use:
            endpoint = entry.endpoint
            entry.step(Signal.LATCH)
            endpoint.live -= 1
            entry.close_reason = reason
            endpoint.order.discard(entry)
            if self.observed:
                self._emit(events.ConnectionRetired(now, endpoint.origin, entry.id, reason))
            endpoint.barred.pop(entry, None)
        else:
            self._close(now, entry, reason)

    def _close(self, now: float, entry: ConnectionEntry, reason: CloseReason) -> None:
        endpoint, state = entry.endpoint, entry.state
        if state is State.DIALING:
            endpoint.counters.dials_given_up += 1
            self._end_dial(entry)
        elif state is not State.DRAINING:
            endpoint.live -= 1
            if state is not State.ACTIVE:
                endpoint.idle -= 1
                endpoint.probing -= state is State.PROBING
                self.idle.remove(entry)
        entry.step(Signal.CLOSE)
        endpoint.closing += 1
        if entry.close_reason is None:
            entry.close_reason = reason
        endpoint.order.discard(entry)
        self._timers.cancel(entry)
        self.closing += 1
        if self.observed:
            self._emit(events.ConnectionClosing(now, endpoint.origin, entry.id, entry.close_reason))
        self.actions.append(Close(entry, entry.close_reason))

    def _close_idle(self, now: float, endpoint: Endpoint, reason: CloseReason) -> None:
        for entry in [entry for entry in endpoint.connections if entry.state in (State.IDLE, State.PROBING)]:
            self._close(now, entry, reason)

    # ---- time, and what is told --------------------------------------------------------------------------------------

    def _schedule(self, subject: ConnectionEntry | Waiter | Endpoint, at: float) -> None:
        if self._timers.schedule(subject, at) and at < self._wake_at:
            self._wake_at = at
            self.actions.append(WakeAt(at))

    def _emit(self, event: events.Event) -> None:
        self.actions.append(Emit(event))
