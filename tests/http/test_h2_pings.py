"""When a connection is asked for a sign of life, and when it is taken for dead."""

from __future__ import annotations

import pytest

from penstock._http.h2_pings import PingPace, Pings

INF = float("inf")


def pings(interval: float | None = 30.0, timeout: float = 5.0) -> tuple[Pings, PingPace]:
    pace = PingPace(interval)
    return Pings(pace, timeout, 0.0), pace


def test_silence_with_streams_in_flight_asks_after_the_interval() -> None:
    asked, _ = pings()

    assert not asked.is_due(29.9, in_flight=True)
    assert asked.is_due(30.0, in_flight=True)
    assert asked.next_look(in_flight=True, wanted=False) == 30.0


def test_an_idle_connection_is_left_in_peace() -> None:
    asked, _ = pings()

    assert not asked.is_due(1e9, in_flight=False)
    assert asked.next_look(in_flight=False, wanted=False) == INF


def test_every_byte_puts_the_question_off() -> None:
    asked, _ = pings()
    asked.heard(20.0)

    assert not asked.is_due(49.9, in_flight=True)
    assert asked.is_due(50.0, in_flight=True)


def test_without_an_interval_nothing_is_asked() -> None:
    asked, _ = pings(None)

    assert not asked.is_due(1e9, in_flight=True)
    assert asked.next_look(in_flight=True, wanted=False) == INF


def test_a_connection_is_dead_when_nothing_at_all_has_come_within_the_timeout() -> None:
    asked, _ = pings()
    asked.sent(30.0)

    assert asked.next_look(in_flight=True, wanted=False) == 35.0
    assert not asked.is_dead(34.9)
    assert asked.is_dead(35.0)


def test_whatever_arrives_is_a_sign_of_life_and_the_answer_may_still_be_late() -> None:
    asked, _ = pings()
    asked.sent(30.0)
    asked.heard(34.0)

    assert asked.waits
    assert not asked.is_dead(38.9)
    assert asked.is_dead(39.0)


def test_one_question_is_outstanding_at_a_time() -> None:
    asked, _ = pings()
    asked.sent(30.0)
    assert not asked.may_send(31.0)
    asked.answered()

    assert asked.may_send(31.0)
    assert not asked.is_dead(1e9)


def test_a_question_that_is_wanted_and_not_allowed_is_put_off_by_the_gap() -> None:
    asked, pace = pings()
    pace.slow_down()
    asked.sent(10.0)
    asked.answered()

    assert not asked.may_send(10.5)
    assert asked.next_look(in_flight=False, wanted=True) == 11.0
    assert asked.may_send(11.0)


def test_calls_for_calm_double_interval_and_gap() -> None:
    _, pace = pings()
    seen = []
    for _ in range(3):
        pace.slow_down()
        seen.append((pace.interval, pace.gap))

    assert seen == [(60.0, 1.0), (120.0, 2.0), (240.0, 4.0)]


@pytest.mark.parametrize(("interval", "most"), [(30.0, 300.0), (1000.0, 1000.0), (None, INF)])
def test_calm_has_an_upper_bound_and_never_asks_more_often(interval: float | None, most: float) -> None:
    _, pace = pings(interval)
    for _ in range(10_000):
        pace.slow_down()

    assert pace.interval == most
    assert pace.gap == 300.0


def test_connections_to_one_server_share_its_pace() -> None:
    pace = PingPace(30.0)
    one, other = Pings(pace, 5.0, 0.0), Pings(pace, 5.0, 0.0)
    pace.slow_down()

    assert not one.is_due(59.0, in_flight=True)
    assert not other.is_due(59.0, in_flight=True)
    assert other.is_due(60.0, in_flight=True)
