"""Books kept beside the pool's machine, from what it was told and what it asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NoReturn

from penstock import _events as events
from penstock._config import PoolConfig
from penstock._core.connection import ConnectionEntry, State
from penstock._core.endpoint import Endpoint
from penstock._core.machine import PoolMachine
from penstock._core.timers import INF
from penstock._core.waiters import Waiter, WaiterState
from penstock._events import CloseReason
from penstock._types import Origin

#: Float sums of the same numbers in another order differ by less than this.
EPSILON = 1e-9


class RuleBroken(AssertionError):
    """A rule of the pool does not hold."""


def broken(message: str) -> NoReturn:
    raise RuleBroken(message)


def require(holds: object, message: str) -> None:
    if not holds:
        broken(message)


def same(seen: object, expected: object, what: str) -> None:
    if seen != expected:
        broken(f"{what}: the pool says {seen!r}, the books say {expected!r}")


def origin(name: str) -> Origin:
    return Origin("https", name, 443)


class Known:
    """What the world knows about one connection."""

    def __init__(self, entry: ConnectionEntry, generation: int) -> None:
        self.entry = entry
        self.generation = generation
        self.held = 0
        self.capacity = 0
        self.resetting = 0
        self.barred_until = INF
        self.exchanges = 0
        self.opened_at = INF
        self.idle_since = INF
        self.usable_until = INF
        self.first_reason: CloseReason | None = None


class Books:
    """What the world knows about the machine: what it was told, and what came of it.

    Args:
        config: the pool's limits.
        chance: what the machine's `chance` answers, every time.
        observed: whether events are built.
        floors: `min_idle` of endpoints that differ from the configuration, by name.
        multiplexing: names of endpoints whose connections may carry several exchanges.
    """

    def __init__(
        self,
        config: PoolConfig,
        *,
        chance: float = 0.5,
        observed: bool = False,
        floors: dict[str, int] | None = None,
        multiplexing: tuple[str, ...] = (),
    ) -> None:
        self.config = config
        self.chance = chance
        self.machine = PoolMachine(config, chance=lambda: chance)
        self.machine.observed = observed
        self.now = 100.0
        self.wake_at = INF
        self.generation = 0
        self.floors = floors or {}
        self.multiplexing = multiplexing
        self.known: dict[ConnectionEntry, Known] = {}
        self.waiters: list[Waiter] = []
        self.ended: dict[Waiter, str] = {}
        self.leases: list[tuple[Waiter, ConnectionEntry]] = []
        self.dials: list[ConnectionEntry] = []
        self.closing: list[ConnectionEntry] = []
        self.probes: list[ConnectionEntry] = []
        self.deliveries: list[tuple[int, int]] = []
        self.events: list[events.Event] = []
        self.story: dict[int, str] = {}
        self.told_at = -INF
        self.told_held: Counter[int] = Counter()
        self.told_queued: set[int] = set()
        self.seen_endpoints: dict[Endpoint, None] = {}
        self.waking: Callable[[float], None] = lambda now: None

    # ---- questions ---------------------------------------------------------------------------------------------------

    def queued(self, endpoint: Endpoint) -> list[Waiter]:
        return [waiter for waiter in self.waiters if waiter.state is WaiterState.QUEUED and waiter.endpoint is endpoint]

    def of(self, endpoint: Endpoint, *states: State) -> list[ConnectionEntry]:
        return [entry for entry in self.known if entry.endpoint is endpoint and entry.state in states]

    def in_state(self, *states: State) -> list[ConnectionEntry]:
        return [entry for entry in self.known if entry.state in states]

    def slots(self, endpoint: Endpoint) -> list[ConnectionEntry]:
        return [entry for entry in self.known if entry.endpoint is endpoint and entry.state is not State.CLOSED]

    def floor(self, endpoint: Endpoint) -> int:
        used = endpoint.declared or self.now < endpoint.last_used + self.config.idle_timeout
        return endpoint.min_idle if used else 0

    def wanted(self, endpoint: Endpoint) -> int:
        return max(self.floor(endpoint), endpoint.target)

    def has_room(self, entry: ConnectionEntry) -> bool:
        limit = self.config.max_requests_per_connection
        return (
            entry.state in (State.IDLE, State.ACTIVE)
            and self.known[entry].held + self.known[entry].resetting < self.known[entry].capacity
            and (limit is None or entry.exchanges < limit)
        )

    def is_fit(self, entry: ConnectionEntry) -> bool:
        if not self.has_room(entry) or self.now >= entry.expires_at:
            return False
        if entry.in_use:
            return True
        if self.now >= entry.usable_until:
            return False
        expired = self.now >= entry.idle_until
        return not expired or entry.endpoint.live <= self.floor(entry.endpoint)
