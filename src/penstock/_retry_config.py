"""What a user may set about trying a request again, checked when it is made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import attrs

from ._grammar import TOKEN
from ._validators import flag, rate, seconds, whole

#: Come back later (408, 429, 503, 529), a conflict that passes (409), and servers that failed or lost theirs.
RETRY_STATUSES: Final = frozenset({408, 409, 429, 500, 502, 503, 504, 529})


def _is_token(text: object) -> bool:
    return isinstance(text, str) and text.isascii() and TOKEN.fullmatch(text.encode()) is not None


def _to_statuses(value: Iterable[int]) -> frozenset[int]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(f"statuses must be status codes, not {value!r}")
    statuses = tuple(value)
    for status in statuses:
        if isinstance(status, bool) or not isinstance(status, int):
            raise TypeError(f"statuses must hold whole numbers, not {status!r}")
        if not 400 <= status <= 599:
            raise ValueError(f"statuses must be from 400 to 599, not {status!r}")
    return frozenset(statuses)


def _to_methods(value: Iterable[str] | None) -> frozenset[str] | None:
    if value is None:
        return None
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(f"methods must be a collection of methods or None, not {value!r}")
    methods = tuple(value)
    for method in methods:
        if not _is_token(method):
            raise ValueError(f"methods must hold methods as they are sent, such as 'POST', not {method!r}")
    return frozenset(methods)


def _check_key(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not _is_token(value):
        raise ValueError(f"{field.name} must be the name of a header field or None, not {value!r}")


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """When a request is tried again, and after how long.

    It comes on top of the replays that are always safe and always made. A request without a policy is not retried.

    Attributes:
        max_attempts: tries in all, the first included; 1 to 20. Safe replays are not counted.
        statuses: answers, 400 to 599, after which it is tried again. A server's `x-should-retry: true` or `false`
            decides over them.
        methods: methods that are tried again, as they are sent; None for all of them. Whatever stands here, a request
            whose answer was lost is tried again only if its method is idempotent, if it carries an idempotency key, or
            if nothing of it was sent.
        lost_answers: whether it is tried again where no answer came: no connection, one that broke, a time-out. Never
            after a certificate or a pin that is wrong, and never when the rules of HTTP were broken.
        backoff: seconds, more than 0; a pause is chosen by chance between 0 and this, and twice as much each further
            time.
        backoff_max: the longest such pause, in seconds; at least `backoff`.
        retry_after_max: the longest pause that a server may ask for (`Retry-After`, `retry-after-ms`), in seconds, 0 or
            more; its answer is given to the caller if it asks for more. A pause it asks for is never made shorter.
        budget_ratio: retries for each request, per endpoint, over the last ten seconds, 0 or more; with `budget_rate`
            the bound that keeps retries from making an overload worse.
        budget_rate: retries a second that are allowed besides, 0 or more.
        idempotency_key: name of a header field in which requests of methods that are not idempotent get a key of their
            own, the same in all tries, for servers that know them; None for no key. A client sets it; `Pool.exchange`
            sends what it is given.

    Raises:
        ValueError: a value is out of range.
        TypeError: a value has the wrong type.
    """

    # One try and two more, and half a second growing to eight: what the SDKs of the large providers do.
    max_attempts: int = attrs.field(default=3, validator=whole(1, 20))
    statuses: frozenset[int] = attrs.field(default=RETRY_STATUSES, converter=_to_statuses)
    methods: frozenset[str] | None = attrs.field(default=None, converter=_to_methods)
    lost_answers: bool = attrs.field(default=True, validator=flag)
    backoff: float = attrs.field(default=0.5, validator=seconds(optional=False))
    backoff_max: float = attrs.field(default=8.0, validator=seconds(optional=False))
    # Longer than that a caller had better know.
    retry_after_max: float = attrs.field(default=60.0, validator=seconds(optional=False, zero=True))
    # Finagle's numbers, which Linkerd and tower took over.
    budget_ratio: float = attrs.field(default=0.2, validator=seconds(optional=False, zero=True, unit="a number"))
    budget_rate: float = attrs.field(default=10.0, validator=rate())
    idempotency_key: str | None = attrs.field(default=None, validator=_check_key)

    def __attrs_post_init__(self) -> None:
        """Check the fields against each other."""
        if self.backoff_max < self.backoff:
            raise ValueError(f"backoff_max must be at least backoff ({self.backoff}), not {self.backoff_max}")


def check_retry(retry: object) -> RetryPolicy | None:
    """Return what may be a `retry=` argument.

    Raises:
        TypeError: it is neither a `RetryPolicy` nor None.
    """
    if retry is None or isinstance(retry, RetryPolicy):
        return retry
    raise TypeError(f"retry must be a RetryPolicy or None, not {retry!r}")
