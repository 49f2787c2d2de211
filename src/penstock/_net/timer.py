"""The limits of one request, and the watchdog that enforces them.

A cancel scope with a deadline costs about a quarter of a small request, and nearly all requests end long before any
limit. So a request carries none: a `PhaseTimer` notes when the wait it is in must end, and one task per pool, the
`Watchdog`, interrupts what is late. An interrupt closes the connection under the exchange, as a timeout has to
anyway; the error which that brings about leaves the timer's `with` block as the timeout of its phase.

A timer's record in the watchdog is left where it is when the time moves later, so arming costs next to nothing. The
caller's own code (a body generator, say) must never run under a phase's limit: `disarm` leaves only the total one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

import trio

from .._core.timers import INF, Timed, Timers
from .._errors import ConnectTimeout, NetworkError, PoolTimeout, ReadTimeout, TimeoutException, WriteTimeout

if TYPE_CHECKING:
    from types import TracebackType

    from .._config import Timeouts
    from .._errors import Phase


class Interruptible(Protocol):
    """What a timer guards."""

    def interrupt(self) -> None:
        """A limit passed: wake whoever waits, with a `NetworkError`. Synchronous."""


class Watched(Timed, Protocol):
    """What a watchdog looks after."""

    def check(self, now: float) -> None:
        """The time that was asked for has come. Synchronous."""


class Watchdog:
    """Interrupts what is late, exactly when it is late; O(log n) a timer and nothing while they only move later."""

    __slots__ = ("_scope", "_timers", "_wake_at")

    def __init__(self) -> None:
        self._timers: Timers[Watched] = Timers()
        self._wake_at = INF
        self._scope: trio.CancelScope | None = None

    def schedule(self, timer: Watched, at: float) -> None:
        """Look at the timer at this time, or earlier."""
        if self._timers.schedule(timer, at) and at < self._wake_at:
            self._wake_at = at
            if self._scope is not None:
                self._scope.deadline = at

    def forget(self, timer: Watched) -> None:
        """Do not look at the timer any more."""
        self._timers.cancel(timer)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._wake_at) as self._scope:
                await trio.sleep_forever()
            now = self._wake_at = trio.current_time()
            for timer in self._timers.due(now):
                timer.check(now)
            self._wake_at = self._timers.next_at


class PhaseTimer:
    """When the present wait of a request must end.

    A synchronous context manager around a stretch of waiting, to be entered as often as needed under the same total
    limit. A `NetworkError` that an interrupt brought about leaves it as the timeout of the phase that was late.

    Attributes:
        started_at: when it was made; the total limit counts from here.
        timed_out: whether a limit has passed.
        timer_at: when the watchdog looks next.
    """

    __slots__ = (
        "_due",
        "_late",
        "_target",
        "_watchdog",
        "limits",
        "phase",
        "started_at",
        "timer_at",
        "total_at",
    )

    def __init__(self, limits: Timeouts) -> None:
        self.limits = limits
        self.started_at = trio.current_time()
        self.total_at = INF if limits.total is None else self.started_at + limits.total
        self.phase: Phase = "pool"
        self.timer_at = INF
        self._due = self.total_at
        self._late: TimeoutException | None = None
        self._target: Interruptible | None = None
        self._watchdog: Watchdog | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._target = None
        if self.timer_at != INF and self._watchdog is not None:
            self._watchdog.forget(self)
        if self._late is not None and isinstance(error, NetworkError):
            self._late.annotate(origin=error.origin, attempt=error.attempt, request_sent=error.request_sent)
            raise self._late from None

    @property
    def timed_out(self) -> bool:
        """Whether a limit has passed."""
        return self._late is not None

    def guard(self, target: Interruptible, watchdog: Watchdog) -> None:
        """From now on, until `rest`, this is what is interrupted when a limit passes; only the total one is armed."""
        self._target = target
        self._watchdog = watchdog
        if self.phase == "pool":
            # There is a connection; the next thing is the request.
            self.phase = "write"
        self._due = self.total_at
        if self.total_at != INF:
            watchdog.schedule(self, self.total_at)

    def rest(self) -> None:
        """Nobody waits: there is nothing to interrupt."""
        self._target = None

    def check(self, now: float) -> None:
        """Interrupt if the time has come; called by the watchdog."""
        if self._target is None:
            return
        if now < self._due:
            assert self._watchdog is not None
            self._watchdog.schedule(self, self._due)
            return
        self._late = self._explain()
        self._target.interrupt()

    def write(self) -> None:
        """From now on the limit between two accepted pieces of the request holds."""
        self._arm("write", self.limits.write)

    def first_byte(self) -> None:
        """From now on the limit on the head of the answer holds, or the read limit where there is none."""
        if self.limits.first_byte is None:
            self._arm("read", self.limits.read)
        else:
            self._arm("first_byte", self.limits.first_byte)

    def read(self) -> None:
        """From now on the limit between two pieces of the answer holds."""
        self._arm("read", self.limits.read)

    def disarm(self) -> None:
        """From now on only the total limit holds."""
        self._arm(self.phase, None)

    def _arm(self, phase: Phase, seconds: float | None) -> None:
        self.phase = phase
        due = self.total_at
        if seconds is not None:
            due = min(due, trio.current_time() + seconds)
        self._due = due
        if due < self.timer_at and self._watchdog is not None:
            self._watchdog.schedule(self, due)

    def _explain(self) -> TimeoutException:
        if self._due >= self.total_at:
            limit, name = self.limits.total, "total_timeout"
        else:
            limit, name = getattr(self.limits, self.phase), f"{self.phase}_timeout"
        error = _TIMEOUTS.get(self.phase, ReadTimeout)
        return error(f"{name} of {limit:g} s passed while {_DOING[self.phase]}", phase=self.phase)


_TIMEOUTS: dict[str, type[TimeoutException]] = {
    "pool": PoolTimeout,
    "connect": ConnectTimeout,
    "write": WriteTimeout,
}

_DOING: dict[str, str] = {
    "pool": "waiting for a connection",
    "connect": "connecting",
    "write": "sending the request",
    "first_byte": "waiting for the head of the response",
    "read": "waiting for the next piece of the response",
}
