"""What the machine says to a retry that a policy wants."""

from __future__ import annotations

from typing import Any

import pytest

from penstock import RetryPolicy, events
from penstock._config import PoolConfig
from penstock._core.actions import Emit
from penstock._core.machine import PoolMachine
from penstock._core.timers import INF
from penstock._events import RequestRetried, RetryReason, RetryRefusal, RetryRefused
from penstock._types import Origin

ORIGIN = Origin("http", "api.test", 80)


def machine(*, chance: float = 0.5) -> PoolMachine:
    return PoolMachine(PoolConfig(), chance=lambda: chance)


def admit(pool: PoolMachine, policy: RetryPolicy, **facts: Any) -> float | RetryRefusal:
    asked: dict[str, Any] = {"retries": 0, "asked": None, "until": INF, **facts}
    return pool.admit_retry(0.0, pool.endpoint(0.0, ORIGIN), policy, **asked)


def test_the_pause_is_chosen_by_chance_and_doubles() -> None:
    policy = RetryPolicy(max_attempts=10, backoff=1, backoff_max=6)
    assert [admit(machine(), policy, retries=count) for count in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize(
    ("facts", "refusal"),
    [
        ({"retries": 2}, RetryRefusal.ATTEMPTS_USED),
        ({"asked": 60.5}, RetryRefusal.RETRY_AFTER_TOO_LONG),
        ({"asked": 30.0, "until": 30.0}, RetryRefusal.NO_TIME_LEFT),
    ],
)
def test_what_stands_in_the_way(facts: dict[str, Any], refusal: RetryRefusal) -> None:
    pool = machine()
    assert admit(pool, RetryPolicy(), **facts) is refusal
    # It costs the budget nothing.
    assert sum(pool.endpoint(0.0, ORIGIN).retry_budget._retries) == 0


def test_requests_earn_retries_and_the_rest_is_refused() -> None:
    pool = machine()
    policy = RetryPolicy(budget_ratio=0.5, budget_rate=0)
    endpoint = pool.endpoint(0.0, ORIGIN)
    for _ in range(4):
        pool.request_begins(0.0, endpoint)
    assert [admit(pool, policy) for _ in range(3)] == [0.25, 0.25, RetryRefusal.BUDGET_SPENT]


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("reason", RetryReason)
def test_what_is_done_is_counted_and_told(reason: RetryReason, observed: bool) -> None:
    pool = machine()
    pool.observed = observed
    endpoint = pool.endpoint(0.0, ORIGIN)
    record = RequestRetried(0.0, ORIGIN, 1, reason, 503, "", 0.25)
    pool.retried(endpoint, record)
    is_replay = reason in (RetryReason.STALE_CONNECTION, RetryReason.REFUSED, RetryReason.MISDIRECTED)
    assert (endpoint.replayed, endpoint.retried) == ((1, 0) if is_replay else (0, 1))
    assert told(pool) == ([record] if observed else [])


@pytest.mark.parametrize("observed", [False, True])
def test_what_is_refused_is_counted_and_told(observed: bool) -> None:
    pool = machine()
    pool.observed = observed
    endpoint = pool.endpoint(0.0, ORIGIN)
    record = RetryRefused(0.0, ORIGIN, 3, RetryRefusal.ATTEMPTS_USED)
    pool.retry_refused(endpoint, record)
    assert endpoint.retries_refused == 1
    assert told(pool) == ([record] if observed else [])


def told(pool: PoolMachine) -> list[events.Event]:
    return [action.event for action in pool.take_actions() if isinstance(action, Emit)]
