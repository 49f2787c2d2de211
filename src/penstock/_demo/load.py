"""The client that is measured: requests in a closed loop from a fixed number of tasks, with Penstock.

Both ways use the same client, the same checks and full handshakes; the only difference is `keep_alive`. It runs in a
process of its own, so that its processor time is the client's alone.
"""

from __future__ import annotations

import os
from math import inf
from resource import RUSAGE_SELF, getrusage
from time import perf_counter
from typing import NamedTuple

import trio

import penstock

from .figures import percentile
from .messages import STDIN, MessageReader, run_child, say

#: How often the display learns something new, in seconds: ten times a second looks live and costs next to nothing.
_PROGRESS_INTERVAL = 0.1
_RECENT = 200


class Order(NamedTuple):
    """What to measure.

    Attributes:
        url: what to get.
        authority: file of the trusted certificate.
        keep_alive: whether connections are pooled.
        concurrency: requests in flight.
        seconds: no request starts later than this.
        requests: no more than this many; None for no limit.
        spread: over how many seconds the tasks start; they would go in lockstep otherwise, and queue behind each
            other's handshakes although the processor is idle most of the time.
    """

    url: str
    authority: str
    keep_alive: bool
    concurrency: int
    seconds: float
    requests: int | None
    spread: float


class Sample(NamedTuple):
    """What the client saw. Durations are seconds."""

    requests: int
    seconds: float
    cpu_seconds: float
    p50: float
    p99: float


def _cpu_seconds() -> float:
    usage = getrusage(RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class _Measuring:
    """One order being carried out."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._latencies: list[float] = []
        self._started = 0
        self._begin = perf_counter()

    async def run(self) -> Sample:
        order = self._order
        config = penstock.PoolConfig(
            keep_alive=order.keep_alive,
            max_connections=order.concurrency,
            max_connections_per_host=order.concurrency,
            max_dials_per_host=order.concurrency,
            tls=penstock.TLSConfig(trust=order.authority, session_resumption=False),
        )
        async with penstock.Pool(config) as pool, penstock.Client(pool=pool) as client:
            cpu_before = _cpu_seconds()
            self._begin = perf_counter()
            async with trio.open_nursery() as reporting:
                reporting.start_soon(self._report)
                async with trio.open_nursery() as working:
                    for place in range(order.concurrency):
                        working.start_soon(self._work, client, order.spread * place / order.concurrency)
                seconds = perf_counter() - self._begin
                cpu_seconds = _cpu_seconds() - cpu_before
                reporting.cancel_scope.cancel()
        ordered = sorted(self._latencies)
        return Sample(len(ordered), seconds, cpu_seconds, percentile(ordered, 0.5), percentile(ordered, 0.99))

    async def _work(self, client: penstock.Client, delay: float) -> None:
        await trio.sleep(delay)
        url, limit, deadline = self._order.url, self._order.requests, self._begin + self._order.seconds
        while True:
            before = perf_counter()
            if before >= deadline or self._started == limit:
                return
            self._started += 1
            response = await client.get(url)
            response.raise_for_status()
            self._latencies.append(perf_counter() - before)

    async def _report(self) -> None:
        while True:
            await trio.sleep(_PROGRESS_INTERVAL)
            elapsed = perf_counter() - self._begin
            done = len(self._latencies)
            recent = sorted(self._latencies[-_RECENT:])
            say(
                {
                    "fraction": max(elapsed / self._order.seconds, done / (self._order.requests or inf)),
                    "requests_per_second": done / elapsed,
                    "p50": percentile(recent, 0.5) if recent else None,
                }
            )


async def _receive_orders(orders: trio.MemorySendChannel[Order], whole: trio.CancelScope) -> None:
    reader = MessageReader()
    # A second descriptor: trio makes it non-blocking and closes it.
    async with trio.lowlevel.FdStream(os.dup(STDIN)) as pipe:
        async for data in pipe:
            for message in reader.feed(data):
                await orders.send(Order(**message))
    whole.cancel()


async def _carry_out() -> None:
    send, orders = trio.open_memory_channel[Order](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_receive_orders, send, nursery.cancel_scope)
        say({"ready": True})
        async for order in orders:
            sample = await _Measuring(order).run()
            say({"sample": sample._asdict()})


def main() -> None:
    """Carry out orders until the demo closes its end of the pipe."""
    trio.run(_carry_out)


if __name__ == "__main__":
    run_child(main)
