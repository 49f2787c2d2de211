"""An endpoint as the pool keeps it, the queue of its upstream, and the counts that must add up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .expiry import IdleLesson
from .health import Health
from .retry_budget import RetryBudget
from .selection import ReuseOrder, reuse_order
from .timers import INF
from .waiters import WaitQueue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._config import PoolConfig
    from .._types import Origin
    from .connection import ConnectionEntry

    #: Connections are shared by origin, and where the server goes by another name, by that as well.
    EndpointKey = Origin | tuple[Origin, str]


#: What every exchange counts.
_OFTEN = ("acquires", "delivered", "first_uses", "released")


class _ForEveryExchange:
    """What every exchange reads or writes of its endpoint, together in memory as in `connection`.

    For that the counts stand beside what is none. Counters that belong to no endpoint leave the rest unset.
    """

    __slots__ = (
        *_OFTEN,
        "idle",
        "last_used",
        "lesson",
        "min_idle",
        "order",
        "ready_after",
        "ready_before",
        "target",
        "troubled",
    )


class Counters(_ForEveryExchange):
    """What has happened so far, as integers; they only grow.

    Always: acquires = delivered − refused + failed + timed_out + cancelled + rejected + queued,
    delivered = released + refused + held, dials_started = dials_ok + dials_failed + dials_given_up + in flight, and
    dials_started = closed + slots in use.
    """

    __slots__ = (
        "cancelled",
        "closed",
        "dials_failed",
        "dials_given_up",
        "dials_ok",
        "dials_started",
        "failed",
        "refused",
        "rejected",
        "replayed",
        "retried",
        "retries_refused",
        "timed_out",
        "waited",
        "waited_seconds",
    )

    def __init__(self) -> None:
        self.acquires = 0
        self.delivered = 0
        self.first_uses = 0
        self.refused = 0
        self.failed = 0
        self.timed_out = 0
        self.cancelled = 0
        self.rejected = 0
        self.waited = 0
        self.waited_seconds = 0.0
        self.released = 0
        self.dials_started = 0
        self.dials_ok = 0
        self.dials_failed = 0
        self.dials_given_up = 0
        self.closed = 0
        self.replayed = 0
        self.retried = 0
        self.retries_refused = 0

    @property
    def reused(self) -> int:
        """How many of those delivered had carried an exchange before."""
        return self.delivered - self.first_uses

    def add(self, other: Counters) -> None:
        """Add the other's counts to these."""
        for name in (*_OFTEN, *Counters.__slots__):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def key_of(origin: Origin, server_name: str | None) -> EndpointKey:
    """What an endpoint is kept under."""
    return origin if server_name is None else (origin, server_name)


class Upstream:
    """A group of endpoints that serve the same thing, and the one queue of those who wait for any of them.

    A lone origin is an upstream of one endpoint.
    """

    __slots__ = ("endpoint", "queue")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.queue = WaitQueue()


class Endpoint(Counters):
    """One origin with its connections, and with its counts: one object less to fetch for every exchange.

    Attributes:
        server_name: the name that the server goes by in TLS instead of the origin's host; None for the host.
        route: how the owner reaches it; the core never looks inside.
        multiplexes: whether its connections may turn out to carry several exchanges at once.
        expected: exchanges that the next connection is expected to have room for: what the latest one had. Infinity
            while that is not known.
        live: connections that can serve, now or after what they carry: IDLE, ACTIVE and PROBING.
        idle: how many of those carry no exchange: IDLE and PROBING.
        probing: how many of those are being probed.
        closing: connections being closed.
        order: which of the connections with room is taken next.
        ready_before: the last of those if the order is a ring (see `selection`); the endpoint itself if there is none.
        ready_after: the first; likewise.
        dials: connections being dialled, oldest first.
        barred: connections on which the server allows no exchange at all.
        troubled: whether something failed that an exchange which succeeds would make up for; looked up for every
            exchange, which spares it a look at `health`.
        lesson: what the server taught about its idle limit; None while it has closed no idle connection.
        target: connections that a prewarm asked for and that are not there yet; 0 if none.
        last_used: when somebody last acquired, released or prewarmed; a declared endpoint is always in use.
        closed_by_reason: closes so far, by the value of their reason.
        limits_crossed: how often servers have crossed a limit so far, by its name.
        retry_budget: how many retries of a policy it may still get.
    """

    __slots__ = (
        "barred",
        "closed_by_reason",
        "closing",
        "connections",
        "declared",
        "dials",
        "expected",
        "health",
        "limits_crossed",
        "live",
        "max_connections",
        "multiplexes",
        "origin",
        "probing",
        "retry_budget",
        "route",
        "server_name",
        "timer_at",
        "upstream",
    )

    def __init__(
        self,
        origin: Origin,
        config: PoolConfig,
        *,
        route: Any,
        max_connections: int,
        min_idle: int,
        declared: bool,
        multiplexes: bool,
        server_name: str | None = None,
    ) -> None:
        super().__init__()
        self.origin = origin
        self.server_name = server_name
        self.route = route
        self.max_connections = max_connections
        self.min_idle = min(min_idle, max_connections)
        self.declared = declared
        self.multiplexes = multiplexes
        self.expected: float = INF if multiplexes else 1
        self.upstream = Upstream(self)
        self.connections: dict[ConnectionEntry, None] = {}
        self.live = 0
        self.idle = 0
        self.probing = 0
        self.closing = 0
        self.order: ReuseOrder = reuse_order(config.reuse)
        self.ready_before: Any = self
        self.ready_after: Any = self
        self.dials: dict[ConnectionEntry, None] = {}
        self.barred: dict[ConnectionEntry, None] = {}
        self.health = Health()
        self.troubled = False
        self.lesson: IdleLesson | None = None
        self.closed_by_reason: dict[str, int] = {}
        self.limits_crossed: dict[str, int] = {}
        self.retry_budget = RetryBudget()
        self.target = 0
        self.last_used = -INF
        self.timer_at = INF

    @property
    def key(self) -> EndpointKey:
        """What it is kept under."""
        return key_of(self.origin, self.server_name)

    @property
    def counters(self) -> Counters:
        """What has happened there so far."""
        return self

    @property
    def ready(self) -> Iterator[ConnectionEntry]:
        """The connections with room."""
        return self.order.all(self)

    @property
    def slots(self) -> int:
        """Slots in use: every connection from before its dial until after its close."""
        return len(self.connections)

    @property
    def active(self) -> int:
        """Connections that carry an exchange, those included that take no other."""
        return len(self.connections) - len(self.dials) - self.idle - self.closing

    def peer_closed(self, now: float, entry: ConnectionEntry) -> None:
        """The server closed one of its idle connections."""
        if self.lesson is None:
            self.lesson = IdleLesson()
        self.lesson.peer_closed(now, now - entry.idle_since)

    def is_in_use(self, now: float, idle_timeout: float) -> bool:
        """Whether it was declared, or used within the idle time; only then its floor is kept."""
        return self.declared or now < self.last_used + idle_timeout

    def floor(self, now: float, idle_timeout: float) -> int:
        """How many connections to keep."""
        return self.min_idle if self.min_idle and self.is_in_use(now, idle_timeout) else 0
