"""What the reference pool remembers: connections, waiters, endpoints, as plain records."""

from __future__ import annotations

from dataclasses import dataclass, field

from penstock._core.expiry import IdleLesson

INF = float("inf")


@dataclass(eq=False)
class Connection:
    """One connection, or the dial that may become one."""

    number: int
    origin: str
    generation: int
    state: str = "DIALING"
    covered: list[Waiter] = field(default_factory=list)
    began: int = 0
    capacity: int = 0
    in_use: int = 0
    resetting: int = 0
    exchanges: int = 0
    failed: bool = False
    barred_until: float = INF
    opened_at: float = INF
    expires_at: float = INF
    idle_since: float = INF
    idle_until: float = INF
    usable_until: float = INF
    checked_at: float = INF
    look_at: float = INF
    turn: float = 0.0
    spare_since: float = 0.0


@dataclass(eq=False)
class Waiter:
    """One acquirer."""

    number: int
    origin: str
    priority: int
    tenant: str | None
    deadline: float
    connect_timeout: float | None = None
    arrival: int = 0
    state: str = "NEW"
    dial: Connection | None = None
    connection: Connection | None = None
    retried: bool = False
    fresh: bool = False


@dataclass(eq=False)
class Endpoint:
    """What is remembered about one origin."""

    limit: int
    min_idle: int
    declared: bool
    multiplexes: bool
    expected: float
    packed: bool = False
    last_used: float = -INF
    target: int = 0
    dial_failures: int = 0
    exchange_failures: int = 0
    pauses: int = 0
    paused_until: float = 0.0
    lesson: IdleLesson = field(default_factory=IdleLesson)
