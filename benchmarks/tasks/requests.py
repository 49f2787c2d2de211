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

#: How often each connection is used, on average, before the clock starts.
WARM_UP = 4

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
    async with competitor.open_fetchers(server, ask, in_flight) as fetchers:
        sample = Sample(in_flight, seconds)
        await CREWS[competitor.LOOP](fetchers, sample)
        peak = peak_rss()
    return {**sample.costs(), "rss_mb": peak}


class Sample:
    """A stretch in which all are busy: it begins and ends between two requests, while every task is in the middle.

    So neither the start of the tasks nor their end is part of it, which with a thousand of them would be a good part.

    Args:
        in_flight: how many requests there are at a time. At least as many are measured.
        seconds: how long it is, at least.

    Attributes:
        taken: how long each request took, in one block of doubles: a request's time costs no object.
        due: when to ask next whether it is over.
    """

    def __init__(self, in_flight: int, seconds: float) -> None:
        self.taken = array("d")
        self.due = clock() + WARM_UP_SECONDS
        self._in_flight = in_flight
        self._seconds = seconds
        self._first = 0
        self._last = 0
        self._wall = 0.0
        self._cpu = 0.0

    def is_over(self, now: float) -> bool:
        """Begin or end it, if the time has come; whether nobody needs to go on."""
        count = len(self.taken)
        if self._last:
            return True
        if not self._first:
            if count >= self._in_flight * WARM_UP:
                forget_peak()
                self._first = count
                self.due = now + self._seconds
                self._wall, self._cpu = clock(), time.process_time()
        elif count >= self._first + self._in_flight:
            self._wall, self._cpu = clock() - self._wall, time.process_time() - self._cpu
            self._last = count
        return self._last > 0

    def costs(self) -> dict[str, float]:
        """What a request took."""
        taken = self.taken[self._first : self._last]
        ordered = sorted(taken)
        return {
            "cpu_us": self._cpu / len(taken) * 1e6,
            "per_second": len(taken) / self._wall,
            "p50_us": _quantile(ordered, 0.5),
            "p99_us": _quantile(ordered, 0.99),
            "p999_us": _quantile(ordered, 0.999),
        }


def _quantile(ordered: Sequence[float], part: float) -> float:
    """Microseconds that this part of the requests stayed below."""
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] * 1e6


async def _work(fetch: Callable[[], Awaitable[bytes]], sample: Sample) -> None:
    """Ask again and again until the sample is over, and note how long each request took."""
    taken = sample.taken
    before = clock()
    while True:
        body = await fetch()
        now = clock()
        taken.append(now - before)
        before = now
        if now >= sample.due and sample.is_over(now):
            break
    if body != BODY:
        raise RuntimeError(f"wrong body: {bytes(body[:80])!r}")


def _work_in_thread(fetch: Callable[[], bytes], sample: Sample) -> None:
    """The same where a request blocks its thread."""
    taken = sample.taken
    before = clock()
    while True:
        body = fetch()
        now = clock()
        taken.append(now - before)
        before = now
        if now >= sample.due and sample.is_over(now):
            break
    if body != BODY:
        raise RuntimeError(f"wrong body: {body[:80]!r}")


async def _in_tasks(fetchers: Sequence[Any], sample: Sample) -> None:
    async with asyncio.TaskGroup() as group:
        for fetch in fetchers:
            group.create_task(_work(fetch, sample))


async def _in_nursery(fetchers: Sequence[Any], sample: Sample) -> None:
    import trio

    async with trio.open_nursery() as nursery:
        for fetch in fetchers:
            nursery.start_soon(_work, fetch, sample)


async def _in_threads(fetchers: Sequence[Any], sample: Sample) -> None:
    threads = [threading.Thread(target=_work_in_thread, args=(fetch, sample)) for fetch in fetchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


CREWS = {"trio": _in_nursery, "asyncio": _in_tasks, "uvloop": _in_tasks, "threads": _in_threads}
