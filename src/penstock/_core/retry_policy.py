"""Does a policy want another try, and after how long?

What a server says decides over what a policy says, and what is safe decides over both:

    the try ended with                    wanted where                              reason
    an answer of 400 and up               `x-should-retry: true`                    SERVER_ASKED
                                          its status is one of the policy's         STATUS
    no connection                         `lost_answers`                            CONNECT_FAILED
    a proxy that failed                   `lost_answers`, and its status if it      CONNECT_FAILED
                                          gave one is one of the policy's
    a connection that broke, a reset      `lost_answers`                            CONNECTION_LOST
    a limit of time                       `lost_answers`                            TIMED_OUT
    anything else                         never: it would end the same way again

An answer proves that the request was understood, so whoever opted in takes it that a POST may be sent again. A lost
answer proves nothing: then the request is sent again only if that does no harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._errors import (
    AddressNotAllowed,
    CertificateError,
    ConnectError,
    ConnectTimeout,
    PinMismatch,
    ProtocolReason,
    ProxyError,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    RequestError,
    WriteError,
    WriteTimeout,
)
from .._events import RetryReason, RetryRefusal
from .backoff import doubled
from .retry import IDEMPOTENT

if TYPE_CHECKING:
    from .._retry_config import RetryPolicy

# They would end the same way again.
_HOPELESS = (CertificateError, PinMismatch, AddressNotAllowed)
_LOST = frozenset({ProtocolReason.TRUNCATED, ProtocolReason.RESET, ProtocolReason.GOAWAY})


def judge_answer(
    policy: RetryPolicy, *, status: int, method: bytes, should_retry: bool | None
) -> RetryReason | RetryRefusal | None:
    """Judge an answer; None where it is none to try again after.

    Args:
        policy: what is wanted.
        status: of the answer.
        method: as sent.
        should_retry: what the server said about it; None for nothing.
    """
    if status < 400:
        return None
    if should_retry is None and status not in policy.statuses:
        return None
    if should_retry is False:
        return RetryRefusal.SERVER_FORBADE if status in policy.statuses else None
    if not _is_wanted(policy, method):
        return RetryRefusal.METHOD
    return RetryReason.SERVER_ASKED if should_retry else RetryReason.STATUS


def judge_error(
    policy: RetryPolicy, error: RequestError, *, method: bytes, is_keyed: bool
) -> RetryReason | RetryRefusal | None:
    """Judge a try that got no answer; None where another would end the same way.

    Args:
        policy: what is wanted.
        error: how it ended, with its `request_sent`.
        method: as sent.
        is_keyed: whether the request carries an idempotency key.
    """
    reason = _reason_of(error, policy) if policy.lost_answers else None
    if reason is None:
        return None
    if not _is_wanted(policy, method):
        return RetryRefusal.METHOD
    if error.request_sent == "no" or method in IDEMPOTENT or is_keyed:
        return reason
    return RetryRefusal.NOT_IDEMPOTENT


def _is_wanted(policy: RetryPolicy, method: bytes) -> bool:
    return policy.methods is None or method.decode("latin-1") in policy.methods


def _reason_of(error: RequestError, policy: RetryPolicy) -> RetryReason | None:
    if isinstance(error, _HOPELESS) or isinstance(error.__cause__, _HOPELESS):
        return None
    if isinstance(error, ProxyError):
        return RetryReason.CONNECT_FAILED if error.status is None or error.status in policy.statuses else None
    if isinstance(error, ConnectError | ConnectTimeout):
        return RetryReason.CONNECT_FAILED
    if isinstance(error, ReadTimeout | WriteTimeout):
        return RetryReason.TIMED_OUT
    if isinstance(error, ReadError | WriteError):
        return RetryReason.CONNECTION_LOST
    if isinstance(error, RemoteProtocolError) and error.reason in _LOST:
        return RetryReason.CONNECTION_LOST
    return None


def pause(policy: RetryPolicy, count: int, *, asked: float | None, chance: float) -> float:
    """Seconds before the `count`-th retry (from 1): full jitter, so that those who failed together come apart.

    Args:
        policy: has the bounds.
        count: which retry it is.
        asked: the pause that the server asked for, which is made no shorter; None if it asked for none.
        chance: from 0 to 1.
    """
    longest = doubled(count, base=policy.backoff, longest=policy.backoff_max)
    own = longest * chance
    # Above what was asked, so that those who were told the same number come apart; "now" asks for no storm.
    return own if asked is None else max(own, asked + min(longest, asked) * chance)
