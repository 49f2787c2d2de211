"""A waiter that gets no connection is told why, with the numbers."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from .._core.sizing import Hindrance
from .._errors import ConnectError, PenstockError, PoolClosed, PoolFull, PoolTimeout, RequestError
from .._events import RejectReason

if TYPE_CHECKING:
    from .._core.machine import PoolMachine
    from .._core.waiters import Waiter


def refusal(
    machine: PoolMachine, waiter: Waiter, reason: RejectReason, cause: BaseException | None, now: float
) -> PenstockError:
    """The error for a waiter, an instance of its own even where many share one cause."""
    origin = waiter.endpoint.origin
    if reason is RejectReason.POOL_CLOSED:
        return PoolClosed(f"the pool is {machine.phase.value}", origin=origin, phase="pool")
    if reason is RejectReason.POOL_FULL:
        limit = machine.config.max_waiters
        callers = "1 caller is" if limit == 1 else f"{limit} callers are"
        return PoolFull(f"{callers} waiting already (max_waiters={limit})", origin=origin, phase="pool")
    if reason is RejectReason.POOL_TIMEOUT:
        return _timed_out(machine, waiter, cause, now)
    assert cause is not None
    return own_instance(cause)


def own_instance(error: BaseException) -> PenstockError:
    """A twin of an error that several tasks raise, so that their tracebacks do not mix."""
    if not isinstance(error, RequestError):
        wrapped = ConnectError(f"the dial failed: {error!r}", phase="connect")
        wrapped.__cause__ = error
        return wrapped
    twin = copy.copy(error)
    twin.__cause__ = error.__cause__
    return twin


def _timed_out(machine: PoolMachine, waiter: Waiter, cause: BaseException | None, now: float) -> PoolTimeout:
    ledger = ledger_of(machine, waiter)
    numbers = ", ".join(f"{count} {name}" for name, count in ledger.items())
    waited = f"{now - waiter.queued_at:.3g} s" if waiter.queued_at < now else "0 s"
    limit, seconds = waiter.limit
    setting = limit if seconds is None else f"{limit} of {seconds:g} s"
    why = f"; the latest dial failed: {cause.message}" if isinstance(cause, RequestError) else ""
    error = PoolTimeout(
        f"no connection within {waited} of waiting ({setting}){_binding_limit(machine, waiter)} ({numbers}){why}",
        ledger=ledger,
        last_dial_error=cause,
        limit=limit,
        seconds=seconds,
        origin=waiter.endpoint.origin,
    )
    error.__cause__ = cause
    return error


def _binding_limit(machine: PoolMachine, waiter: Waiter) -> str:
    endpoint, config = waiter.endpoint, machine.config
    if endpoint.barred:
        return f": {Hindrance.BARRED.value}"
    if endpoint.live + len(endpoint.dials) >= endpoint.max_connections:
        name = "max_connections_per_host"
        if endpoint.max_connections != config.max_connections_per_host:
            name = "the upstream's max_connections"
        return f": {name} is reached"
    if machine.total >= config.max_connections:
        return ": max_connections is reached"
    return ""


def ledger_of(machine: PoolMachine, waiter: Waiter) -> dict[str, int]:
    """The counts that explain a wait: those of the endpoint, and of the pool where they differ in kind."""
    endpoint = waiter.endpoint
    return {
        "active": endpoint.active,
        "idle": endpoint.idle,
        "dialing": len(endpoint.dials),
        "closing": endpoint.closing,
        "limit": endpoint.max_connections,
        "waiting": machine.waiting,
        "total": machine.total,
        "total_limit": machine.config.max_connections,
    }
