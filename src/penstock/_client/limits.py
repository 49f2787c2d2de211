"""What `timeout=` means."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from math import isfinite
from typing import Literal

from .._config import Timeouts


class Unset(Enum):
    """The type of `UNSET`: None already means "no limit"."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Literal[Unset.UNSET] = Unset.UNSET

#: Seconds for each phase, a complete `Timeouts`, None for no limit at all.
TimeoutArgument = float | Timeouts | None

_NO_LIMITS = Timeouts(connect=None, read=None, write=None, pool=None, first_byte=None, total=None)


def to_timeouts(timeout: TimeoutArgument) -> Timeouts:
    """The limits that a `timeout=` argument asks for.

    A number limits connecting, reading, writing and the wait for a connection, each on its own; it sets no total.

    Raises:
        TypeError: it is neither a number, a `Timeouts` nor None.
        ValueError: it is a number that is not positive and finite.
    """
    if timeout.__class__ is Timeouts:
        return timeout
    if timeout is None:
        return _NO_LIMITS
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be a number of seconds, a Timeouts or None, not {timeout!r}")
    if not isfinite(timeout) or timeout <= 0:
        raise ValueError(f"timeout must be more than 0 and finite (None for no limit), not {timeout!r}")
    return _each_phase(timeout)


@lru_cache(maxsize=64)
def _each_phase(seconds: float) -> Timeouts:
    return Timeouts(connect=seconds, read=seconds, write=seconds, pool=seconds)
