"""The table of replays: every row, and what overrides it."""

from __future__ import annotations

from typing import Any

import pytest

from penstock._core.retry import IDEMPOTENT, MAX_ATTEMPTS, Replay, may_replay


def judge(**facts: Any) -> Replay:
    """The verdict on a GET that a reused connection lost after it was sent, first try, unless the facts differ."""
    usual = {
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


def test_two_verdicts_allow_a_replay() -> None:
    assert {verdict for verdict in Replay if verdict.is_allowed} == {Replay.NOTHING_WRITTEN, Replay.IDEMPOTENT}
