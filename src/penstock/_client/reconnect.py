"""Whether and when an event stream that ended is asked for again."""

from __future__ import annotations

from typing import Final

import attrs

from .._core.backoff import doubled
from .._core.retry_policy import judge_error
from .._errors import HTTPStatusError, RequestError, TimeoutException, TLSError
from .._retry_config import RETRY_STATUSES, RetryPolicy
from .._validators import fraction, seconds, whole

#: What passes is the same as for retries.
_TRANSIENT: Final = RetryPolicy()

#: The shortest delay that a server may set, and that is doubled: `retry: 0` must not make a loop without a pause.
SHORTEST_DELAY: Final = 0.5


@attrs.frozen(kw_only=True)
class Reconnect:
    """How an event stream is asked for again when it has ended or broken off, with Last-Event-ID.

    For servers that can resume a stream, and for bodies that can be sent again. Before attempt n in a row the wait is
    `delay` × 2^(n−1), at most `max_delay`, made longer by a random part of up to `jitter` of itself. The time that the
    server sets with `retry:` takes the place of `delay`, but is never less than half a second; nor is what is doubled.

    Attributes:
        max_attempts: attempts in a row without an event, at least 1.
        delay: seconds before the first; 0 for at once.
        max_delay: the longest wait in seconds, before jitter; it also bounds what the server sets.
        jitter: 0 to 1.

    Raises:
        ValueError: a value is out of range.
        TypeError: a value has the wrong type.
    """

    # The HTML standard leaves all of these to the client, and names a few seconds for the delay.
    max_attempts: int = attrs.field(default=5, validator=whole(1))
    delay: float = attrs.field(default=3.0, validator=seconds(optional=False, zero=True))
    max_delay: float = attrs.field(default=60.0, validator=seconds(optional=False))
    jitter: float = attrs.field(default=0.5, validator=fraction())

    def pause(self, attempt: int, retry: float | None, chance: float) -> float:
        """Seconds to wait before an attempt (from 1); `retry` is what the server set, `chance` is from 0 to 1."""
        base = self.delay if retry is None else max(retry, SHORTEST_DELAY)
        if attempt > 1:
            base = max(base, SHORTEST_DELAY)
        full = doubled(attempt, base=base, longest=self.max_delay)
        return full * (1.0 + self.jitter * chance)


def is_interruption(error: RequestError | HTTPStatusError) -> bool:
    """Whether a stream that failed like this may be asked for again: where a retry policy would, and no sooner."""
    if isinstance(error, HTTPStatusError):
        return error.response.status_code in RETRY_STATUSES
    if isinstance(error, TimeoutException) and error.limit == "total_timeout":
        return False
    return not isinstance(error, TLSError) and judge_error(_TRANSIENT, error, method=b"GET", is_keyed=False) is not None
