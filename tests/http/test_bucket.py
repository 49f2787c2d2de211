"""A bucket gives a burst at once, and its rate after that."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock._http.bucket import Bucket


def taken(bucket: Bucket, now: float, tries: int) -> int:
    return sum(bucket.take(now) for _ in range(tries))


def test_a_burst_is_given_at_once_and_no_more() -> None:
    bucket = Bucket(5, 1.0, 100.0)

    assert [bucket.take(100.0) for _ in range(6)] == [True] * 5 + [False]


def test_what_was_taken_comes_back_at_its_rate() -> None:
    bucket = Bucket(5, 2.0, 0.0)
    taken(bucket, 0.0, 5)

    assert not bucket.take(0.25)
    assert bucket.take(0.5)
    assert not bucket.take(0.75)
    assert bucket.take(1.0)


def test_it_never_holds_more_than_the_burst() -> None:
    assert taken(Bucket(5, 2.0, 0.0), 1e9, 100) == 5


@given(
    burst=st.integers(1, 50),
    rate=st.floats(0.1, 100),
    pauses=st.lists(st.floats(0, 10), max_size=100),
    tries=st.integers(1, 20),
)
def test_it_never_gives_more_than_burst_and_rate_allow(
    burst: int, rate: float, pauses: list[float], tries: int
) -> None:
    bucket = Bucket(burst, rate, 0.0)
    now, given_out = 0.0, 0
    for pause in pauses:
        now += pause
        given_out += taken(bucket, now, tries)
        assert given_out <= burst + now * rate + 1e-6 * (1 + now * rate)
