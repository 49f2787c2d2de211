"""What the measurements say: pure arithmetic, and the verdicts on it."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

#: What pooling has to bring. A handshake of TLS 1.3 over TCP costs two round trips, so that a request over a new
#: connection takes three and one over a kept connection takes one; 2.7 leaves a tenth for everything else.
LATENCY_RATIO = 2.7
OVERHEAD_REDUCTION = 0.90
THROUGHPUT_RATIO = 5.0
HANDSHAKES_PER_HUNDRED = 1.0


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed (nearest rank).

    Args:
        ordered: the values in ascending order, at least one.
        share: more than 0, at most 1.
    """
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


class Measurement(NamedTuple):
    """One way of sending requests, measured. Durations are seconds.

    Attributes:
        requests: answered requests.
        seconds: from the first request to the last answer.
        cpu_seconds: user and system time of the client process in between.
        p50: the median latency.
        p99: the latency that 99 of 100 requests did not exceed.
        connections: TCP connections, as the server counted them.
        handshakes: TLS handshakes, as the server counted them.
        resumed: how many of the handshakes were no full ones.
        server_work: what the server needed per request, from reading it to having answered.
    """

    requests: int
    seconds: float
    cpu_seconds: float
    p50: float
    p99: float
    connections: int
    handshakes: int
    resumed: int
    server_work: float

    @property
    def requests_per_second(self) -> float:
        """Answered requests per second."""
        return self.requests / self.seconds

    @property
    def handshakes_per_second(self) -> float:
        """TLS handshakes per second."""
        return self.handshakes / self.seconds

    @property
    def handshakes_per_hundred(self) -> float:
        """TLS handshakes per hundred requests."""
        return 100 * self.handshakes / self.requests

    @property
    def cpu_per_request(self) -> float:
        """The client's processor seconds per request."""
        return self.cpu_seconds / self.requests

    @property
    def client_load(self) -> float:
        """How much of one processor core the client used, 0 to 1."""
        return self.cpu_seconds / self.seconds

    def overhead(self, round_trip: float) -> float:
        """The part of the median latency beyond one round trip and the server's work, in seconds."""
        return max(0.0, self.p50 - round_trip - self.server_work)

    def overhead_share(self, round_trip: float) -> float:
        """The overhead as a part of the median latency, 0 to 1."""
        return self.overhead(round_trip) / self.p50


class Run(NamedTuple):
    """The same load sent both ways.

    Attributes:
        name: "unsaturated" or "saturated".
        concurrency: requests in flight.
        round_trip: the emulated one, in seconds.
        unpooled: a connection per request.
        pooled: with the pool.
    """

    name: str
    concurrency: int
    round_trip: float
    unpooled: Measurement
    pooled: Measurement

    @property
    def latency_ratio(self) -> float:
        """How many times lower the median latency is with the pool."""
        return self.unpooled.p50 / self.pooled.p50

    @property
    def throughput_ratio(self) -> float:
        """How many times more requests per second the pool allows."""
        return self.pooled.requests_per_second / self.unpooled.requests_per_second

    @property
    def overhead_reduction(self) -> float:
        """Which part of the overhead the pool takes away, 0 to 1; negative if it adds some."""
        without = self.unpooled.overhead(self.round_trip)
        return 1 - self.pooled.overhead(self.round_trip) / without if without else 0.0


class Verdict(NamedTuple):
    """One expectation and whether it was met."""

    run: str
    expectation: str
    measured: str
    is_met: bool


def judge(unsaturated: Run, saturated: Run) -> list[Verdict]:
    """Hold both runs against what pooling has to bring."""
    verdicts = [
        Verdict(
            unsaturated.name,
            f"median latency at least {LATENCY_RATIO:g} times lower",
            f"{unsaturated.latency_ratio:.2f} times",
            unsaturated.latency_ratio >= LATENCY_RATIO,
        ),
        Verdict(
            unsaturated.name,
            f"at least {OVERHEAD_REDUCTION:.0%} less overhead",
            f"{unsaturated.overhead_reduction:.1%} less",
            unsaturated.overhead_reduction >= OVERHEAD_REDUCTION,
        ),
        Verdict(
            saturated.name,
            f"at least {THROUGHPUT_RATIO:g} times the throughput",
            f"{saturated.throughput_ratio:.2f} times",
            saturated.throughput_ratio >= THROUGHPUT_RATIO,
        ),
    ]
    for run in (unsaturated, saturated):
        found = run.pooled.handshakes_per_hundred
        verdicts.append(
            Verdict(
                run.name,
                f"at most {HANDSHAKES_PER_HUNDRED:g} handshake per 100 requests with Penstock",
                f"{found:.2f}",
                found <= HANDSHAKES_PER_HUNDRED,
            )
        )
    return verdicts
