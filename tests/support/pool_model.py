"""What may happen to a pool, as rules for hypothesis: in any order, with small limits so that they bite."""

from __future__ import annotations

import sys
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penstock._config import PoolConfig
from penstock._core.connection import ConnectionEntry, State
from penstock._core.planning import Phase
from penstock._core.waiters import WaiterState
from penstock._events import CloseReason
from penstock._http2_config import HTTP2Config

from .pool_world import INF, World
from .twin_world import TwinWorld

T = TypeVar("T")

NAMES = st.sampled_from(["a", "a", "b", "c"])
PICKS = st.integers(0, 7)
TENANTS = st.sampled_from([None, None, "x", "y"])
#: Odd fractions, so that nothing is due at the same instant by accident.
WAITS = st.sampled_from([INF, INF, 0.0, 0.5003, 3.0011, 20.0017])
#: What waiters allow a dial, and after what dials are given up.
LIMITS = st.sampled_from([None, 1.0, 5.0])
CONNECTED = (State.IDLE, State.ACTIVE, State.PROBING, State.DRAINING, State.CLOSING)
UNFIT = [CloseReason.PROTOCOL_ERROR, CloseReason.CANCELLED_MID_EXCHANGE, CloseReason.CONNECTION_CLOSE_HEADER]


@st.composite
def configs(draw: st.DrawFn) -> PoolConfig:
    """Limits small enough to bite."""
    per_host = draw(st.integers(1, 4))
    return PoolConfig(
        max_connections=draw(st.sampled_from([1, 1, 2, 3, 4, 5, 6])),
        max_connections_per_host=per_host,
        max_idle_connections=draw(st.none() | st.integers(0, 3)),
        min_idle=draw(st.sampled_from([0, 0, 1, min(2, per_host)])),
        max_waiters=draw(st.sampled_from([1, 1, 3, 6, 20])),
        max_dials_per_host=draw(st.integers(1, 4)),
        keep_alive=draw(st.sampled_from([True, True, True, False])),
        idle_timeout=10.0023,
        keep_alive_timeout=draw(st.sampled_from([25.0031, 1800.0])),
        max_requests_per_connection=draw(st.none() | st.integers(1, 3)),
        reuse=draw(st.sampled_from(["lifo", "lifo", "round_robin", "least_loaded"])),
        health_check_interval=draw(st.sampled_from([None, 4.0037])),
        unhealthy_threshold=draw(st.integers(1, 3)),
        dial_backoff=0.1,
        dial_backoff_max=1.6,
        http2_config=HTTP2Config(soft_streams=draw(st.integers(1, 3)), barred_timeout=6.0029),
    )


class PoolModel(RuleBasedStateMachine):
    """Any story that the owner of a machine could tell it."""

    world: World
    age = 0

    @initialize(
        config=configs(),
        chance=st.sampled_from([0.0, 0.5, 1.0]),
        observed=st.booleans(),
        twin=st.sampled_from([True, True, False]),
        wide=st.booleans(),
        warm=st.lists(st.tuples(NAMES, st.integers(1, 5), st.sampled_from([1, 2, 3, 5])), max_size=3),
        names=st.fixed_dictionaries(
            {
                "declared": st.sampled_from([(), ("a",), ("a", "b")]),
                "multiplexing": st.sampled_from([(), ("a",), ("a", "b", "c")]),
            }
        ),
    )
    def open(
        self,
        config: PoolConfig,
        wide: bool,
        twin: bool,
        warm: list[tuple[str, int, int]],
        names: dict[str, tuple[str, ...]],
        **how: Any,
    ) -> None:
        self.wide = wide
        self.twin = twin
        if twin:
            # Left open: whose floor gets the last slot of the total, and when a floor tries again for which there was
            # no room among the idle ones. So only one endpoint has a floor, and only where idle ones have no limit.
            self.floor = "a" if config.max_idle_connections is None else None
            floors = {name: config.min_idle if name == self.floor else 0 for name in ("a", "b", "c")}
            self.world = TwinWorld(config, floors=floors, **how, **names)
        else:
            self.world = World(config, **how, **names)

        for name, count, capacity in warm:
            self.burst(name, count, capacity)

    @rule(name=NAMES, count=st.integers(1, 5), capacity=st.sampled_from([1, 2, 3, 5]))
    def several_come_and_every_dial_works(self, name: str, count: int, capacity: int) -> None:
        self.burst(name, count, capacity)

    def burst(self, name: str, count: int, capacity: int) -> None:
        for _ in range(count):
            self.world.moment()
            self.world.acquire(name)
        for _ in range(6):
            if self.world.dials:
                self.world.moment()
                self.world.connected(self.world.dials[0], capacity)
                self.world.check()

    def pick(self, where: list[T], pick: int) -> T:
        return where[pick % len(where)]

    # ---- acquirers ---------------------------------------------------------------------------------------------------

    @rule(name=NAMES, priority=st.sampled_from([0, 0, 0, 1, -1]), tenant=TENANTS, wait=WAITS, connect=LIMITS)
    def acquire(self, name: str, priority: int, tenant: str | None, wait: float, connect: float | None) -> None:
        self.world.moment()
        self.world.acquire(name, priority=priority, tenant=tenant, wait=wait, connect=connect)

    @rule(name=NAMES, count=st.integers(2, 5), tenants=st.sampled_from([(None,), ("x", "y", "x")]))
    def rush(self, name: str, count: int, tenants: tuple[str | None, ...]) -> None:
        for number in range(count):
            self.world.moment()
            self.world.acquire(name, tenant=tenants[number % len(tenants)])

    @precondition(lambda self: self.world.leases)
    @rule(pick=PICKS)
    def acquire_beside_a_long_exchange(self, pick: int) -> None:
        host = self.pick(self.world.leases, pick)[1].endpoint.origin.host
        self.world.advance(30.0)
        self.world.acquire(host)

    @precondition(lambda self: self.world.leases)
    @rule(pick=PICKS)
    def release_while_others_come(self, pick: int) -> None:
        for name in ("a", "b", "c"):
            self.world.moment()
            self.world.acquire(name)
        self.world.moment()
        crowded = [lease for lease in self.world.leases if self.world.known[lease[1]].held > 1]
        if crowded:
            lease = self.pick(crowded, pick)
            self.world.release(lease, resetting=self.seen_early(lease[1]))

    @rule(name=NAMES, wait=WAITS)
    def acquire_fresh(self, name: str, wait: float) -> None:
        self.world.moment()
        self.world.acquire_fresh(name, wait=wait)

    @precondition(lambda self: self.world.machine.waiting)
    @rule(pick=PICKS)
    def cancel(self, pick: int) -> None:
        self.world.moment()
        queued = [waiter for waiter in self.world.waiters if waiter.state is WaiterState.QUEUED]
        if queued:
            self.world.cancel(self.pick(queued, pick))

    @precondition(lambda self: self.world.ended)
    @rule(pick=PICKS)
    def cancel_too_late(self, pick: int) -> None:
        self.world.moment()
        self.world.cancel(self.pick(list(self.world.ended), -pick))

    @precondition(lambda self: self.world.leases)
    @rule(
        pick=PICKS,
        hint=st.sampled_from([None, None, None, 1.0, 5.0041]),
        resetting=st.sampled_from([False, False, True]),
    )
    def release(self, pick: int, hint: float | None, resetting: bool) -> None:
        self.world.moment()
        lease = self.pick(self.world.leases, pick)
        self.world.release(lease, idle_hint=hint, resetting=resetting or self.seen_early(lease[1]))

    def seen_early(self, entry: ConnectionEntry) -> bool:
        return self.world.known[entry].resetting < 0

    @precondition(lambda self: self.world.leases)
    @rule(pick=PICKS, reason=st.sampled_from([None, *UNFIT]), succeeded=st.sampled_from([True, False, False, None]))
    def release_badly(self, pick: int, reason: CloseReason | None, succeeded: bool | None) -> None:
        self.world.moment()
        lease = self.pick(self.world.leases, pick)
        self.world.release(lease, reason, succeeded=succeeded, resetting=self.seen_early(lease[1]))

    @precondition(lambda self: len(self.world.leases) > 1)
    @rule(count=st.integers(2, 5))
    def several_leave(self, count: int) -> None:
        for _ in range(count):
            self.world.moment()
            if self.world.leases:
                lease = self.world.leases[0]
                self.world.release(lease, resetting=self.seen_early(lease[1]))
                self.world.check()

    @precondition(lambda self: self.world.leases)
    @rule(pick=PICKS, peer=st.booleans())
    def refuse(self, pick: int, peer: bool) -> None:
        self.world.moment()
        leases = [lease for lease in self.world.leases if not self.seen_early(lease[1])]
        if not leases:
            return
        lease = self.pick(leases, pick)
        self.world.refuse(lease, CloseReason.PEER_CLOSED if peer else CloseReason.UNSOLICITED_DATA)

    # ---- connections -------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.dials)
    @rule(pick=PICKS, capacity=st.sampled_from([1, 1, 1, 2, 3, 5, 0]))
    def connected(self, pick: int, capacity: int) -> None:
        self.world.moment()
        if self.wide and capacity:
            capacity = max(capacity, 3)
        self.world.connected(self.pick(self.world.dials, pick), capacity)

    @precondition(lambda self: self.world.dials)
    @rule(pick=PICKS, local=st.sampled_from([False, False, True]), allowed=LIMITS)
    def dial_failed(self, pick: int, local: bool, allowed: float | None) -> None:
        self.world.moment()
        self.world.dial_failed(self.pick(self.world.dials, pick), local=local, allowed=allowed)

    @precondition(lambda self: self.world.closing)
    @rule(pick=PICKS)
    def closed(self, pick: int) -> None:
        self.world.moment()
        self.world.closed(self.pick(self.world.closing, pick))

    @precondition(lambda self: self.world.known)
    @rule(pick=PICKS, reason=st.sampled_from([CloseReason.PEER_CLOSED, CloseReason.IO_ERROR]))
    def lost(self, pick: int, reason: CloseReason) -> None:
        self.world.moment()
        live = self.world.in_state(State.IDLE, State.ACTIVE, State.PROBING, State.DRAINING, State.CLOSING)
        if live:
            self.world.lost(self.pick(live, pick), reason)

    @precondition(lambda self: self.world.known)
    @rule(pick=PICKS, capacity=st.sampled_from([0, 0, 1, 2, 3, 5]))
    def capacity_changed(self, pick: int, capacity: int) -> None:
        self.world.moment()
        there = [entry for entry in self.world.in_state(*CONNECTED) if entry.opened_at < INF]
        if there:
            self.world.capacity_changed(self.pick(there, pick), capacity)

    @precondition(lambda self: self.world.unseen)
    @rule(pick=PICKS, all_at_once=st.booleans())
    def resets_seen(self, pick: int, all_at_once: bool) -> None:
        self.world.moment()
        unseen = self.world.unseen
        if unseen:
            entry = self.pick(unseen, pick)
            self.world.resets_seen(entry, entry.resetting if all_at_once else 1)

    @precondition(lambda self: self.world.leases)
    @rule(pick=PICKS)
    def reset_seen_before_it_is_given_back(self, pick: int) -> None:
        self.world.moment()
        entry = self.pick(self.world.leases, pick)[1]
        if self.world.known[entry].held + entry.resetting > 0:
            self.world.resets_seen(entry, 1)

    @precondition(lambda self: self.world.known)
    @rule(pick=PICKS)
    def going_away(self, pick: int) -> None:
        self.world.moment()
        there = self.world.in_state(*CONNECTED)
        if there:
            self.world.going_away(self.pick(there, pick))

    @precondition(lambda self: self.world.leases)
    @rule(pick=PICKS)
    def break_under_all(self, pick: int) -> None:
        self.world.moment()
        held = [entry for _, entry in self.world.leases if entry.state is not State.CLOSED]
        if not held:
            return
        entry = self.pick(held, pick)
        self.world.broken(entry, CloseReason.IO_ERROR)
        for lease in [lease for lease in self.world.leases if lease[1] is entry]:
            self.world.moment()
            self.world.release(lease, CloseReason.IO_ERROR, succeeded=False, resetting=self.seen_early(entry))
            self.world.check()

    @precondition(lambda self: self.world.known)
    @rule(pick=PICKS, reason=st.sampled_from([CloseReason.PEER_CLOSED, CloseReason.PING_TIMEOUT]))
    def broken(self, pick: int, reason: CloseReason) -> None:
        self.world.moment()
        there = self.world.in_state(State.IDLE, State.ACTIVE, State.PROBING, State.DRAINING)
        if there:
            self.world.broken(self.pick(there, pick), reason)

    @precondition(lambda self: self.world.probes)
    @rule(pick=PICKS, reason=st.sampled_from([None, None, CloseReason.PEER_CLOSED, CloseReason.IO_ERROR]))
    def probed(self, pick: int, reason: CloseReason | None) -> None:
        self.world.moment()
        self.world.probed(self.pick(self.world.probes, pick), reason)

    # ---- the pool ----------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.05, 0.3, 2.0, 9.0, 40.0]))
    def advance(self, seconds: float) -> None:
        self.world.advance(seconds)

    # With a twin nothing may be due at the same instant.
    @precondition(lambda self: not self.twin and self.world.machine.idle)
    @rule(pick=PICKS, seconds=st.sampled_from([3.5, 11.0, 40.0]))
    def acquire_before_the_machine_is_woken(self, pick: int, seconds: float) -> None:
        idle = self.pick(list(self.world.machine.idle), pick)
        self.world.oversleep(seconds)
        self.world.acquire(idle.endpoint.origin.host)
        self.world.advance(0.0)

    @rule(name=NAMES, count=st.integers(0, 5))
    def prewarm(self, name: str, count: int) -> None:
        self.world.moment()
        if not self.twin:
            self.world.prewarm(name, count)
        elif self.floor is not None:
            self.world.prewarm(self.floor, count)

    @precondition(lambda self: self.age % 4 == 0)
    @rule()
    def suspend(self) -> None:
        self.world.moment()
        self.world.suspend()

    @precondition(lambda self: self.world.machine.phase is Phase.SUSPENDED)
    @rule()
    def resume(self) -> None:
        self.world.moment()
        self.world.resume()

    @rule()
    def renew(self) -> None:
        self.world.moment()
        self.world.renew()

    @precondition(lambda self: self.age > 40)
    @rule()
    def drain(self) -> None:
        self.world.moment()
        self.world.drain()

    @precondition(lambda self: self.age > 50)
    @rule()
    def close(self) -> None:
        self.world.moment()
        self.world.close()

    # ---- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def rules_hold(self) -> None:
        self.age += 1
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        # What was found broken shall be reported, not what breaks in its wake.
        if hasattr(self, "world") and sys.exception() is None:
            self.world.be_kind()
            self.world.finish()
