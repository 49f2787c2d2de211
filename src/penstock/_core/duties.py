"""What follows every event: serve, plan, refill, floor. The private verbs of the machine.

The four duties run in this order:

1. *Serve*: a connection with room goes to the waiter whose turn it is, in the same step in which it is counted as
   taken.
2. *Plan*, *refill* and *floor*: dials, see `planning`.

At rest, therefore: no waiter while its upstream has a connection with room; no waiter without a dial or a timer while
there is a slot it may use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _events as events
from .._events import CloseReason, RejectReason
from .actions import Deliver, Fail
from .connection import Signal, State
from .expiry import SHORTEST_IDLE, hinted_idle
from .planning import Phase, Planning
from .selection import NEWEST_FIRST, Packed
from .timers import INF
from .waiters import WaiterState

if TYPE_CHECKING:
    from .connection import ConnectionEntry
    from .endpoint import Endpoint
    from .waiters import Waiter

# What every exchange needs: a global name costs less than an attribute of an enumeration.
_RUNNING = Phase.RUNNING
_IDLE, _ACTIVE = State.IDLE, State.ACTIVE
_TAKEN, _FREED = Signal.TAKEN, Signal.FREED

_ENDS = {
    RejectReason.POOL_TIMEOUT: (WaiterState.TIMED_OUT, "timed_out"),
    RejectReason.DIAL_FAILED: (WaiterState.FAILED, "failed"),
    RejectReason.CANCELLED: (WaiterState.CANCELLED, "cancelled"),
    RejectReason.POOL_CLOSED: (WaiterState.REJECTED, "rejected"),
    RejectReason.POOL_FULL: (WaiterState.REJECTED, "rejected"),
}


class Duties(Planning):
    """Who is served, and with what."""

    # ---- waiters -----------------------------------------------------------------------------------------------------

    def _arrive(self, now: float, waiter: Waiter) -> None:
        """Somebody comes for a connection who has to wait for it."""
        endpoint = waiter.endpoint
        endpoint.counters.acquires += 1
        endpoint.last_used = max(endpoint.last_used, now)
        self.arrivals = waiter.number = self.arrivals + 1

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
                endpoint.upstream.queue.rejoin(waiter)
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
        """A queued waiter leaves without a connection; its place on a dial goes to the next one."""
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
        if self._stalled.notes:
            self._stalled.follow(waiter.endpoint.upstream)
            self._starving.follow(waiter.endpoint.upstream)

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

    def _choose(self, now: float, endpoint: Endpoint) -> ConnectionEntry | None:
        """A connection with room that is fit; those found unfit on the way are retired."""
        while (entry := endpoint.order.pop(endpoint)) is not None:
            if entry.watched and now < self._wake_at:
                return entry
            stale = self._stale(now, entry)
            if stale is None:
                return entry
            self._retire(now, entry, stale)
        return None

    def _occupy(self, now: float, entry: ConnectionEntry, waited: float = 0.0) -> None:
        """Count the connection as taken, by somebody who waited for so long, in the step that gives it."""
        endpoint = entry.endpoint
        if entry.state is _IDLE:
            self.idle.remove(entry)
            endpoint.idle -= 1
        entry.step(_TAKEN)
        entry.in_use += 1
        entry.exchanges += 1
        if entry.capacity > 1:
            if self._has_room(entry):
                endpoint.order.add(entry)
            else:
                endpoint.order.discard(entry)
        endpoint.delivered += 1
        if entry.exchanges == 1:
            endpoint.first_uses += 1
        if self.observed:
            self._emit(events.ConnectionTaken(now, endpoint.origin, entry.id, waited))

    def _has_room(self, entry: ConnectionEntry) -> bool:
        return entry.in_use + entry.resetting < entry.capacity and entry.exchanges < self._max_exchanges

    def _serve_one(self, now: float, waiter: Waiter, entry: ConnectionEntry) -> None:
        """The waiter has one exchange of the connection from now on."""
        waited = 0.0
        if waiter.queued_at != INF:
            waited = now - waiter.queued_at
            counters = waiter.endpoint.counters
            counters.waited += 1
            counters.waited_seconds += waited
        self._occupy(now, entry, waited)
        waiter.served_with(entry)

    def _deliver(self, now: float, waiter: Waiter, entry: ConnectionEntry) -> None:
        """Give the connection to a waiter that was just taken out of the queue."""
        self._released_from_queue(waiter)
        self._serve_one(now, waiter, entry)
        self.actions.append(Deliver(waiter, entry))

    def _hand_over(self, now: float, entry: ConnectionEntry) -> bool:
        """Whether somebody who waits had a use for the connection that came back, or for its slot."""
        endpoint = entry.endpoint
        queue = endpoint.upstream.queue
        if self._starving.notes and self._must_yield(now, entry):
            self._yielding = entry
            self._retire(now, entry, CloseReason.STALLED_GROUP)
            self._plan(now, endpoint)
            return True
        if queue.size and self.phase is _RUNNING and self._has_room(entry):
            # The server may have seen a reset before its holder gave the connection back: then it was listed.
            endpoint.order.discard(entry)
            self._deliver(now, queue.pop(), entry)
            return True
        return False

    def _settle(self, now: float, entry: ConnectionEntry) -> None:
        """The connection has room: for a waiter, for the idle ones, or for another endpoint."""
        endpoint = entry.endpoint
        if not entry.in_use:
            if entry.state is _ACTIVE:
                entry.step(_FREED)
                self.idle.add(entry)
                endpoint.idle += 1
            if not entry.watched or endpoint.lesson is not None:
                entry.idle_timeout = self._idle_timeout(now, endpoint)
                self._look_later(now, entry)
        # How many exchanges it may carry was looked at before.
        if entry.in_use + entry.resetting < entry.capacity:
            endpoint.order.add(entry)
            if self.waiting:
                self._serve(now, endpoint)
        limit = self.config.max_idle_connections
        while limit is not None and self.idle.size > limit:
            self._close(now, self.idle.oldest, CloseReason.SURPLUS)
        if self.waiting:
            if self._stalled.notes:
                self._make_room(now)
            if endpoint.upstream.queue.fresh:
                self._make_way(now, endpoint)

    def _list(self, now: float, entry: ConnectionEntry) -> None:
        """List the connection among those with room, if it has any, and serve who waits for it."""
        endpoint = entry.endpoint
        if self._has_room(entry):
            endpoint.order.add(entry)
            self._serve(now, endpoint)
        else:
            endpoint.order.discard(entry)

    def _set_capacity(self, now: float, entry: ConnectionEntry, capacity: int) -> None:
        """The server says how many exchanges it allows at once."""
        endpoint = entry.endpoint
        entry.capacity = capacity
        if capacity > 1 and endpoint.order is NEWEST_FIRST:
            ready = iter(lambda: NEWEST_FIRST.pop(endpoint), None)
            endpoint.order = Packed(self.config.http2_config.soft_streams, ready)
        if capacity > 0:
            entry.barred_until = INF
            endpoint.barred.pop(entry, None)
        elif entry not in endpoint.barred:
            entry.barred_until = now + self.config.http2_config.barred_timeout
            endpoint.barred[entry] = None
            self._schedule(entry, entry.barred_until)

    # ---- what may be used --------------------------------------------------------------------------------------------

    def _unfit(self, now: float, entry: ConnectionEntry, idle_hint: float | None) -> CloseReason | None:
        """Why a connection may not be kept at release; if it may, its timer may be too late."""
        entry.watched = False
        entry.idle_hint = idle_hint
        if not self.config.keep_alive:
            return CloseReason.KEEP_ALIVE_OFF
        if now >= entry.expires_at:
            return CloseReason.MAX_AGE
        if entry.exchanges >= self._max_exchanges:
            return CloseReason.MAX_REQUESTS
        if idle_hint is not None and not entry.in_use and hinted_idle(idle_hint) <= 0:
            return CloseReason.KEEPALIVE_HINT
        return None

    def _stale(self, now: float, entry: ConnectionEntry) -> CloseReason | None:
        """Why a connection may not be taken."""
        if now >= entry.expires_at:
            return CloseReason.MAX_AGE
        if entry.in_use:
            return None
        if now >= entry.usable_until:
            return CloseReason.KEEPALIVE_HINT
        if now >= entry.idle_until:
            endpoint = entry.endpoint
            if endpoint.live > endpoint.floor(now, self.config.idle_timeout):
                return CloseReason.IDLE_EXPIRED
        return None

    def _idle_timeout(self, now: float, endpoint: Endpoint) -> float:
        configured = self.config.idle_timeout
        return configured if endpoint.lesson is None else endpoint.lesson.idle_timeout(now, configured)

    def _look_later(self, now: float, entry: ConnectionEntry) -> None:
        """Set the timer of an idle connection that is fit."""
        idle_until = entry.idle_until
        entry.watched = self.config.keep_alive and now < idle_until
        if now >= idle_until:
            # A floor connection is past its idle time and stays; whether it is still one is asked again later.
            idle_until = now + self.config.idle_timeout
        self._schedule(entry, min(idle_until, entry.usable_until, entry.checked_at + self._check_interval))

    # ---- health ------------------------------------------------------------------------------------------------------

    def _judge(self, now: float, entry: ConnectionEntry, succeeded: bool | None) -> None:
        """What an exchange says about its endpoint; nothing if `succeeded` is None."""
        endpoint = entry.endpoint
        if succeeded:
            if endpoint.troubled:
                self._recover(now, endpoint)
        elif succeeded is not None:
            entry.failed = True
            self._exchange_failed(now, endpoint)

    def _recover(self, now: float, endpoint: Endpoint) -> None:
        recovered = endpoint.health.exchange_succeeded(self.config)
        endpoint.troubled = endpoint.health.is_unhealthy
        if recovered:
            if self.observed:
                self._emit(events.EndpointRecovered(now, endpoint.origin))
            self._plan(now, endpoint)

    def _exchange_failed(self, now: float, endpoint: Endpoint) -> None:
        endpoint.troubled = True
        if endpoint.health.exchange_failed(now, self.config, self._chance()):
            self._pause(now, endpoint)

    def _ended_by_server(self, now: float, entry: ConnectionEntry) -> None:
        """The server ended a connection, which is retired already.

        If that was right after it opened, and before it carried an exchange, it was dialled in vain, which is one
        failure: a server that accepts and allows nothing, or takes it back, would be dialled without end. One that
        had its time to be used and was not says nothing, for servers close what is idle.
        """
        if not entry.exchanges and now < entry.opened_at + SHORTEST_IDLE:
            self._exchange_failed(now, entry.endpoint)

    def _pause(self, now: float, endpoint: Endpoint) -> None:
        """The endpoint failed too often: its idle connections are suspect, and no dial goes out for a while."""
        endpoint.troubled = True
        self._close_idle(now, endpoint, CloseReason.UNHEALTHY_ENDPOINT)
        health = endpoint.health
        if self.observed:
            until = health.paused_until
            self._emit(events.EndpointUnhealthy(now, endpoint.origin, health.failures, until))
        self._schedule(endpoint, health.paused_until)
