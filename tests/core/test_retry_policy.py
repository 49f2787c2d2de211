"""What a policy wants after an answer, after a lost answer, and how long it waits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import penstock
from penstock import ProtocolReason, RetryPolicy, RetryReason, RetryRefusal
from penstock._core.retry_policy import judge_answer, judge_error, pause

DEFAULT = RetryPolicy()
ALL_STATUSES = range(200, 600)


@pytest.mark.parametrize("status", ALL_STATUSES)
def test_the_usual_statuses(status: int) -> None:
    wanted = status in {408, 409, 429, 500, 502, 503, 504, 529}
    verdict = judge_answer(DEFAULT, status=status, method=b"POST", should_retry=None)
    assert verdict is (RetryReason.STATUS if wanted else None)


def test_a_server_decides_over_the_statuses() -> None:
    assert judge_answer(DEFAULT, status=400, method=b"POST", should_retry=True) is RetryReason.SERVER_ASKED
    assert judge_answer(DEFAULT, status=503, method=b"POST", should_retry=False) is RetryRefusal.SERVER_FORBADE
    assert judge_answer(DEFAULT, status=400, method=b"POST", should_retry=False) is None


@pytest.mark.parametrize("status", [200, 302, 399])
def test_a_server_cannot_ask_again_for_what_it_answered(status: int) -> None:
    assert judge_answer(DEFAULT, status=status, method=b"GET", should_retry=True) is None


def test_methods_bound_both() -> None:
    policy = RetryPolicy(methods=["GET"])
    assert judge_answer(policy, status=503, method=b"GET", should_retry=None) is RetryReason.STATUS
    assert judge_answer(policy, status=503, method=b"POST", should_retry=None) is RetryRefusal.METHOD
    error = penstock.ConnectError("no")
    assert judge_error(policy, error, method=b"GET", is_keyed=False) is RetryReason.CONNECT_FAILED
    assert judge_error(policy, error, method=b"POST", is_keyed=True) is RetryRefusal.METHOD


FULLY: dict[str, Any] = {"request_sent": "fully"}
ERRORS = [
    (penstock.ConnectError("x"), RetryReason.CONNECT_FAILED),
    (penstock.NameResolutionError("x"), RetryReason.CONNECT_FAILED),
    (penstock.TLSError("x"), RetryReason.CONNECT_FAILED),
    (penstock.ConnectTimeout("x"), RetryReason.CONNECT_FAILED),
    (penstock.ProxyError("x"), RetryReason.CONNECT_FAILED),
    (penstock.ProxyError("x", status=503), RetryReason.CONNECT_FAILED),
    (penstock.ReadError("x", **FULLY), RetryReason.CONNECTION_LOST),
    (penstock.WriteError("x", **FULLY), RetryReason.CONNECTION_LOST),
    (penstock.ReadTimeout("x", **FULLY), RetryReason.TIMED_OUT),
    (penstock.WriteTimeout("x", **FULLY), RetryReason.TIMED_OUT),
    (penstock.RemoteProtocolError("x", reason=ProtocolReason.TRUNCATED), RetryReason.CONNECTION_LOST),
    (penstock.RemoteProtocolError("x", reason=ProtocolReason.RESET), RetryReason.CONNECTION_LOST),
    (penstock.RemoteProtocolError("x", reason=ProtocolReason.GOAWAY), RetryReason.CONNECTION_LOST),
]


def because(error: penstock.RequestError, cause: penstock.RequestError) -> penstock.RequestError:
    error.__cause__ = cause
    return error


HOPELESS = [
    penstock.CertificateError("x"),
    penstock.PinMismatch("x"),
    penstock.AddressNotAllowed("x"),
    penstock.ProxyError("x", status=407),
    because(penstock.ProxyError("x"), penstock.CertificateError("y")),
    penstock.PoolTimeout("x"),
    penstock.PoolFull("x"),
    penstock.PoolClosed("x"),
    penstock.LocalProtocolError("x"),
    penstock.UnsupportedProtocol("x"),
    penstock.DecodingError("x"),
    penstock.TooManyRedirects("x"),
    *(
        penstock.RemoteProtocolError("x", reason=reason)
        for reason in ProtocolReason
        if reason not in (ProtocolReason.TRUNCATED, ProtocolReason.RESET, ProtocolReason.GOAWAY)
    ),
]


def name_of(value: object) -> str:
    if isinstance(value, penstock.RemoteProtocolError):
        return f"{type(value).__name__}-{value.reason.value}"
    return type(value).__name__


@pytest.mark.parametrize(("error", "reason"), ERRORS, ids=name_of)
def test_lost_answers(error: penstock.RequestError, reason: RetryReason) -> None:
    harmless = error.request_sent == "no"
    assert judge_error(DEFAULT, error, method=b"GET", is_keyed=False) is reason
    assert judge_error(DEFAULT, error, method=b"POST", is_keyed=True) is reason
    unkeyed = judge_error(DEFAULT, error, method=b"POST", is_keyed=False)
    assert unkeyed is (reason if harmless else RetryRefusal.NOT_IDEMPOTENT)
    assert judge_error(RetryPolicy(lost_answers=False), error, method=b"GET", is_keyed=False) is None


@pytest.mark.parametrize("error", HOPELESS, ids=name_of)
def test_what_would_end_the_same_way(error: penstock.RequestError) -> None:
    assert judge_error(DEFAULT, error, method=b"GET", is_keyed=True) is None


@given(st.integers(1, 60), st.floats(0, 1), st.none() | st.floats(0, 1000))
def test_pauses_stay_in_their_bounds(count: int, chance: float, asked: float | None) -> None:
    policy = RetryPolicy(backoff=0.5, backoff_max=8.0)
    longest = min(8.0, 0.5 * 2 ** (count - 1))
    seconds = pause(policy, count, asked=asked, chance=chance)
    if asked is None:
        assert seconds == longest * chance
    else:
        assert asked <= seconds <= max(longest, asked + min(longest, asked))


@pytest.mark.parametrize("asked", [0.0, 0.001])
def test_now_is_no_reason_to_come_all_at_once(asked: float) -> None:
    assert pause(RetryPolicy(backoff=1), 3, asked=asked, chance=0.5) == 2.0


BAD: list[tuple[type[Exception], dict[str, Any], str]] = [
    (ValueError, {"max_attempts": 0}, "max_attempts must be from 1 to 20, not 0"),
    (TypeError, {"max_attempts": 2.5}, "max_attempts must be an int, not 2.5"),
    (ValueError, {"statuses": [200]}, "statuses must be from 400 to 599, not 200"),
    (TypeError, {"statuses": ["503"]}, "statuses must hold whole numbers, not '503'"),
    (TypeError, {"statuses": 503}, "statuses must be status codes, not 503"),
    (TypeError, {"methods": "GET"}, "methods must be a collection of methods or None, not 'GET'"),
    (ValueError, {"methods": ["GE T"]}, "methods must hold methods as they are sent, such as 'POST', not 'GE T'"),
    (TypeError, {"lost_answers": 1}, "lost_answers must be True or False, not 1"),
    (ValueError, {"backoff": 0}, "backoff must be more than 0 and finite, not 0"),
    (ValueError, {"backoff": 2, "backoff_max": 1}, "backoff_max must be at least backoff (2), not 1"),
    (ValueError, {"retry_after_max": -1}, "retry_after_max must be 0 or more and finite, not -1"),
    (ValueError, {"budget_ratio": -1}, "budget_ratio must be 0 or more and finite, not -1"),
    (TypeError, {"budget_rate": "many"}, "budget_rate must be a number per second, not 'many'"),
    (ValueError, {"idempotency_key": "a b"}, "idempotency_key must be the name of a header field or None, not 'a b'"),
]


@pytest.mark.parametrize(("kind", "fields", "message"), BAD)
def test_a_policy_is_checked_when_it_is_made(kind: type[Exception], fields: dict[str, Any], message: str) -> None:
    with pytest.raises(kind) as caught:
        RetryPolicy(**fields)
    assert str(caught.value) == message


def test_equal_policies_are_equal_values() -> None:
    assert RetryPolicy(statuses=[503, 503]) == RetryPolicy(statuses={503})
    assert hash(RetryPolicy(methods=["GET"])) == hash(RetryPolicy(methods=("GET",)))
