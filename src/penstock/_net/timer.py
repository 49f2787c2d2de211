"""The limits of one request, and the watchdog that enforces them.

A cancel scope with a deadline costs about a quarter of a small request, and nearly all requests end long before any
limit. So a request carries none: a `PhaseTimer` notes when the wait it is in must end, and one task per pool, the
`Watchdog`, interrupts what is late. An interrupt closes the connection under the exchange, as a timeout has to
anyway; the error which that brings about leaves the timer's `with` block as the timeout of its phase.

What stands in the watchdog is not the timer but a `Guard`, which one request after the other borrows: its record is
left where it is when the time moves later, so a request that meets no limit costs the watchdog nothing. The caller's
own code (a body generator, say) must never run under a phase's limit: `disarm` leaves only the total one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

import trio

from .._core.timers import INF, Timed, Timers
from .._errors import ConnectTimeout, NetworkError, PoolTimeout, ReadTimeout, TimeoutException, WriteTimeout

if TYPE_CHECKING:
    from collections.abc import Callable
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
    """Interrupts what is late, exactly when it is late; O(log n) a timer and nothing while they only move later.

    Attributes:
        idle_guards: guards that no timer has now; as many as there were requests at once.
    """

    __slots__ = ("_scope", "_timers", "_wake_at", "idle_guards")

    def __init__(self) -> None:
        self.idle_guards: list[Guard] = []
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


class Guard:
    """A place in the watchdog, for the timer of one request after the other.

    Attributes:
        timer: whose it is now.
        timer_at: when the watchdog looks next.
        watchdog: where its place is.
    """

    __slots__ = ("timer", "timer_at", "watchdog")

    def __init__(self, watchdog: Watchdog) -> None:
        self.watchdog = watchdog
        self.timer: PhaseTimer | None = None
        self.timer_at = INF

    def check(self, now: float) -> None:
        """Pass on that the time has come; it may be that of a request that has ended."""
        if self.timer is not None:
            self.timer.check(now)


class PhaseTimer:
    """When the present wait of a request must end.

    A synchronous context manager around a stretch of waiting, to be entered as often as needed under the same total
    limit. A `NetworkError` that an interrupt brought about leaves it as the timeout of the phase that was late.

    Args:
        limits: the limits, complete.
        clock: tells the time; trio's own if None. Whoever makes many timers asks trio for it once.

    Attributes:
        started_at: when it was made; the total limit counts from here.
        late: the time-out that a limit which passed will end as; None if none has.
    """

    __slots__ = ("_due", "_guard", "_target", "clock", "late", "limits", "phase", "started_at", "total_at")

    def __init__(self, limits: Timeouts, clock: Callable[[], float] | None = None) -> None:
        self.limits = limits
        self.clock = clock = clock or trio.lowlevel.current_clock().current_time
        self.started_at = clock()
        total = limits.total
        self._due = self.total_at = INF if total is None else self.started_at + total
        self.phase: Phase = "pool"
        self.late: TimeoutException | None = None
        self._target: Interruptible | None = None
        self._guard: Guard | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._target = None
        guard = self._guard
        if guard is not None:
            self._guard = guard.timer = None
            guard.watchdog.idle_guards.append(guard)
        if self.late is not None and isinstance(error, NetworkError):
            self.late.annotate(origin=error.origin, attempt=error.attempt, request_sent=error.request_sent)
            raise self.late from None

    @property
    def timed_out(self) -> bool:
        """Whether a limit has passed."""
        return self.late is not None

    def forgive(self) -> None:
        """What was late is tried once more; the total limit goes on."""
        self.late = None

    def guard(self, target: Interruptible, watchdog: Watchdog) -> None:
        """From now on, until `rest`, this is what is interrupted when a limit passes; only the total one is armed."""
        self._target = target
        guard = self._guard
        if guard is None:
            guards = watchdog.idle_guards
            self._guard = guard = guards.pop() if guards else Guard(watchdog)
            guard.timer = self
        if self.phase == "pool":
            # There is a connection; the next thing is the request.
            self.phase = "write"
        self._due = due = self.total_at
        if due < guard.timer_at:
            watchdog.schedule(guard, due)

    def rest(self) -> None:
        """Nobody waits: there is nothing to interrupt."""
        self._target = None

    def check(self, now: float) -> None:
        """Interrupt if the time has come; called by the watchdog."""
        guard = self._guard
        if self._target is None or guard is None or self.late is not None:
            # What was interrupted may still say what it waits for next; the limit that passed first is what counts.
            return
        if now < self._due:
            guard.watchdog.schedule(guard, self._due)
            return
        self.late = self._explain()
        self._target.interrupt()

    def end_by(self, at: float) -> None:
        """The total limit ends at this time, for a request that goes on with an earlier one; before anything waits."""
        self._due = self.total_at = at

    def write(self) -> None:
        """From now on the limit between two accepted pieces of the request holds."""
        self._arm("write", self.limits.write)

    def first_byte(self) -> None:
        """From now on the limit on the head of the answer holds, or the read limit where there is none."""
        limits = self.limits
        self._arm("first_byte", limits.read if limits.first_byte is None else limits.first_byte)

    def read(self) -> None:
        """From now on the limit between two pieces of the answer holds."""
        self._arm("read", self.limits.read)

    def disarm(self) -> None:
        """From now on only the total limit holds."""
        self._arm(self.phase, None)

    def _arm(self, phase: Phase, seconds: float | None) -> None:
        self.phase = phase
        due = self.total_at
        if seconds is not None and (limit := self.clock() + seconds) < due:
            due = limit
        self._due = due
        guard = self._guard
        if guard is not None and due < guard.timer_at:
            guard.watchdog.schedule(guard, due)

    def _explain(self) -> TimeoutException:
        limits, phase = self.limits, self.phase
        if self._due >= self.total_at:
            name, seconds = "total_timeout", limits.total
        elif phase == "first_byte" and limits.first_byte is None:
            name, seconds = "read_timeout", limits.read
        else:
            name, seconds = f"{phase}_timeout", getattr(limits, phase)
        error = _TIMEOUTS.get(phase, ReadTimeout)
        return error(f"{name} of {seconds:g} s passed while {_DOING[phase]}", limit=name, seconds=seconds, phase=phase)


class EventTimer(PhaseTimer):
    """A timer that goes on where another one rests, and also limits the time between two events of a stream.

    Args:
        timer: of the request whose answer is the stream.
        event_timeout: seconds.
    """

    __slots__ = ("_ends_at", "event_timeout")

    def __init__(self, timer: PhaseTimer, event_timeout: float) -> None:
        super().__init__(timer.limits, timer.clock)
        self.started_at = timer.started_at
        self.phase = timer.phase
        self.event_timeout = event_timeout
        self._ends_at = self._due = self.total_at = timer.total_at

    def expect_event(self) -> None:
        """Somebody waits for the next event from now on."""
        self.total_at = min(self._ends_at, self.clock() + self.event_timeout)

    def _explain(self) -> TimeoutException:
        if self._due < self.total_at or self.total_at == self._ends_at:
            return super()._explain()
        return ReadTimeout(
            f"event_timeout of {self.event_timeout:g} s passed while waiting for the next event",
            limit="event_timeout",
            seconds=self.event_timeout,
            phase="read",
        )


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
