"""The arithmetic behind the tables, and the verdicts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._demo.figures import Measurement, Run, judge, percentile


def measurement(
    *, requests: int = 1000, seconds: float = 10.0, p50: float = 0.030, handshakes: int = 8, server_work: float = 0.0
) -> Measurement:
    return Measurement(
        requests=requests,
        seconds=seconds,
        cpu_seconds=0.5,
        p50=p50,
        p99=p50 * 2,
        connections=handshakes,
        handshakes=handshakes,
        resumed=0,
        server_work=server_work,
    )


def run_of(unpooled: Measurement, pooled: Measurement, *, name: str = "unsaturated", round_trip: float = 0.025) -> Run:
    return Run(name, 8, round_trip, unpooled, pooled)


GOOD = (
    run_of(measurement(p50=0.078, handshakes=1000), measurement(p50=0.026)),
    run_of(
        measurement(requests=5000, handshakes=5000),
        measurement(requests=50_000, handshakes=16),
        name="saturated",
        round_trip=0.0,
    ),
)


@given(
    st.lists(st.floats(0, 100), min_size=1),
    st.floats(0, 1, exclude_min=True),
)
def test_a_percentile_is_the_smallest_value_that_covers_its_share(values: list[float], share: float) -> None:
    ordered = sorted(values)

    found = percentile(ordered, share)

    covering = [value for value in ordered if sum(other <= value for other in ordered) >= share * len(ordered)]
    assert found == covering[0]


def test_known_percentiles() -> None:
    values = [float(number) for number in range(1, 101)]

    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0)) == (50.0, 99.0, 100.0)


def test_rates_are_per_second_and_per_request() -> None:
    found = measurement(requests=1000, seconds=10.0, handshakes=20)

    assert found.requests_per_second == pytest.approx(100)
    assert found.handshakes_per_second == pytest.approx(2)
    assert found.handshakes_per_hundred == pytest.approx(2)
    assert found.cpu_per_request == pytest.approx(0.0005)
    assert found.client_load == pytest.approx(0.05)


def test_overhead_is_what_lies_beyond_the_round_trip_and_the_servers_work() -> None:
    found = measurement(p50=0.080, server_work=0.005)

    assert found.overhead(0.025) == pytest.approx(0.050)
    assert found.overhead_share(0.025) == pytest.approx(0.625)


def test_overhead_is_never_negative() -> None:
    assert measurement(p50=0.020).overhead(0.025) == 0.0


def test_the_pool_that_adds_overhead_has_a_negative_reduction() -> None:
    run = run_of(measurement(p50=0.035), measurement(p50=0.045))

    assert run.overhead_reduction == pytest.approx(-1.0)


def test_no_overhead_to_reduce_is_no_reduction() -> None:
    assert run_of(measurement(p50=0.025), measurement(p50=0.025)).overhead_reduction == 0.0


def test_every_expectation_is_met_by_good_figures() -> None:
    assert [verdict.is_met for verdict in judge(*GOOD)] == [True] * 5


@pytest.mark.parametrize(
    ("place", "bad"),
    [
        # 2.6 times lower, although the overhead is gone
        (0, (run_of(measurement(p50=0.065, handshakes=1000), measurement(p50=0.025)), GOOD[1])),
        # 89 % less overhead, although the latency is much lower
        (1, (run_of(measurement(p50=0.125, handshakes=1000), measurement(p50=0.036)), GOOD[1])),
        # 4.9 times the throughput
        (2, (GOOD[0], run_of(measurement(requests=10_000), measurement(requests=49_000), name="saturated"))),
        # 11 handshakes in 1,000 requests
        (3, (run_of(measurement(p50=0.078), measurement(p50=0.026, handshakes=11)), GOOD[1])),
        (4, (GOOD[0], run_of(GOOD[1].unpooled, measurement(requests=50_000, handshakes=501), name="saturated"))),
    ],
    ids=["latency", "overhead", "throughput", "handshakes unsaturated", "handshakes saturated"],
)
def test_each_expectation_can_be_missed_alone(place: int, bad: tuple[Run, Run]) -> None:
    assert [number != place for number in range(5)] == [verdict.is_met for verdict in judge(*bad)]


def test_a_verdict_shows_the_number() -> None:
    assert [verdict.measured for verdict in judge(*GOOD)] == ["3.00 times", "98.1% less", "10.00 times", "0.80", "0.03"]
