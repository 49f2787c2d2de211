"""Small GET requests, a number of them at a time."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator
from types import ModuleType

from ..nginx import BODY
from ..server import Server

Fetch = Callable[[], Awaitable[bytes]]

WARM_UP_ROUNDS = 5


async def _work(fetch: Fetch, budget: Iterator[int]) -> None:
    for _ in budget:
        await fetch()


async def _all_at_once(loop: str, fetchers: list[Fetch], requests: int) -> None:
    """Make `requests` requests, as many at a time as there are fetchers."""
    budget = iter(range(requests))
    if loop == "asyncio":
        async with asyncio.TaskGroup() as group:
            for fetch in fetchers:
                group.create_task(_work(fetch, budget))  # type: ignore[arg-type, unused-ignore]
        return
    import trio

    async with trio.open_nursery() as nursery:
        for fetch in fetchers:
            nursery.start_soon(_work, fetch, budget)


async def measure(competitor: ModuleType, server: Server, in_flight: int, seconds: float) -> dict[str, float]:
    """Microseconds of CPU and of time per request, over about `seconds` seconds."""
    async with competitor.open_fetchers(server, in_flight) as fetchers:
        for fetch in fetchers[:1]:
            body = await fetch()
            if body != BODY:
                raise RuntimeError(f"wrong body: {body[:80]!r}")
        warm_up = max(WARM_UP_ROUNDS * in_flight, 100)
        await _all_at_once(competitor.LOOP, fetchers, warm_up)
        started = time.perf_counter()
        await _all_at_once(competitor.LOOP, fetchers, warm_up)
        rate = warm_up / (time.perf_counter() - started)

        requests = max(warm_up, int(rate * seconds))
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        await _all_at_once(competitor.LOOP, fetchers, requests)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return {"requests": requests, "cpu_us": cpu / requests * 1e6, "wall_us": wall / requests * 1e6}
