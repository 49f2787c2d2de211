"""One competitor in its own process: `python -m benchmarks.child MODULE PORT CORE`.

It says on standard output whether its library is there, then answers each line `IN_FLIGHT SECONDS` from standard
input with one JSON object.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from importlib.metadata import version
from types import ModuleType

from .nginx import BODY

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


async def _measure(competitor: ModuleType, port: int, in_flight: int, seconds: float) -> dict[str, float]:
    async with competitor.open_fetchers(port, in_flight) as fetchers:
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


def main() -> None:
    """Serve the parent until it closes our standard input."""
    module, port, core = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if core != "-":
        os.sched_setaffinity(0, {int(core)})
    try:
        competitor = importlib.import_module(f".competitors.{module}", __package__)
    except ModuleNotFoundError as error:
        print(json.dumps({"missing": error.name}), flush=True)
        return
    print(json.dumps({"library": competitor.LIBRARY, "version": version(competitor.LIBRARY)}), flush=True)
    for line in sys.stdin:
        in_flight, seconds = line.split()
        arguments = (competitor, port, int(in_flight), float(seconds))
        if competitor.LOOP == "asyncio":
            answer = asyncio.run(_measure(*arguments))
        else:
            import trio

            answer = trio.run(_measure, *arguments)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
