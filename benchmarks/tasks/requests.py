"""Small requests, a number of them at a time."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from array import array
from collections.abc import Awaitable, Callable, Sequence
from types import ModuleType
from typing import Any

from ..memory import forget_peak, peak_rss
from ..nginx import BODY
from ..server import Ask, Server

#: About 3 kB of JSON, as a program would send it to an API.
DOCUMENT = json.dumps({"items": [{"id": number, "name": f"item {number}", "tags": ["a", "b"]} for number in range(60)]})

#: How often each connection is used before the clock starts.
WARM_UP = 2

#: And for how long at least, so that caches and the interpreter have settled.
WARM_UP_SECONDS = 0.1

clock = time.perf_counter


async def measure(
    competitor: ModuleType,
    server: Server,
    in_flight: int,
    seconds: float,
    *,
    post: bool = False,
    numbered: bool = False,
) -> dict[str, float]:
    """Costs of a request, over about `seconds` seconds."""
    ask = Ask("POST", "/", DOCUMENT.encode()) if post else Ask(numbered=numbered)
    all_at_once = CREWS[competitor.LOOP]
    async with competitor.open_fetchers(server, ask, in_flight) as fetchers:
        for _ in range(WARM_UP):
            await all_at_once(fetchers, 0.0, [])
        await all_at_once(fetchers, clock() + WARM_UP_SECONDS, [])
        # Doubles in one block: a request's time costs no object.
        taken = array("d")
        forget_peak()
        wall, cpu = clock(), time.process_time()
        await all_at_once(fetchers, wall + seconds, taken)
        cpu, wall = time.process_time() - cpu, clock() - wall
        peak = peak_rss()
    ordered = sorted(taken)
    return {
        "cpu_us": cpu / len(taken) * 1e6,
        "per_second": len(taken) / wall,
        "p50_us": _quantile(ordered, 0.5),
        "p99_us": _quantile(ordered, 0.99),
        "p999_us": _quantile(ordered, 0.999),
        "rss_mb": peak,
    }


def _quantile(ordered: Sequence[float], part: float) -> float:
    """Microseconds that this part of the requests stayed below."""
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] * 1e6


async def _work(fetch: Callable[[], Awaitable[bytes]], until: float, taken: Any) -> None:
    """Ask again and again until a moment has passed, once at least, and note how long each request took."""
    before = clock()
    while True:
        body = await fetch()
        now = clock()
        taken.append(now - before)
        before = now
        if now >= until:
            break
    if body != BODY:
        raise RuntimeError(f"wrong body: {bytes(body[:80])!r}")


def _work_in_thread(fetch: Callable[[], bytes], until: float, taken: Any) -> None:
    """The same where a request blocks its thread."""
    before = clock()
    while True:
        body = fetch()
        now = clock()
        taken.append(now - before)
        before = now
        if now >= until:
            break
    if body != BODY:
        raise RuntimeError(f"wrong body: {body[:80]!r}")


async def _in_tasks(fetchers: Sequence[Any], until: float, taken: Any) -> None:
    async with asyncio.TaskGroup() as group:
        for fetch in fetchers:
            group.create_task(_work(fetch, until, taken))


async def _in_nursery(fetchers: Sequence[Any], until: float, taken: Any) -> None:
    import trio

    async with trio.open_nursery() as nursery:
        for fetch in fetchers:
            nursery.start_soon(_work, fetch, until, taken)


async def _in_threads(fetchers: Sequence[Any], until: float, taken: Any) -> None:
    threads = [threading.Thread(target=_work_in_thread, args=(fetch, until, taken)) for fetch in fetchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


CREWS = {"trio": _in_nursery, "asyncio": _in_tasks, "uvloop": _in_tasks, "threads": _in_threads}
