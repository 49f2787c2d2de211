"""A world for the pool's machine: it tells what happens, performs what is asked for, and sees to the rules."""

from __future__ import annotations

from collections import Counter
from math import ceil

from penstock._config import PoolConfig
from penstock._core.actions import Close, Deliver, Dial, Emit, Fail, Probe, WakeAt
from penstock._core.connection import ConnectionEntry, State
from penstock._core.endpoint import Endpoint
from penstock._core.planning import Phase
from penstock._core.timers import INF
from penstock._core.waiters import Waiter, WaiterState
from penstock._events import CloseReason, RejectReason

from .pool_books import EPSILON, Known, broken, origin, require, same
from .pool_rules import Rules

ENDED = {
    RejectReason.POOL_TIMEOUT: WaiterState.TIMED_OUT,
    RejectReason.DIAL_FAILED: WaiterState.FAILED,
    RejectReason.CANCELLED: WaiterState.CANCELLED,
    RejectReason.POOL_CLOSED: WaiterState.REJECTED,
    RejectReason.POOL_FULL: WaiterState.REJECTED,
}


class World(Rules):
    """The machine and everything around it; endpoints named in `declared` are there from the start."""

    def __init__(
        self,
        config: PoolConfig,
        *,
        chance: float = 0.5,
        observed: bool = False,
        floors: dict[str, int] | None = None,
        declared: tuple[str, ...] = (),
        multiplexing: tuple[str, ...] = (),
    ) -> None:
        super().__init__(config, chance=chance, observed=observed, floors=floors, multiplexing=multiplexing)
        for name in declared:
            self.endpoint(name, declared=True)

    # ---- events ------------------------------------------------------------------------------------------------------

    def endpoint(self, name: str, *, declared: bool = False) -> Endpoint:
        endpoint = self.machine.endpoint(
            self.now,
            origin(name),
            min_idle=self.floors.get(name),
            declared=declared,
            multiplexes=name in self.multiplexing,
        )
        self.seen_endpoints[endpoint] = None
        self.perform()
        return endpoint

    def acquire(
        self,
        name: str,
        *,
        priority: int = 0,
        tenant: str | None = None,
        wait: float = INF,
        connect: float | None = None,
    ) -> tuple[Waiter, ConnectionEntry | None]:
        waiter = Waiter(
            self.endpoint(name),
            deadline=self.now + wait,
            priority=priority,
            tenant=tenant,
            connect_timeout=connect,
        )
        self.waiters.append(waiter)
        ahead = [other for other in self.queued(waiter.endpoint) if not other.fresh]
        entry = self.machine.acquire(self.now, waiter)
        if entry is not None:
            require(not ahead, "somebody was served past those who wait")
            self._delivered(waiter, entry)
        if waiter.state is WaiterState.QUEUED:
            require(self.machine.waiting <= self.config.max_waiters, "more waiters than allowed")
        self.perform()
        return waiter, entry

    def acquire_fresh(self, name: str, *, wait: float = INF) -> Waiter:
        waiter = Waiter(self.endpoint(name), deadline=self.now + wait, fresh=True)
        self.waiters.append(waiter)
        self.machine.acquire_fresh(self.now, waiter)
        self.perform()
        return waiter

    def cancel(self, waiter: Waiter) -> None:
        was_queued = waiter.state is WaiterState.QUEUED
        self.machine.cancel(self.now, waiter)
        if was_queued:
            same(waiter.state, WaiterState.CANCELLED, "a cancelled waiter")
            self._end(waiter, "CANCELLED")
        self.perform()

    def release(
        self,
        lease: tuple[Waiter, ConnectionEntry],
        reason: CloseReason | None = None,
        *,
        succeeded: bool | None = True,
        idle_hint: float | None = None,
        resetting: bool = False,
    ) -> None:
        self.leases.remove(lease)
        known = self.known[lease[1]]
        known.held -= 1
        known.resetting += resetting
        known.idle_since = self.now
        known.usable_until = INF if idle_hint is None else self.now + idle_hint - 2.0
        self.machine.release(self.now, lease[1], reason, succeeded=succeeded, idle_hint=idle_hint, resetting=resetting)
        self.perform()

    def refuse(self, lease: tuple[Waiter, ConnectionEntry], reason: CloseReason) -> ConnectionEntry | None:
        waiter, entry = lease
        self.leases.remove(lease)
        self.known[entry].held -= 1
        self.known[entry].exchanges -= 1
        del self.ended[waiter]
        other = self.machine.refuse(self.now, waiter, entry, reason)
        if other is not None:
            self._delivered(waiter, other)
        self.perform()
        require(waiter in self.ended or waiter.state is WaiterState.QUEUED, "a refused waiter is lost")
        return other

    def connected(self, entry: ConnectionEntry, capacity: int = 1) -> bool:
        self.known[entry].opened_at = self.known[entry].idle_since = self.now
        self._note_capacity(entry, capacity)
        taken = self.machine.connected(self.now, entry, object(), capacity)
        if taken:
            self.dials.remove(entry)
        self.perform()
        return taken

    def _note_capacity(self, entry: ConnectionEntry, capacity: int) -> None:
        known = self.known[entry]
        known.capacity = capacity
        if capacity > 0:
            known.barred_until = INF
        elif known.barred_until == INF:
            known.barred_until = self.now + self.config.http2_config.barred_timeout

    def capacity_changed(self, entry: ConnectionEntry, capacity: int) -> None:
        self._note_capacity(entry, capacity)
        self.machine.capacity_changed(self.now, entry, capacity)
        self.perform()

    def resets_seen(self, entry: ConnectionEntry, resets: int) -> None:
        self.known[entry].resetting -= resets
        self.machine.resets_seen(self.now, entry, resets)
        self.perform()

    def going_away(self, entry: ConnectionEntry) -> None:
        was_open = entry.is_open
        self.machine.going_away(self.now, entry, CloseReason.GOAWAY)
        self.perform()
        require(not was_open or not entry.is_open, "a connection that goes away stays")

    def broken(self, entry: ConnectionEntry, reason: CloseReason) -> None:
        there = entry.state is not State.CLOSED
        self.machine.broken(self.now, entry, reason)
        self.perform()
        if there:
            same(entry.state, State.CLOSING, "a broken connection")

    def dial_failed(self, entry: ConnectionEntry, *, local: bool = False, allowed: float | None = None) -> None:
        was_dialling = entry.state is State.DIALING
        self.dials.remove(entry)
        if not was_dialling:
            self.closing.remove(entry)
        self.machine.dial_failed(self.now, entry, OSError("refused"), local=local, allowed=allowed)
        same(entry.state, State.CLOSED, "a failed dial")
        self.perform()

    def closed(self, entry: ConnectionEntry) -> None:
        self.closing.remove(entry)
        if entry in self.dials:
            self.dials.remove(entry)
        self.machine.closed(self.now, entry)
        self.perform()

    def lost(self, entry: ConnectionEntry, reason: CloseReason) -> None:
        self.machine.lost(self.now, entry, reason)
        self.perform()

    def probed(self, entry: ConnectionEntry, reason: CloseReason | None) -> None:
        self.probes.remove(entry)
        self.machine.probed(self.now, entry, reason)
        self.perform()

    def prewarm(self, name: str, count: int) -> None:
        self.machine.prewarm(self.now, self.endpoint(name), count)
        self.perform()

    def suspend(self) -> None:
        self.machine.suspend()
        self.perform()

    def resume(self) -> None:
        self.machine.resume(self.now)
        self.perform()

    def renew(self) -> None:
        self.generation += 1
        self.machine.renew(self.now)
        self.perform()

    def drain(self) -> None:
        self.machine.drain(self.now)
        self.perform()

    def close(self) -> None:
        self.machine.close(self.now)
        self.perform()

    def oversleep(self, seconds: float) -> None:
        """Time passes, and whoever should have woken the machine is late."""
        self.now += seconds

    def moment(self) -> None:
        """Between two events; none at all here."""

    def advance(self, seconds: float) -> None:
        """Let time pass, waking the machine at exactly the times it asked for."""
        target = self.now + seconds
        while self.wake_at <= target:
            self.now = max(self.now, self.wake_at)
            self.wake_at = INF
            self.machine.woke(self.now)
            self.waking(self.now)
            self.perform()
            self.check()
            require(self.wake_at > self.now, "the machine asks to be woken for what it has just done")
        self.now = target

    # ---- actions -----------------------------------------------------------------------------------------------------

    def perform(self) -> None:
        """Note every action; what takes time is left for later rules."""
        started: set[Endpoint] = set()
        failed: Counter[Endpoint] = Counter()
        for action in self.machine.take_actions():
            match action:
                case Dial(entry):
                    require(entry not in self.known, "a dial was asked for twice")
                    require(self.machine.phase is Phase.RUNNING, f"a dial while {self.machine.phase.value}")
                    self.known[entry] = Known(entry, self.generation)
                    self.dials.append(entry)
                    started.add(entry.endpoint)
                case Deliver(waiter, entry):
                    self._delivered(waiter, entry)
                case Fail(waiter, reason, _):
                    self._failed(waiter, reason)
                    failed[waiter.endpoint] += 1
                case Close(entry, reason):
                    require(entry not in self.closing, "a connection is closed twice")
                    same(entry.state, State.CLOSING, "a connection to be closed")
                    same(reason, entry.close_reason, "the reason of a close")
                    self.closing.append(entry)
                case Probe(entry):
                    same(entry.state, State.PROBING, "a connection to be probed")
                    self.probes.append(entry)
                case WakeAt(at):
                    self.wake_at = at
                case Emit(event):
                    self.events.append(event)
        for endpoint in started:
            self._check_need(endpoint, failed[endpoint])

    def _delivered(self, waiter: Waiter, entry: ConnectionEntry) -> None:
        self._end(waiter, "DELIVERED")
        same(waiter.state, WaiterState.DELIVERED, "a delivered waiter")
        known = self.known[entry]
        require(waiter.entry is entry, "the waiter does not know its connection")
        require(entry.endpoint is waiter.endpoint, "a connection to another origin was delivered")
        same(known.generation, self.generation, "the generation of a delivered connection")
        same(entry.state, State.ACTIVE, "a delivered connection")
        require(self.machine.phase is Phase.RUNNING, f"a delivery while {self.machine.phase.value}")
        life = self.config.keep_alive_timeout * (1.0 - 0.1 * self.chance)
        require(self.now < known.opened_at + life + EPSILON, "a connection past its longest life was delivered")
        if not known.held and known.idle_since < self.now:
            require(self.now < known.usable_until + EPSILON, "a connection past the server's hint was delivered")
            expired = self.now > known.idle_since + self.config.idle_timeout + EPSILON
            floor = self.floor(entry.endpoint)
            require(not expired or entry.endpoint.live <= floor, "a connection idle for too long was delivered")
        if waiter.queued_at < INF:
            require(waiter.deadline >= self.now or waiter.dial is None, "a waiter was served after its deadline")
        require(not waiter.fresh or known.opened_at == self.now, "an old connection for who wanted a fresh one")
        known.held += 1
        known.exchanges += 1
        require(known.held + known.resetting <= known.capacity, "a connection carries more than its capacity")
        limit = self.config.max_requests_per_connection
        require(limit is None or known.exchanges <= limit, "a connection carries more requests than allowed")
        self.leases.append((waiter, entry))
        self.deliveries.append((waiter.number, entry.id))

    def _failed(self, waiter: Waiter, reason: RejectReason) -> None:
        self._end(waiter, reason.name)
        same(waiter.state, ENDED[reason], "a refused waiter")
        if reason is RejectReason.POOL_TIMEOUT:
            require(waiter.deadline <= self.now, "a waiter timed out before its time")
        elif reason is RejectReason.POOL_CLOSED:
            require(self.machine.phase in (Phase.DRAINING, Phase.CLOSED), "refused as closed by an open pool")
        elif reason is RejectReason.POOL_FULL:
            require(self.machine.waiting >= self.config.max_waiters, "refused as full by a pool that is not")

    def _end(self, waiter: Waiter, how: str) -> None:
        if waiter in self.ended:
            broken(f"waiter {waiter.number} ended as {how} and before as {self.ended[waiter]}")
        self.ended[waiter] = how

    def _check_need(self, endpoint: Endpoint, just_failed: int) -> None:
        health = endpoint.health
        if health.pauses:
            require(self.now >= health.paused_until, "a dial before the pause is over")
            same(len(self.of(endpoint, State.DIALING)), 1, "dials to an endpoint that is being tried")
        # Who timed out in the very step that dialled for it was still there then.
        waiting = len(self.queued(endpoint)) + just_failed
        need = ceil(waiting / endpoint.expected) if endpoint.expected < INF else min(waiting, 1)
        need += max(0, self.wanted(endpoint) - endpoint.live)
        require(len(self.of(endpoint, State.DIALING)) <= need, "a dial that nobody needs")

    # ---- the end -----------------------------------------------------------------------------------------------------

    @property
    def unseen(self) -> list[ConnectionEntry]:
        """Connections with resets that the server may not have seen."""
        return [entry for entry, known in self.known.items() if known.resetting > 0 and entry.state is not State.CLOSED]

    @property
    def barring(self) -> list[ConnectionEntry]:
        """Open connections on which the server allows nothing."""
        return [entry for entry in self.known if entry.is_open and self.known[entry].capacity <= 0]

    def be_kind(self) -> None:
        """From now on everything works: everybody who waits is served or refused in the end."""
        if self.machine.phase is Phase.SUSPENDED:
            self.resume()
            self.check()
        for _ in range(500):
            self.moment()
            if self.closing:
                self.closed(self.closing[0])
            elif self.dials:
                self.connected(self.dials[0])
            elif self.probes:
                self.probed(self.probes[0], None)
            elif self.unseen:
                self.resets_seen(self.unseen[0], 1)
            elif self.barring:
                self.capacity_changed(self.barring[0], 1)
            elif self.leases:
                self.release(self.leases[0], resetting=self.known[self.leases[0][1]].resetting < 0)
            elif self.machine.waiting:
                require(self.wake_at < INF, "somebody waits and nothing is scheduled")
                self.advance(max(0.0, self.wake_at - self.now))
            else:
                break
            self.check()
        else:
            broken("a kind world that never comes to rest")
        same(self.machine.waiting, 0, "waiters in a kind world")
        if self.machine.phase is Phase.RUNNING:
            self._restore_floors()

    def _restore_floors(self) -> None:
        for _ in range(50):
            short = {
                endpoint: max(0, self.floor(endpoint) - endpoint.live) for endpoint in self.machine.endpoints.values()
            }
            missing = sum(short.values())
            full = self.machine.total + missing > self.config.max_connections
            if not missing or full or self.config.max_idle_connections is not None:
                return
            self.moment()
            if self.dials:
                self.connected(self.dials[0])
            elif self.closing:
                self.closed(self.closing[0])
            elif self.probes:
                self.probed(self.probes[0], None)
            else:
                require(self.wake_at < INF, "a floor is missing and nothing is scheduled")
                self.advance(max(0.0, self.wake_at - self.now))
            self.check()
        broken("a floor that is never restored")

    def finish(self) -> None:
        """Close, and nothing is left."""
        self.close()
        self.check()
        while self.closing or self.leases:
            if self.closing:
                self.closed(self.closing[0])
            else:
                seen_early = self.known[self.leases[0][1]].resetting < 0
                self.release(self.leases[0], CloseReason.POOL_CLOSED, succeeded=None, resetting=seen_early)
            self.check()
        same(self.machine.total, 0, "slots of a closed pool")
        same(self.machine.waiting, 0, "waiters of a closed pool")
