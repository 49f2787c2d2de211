"""The table of replays: every row, and what overrides it."""

from __future__ import annotations

from typing import Any

import pytest

from penstock._core.retry import IDEMPOTENT, MAX_ATTEMPTS, MAX_ATTEMPTS_LEFT, MAX_ATTEMPTS_REFUSED, Replay, may_replay


def judge(**facts: Any) -> Replay:
    """The verdict on a GET that a reused connection lost after it was sent, first try, unless the facts differ."""
    usual: dict[str, Any] = {
        "reused": True,
        "request_sent": "fully",
        "answer_begun": False,
        "method": b"GET",
        "replayable_body": True,
        "attempt": 1,
    }
    return may_replay(**usual | facts)


@pytest.mark.parametrize("reused", [True, False])
@pytest.mark.parametrize("sent", ["no", "partly", "fully"])
def test_nothing_is_replayed_once_an_answer_has_begun(sent: str, reused: bool) -> None:
    assert judge(answer_begun=True, request_sent=sent, reused=reused) is Replay.ANSWER_BEGUN


@pytest.mark.parametrize("sent", ["no", "partly", "fully"])
def test_a_fresh_connection_that_breaks_is_never_blamed_on_staleness(sent: str) -> None:
    assert judge(reused=False, request_sent=sent) is Replay.NOT_STALE


@pytest.mark.parametrize("method", [b"GET", b"POST", b"PATCH", b"get"])
def test_what_was_not_written_is_replayed_whatever_it_is(method: bytes) -> None:
    assert judge(request_sent="no", method=method) is Replay.NOTHING_WRITTEN


@pytest.mark.parametrize("sent", ["partly", "fully"])
@pytest.mark.parametrize("method", sorted(IDEMPOTENT))
def test_what_is_idempotent_is_replayed(method: bytes, sent: str) -> None:
    assert judge(method=method, request_sent=sent) is Replay.IDEMPOTENT


@pytest.mark.parametrize("sent", ["partly", "fully"])
@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"CONNECT", b"get", b"PURGE"])
def test_what_may_have_been_processed_is_not(method: bytes, sent: str) -> None:
    assert judge(method=method, request_sent=sent) is Replay.NOT_IDEMPOTENT


def test_a_body_that_is_gone_cannot_be_sent_again() -> None:
    assert judge(replayable_body=False) is Replay.BODY_CONSUMED
    assert judge(replayable_body=False, request_sent="no") is Replay.BODY_CONSUMED


def test_one_replay_is_all_there_is() -> None:
    assert judge(attempt=MAX_ATTEMPTS) is Replay.ATTEMPTS_USED
    assert judge(attempt=MAX_ATTEMPTS, request_sent="no") is Replay.ATTEMPTS_USED


@pytest.mark.parametrize("sent", ["no", "partly", "fully"])
@pytest.mark.parametrize("reused", [True, False])
@pytest.mark.parametrize("method", [b"GET", b"POST", b"PATCH"])
def test_what_the_server_refused_is_sent_again_whatever_it_is(method: bytes, sent: str, reused: bool) -> None:
    assert judge(refused=True, method=method, request_sent=sent, reused=reused) is Replay.REFUSED


def test_a_refusal_counts_although_an_interim_answer_had_begun() -> None:
    assert judge(refused=True, answer_begun=True) is Replay.REFUSED


@pytest.mark.parametrize("reused", [True, False])
def test_a_refused_request_whose_body_is_gone_is_not_sent_again(reused: bool) -> None:
    assert judge(refused=True, replayable_body=False, reused=reused) is Replay.BODY_CONSUMED


def test_a_refused_request_is_sent_again_twice_and_no_more() -> None:
    verdicts = [judge(refused=True, attempt=attempt) for attempt in range(1, MAX_ATTEMPTS_REFUSED + 2)]

    assert verdicts == [Replay.REFUSED, Replay.REFUSED, Replay.ATTEMPTS_USED, Replay.ATTEMPTS_USED]


def test_more_often_where_servers_leave_but_not_for_ever() -> None:
    verdicts = [judge(refused=True, going_away=True, attempt=attempt) for attempt in range(1, MAX_ATTEMPTS_LEFT + 2)]

    assert verdicts == [Replay.REFUSED] * (MAX_ATTEMPTS_LEFT - 1) + [Replay.ATTEMPTS_USED] * 2
    assert judge(refused=True, going_away=True, attempt=2, reused=False) is Replay.NOT_STALE


def test_a_fresh_connection_that_does_nothing_but_refuse_means_it() -> None:
    assert judge(refused=True, attempt=2, reused=False) is Replay.NOT_STALE


def test_a_replay_that_was_not_refused_has_the_usual_number_of_tries() -> None:
    assert judge(attempt=2) is Replay.ATTEMPTS_USED
    assert judge(refused=True, attempt=2) is Replay.REFUSED


def test_three_verdicts_allow_a_replay() -> None:
    allowed = {verdict for verdict in Replay if verdict.is_allowed}

    assert allowed == {Replay.NOTHING_WRITTEN, Replay.REFUSED, Replay.IDEMPOTENT}
