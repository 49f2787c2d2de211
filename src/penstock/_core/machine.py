"""The pool's machine: events in, actions out. The only entry to this floor.

A method is called when something happened: somebody wants a connection, a dial ended, an exchange gave its connection
back, time passed. It changes the ledger, does the duties that follow (see `duties`), appends to `actions` what should
be done about it, and returns. The owner performs the actions in order and reports what came of them with further
calls; nothing here waits or calls back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _events as events
from .._events import CloseReason, RejectReason
from . import backoff
from .actions import Probe, WakeAt
from .connection import ConnectionEntry, Signal, State
from .endpoint import Endpoint, key_of
from .expiry import life_span
from .planning import Phase
from .retrying import Retrying
from .sizing import Hindrance
from .timers import INF
from .waiters import Waiter, WaiterState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._types import Origin
    from .actions import Action


# What every exchange needs: a global name costs less than an attribute of an enumeration.
_RUNNING = Phase.RUNNING
_ACTIVE = State.ACTIVE


class PoolMachine(Retrying):
    """All decisions of a pool, and nothing else: one method per event."""

    # ---- what the owner asks -----------------------------------------------------------------------------------------

    def take_actions(self) -> list[Action]:
        """What is to be done since the last call, in order."""
        actions, self.actions = self.actions, []
        return actions

    def endpoint(
        self,
        now: float,
        origin: Origin,
        *,
        route: object = None,
        max_connections: int | None = None,
        min_idle: int | None = None,
        declared: bool = False,
        multiplexes: bool = False,
        server_name: str | None = None,
    ) -> Endpoint:
        """The endpoint of an origin; made on first use. A declared one is never forgotten and keeps its floor.

        One that multiplexes may have connections that carry several exchanges; which, is seen when one is there.
        """
        endpoint = self.endpoints.get(key_of(origin, server_name))
        if endpoint is None:
            endpoint = Endpoint(
                origin,
                self.config,
                route=route,
                max_connections=self.config.max_connections_per_host if max_connections is None else max_connections,
                min_idle=self.config.min_idle if min_idle is None else min_idle,
                declared=declared,
                multiplexes=multiplexes,
                server_name=server_name,
            )
            self.endpoints[endpoint.key] = endpoint
            if declared:
                self._keep_floor(now, endpoint)
            else:
                endpoint.last_used = now
                self._schedule(endpoint, now + self.config.idle_timeout)
        return endpoint

    def hindrance(self, now: float, waiter: Waiter) -> Hindrance | None:
        """Why a queued waiter has no dial of its own; None if one is running for it."""
        if self.phase is Phase.SUSPENDED:
            return Hindrance.SUSPENDED
        return None if waiter.dial is not None else self._hindrance(now, waiter.endpoint)

    def connections(self) -> Iterator[ConnectionEntry]:
        """Every connection that holds a slot."""
        for endpoint in self.endpoints.values():
            yield from endpoint.connections

    # ---- acquire and release -----------------------------------------------------------------------------------------

    def take(self, now: float, endpoint: Endpoint) -> ConnectionEntry | None:
        """What `acquire` tries first, for owners who make a waiter only for somebody who has to wait.

        Returns:
            A connection, counted as taken; or None, and then nothing has been counted: call `acquire`.
        """
        if self.phase is not _RUNNING or (self.waiting and endpoint.upstream.queue.size):
            return None
        entry = self._choose(now, endpoint)
        if entry is None:
            return None
        self.arrivals += 1
        endpoint.acquires += 1
        endpoint.last_used = now
        self._occupy(now, entry)
        if endpoint.min_idle or endpoint.target:
            self._keep_floor(now, endpoint)
        return entry

    def acquire(self, now: float, waiter: Waiter) -> ConnectionEntry | None:
        """Somebody wants a connection, or another one after the server refused to serve it on the first.

        Who comes back, which `waiter.stands_for` tells, stands before those who came later, and is not turned away
        because the queue is full.

        Returns:
            A connection, counted as taken; or None, and then `waiter.state` tells whether it is queued or refused.
        """
        entry = self.take(now, waiter.endpoint)
        if entry is None:
            self._arrive(now, waiter)
            self._enqueue(now, waiter, again=waiter.stands_for > 0)
        else:
            waiter.number = self.arrivals
            waiter.served_with(entry)
        return entry

    def acquire_fresh(self, now: float, waiter: Waiter) -> None:
        """Somebody was given a connection that turned out dead, and wants one that was just dialled.

        The endpoint's idle connections are as old as the dead one and share its fate more often than not: they are
        closed. `waiter.state` tells whether the waiter is queued or refused.
        """
        self._arrive(now, waiter)
        self._close_idle(now, waiter.endpoint, CloseReason.SUSPECT)
        self._enqueue(now, waiter, again=True)

    def cancel(self, now: float, waiter: Waiter) -> None:
        """The waiter gave up. No-op if it has ended already: what was delivered has to be released."""
        if waiter.state is WaiterState.QUEUED:
            self._end(now, waiter, RejectReason.CANCELLED, None)
            self._make_way(now, waiter.endpoint)

    def refuse(self, now: float, waiter: Waiter, entry: ConnectionEntry, reason: CloseReason) -> ConnectionEntry | None:
        """The last look at a delivered connection found it unfit: it is closed, and the waiter's turn comes again.

        Returns:
            Another connection, or None, as `acquire` does.
        """
        endpoint = waiter.endpoint
        endpoint.counters.refused += 1
        waiter.entry = None
        waiter.state = WaiterState.NEW
        entry.in_use -= 1
        entry.exchanges -= 1
        if reason is CloseReason.PEER_CLOSED and not entry.in_use:
            endpoint.peer_closed(now, entry)
        if entry.state is State.ACTIVE:
            self._retire(now, entry, reason)
        elif entry.state is State.DRAINING and not entry.in_use:
            self._close(now, entry, reason)
        if not entry.exchanges:
            # A server that accepts and hangs up would be dialled without end.
            self._exchange_failed(now, endpoint)
        if self.phase is Phase.RUNNING and not waiter.fresh:
            other = self._choose(now, endpoint)
            if other is not None:
                self._serve_one(now, waiter, other)
                self._plan(now, endpoint)
                return other
        self._enqueue(now, waiter, again=True)
        return None

    def release(
        self,
        now: float,
        entry: ConnectionEntry,
        reason: CloseReason | None = None,
        *,
        succeeded: bool | None = True,
        idle_hint: float | None = None,
        resetting: bool = False,
    ) -> None:
        """An exchange ended and gives its connection back, which may have broken meanwhile.

        Args:
            now: the time.
            entry: the connection.
            reason: why it must not be used again, or None.
            succeeded: whether the endpoint did its part; None if that was not found out.
            idle_hint: seconds the server says it keeps the connection idle.
            resetting: whether the exchange ended by a reset that the server may not have seen. Its place stays taken
                until `resets_seen`, which may have been called already.

        Raises:
            RuntimeError: nobody holds an exchange of the connection.
        """
        if not entry.in_use:
            raise RuntimeError(f"{entry!r} was released more often than it was taken")
        endpoint = entry.endpoint
        endpoint.released += 1
        endpoint.last_used = now
        entry.in_use -= 1
        if resetting:
            entry.resetting += 1
        was_active = entry.state is _ACTIVE
        no_news = entry.watched and now < self._wake_at and idle_hint == entry.idle_hint
        if was_active and reason is None and not (no_news and entry.exchanges < self._max_exchanges):
            reason = self._unfit(now, entry, idle_hint)
        if was_active and reason is None:
            entry.idle_since = now
            if self.observed:
                self._emit(events.ConnectionReturned(now, endpoint.origin, entry.id))
            if not self.waiting or not self._hand_over(now, entry):
                self._settle(now, entry)
            if endpoint.troubled or not succeeded:
                self._judge(now, entry, succeeded)
        else:
            # What ends the connection ends everything on it, and is one failure.
            verdict = succeeded if was_active or not entry.failed else succeeded or None
            if was_active:
                assert reason is not None
                self._retire(now, entry, reason)
            elif entry.state is State.DRAINING and not entry.in_use:
                self._close(now, entry, CloseReason.DRAINING)
            self._judge(now, entry, verdict)
            if entry.state is State.DRAINING:
                self._plan(now, endpoint)
        if endpoint.min_idle or endpoint.target:
            self._keep_floor(now, endpoint)

    def put_back(self, now: float, entry: ConnectionEntry) -> None:
        """Nothing was sent on a connection that was taken: it goes back as it was, with the idle time that it had."""
        # One that was dialled for a replay has never been idle.
        idle_since, idle_hint = min(entry.idle_since, now), entry.idle_hint
        entry.exchanges -= 1
        self.release(now, entry, succeeded=None, idle_hint=idle_hint)
        entry.idle_since, entry.seen_alive_at = idle_since, now
        if entry.state is State.IDLE:
            stale = self._stale(now, entry)
            if stale is not None:
                self._close(now, entry, stale)
            else:
                self._look_later(now, entry)

    # ---- dials -------------------------------------------------------------------------------------------------------

    def connected(self, now: float, entry: ConnectionEntry, handle: object, capacity: int = 1) -> bool:
        """A dial made a connection.

        Returns:
            Whether the pool takes it; if not, it was given up meanwhile: close it and report `closed`.
        """
        if entry.state is not State.DIALING:
            return False
        endpoint = entry.endpoint
        endpoint.counters.dials_ok += 1
        endpoint.health.dialled()
        self._shortages = 0
        self._end_dial(entry)
        self._expect(endpoint, capacity)
        entry.step(Signal.CONNECTED)
        endpoint.live += 1
        endpoint.idle += 1
        self.idle.add(entry)
        entry.handle = handle
        entry.opened_at = now
        entry.expires_at = now + life_span(self.config.keep_alive_timeout, self._chance())
        if self.observed:
            self._emit(events.ConnectionOpened(now, endpoint.origin, entry.id))
        if entry.generation != self.generation:
            self._close(now, entry, CloseReason.GENERATION)
        else:
            self._set_capacity(now, entry, capacity)
            self._serve_fresh(now, entry)
            if not entry.in_use:
                entry.idle_since = now
                self._settle(now, entry)
            elif endpoint.upstream.queue.size:
                self._serve(now, endpoint)
            if endpoint.target and endpoint.live >= endpoint.target:
                endpoint.target = 0
        self._plan(now, endpoint)
        return True

    def dial_failed(
        self,
        now: float,
        entry: ConnectionEntry,
        error: BaseException,
        *,
        local: bool = False,
        allowed: float | None = None,
    ) -> None:
        """A dial ended without a connection.

        Args:
            now: the time.
            entry: the dial.
            error: why.
            local: whether this machine lacked something (descriptors, ports, memory): then the endpoint is not
                blamed, and the connection idle for longest is closed so that the waiters can be served by a second
                try.
            allowed: the seconds after which it was given up, if that ended it. Waiters that allow more did not mean
                this dial to be theirs: they get another one.
        """
        if entry.state is not State.DIALING:
            self.closed(now, entry)
            return
        endpoint = entry.endpoint
        endpoint.counters.dials_failed += 1
        endpoint.target = 0
        waiters = self._end_dial(entry)
        if endpoint.expected > 1:
            # Whoever joined a dial that many share has not had one from its beginning.
            waiters = [waiter for waiter in waiters if waiter.arrival <= entry.began]
        if self.observed:
            self._emit(events.DialFailed(now, endpoint.origin, entry.id, error))
        if local:
            endpoint.health.last_error = error
            self._shortage(now, waiters, error)
            paused = False
        else:
            paused = endpoint.health.dial_failed(now, error, self.config, self._chance())
            for waiter in waiters:
                if allowed is None or (waiter.connect_timeout is not None and waiter.connect_timeout <= allowed):
                    self._end(now, waiter, RejectReason.DIAL_FAILED, error)
        entry.close_reason = CloseReason.DIAL_FAILED
        entry.step(Signal.DIAL_FAILED)
        if paused:
            self._pause(now, endpoint)
        if not local and now < endpoint.health.paused_until and not endpoint.live and not endpoint.dials:
            # Nobody can be served before the pause is over, and then one dial tries: waiting for it would only hide
            # the reason.
            for unserved in list(endpoint.upstream.queue):
                self._end(now, unserved, RejectReason.DIAL_FAILED, error)
        self._free_slot(now, entry)

    def prewarm(self, now: float, endpoint: Endpoint, count: int) -> None:
        """Dial until `count` connections are there; a dial that fails ends the wish."""
        endpoint.last_used = max(now, endpoint.last_used)
        wish = min(count, endpoint.max_connections, self.config.max_connections)
        if endpoint.live < wish:
            endpoint.target = max(endpoint.target, wish)
        self._keep_floor(now, endpoint)

    # ---- connections outside an exchange -----------------------------------------------------------------------------

    def lost(self, now: float, entry: ConnectionEntry, reason: CloseReason) -> None:
        """An idle connection was seen to be unfit. No-op if it is not idle any more: its exchange will find out."""
        if entry.state is State.IDLE:
            if reason is CloseReason.PEER_CLOSED:
                entry.endpoint.peer_closed(now, entry)
            self._close(now, entry, reason)
            self._ended_by_server(now, entry)

    def probed(self, now: float, entry: ConnectionEntry, reason: CloseReason | None) -> None:
        """A probe ended: alive if `reason` is None. A broken connection counts against the endpoint."""
        if entry.state is not State.PROBING:
            return
        endpoint = entry.endpoint
        if reason is not None:
            self._close(now, entry, CloseReason.PROBE_FAILED)
            if reason is CloseReason.IO_ERROR:
                self._exchange_failed(now, endpoint)
            return
        entry.step(Signal.PROBE_OK)
        endpoint.probing -= 1
        entry.seen_alive_at = now
        if self._has_room(entry):
            endpoint.order.restore(entry)
        self._look_later(now, entry)
        self._serve(now, endpoint)
        self._plan(now, endpoint)

    def capacity_changed(self, now: float, entry: ConnectionEntry, capacity: int) -> None:
        """The server allows another number of exchanges at once: maybe fewer than are in flight, maybe none."""
        if capacity == entry.capacity or not (entry.is_open or entry.state is State.DRAINING):
            return
        endpoint = entry.endpoint
        if self.observed:
            self._emit(events.CapacityChanged(now, endpoint.origin, entry.id, capacity))
        if entry.state is State.DRAINING:
            entry.capacity = capacity
            return
        had_room = self._has_room(entry)
        self._set_capacity(now, entry, capacity)
        if had_room is not self._has_room(entry) and entry.state is not State.PROBING:
            self._list(now, entry)
        self._plan(now, endpoint)

    def resets_seen(self, now: float, entry: ConnectionEntry, resets: int) -> None:
        """The server has seen that so many exchanges were reset: their places are free again."""
        had_room = self._has_room(entry)
        entry.resetting -= resets
        if not had_room and (entry.state is State.IDLE or entry.state is State.ACTIVE):
            self._list(now, entry)
            self._plan(now, entry.endpoint)

    def going_away(self, now: float, entry: ConnectionEntry, reason: CloseReason) -> None:
        """The connection takes no further exchange: it is closed when it carries none any more."""
        if entry.is_open:
            self._retire(now, entry, reason)
            self._ended_by_server(now, entry)
            self._plan(now, entry.endpoint)

    def limit_crossed(self, now: float, entry: ConnectionEntry, limit: str) -> None:
        """A server crossed a limit; what that costs it is decided where the limit is."""
        endpoint = entry.endpoint
        endpoint.limits_crossed[limit] = endpoint.limits_crossed.get(limit, 0) + 1
        if self.observed:
            self._emit(events.LimitCrossed(now, endpoint.origin, entry.id, limit))

    def broken(self, now: float, entry: ConnectionEntry, reason: CloseReason) -> None:
        """The connection is gone with whatever it carried; those who hold exchanges of it release them later."""
        if entry.is_open or entry.state is State.DRAINING:
            if entry.state is State.IDLE and reason is CloseReason.PEER_CLOSED:
                entry.endpoint.peer_closed(now, entry)
            self._close(now, entry, reason)
            self._ended_by_server(now, entry)

    def closed(self, now: float, entry: ConnectionEntry) -> None:
        """A connection that was to be closed is closed: its slot is free."""
        entry.step(Signal.CLOSED)
        entry.endpoint.closing -= 1
        self.closing -= 1
        self._free_slot(now, entry)

    def woke(self, now: float) -> None:
        """Time passed: expire, time out, probe, try again. Asks to be woken for the next thing that is due."""
        self._wake_at = now
        for subject in self._timers.due(now):
            if isinstance(subject, ConnectionEntry):
                self._connection_due(now, subject)
            elif isinstance(subject, Waiter):
                self._end(now, subject, RejectReason.POOL_TIMEOUT, subject.endpoint.health.last_error)
                self._make_way(now, subject.endpoint)
            else:
                self._endpoint_due(now, subject)
        self._wake_at = self._timers.next_at
        if self._wake_at < INF:
            self.actions.append(WakeAt(self._wake_at))

    # ---- the pool as a whole -----------------------------------------------------------------------------------------

    def suspend(self) -> None:
        """Hold new acquires back; deadlines keep running. No-op unless RUNNING."""
        if self.phase is Phase.RUNNING:
            self.phase = Phase.SUSPENDED

    def resume(self, now: float) -> None:
        """Serve again. No-op unless SUSPENDED."""
        if self.phase is Phase.SUSPENDED:
            self.phase = Phase.RUNNING
            for endpoint in self.endpoints.values():
                self._serve(now, endpoint)
                self._stall(endpoint.upstream)
            # Free slots go by age over all upstreams before any of them plans for itself.
            self._refill(now)
            for endpoint in self.endpoints.values():
                self._plan(now, endpoint)

    def renew(self, now: float) -> None:
        """Retire every connection made so far: idle ones now, the others when their exchanges end."""
        self.generation += 1
        for entry in list(self.connections()):
            if entry.is_open:
                self._retire(now, entry, CloseReason.GENERATION)
        for endpoint in self.endpoints.values():
            self._plan(now, endpoint)

    def drain(self, now: float) -> None:
        """No new exchange starts; those in flight may finish. Waiters are refused, everything else is closed."""
        if self.phase in (Phase.RUNNING, Phase.SUSPENDED):
            self.phase = Phase.DRAINING
            self._stop(now, CloseReason.DRAINING)

    def close(self, now: float) -> None:
        """Close everything, exchanges in flight included."""
        if self.phase is not Phase.CLOSED:
            self.phase = Phase.CLOSED
            self._stop(now, CloseReason.POOL_CLOSED)
            for entry in list(self.connections()):
                if entry.state is not State.CLOSING:
                    self._close(now, entry, CloseReason.POOL_CLOSED)

    def _stop(self, now: float, reason: CloseReason) -> None:
        for endpoint in self.endpoints.values():
            endpoint.target = 0
            for waiter in list(endpoint.upstream.queue):
                self._end(now, waiter, RejectReason.POOL_CLOSED, None)
            for entry in list(endpoint.connections):
                if entry.state not in (State.CLOSING, State.DRAINING):
                    self._retire(now, entry, reason)

    # ---- time and health ---------------------------------------------------------------------------------------------

    def _connection_due(self, now: float, entry: ConnectionEntry) -> None:
        entry.watched = False
        if entry in entry.endpoint.barred:
            if now >= entry.barred_until:
                self._retire(now, entry, CloseReason.BARRED)
                self._plan(now, entry.endpoint)
                return
            self._schedule(entry, entry.barred_until)
        if entry.state is not State.IDLE:
            return
        stale = self._stale(now, entry)
        if stale is not None:
            self._close(now, entry, stale)
        elif now >= entry.checked_at + self._check_interval:
            entry.step(Signal.PROBE)
            entry.endpoint.probing += 1
            entry.endpoint.order.discard(entry)
            self.actions.append(Probe(entry))
        else:
            self._look_later(now, entry)

    def _endpoint_due(self, now: float, endpoint: Endpoint) -> None:
        health = endpoint.health
        if now < health.paused_until:
            self._schedule(endpoint, health.paused_until)
            return
        self._plan(now, endpoint)
        if endpoint.declared or self.phase is Phase.CLOSED:
            return
        idle_timeout = self.config.idle_timeout
        counters = endpoint.counters
        held = counters.delivered - counters.released - counters.refused
        unused = not held and not endpoint.connections and not len(endpoint.upstream.queue) and not endpoint.target
        if unused and not endpoint.is_in_use(now, idle_timeout) and endpoint.retry_budget.has_lapsed(now):
            self.forgotten.add(endpoint.counters)
            self._below_floor.pop(endpoint, None)
            del self.endpoints[endpoint.key]
        else:
            self._schedule(endpoint, max(endpoint.last_used, now) + idle_timeout)

    def _shortage(self, now: float, waiters: list[Waiter], error: BaseException) -> None:
        """This machine ran out of something: make room once for the waiters, and leave the floors alone for a while."""
        self._shortages += 1
        self._floors_paused_until = now + backoff.pause(
            self._shortages,
            base=self.config.dial_backoff,
            longest=self.config.dial_backoff_max,
            chance=self._chance(),
        )
        room = bool(self.idle) and not all(waiter.retried for waiter in waiters)
        if room:
            self._close(now, self.idle.oldest, CloseReason.RESOURCE_EXHAUSTED)
        for waiter in waiters:
            if room and not waiter.retried:
                waiter.retried = True
            else:
                self._end(now, waiter, RejectReason.DIAL_FAILED, error)
