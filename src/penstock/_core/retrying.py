"""Requests that are sent again: within a policy, within a budget, within the request's time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _events as events
from .._events import RetryReason, RetryRefusal
from .duties import Duties
from .retry_policy import pause

if TYPE_CHECKING:
    from .._retry_config import RetryPolicy
    from .endpoint import Endpoint

#: Made whether there is a policy or not, since they do no harm.
_REPLAYS = frozenset({RetryReason.STALE_CONNECTION, RetryReason.REFUSED, RetryReason.MISDIRECTED})


class Retrying(Duties):
    """What the machine knows of retries. It never asks for one: who makes the request does."""

    def request_begins(self, now: float, endpoint: Endpoint) -> None:
        """A request that may be retried begins: it adds to what its endpoint may get of retries."""
        endpoint.retry_budget.deposit(now)

    def admit_retry(
        self,
        now: float,
        endpoint: Endpoint,
        policy: RetryPolicy,
        *,
        retries: int,
        asked: float | None,
        until: float,
    ) -> float | RetryRefusal:
        """Decide about a retry that the policy wants.

        Args:
            now: the time.
            endpoint: what is asked.
            policy: has the bounds.
            retries: how many there were.
            asked: the pause that the server asked for, None if it asked for none.
            until: when the request must have ended.

        Returns:
            Seconds until the request is to be sent again; the retry is taken from the budget then. Or why not.
        """
        if retries + 1 >= policy.max_attempts:
            return RetryRefusal.ATTEMPTS_USED
        if asked is not None and asked > policy.retry_after_max:
            return RetryRefusal.RETRY_AFTER_TOO_LONG
        delay = pause(policy, retries + 1, asked=asked, chance=self._chance())
        if now + delay >= until:
            return RetryRefusal.NO_TIME_LEFT
        if not endpoint.retry_budget.withdraw(now, ratio=policy.budget_ratio, rate=policy.budget_rate):
            return RetryRefusal.BUDGET_SPENT
        return delay

    def retried(self, endpoint: Endpoint, record: events.RequestRetried) -> None:
        """A request is sent again."""
        if record.reason in _REPLAYS:
            endpoint.replayed += 1
        else:
            endpoint.retried += 1
        if self.observed:
            self._emit(record)

    def retry_refused(self, endpoint: Endpoint, record: events.RetryRefused) -> None:
        """A request is not sent again although its policy speaks of what it ended with."""
        endpoint.retries_refused += 1
        if self.observed:
            self._emit(record)
