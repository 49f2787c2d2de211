"""A frozen look at the ledger: one line per field, for the pool, each endpoint and each connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .._core.connection import State
from .._core.endpoint import Counters
from .._core.timers import INF

if TYPE_CHECKING:
    from .._core.connection import ConnectionEntry
    from .._core.endpoint import Endpoint
    from .._core.machine import PoolMachine
    from .._types import Origin


class ConnectionStatistics(NamedTuple):
    """One connection.

    Attributes:
        id: its number in the pool.
        state: "dialing", "idle", "active", "probing", "draining" or "closing".
        in_use: exchanges running on it.
        exchanges: exchanges carried so far, running ones included.
        age: seconds since it opened; 0 while dialing.
        idle_for: seconds since its last exchange ended; 0 unless idle.
        protocol: "HTTP/1.1" or "HTTP/2"; empty before it is connected.
        capacity: exchanges that it may carry at once; over HTTP/2 the server may change it, even to less than `in_use`.
        resetting: exchanges that were ended by a reset which the server may not have seen yet; each holds its place.
            Below 0 for a moment if the server was faster than the exchange's holder.
    """

    id: int
    state: str
    in_use: int
    exchanges: int
    age: float
    idle_for: float
    protocol: str
    capacity: int
    resetting: int


class Counts(NamedTuple):
    """What has happened since the pool was opened; numbers that only grow, for rates and alerts.

    Attributes:
        acquires: calls that asked for a connection.
        delivered: acquires that got one, counting each connection handed over.
        reused: of those, connections that had carried an exchange before.
        refused: connections handed over that the last look found dead; each was replaced or the wait went on.
        waited: acquires that were served after waiting; `waited_seconds` is their time in the queue together.
        failed: acquires that ended with the error of a dial.
        timed_out: acquires that ended with `PoolTimeout`.
        cancelled: acquires that were cancelled while they waited.
        rejected: acquires that ended with `PoolFull` or `PoolClosed`.
        released: exchanges that gave their connection back.
        dials_started: dials, each of which ends as `dials_ok`, `dials_failed` or `dials_given_up`.
        closed: connections closed, failed dials included.
        replayed: tries that were repeated because that does no harm, whatever the policy.
        retried: tries that were repeated because a policy wanted it.
        retries_refused: requests that ended although their policy speaks of what they ended with.
    """

    acquires: int
    delivered: int
    reused: int
    refused: int
    waited: int
    waited_seconds: float
    failed: int
    timed_out: int
    cancelled: int
    rejected: int
    released: int
    dials_started: int
    dials_ok: int
    dials_failed: int
    dials_given_up: int
    closed: int
    replayed: int
    retried: int
    retries_refused: int


class EndpointStatistics(NamedTuple):
    """One endpoint.

    Attributes:
        origin: scheme, host and port.
        active: connections with an exchange, draining ones included.
        idle: connections without one.
        dialing: dials running.
        closing: connections being closed.
        waiting: callers in the queue.
        oldest_wait: seconds the longest waiting one has waited; 0 if nobody waits.
        max_connections: the limit that holds for it.
        min_idle: its floor.
        failures: failures in a row.
        paused_for: seconds until the next dial is allowed; 0 if it is allowed.
        counts: what has happened so far.
        closed_by_reason: closes so far, by reason.
        limits_crossed: how often the server has crossed a limit over HTTP/2 so far, by the name of the setting.
        connections: every connection that holds a slot.
        server_name: what requests call it in TLS instead of by its origin's host; None if they do not.
    """

    origin: Origin
    active: int
    idle: int
    dialing: int
    closing: int
    waiting: int
    oldest_wait: float
    max_connections: int
    min_idle: int
    failures: int
    paused_for: float
    counts: Counts
    closed_by_reason: dict[str, int]
    limits_crossed: dict[str, int]
    connections: tuple[ConnectionStatistics, ...]
    server_name: str | None = None


class Statistics(NamedTuple):
    """The pool.

    Attributes:
        phase: "running", "suspended", "draining" or "closed".
        total: slots in use, from before a dial until after a close.
        max_connections: their limit.
        active: connections with an exchange.
        idle: connections without one.
        dialing: dials running.
        waiting: callers in all queues.
        counts: what has happened so far, endpoints that are no longer kept included.
        endpoints: every endpoint that is kept.
    """

    phase: str
    total: int
    max_connections: int
    active: int
    idle: int
    dialing: int
    waiting: int
    counts: Counts
    endpoints: tuple[EndpointStatistics, ...]


def _counts(counters: Counters) -> Counts:
    return Counts(**{name: getattr(counters, name) for name in Counts._fields})


def _connection(entry: ConnectionEntry, now: float) -> ConnectionStatistics:
    return ConnectionStatistics(
        id=entry.id,
        state=entry.state.name.lower(),
        in_use=entry.in_use,
        exchanges=entry.exchanges,
        age=max(0.0, now - entry.opened_at),
        idle_for=now - entry.idle_since if entry.state is State.IDLE else 0.0,
        protocol=entry.handle.http_version if entry.opened_at < INF else "",
        capacity=entry.capacity,
        resetting=entry.resetting,
    )


def _endpoint(endpoint: Endpoint, now: float) -> EndpointStatistics:
    queue = endpoint.upstream.queue
    return EndpointStatistics(
        origin=endpoint.origin,
        active=endpoint.active,
        idle=endpoint.idle,
        dialing=len(endpoint.dials),
        closing=endpoint.closing,
        waiting=len(queue),
        oldest_wait=max((now - waiter.queued_at for waiter in queue), default=0.0),
        max_connections=endpoint.max_connections,
        min_idle=endpoint.min_idle,
        failures=endpoint.health.failures,
        paused_for=max(0.0, endpoint.health.paused_until - now),
        counts=_counts(endpoint.counters),
        closed_by_reason=dict(endpoint.closed_by_reason),
        limits_crossed=dict(endpoint.limits_crossed),
        connections=tuple(_connection(entry, now) for entry in endpoint.connections),
        server_name=endpoint.server_name,
    )


def snapshot(machine: PoolMachine, now: float) -> Statistics:
    """Copy the ledger; costs time in proportion to connections and waiters."""
    endpoints = tuple(_endpoint(endpoint, now) for endpoint in machine.endpoints.values())
    total = Counters()
    total.add(machine.forgotten)
    for kept in machine.endpoints.values():
        total.add(kept.counters)
    return Statistics(
        phase=machine.phase.value,
        total=machine.total,
        max_connections=machine.config.max_connections,
        active=sum(endpoint.active for endpoint in endpoints),
        idle=sum(endpoint.idle for endpoint in endpoints),
        dialing=sum(endpoint.dialing for endpoint in endpoints),
        waiting=machine.waiting,
        counts=_counts(total),
        endpoints=endpoints,
    )


class Explanation(NamedTuple):
    """Why one caller waits.

    Attributes:
        origin: what it wants.
        waited: seconds so far.
        priority: its class.
        tenant: its tenant.
        reason: what it waits for, in words.
    """

    origin: Origin
    waited: float
    priority: int
    tenant: str | None
    reason: str


def explain(machine: PoolMachine, now: float) -> list[Explanation]:
    """One line per waiter, endpoint by endpoint, in order of service."""
    lines = []
    for endpoint in machine.endpoints.values():
        for waiter in endpoint.upstream.queue:
            held_up = machine.hindrance(now, waiter)
            if held_up is not None:
                reason = held_up.value
            else:
                reason = "a dial is running for it; whatever connection comes first serves it"
            waited = now - waiter.queued_at
            lines.append(Explanation(endpoint.origin, waited, waiter.priority, waiter.tenant, reason))
    return lines
