"""One cancel scope per request, whose deadline moves with the phases.

A cancel scope costs about as much as half a small request, so a request has one, not one per phase. Code that is about
to wait arms the phase it waits in; code that finds its bytes at once arms nothing. The caller's own code (a body
generator, say) must never run under a phase's deadline: `disarm` leaves only the total one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Self

import trio

from .._errors import ConnectTimeout, PoolTimeout, ReadTimeout, TimeoutException, WriteTimeout

if TYPE_CHECKING:
    from types import TracebackType

    from .._config import Timeouts
    from .._errors import Phase

_INF = float("inf")


class PhaseTimer:
    """A cancel scope that knows which limit it enforces.

    Used as a synchronous context manager around one stretch of waiting, and as often as needed: each entry makes a new
    scope under the same total deadline. Leaving it after a limit passed raises the timeout of the phase.
    """

    __slots__ = ("_armed_at", "_scope", "limits", "phase", "started_at", "total_at")

    def __init__(self, limits: Timeouts) -> None:
        self.limits = limits
        self.started_at = trio.current_time()
        self.total_at = _INF if limits.total is None else self.started_at + limits.total
        self.phase: Phase = "pool"
        self._armed_at = _INF
        self._scope: trio.CancelScope | None = None

    def __enter__(self) -> Self:
        self._armed_at = self.total_at
        self._scope = trio.CancelScope(deadline=self.total_at)
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        scope, self._scope = self._scope, None
        assert scope is not None
        if scope.__exit__(kind, error, trace) and scope.cancelled_caught:
            self._raise()

    def _raise(self) -> NoReturn:
        if self._armed_at >= self.total_at:
            limit, name = self.limits.total, "total_timeout"
        else:
            limit = getattr(self.limits, self.phase)
            name = f"{self.phase}_timeout"
        error = _TIMEOUTS.get(self.phase, ReadTimeout)
        raise error(f"{name} of {limit:g} s passed while {_DOING[self.phase]}", phase=self.phase)

    def _arm(self, phase: Phase, seconds: float | None) -> None:
        self.phase = phase
        at = self.total_at
        if seconds is not None:
            at = min(at, trio.current_time() + seconds)
        if at != self._armed_at and self._scope is not None:
            self._armed_at = at
            self._scope.deadline = at

    def pool(self) -> None:
        """From now on the limit on waiting for a connection holds."""
        self._arm("pool", self.limits.pool)

    def connect(self) -> None:
        """From now on the limit on a dial holds."""
        self._arm("connect", self.limits.connect)

    def write(self) -> None:
        """From now on the limit between two accepted pieces of the request holds."""
        self._arm("write", self.limits.write)

    def first_byte(self) -> None:
        """From now on the limit on the head of the answer holds, or the read limit where it is shorter."""
        if self.limits.first_byte is None:
            self._arm("read", self.limits.read)
        else:
            self._arm("first_byte", self.limits.first_byte)

    def read(self) -> None:
        """From now on the limit between two pieces of the answer holds."""
        self._arm("read", self.limits.read)

    def disarm(self) -> None:
        """From now on only the total deadline holds."""
        self._arm(self.phase, None)


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
