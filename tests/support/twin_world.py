"""The world with a reference pool beside the machine: both are told the same, and have to agree after every step."""

from __future__ import annotations

from typing import Any

from penstock._config import PoolConfig
from penstock._core.connection import ConnectionEntry, State
from penstock._core.waiters import Waiter
from penstock._events import CloseReason

from . import reference_records as records
from .pool_books import same
from .pool_world import INF, World
from .reference_pool import ReferencePool

#: Long enough for one event to be over before the next.
MOMENT = 0.0007


class TwinWorld(World):
    """Ties are left open by the rules, so no two things may be due at the same instant: every event takes a moment."""

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
        self.reference = ReferencePool(config, chance, floors or {}, multiplexing)
        self.twins: dict[int, records.Waiter] = {}
        self.copies: dict[int, records.Connection] = {}
        super().__init__(
            config, chance=chance, observed=observed, floors=floors, declared=declared, multiplexing=multiplexing
        )
        self.waking = self._tick

    def endpoint(self, name: str, *, declared: bool = False) -> Any:
        endpoint = super().endpoint(name, declared=declared)
        self.reference.endpoint(self.now, name, declared=declared)
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
        waiter, entry = super().acquire(name, priority=priority, tenant=tenant, wait=wait, connect=connect)
        twin = self.reference.acquire(
            self.now, name, priority=priority, tenant=tenant, deadline=waiter.deadline, connect_timeout=connect
        )
        self.twins[waiter.number] = twin
        return waiter, entry

    def acquire_fresh(self, name: str, *, wait: float = INF) -> Waiter:
        waiter = super().acquire_fresh(name, wait=wait)
        self.twins[waiter.number] = self.reference.acquire_fresh(self.now, name, waiter.deadline)
        return waiter

    def cancel(self, waiter: Waiter) -> None:
        super().cancel(waiter)
        self.reference.cancel(self.now, self.twins[waiter.number])

    def release(
        self,
        lease: tuple[Waiter, ConnectionEntry],
        reason: CloseReason | None = None,
        *,
        succeeded: bool | None = True,
        idle_hint: float | None = None,
        resetting: bool = False,
    ) -> None:
        super().release(lease, reason, succeeded=succeeded, idle_hint=idle_hint, resetting=resetting)
        self.reference.release(
            self.now,
            self.twins[lease[0].number],
            broken=reason is not None,
            succeeded=succeeded,
            idle_hint=idle_hint,
            resetting=resetting,
        )

    def refuse(self, lease: tuple[Waiter, ConnectionEntry], reason: CloseReason) -> ConnectionEntry | None:
        other = super().refuse(lease, reason)
        self.reference.refuse(self.now, self.twins[lease[0].number], reason.name)
        return other

    def connected(self, entry: ConnectionEntry, capacity: int = 1) -> bool:
        taken = super().connected(entry, capacity)
        self.reference.connected(self.now, self.copy(entry), capacity)
        return taken

    def capacity_changed(self, entry: ConnectionEntry, capacity: int) -> None:
        super().capacity_changed(entry, capacity)
        self.reference.capacity_changed(self.now, self.copy(entry), capacity)

    def resets_seen(self, entry: ConnectionEntry, resets: int) -> None:
        super().resets_seen(entry, resets)
        if entry.state is not State.CLOSED:
            self.reference.resets_seen(self.now, self.copy(entry), resets)
        else:
            self.reference.rest(self.now)

    def going_away(self, entry: ConnectionEntry) -> None:
        super().going_away(entry)
        self.reference.going_away(self.now, self.copy(entry))

    def broken(self, entry: ConnectionEntry, reason: CloseReason) -> None:
        super().broken(entry, reason)
        self.reference.broken(self.now, self.copy(entry), reason.name)

    def dial_failed(self, entry: ConnectionEntry, *, local: bool = False, allowed: float | None = None) -> None:
        copy = self.copy(entry)
        super().dial_failed(entry, local=local, allowed=allowed)
        self.reference.dial_failed(self.now, copy, local=local, allowed=allowed)

    def closed(self, entry: ConnectionEntry) -> None:
        copy = self.copy(entry)
        super().closed(entry)
        self.reference.closed(self.now, copy)

    def lost(self, entry: ConnectionEntry, reason: CloseReason) -> None:
        super().lost(entry, reason)
        self.reference.lost(self.now, self.copy(entry), reason.name)

    def probed(self, entry: ConnectionEntry, reason: CloseReason | None) -> None:
        super().probed(entry, reason)
        if entry.state is not State.CLOSED:
            self.reference.probed(self.now, self.copy(entry), None if reason is None else reason.name)

    def prewarm(self, name: str, count: int) -> None:
        super().prewarm(name, count)
        self.reference.prewarm(self.now, name, count)

    def suspend(self) -> None:
        super().suspend()
        self.reference.suspend()

    def resume(self) -> None:
        super().resume()
        self.reference.resume(self.now)

    def renew(self) -> None:
        super().renew()
        self.reference.renew(self.now)

    def drain(self) -> None:
        super().drain()
        self.reference.stop("DRAINING")

    def close(self) -> None:
        super().close()
        self.reference.stop("CLOSED")

    def moment(self) -> None:
        self.advance(MOMENT)

    def copy(self, entry: ConnectionEntry) -> records.Connection:
        return next(copy for copy in self.reference.connections if copy.number == entry.id)

    def _tick(self, now: float) -> None:
        self.reference.tick(now)
        kept = {origin.host for origin in self.machine.endpoints}
        for name in [name for name in self.reference.endpoints if name not in kept]:
            self.reference.forget(name)

    def check(self) -> None:
        """The rules, and that the twins agree."""
        super().check()
        reference = self.reference
        same(self.deliveries, reference.delivered, "who was served with which connection")
        for waiter in self.waiters:
            state = self.ended.get(waiter, waiter.state.name)
            same(state, self.twins[waiter.number].state, f"waiter {waiter.number}")
        live = {entry.id: entry for entry in self.known if entry.state is not State.CLOSED}
        copies = {copy.number: copy for copy in reference.connections}
        same(
            {
                number: (entry.endpoint.origin.host, entry.state.name, entry.in_use, entry.resetting)
                for number, entry in live.items()
            },
            {number: (copy.origin, copy.state, copy.in_use, copy.resetting) for number, copy in copies.items()},
            "connections",
        )
        for number, entry in live.items():
            mine = [waiter.number for waiter in entry.covered]
            theirs = [waiter.number for waiter in copies[number].covered]
            same(mine, theirs, f"on whose behalf dial {number} runs")
        same(
            [endpoint.origin.host for endpoint in self.machine.endpoints.values()],
            list(reference.endpoints),
            "endpoints",
        )
        for endpoint in self.machine.endpoints.values():
            twin = reference.endpoints[endpoint.origin.host]
            same(endpoint.health.exchange_failures, twin.exchange_failures, "exchanges that failed in a row")
            same(endpoint.health.paused_until, twin.paused_until, "the end of the pause")
            same(endpoint.target, twin.target, "what a prewarm still asks for")
            same(endpoint.expected, twin.expected, "what the next connection is expected to carry")
