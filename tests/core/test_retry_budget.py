"""How many retries an endpoint may get."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock._core.retry_budget import WINDOW, RetryBudget


def test_a_rate_of_its_own_is_there_without_requests() -> None:
    budget = RetryBudget()
    assert [budget.withdraw(5.0, ratio=0.2, rate=0.2) for _ in range(3)] == [True, True, False]


def test_requests_earn_their_share() -> None:
    budget = RetryBudget()
    for _ in range(10):
        budget.deposit(0.5)
    assert [budget.withdraw(1.0, ratio=0.2, rate=0.0) for _ in range(3)] == [True, True, False]


def test_nothing_is_allowed_without_share_and_rate() -> None:
    budget = RetryBudget()
    budget.deposit(0.0)
    assert not budget.withdraw(0.0, ratio=0.0, rate=0.0)


def test_what_was_counted_leaves_after_the_window() -> None:
    budget = RetryBudget()
    assert budget.withdraw(3.9, ratio=0.0, rate=0.1)
    assert not budget.withdraw(12.9, ratio=0.0, rate=0.1)
    assert budget.withdraw(13.0, ratio=0.0, rate=0.1)


def test_it_lapses_with_what_it_counted() -> None:
    budget = RetryBudget()
    assert budget.has_lapsed(0.0)
    budget.deposit(3.5)
    assert not budget.has_lapsed(12.9)
    assert budget.has_lapsed(13.0)


def test_a_long_silence_empties_it() -> None:
    budget = RetryBudget()
    for _ in range(5):
        budget.deposit(0.0)
    assert not budget.withdraw(1e9, ratio=1.0, rate=0.0)


@given(
    st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=60),
    st.sampled_from([0.0, 0.2, 1.0]),
    st.sampled_from([0.0, 0.1, 1.0]),
)
def test_it_counts_as_a_list_of_everything_would(steps: list[tuple[float, bool]], ratio: float, rate: float) -> None:
    budget = RetryBudget()
    now = 0.0
    requests: list[int] = []
    retries: list[int] = []
    for pause, is_retry in steps:
        now += pause
        first = int(now) - WINDOW + 1
        requests = [second for second in requests if second >= first]
        retries = [second for second in retries if second >= first]
        if not is_retry:
            budget.deposit(now)
            requests.append(int(now))
            continue
        allowed = len(retries) + 1 <= ratio * len(requests) + rate * WINDOW
        assert budget.withdraw(now, ratio=ratio, rate=rate) == allowed
        if allowed:
            retries.append(int(now))
