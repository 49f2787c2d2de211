"""What follows every event: serve, plan, refill, floor. The state of the pool and its private verbs.

The four duties, in the order in which they run:

1. *Serve*: a connection with room goes to the waiter whose turn it is, in the same step in which it is counted as
   taken.
2. *Plan*: waiters without a dial get one, as far as `sizing.hindrance` allows. A dial belongs to the pool. It is
   started on behalf of one waiter ("covers" it), but whatever comes first serves whoever is next; a waiter that leaves
   passes its dial on, to the next that comes if nobody else needs it.
3. *Refill*: a freed slot of the total goes to the upstream with the oldest waiter that could use it. While the total is
   full and somebody could use a slot, the connection that has been idle longest is closed to make one.
4. *Floor*: what is left goes to the floors of endpoints in use.

At rest, therefore: no waiter while its upstream has a connection with room; no waiter without a dial or a timer while
there is a slot it may use.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from typing import TYPE_CHECKING

from .. import _events as events
from .._events import CloseReason, RejectReason
from .actions import Close, Deliver, Dial, Emit, Fail, WakeAt
from .connection import ConnectionEntry, Signal, State
from .endpoint import Counters, Endpoint, Upstream
from .expiry import hinted_idle
from .sizing import Hindrance, floor_deficit, hindrance
from .stalled import StalledLine
from .timers import INF, Timers
from .waiters import Waiter, WaiterState

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._config import PoolConfig
    from .._types import Origin
    from .actions import Action


class Phase(Enum):
    """Where the pool stands. SUSPENDED holds new acquires back; DRAINING and CLOSED are one-way."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    DRAINING = "draining"
    CLOSED = "closed"


_ENDS = {
    RejectReason.POOL_TIMEOUT: (WaiterState.TIMED_OUT, "timed_out"),
    RejectReason.DIAL_FAILED: (WaiterState.FAILED, "failed"),
    RejectReason.CANCELLED: (WaiterState.CANCELLED, "cancelled"),
    RejectReason.POOL_CLOSED: (WaiterState.REJECTED, "rejected"),
    RejectReason.POOL_FULL: (WaiterState.REJECTED, "rejected"),
}


class Duties:
    """The ledger of a pool and the duties that keep it in order.

    Args:
        config: the limits.
        chance: returns numbers from 0 to 1; used for jitter only.

    Attributes:
        actions: what is to be done; the owner takes the list with `take_actions` whenever it is not empty.
        observed: whether anybody listens; events are built only then.
        total: slots in use, over all endpoints.
        closing: how many of them are being closed.
        waiting: waiters in all queues.
        idle: every connection without an exchange, the one idle for longest first.
        forgotten: what was counted for endpoints that are no longer kept.
    """

    def __init__(self, config: PoolConfig, *, chance: Callable[[], float]) -> None:
        self.config = config
        self.phase = Phase.RUNNING
        self.generation = 0
        self.actions: list[Action] = []
        self.observed = False
        self.endpoints: dict[Origin, Endpoint] = {}
        self.total = 0
        self.closing = 0
        self.waiting = 0
        self.idle: OrderedDict[ConnectionEntry, None] = OrderedDict()
        self.forgotten = Counters()
        self._chance = chance
        self._timers = Timers()
        self._wake_at = INF
        self._connection_number = 0
        self._waiter_number = 0
        # Upstreams that the total limit alone holds up, and those of them that have no slot at all.
        self._stalled = StalledLine()
        self._starving = StalledLine()
        # Endpoints below their floor because of the total limit.
        self._below_floor: OrderedDict[Endpoint, None] = OrderedDict()
        # Dials that failed in a row for lack of local resources, and until when the floors are left alone for it.
        self._shortages = 0
        self._floors_paused_until = 0.0

    # ---- waiters -----------------------------------------------------------------------------------------------------

    def _enqueue(self, now: float, waiter: Waiter, *, again: bool) -> None:
        endpoint = waiter.endpoint
        if self.phase in (Phase.DRAINING, Phase.CLOSED):
            self._reject(now, waiter, RejectReason.POOL_CLOSED)
            return
        if waiter.deadline <= now:
            self._reject(now, waiter, RejectReason.POOL_TIMEOUT)
        elif self.waiting >= self.config.max_waiters and not again:
            self._reject(now, waiter, RejectReason.POOL_FULL)
        else:
            waiter.state = WaiterState.QUEUED
            if again and not waiter.fresh:
                endpoint.upstream.queue.push_front(waiter)
            else:
                endpoint.upstream.queue.push(waiter)
            waiter.queued_at = min(waiter.queued_at, now)
            self.waiting += 1
            if waiter.deadline < INF:
                self._schedule(waiter, waiter.deadline)
            if self.observed:
                self._emit(events.WaiterQueued(now, endpoint.origin, waiter.number))
        self._plan(now, endpoint)

    def _end(self, now: float, waiter: Waiter, reason: RejectReason, cause: BaseException | None) -> None:
        """A queued waiter leaves without a connection; its dial goes to the next one."""
        self._leave(waiter)
        self._reject(now, waiter, reason, cause)

    def _reject(self, now: float, waiter: Waiter, reason: RejectReason, cause: BaseException | None = None) -> None:
        waiter.state, counter = _ENDS[reason]
        counters = waiter.endpoint.counters
        setattr(counters, counter, getattr(counters, counter) + 1)
        if self.observed:
            self._emit(events.WaiterEnded(now, waiter.endpoint.origin, waiter.number, reason))
        if reason is not RejectReason.CANCELLED:
            self.actions.append(Fail(waiter, reason, cause))

    def _leave(self, waiter: Waiter) -> None:
        queue = waiter.endpoint.upstream.queue
        queue.remove(waiter)
        self._released_from_queue(waiter)

    def _released_from_queue(self, waiter: Waiter) -> None:
        self.waiting -= 1
        self._timers.cancel(waiter)
        if waiter.dial is not None:
            dial, waiter.dial = waiter.dial, None
            waiter.endpoint.upstream.queue.cover(dial)

    # ---- serve -------------------------------------------------------------------------------------------------------

    def _serve(self, now: float, endpoint: Endpoint) -> None:
        if self.phase is Phase.RUNNING:
            queue = endpoint.upstream.queue
            while queue.size and (entry := self._choose(now, endpoint)) is not None:
                self._deliver(now, queue.pop(), entry)

    def _serve_fresh(self, now: float, entry: ConnectionEntry) -> None:
        """A new connection goes to those who want no other before anybody else may use it."""
        queue = entry.endpoint.upstream.queue
        while queue.fresh and self.phase is Phase.RUNNING and self._has_room(entry):
            self._deliver(now, queue.pop_fresh(), entry)

    def _take(self, now: float, endpoint: Endpoint) -> ConnectionEntry | None:
        entry = self._choose(now, endpoint)
        if entry is not None:
            self._occupy(entry)
        return entry

    def _choose(self, now: float, endpoint: Endpoint) -> ConnectionEntry | None:
        """A connection with room that is fit; those found unfit on the way are retired."""
        while (entry := endpoint.ready.choose()) is not None:
            stale = self._stale(now, entry)
            if stale is None:
                return entry
            self._retire(now, entry, stale)
        return None

    def _occupy(self, entry: ConnectionEntry) -> None:
        """Count the connection as taken: the same step that hands it over."""
        entry.step(Signal.TAKEN)
        if not entry.in_use:
            self.idle.pop(entry, None)
        entry.in_use += 1
        entry.exchanges += 1
        if self._has_room(entry):
            entry.endpoint.ready.add(entry)
        else:
            entry.endpoint.ready.discard(entry)

    def _has_room(self, entry: ConnectionEntry) -> bool:
        limit = self.config.max_requests_per_connection
        return entry.in_use < entry.capacity and (limit is None or entry.exchanges < limit)

    def _hand_over(self, now: float, waiter: Waiter, entry: ConnectionEntry) -> None:
        """The waiter owns one exchange of the connection, which is occupied already."""
        waiter.state = WaiterState.DELIVERED
        waiter.entry = entry
        counters = entry.endpoint.counters
        counters.delivered += 1
        if entry.exchanges > 1:
            counters.reused += 1
        waited = 0.0
        if waiter.queued_at < INF:
            waited = now - waiter.queued_at
            counters.waited += 1
            counters.waited_seconds += waited
        if self.observed:
            self._emit(events.ConnectionTaken(now, entry.endpoint.origin, entry.id, waited))

    def _deliver(self, now: float, waiter: Waiter, entry: ConnectionEntry) -> None:
        """Give the connection to a waiter that was just taken out of the queue."""
        self._released_from_queue(waiter)
        self._occupy(entry)
        self._hand_over(now, waiter, entry)
        self.actions.append(Deliver(waiter, entry))

    def _settle(self, now: float, entry: ConnectionEntry, idle_hint: float | None) -> None:
        """The connection has room: for a waiter, for the idle ones, or for another endpoint."""
        endpoint = entry.endpoint
        if not entry.in_use:
            if entry.state is State.ACTIVE:
                entry.step(Signal.FREED)
            entry.idle_since = entry.checked_at = now
            entry.idle_until = now + endpoint.lesson.idle_timeout(now, self.config.idle_timeout)
            entry.usable_until = (
                entry.expires_at if idle_hint is None else min(entry.expires_at, now + hinted_idle(idle_hint))
            )
            self.idle[entry] = None
            self._schedule(entry, self._next_check(now, entry))
        endpoint.ready.add(entry)
        if endpoint.upstream.queue.size:
            self._serve(now, endpoint)
        limit = self.config.max_idle_connections
        while limit is not None and len(self.idle) > limit:
            self._close(now, next(iter(self.idle)), CloseReason.SURPLUS)
        if self._stalled:
            self._make_room(now)
        if endpoint.upstream.queue.fresh:
            self._make_way(now, endpoint)

    # ---- plan --------------------------------------------------------------------------------------------------------

    def _hindrance(self, now: float, endpoint: Endpoint) -> Hindrance | None:
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
        """Take a slot and dial, on behalf of the oldest waiter without a dial if there is one."""
        self._connection_number += 1
        entry = ConnectionEntry(self._connection_number, endpoint, generation=self.generation)
        endpoint.connections[entry] = None
        endpoint.dials[entry] = None
        self.total += 1
        endpoint.counters.dials_started += 1
        endpoint.upstream.queue.cover(entry)
        if self.observed:
            self._emit(events.DialStarted(now, endpoint.origin, entry.id))
        self.actions.append(Dial(entry))

    def _end_dial(self, entry: ConnectionEntry) -> Waiter | None:
        """The dial covers nobody any more. Returns the waiter on whose behalf it ran."""
        del entry.endpoint.dials[entry]
        return entry.endpoint.upstream.queue.end_dial(entry)

    def _keep_floor(self, now: float, endpoint: Endpoint) -> None:
        deficit = floor_deficit(endpoint, now, self.config.idle_timeout)
        if deficit <= 0 or self.phase is not Phase.RUNNING:
            return
        if now < self._floors_paused_until:
            self._schedule(endpoint, self._floors_paused_until)
            return
        for _ in range(self._cut_to_idle_limit(endpoint, deficit)):
            held_up = self._hindrance(now, endpoint)
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
        if self._stalled:
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

    def _must_yield(self, now: float, endpoint: Endpoint) -> bool:
        """Whether a connection that came back is closed although its own upstream has a use for it.

        An upstream whose slots are all in use passes them on among its own waiters and would never let one go. So a
        slot is given up while another upstream has none at all and has waited longer. Between upstreams that have
        connections, closing and dialling in turn would cost more than it evens out.
        """
        queue = endpoint.upstream.queue
        if self.phase is not Phase.RUNNING or self.closing or not queue.size:
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
        return oldest.number < queue.next.number

    def _make_room(self, now: float) -> None:
        """The total is the bottleneck: close what has been idle longest, unless something is closing already."""
        if self.phase is not Phase.RUNNING or self.closing or not self.idle:
            return
        if self._oldest_stalled(now) is not None:
            self._close(now, next(iter(self.idle)), CloseReason.STALLED_GROUP)

    def _make_way(self, now: float, endpoint: Endpoint) -> None:
        """The endpoint is full of connections that somebody does not want: close the idle ones, unless some close."""
        oldest = endpoint.upstream.queue.oldest_uncovered
        states = endpoint.states
        if (
            oldest is not None
            and oldest.fresh
            and states[State.IDLE]
            and not states[State.CLOSING]
            and endpoint.slots >= endpoint.max_connections
            and self.phase is Phase.RUNNING
        ):
            self._close_idle(now, endpoint, CloseReason.SUSPECT)

    # ---- closing -----------------------------------------------------------------------------------------------------

    def _retire(self, now: float, entry: ConnectionEntry, reason: CloseReason) -> None:
        """No new exchange on this connection; it is closed now, or when its last exchange ends."""
        if entry.in_use:
            endpoint = entry.endpoint
            entry.step(Signal.LATCH)
            entry.close_reason = reason
            endpoint.ready.discard(entry)
            if endpoint.min_idle or endpoint.target:
                self._keep_floor(now, endpoint)
        else:
            self._close(now, entry, reason)

    def _close(self, now: float, entry: ConnectionEntry, reason: CloseReason) -> None:
        endpoint = entry.endpoint
        if entry.state is State.DIALING:
            endpoint.counters.dials_given_up += 1
            self._end_dial(entry)
        entry.step(Signal.CLOSE)
        if entry.close_reason is None:
            entry.close_reason = reason
        endpoint.ready.discard(entry)
        self.idle.pop(entry, None)
        self._timers.cancel(entry)
        self.closing += 1
        if self.observed:
            self._emit(events.ConnectionClosing(now, endpoint.origin, entry.id, entry.close_reason))
        self.actions.append(Close(entry, entry.close_reason))

    def _close_idle(self, now: float, endpoint: Endpoint, reason: CloseReason) -> None:
        for entry in [entry for entry in endpoint.connections if entry.state in (State.IDLE, State.PROBING)]:
            self._close(now, entry, reason)

    def _unfit(self, now: float, entry: ConnectionEntry, idle_hint: float | None) -> CloseReason | None:
        """Why a connection may not be kept at release."""
        config = self.config
        if not config.keep_alive:
            return CloseReason.KEEP_ALIVE_OFF
        if now >= entry.expires_at:
            return CloseReason.MAX_AGE
        limit = config.max_requests_per_connection
        if limit is not None and entry.exchanges >= limit:
            return CloseReason.MAX_REQUESTS
        if idle_hint is not None and hinted_idle(idle_hint) <= 0:
            return CloseReason.KEEPALIVE_HINT
        return None

    def _stale(self, now: float, entry: ConnectionEntry) -> CloseReason | None:
        """Why a connection may not be taken."""
        if now >= entry.usable_until:
            return CloseReason.MAX_AGE if now >= entry.expires_at else CloseReason.KEEPALIVE_HINT
        if not entry.in_use and now >= entry.idle_until:
            endpoint = entry.endpoint
            if endpoint.live > endpoint.floor(now, self.config.idle_timeout):
                return CloseReason.IDLE_EXPIRED
        return None

    # ---- time --------------------------------------------------------------------------------------------------------

    def _schedule(self, subject: ConnectionEntry | Waiter | Endpoint, at: float) -> None:
        if self._timers.schedule(subject, at) and at < self._wake_at:
            self._wake_at = at
            self.actions.append(WakeAt(at))

    def _next_check(self, now: float, entry: ConnectionEntry) -> float:
        """When to look at an idle connection again."""
        interval = self.config.health_check_interval
        probe_at = INF if interval is None else entry.checked_at + interval
        # A floor connection is past its idle time and stays; whether it is still one is asked again later.
        idle_until = entry.idle_until if entry.idle_until > now else now + self.config.idle_timeout
        return min(idle_until, entry.usable_until, probe_at)

    # ---- health ------------------------------------------------------------------------------------------------------

    def _exchange_failed(self, now: float, endpoint: Endpoint) -> None:
        if endpoint.health.exchange_failed(now, self.config, self._chance()):
            self._pause(now, endpoint)

    def _pause(self, now: float, endpoint: Endpoint) -> None:
        """The endpoint failed too often: its idle connections are suspect, and no dial goes out for a while."""
        self._close_idle(now, endpoint, CloseReason.UNHEALTHY_ENDPOINT)
        health = endpoint.health
        if self.observed:
            until = health.paused_until
            self._emit(events.EndpointUnhealthy(now, endpoint.origin, health.failures, until))
        self._schedule(endpoint, health.paused_until)

    def _emit(self, event: events.Event) -> None:
        self.actions.append(Emit(event))
