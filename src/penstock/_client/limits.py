"""What `timeout=` means, and how large a body may become in memory."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from math import isfinite
from typing import Final, Literal

from .._config import Timeouts


class Unset(Enum):
    """The type of `UNSET`: None already means "no limit"."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Literal[Unset.UNSET] = Unset.UNSET

#: Seconds for each phase, a complete `Timeouts`, None for no limit at all.
TimeoutArgument = float | Timeouts | None

#: Ten such answers at once still fit into a small container, and whoever expects a larger one streams it. Without a
#: limit 300 KiB of gzip become 300 MiB.
MAX_CONTENT_SIZE: Final = 100 * 1024 * 1024

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


def check_content_size(size: int | None) -> int | None:
    """Return what may be a `max_content_size`.

    Raises:
        TypeError: it is neither an int nor None.
        ValueError: it is less than 1.
    """
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"max_content_size must be an int or None, not {size!r}")
    if size < 1:
        raise ValueError(f"max_content_size must be at least 1 (None for no limit), not {size}")
    return size


def check_event_timeout(event_timeout: float | None) -> float | None:
    """Return what may be an `event_timeout`.

    Raises:
        TypeError: it is neither a number nor None.
        ValueError: it is a number that is not positive and finite.
    """
    if event_timeout is None:
        return None
    if isinstance(event_timeout, bool) or not isinstance(event_timeout, int | float):
        raise TypeError(f"event_timeout must be a number of seconds or None, not {event_timeout!r}")
    if not isfinite(event_timeout) or event_timeout <= 0:
        raise ValueError(f"event_timeout must be more than 0 and finite (None for no limit), not {event_timeout!r}")
    return event_timeout


@lru_cache(maxsize=64)
def _each_phase(seconds: float) -> Timeouts:
    return Timeouts(connect=seconds, read=seconds, write=seconds, pool=seconds)
