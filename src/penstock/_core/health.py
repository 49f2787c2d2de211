"""Whether an endpoint deserves more dials.

Dials and exchanges are counted apart, for a server may accept connections and then fail every request. One that ends a
connection right after it accepted it, before anything was asked, fails an exchange in advance. `threshold` failures in
a row of either kind make the endpoint unhealthy: it is left alone for a pause that grows while it stays so. After the
pause one dial at a time tries again; an exchange that succeeds ends the matter, unless it is the dials that fail:
connections made before may go on working, and must not set off a storm of dials.

    HEALTHY ──threshold failures──▶ PAUSED ──pause over──▶ TRYING ──exchange succeeds──▶ HEALTHY
                                      ▲                      │
                                      └───── next failure ───┘  (the pause doubles)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import backoff

if TYPE_CHECKING:
    from .._config import PoolConfig


class Health:
    """Failures in a row of one endpoint.

    Attributes:
        paused_until: no dial before this time; 0 while healthy.
        pauses: how many pauses in a row, 0 while healthy.
        last_error: why the latest dial failed, None after one that worked.
    """

    __slots__ = ("dial_failures", "exchange_failures", "last_error", "paused_until", "pauses")

    def __init__(self) -> None:
        self.dial_failures = 0
        self.exchange_failures = 0
        self.paused_until = 0.0
        self.pauses = 0
        self.last_error: BaseException | None = None

    @property
    def failures(self) -> int:
        """Failures in a row, of the kind that has more."""
        return max(self.dial_failures, self.exchange_failures)

    @property
    def is_unhealthy(self) -> bool:
        """Whether the threshold was reached and no exchange has succeeded since."""
        return self.pauses > 0

    def allows_dial(self, now: float, dials_in_flight: int) -> bool:
        """Whether one more dial may start: none while paused, one at a time until an exchange succeeds."""
        return self.pauses == 0 or (now >= self.paused_until and dials_in_flight == 0)

    def dial_failed(self, now: float, error: BaseException, config: PoolConfig, chance: float) -> bool:
        """Returns whether a pause begins now."""
        self.dial_failures += 1
        self.last_error = error
        return self._failed(now, config, chance)

    def exchange_failed(self, now: float, config: PoolConfig, chance: float) -> bool:
        """Returns whether a pause begins now."""
        self.exchange_failures += 1
        return self._failed(now, config, chance)

    def dialled(self) -> None:
        """A dial worked: dials are no longer what is wrong."""
        self.dial_failures = 0
        self.last_error = None

    def exchange_succeeded(self, config: PoolConfig) -> bool:
        """Returns whether the endpoint was unhealthy until now."""
        self.exchange_failures = 0
        if not self.pauses or self.dial_failures >= config.unhealthy_threshold:
            # Old connections may work while no new one can be made: dials are still what is wrong.
            return False
        self.pauses = 0
        self.paused_until = 0.0
        return True

    def _failed(self, now: float, config: PoolConfig, chance: float) -> bool:
        if now < self.paused_until or (self.pauses == 0 and self.failures < config.unhealthy_threshold):
            return False
        self.pauses += 1
        self.paused_until = now + backoff.pause(
            self.pauses, base=config.dial_backoff, longest=config.dial_backoff_max, chance=chance
        )
        return True
