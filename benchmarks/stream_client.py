"""The client of many streams at once, in a process of its own: `python -m benchmarks.stream_client JOB`.

It prints one JSON object and ends. Two parts, each in a fresh process, since memory that was once used need not be
given back:

* "streams": opens them all, measures with all of them in the middle of their bodies, lets them end, opens as many again
  and cancels them.
* "idle": holds as many connections that carry nothing.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import trio

import penstock

from .resources import open_sockets, raise_descriptor_limit, resident_bytes

#: Streams before the first measurement, so that what the process needs only once is there.
WARM_UP = 20

#: Events for each stream with all of them open, and how many of them the CPU time is taken over.
ROUNDS, MEASURED_ROUNDS = 5, 4

#: At once: a dial takes several turns of an event loop that has thousands of streams to serve in each.
DIALS = 100

#: Seconds for everything; beyond it something hangs.
LIMIT = 600


class _Progress:
    """How far the streams are, and who waits for that."""

    __slots__ = ("_awaited", "_reached", "ended", "events", "opened")

    def __init__(self) -> None:
        self.opened = self.events = self.ended = 0
        self._awaited: Callable[[], bool] | None = None
        self._reached = trio.Event()

    def note(self) -> None:
        if self._awaited is not None and self._awaited():
            self._awaited = None
            self._reached.set()

    async def reach(self, state: Callable[[], bool]) -> None:
        self._awaited, self._reached = state, trio.Event()
        self.note()
        await self._reached.wait()


async def _follow(client: penstock.Client, url: str, progress: _Progress) -> None:
    async with client.sse("GET", url) as events:
        first = True
        async for _ in events:
            progress.events += 1
            if first:
                first = False
                progress.opened += 1
            progress.note()
    progress.ended += 1
    progress.note()


async def _run_to_end(client: penstock.Client, url: str, streams: int) -> dict[str, Any]:
    """Open, measure, let them end."""
    progress = _Progress()
    begin, began_cpu = time.monotonic(), time.process_time()
    async with trio.open_nursery() as nursery:
        for _ in range(streams):
            nursery.start_soon(_follow, client, f"{url}/events/{streams}/{ROUNDS}", progress)
        await progress.reach(lambda: progress.opened == streams)
        opened, opened_cpu = time.monotonic(), time.process_time()
        resident = resident_bytes()
        before = progress.events
        await progress.reach(lambda: progress.events - before >= streams * MEASURED_ROUNDS)
        event_cpu = time.process_time() - opened_cpu
        resident = max(resident, resident_bytes())
        events = progress.events - before
    return {
        "completed": progress.ended,
        "events": progress.events,
        "resident": resident,
        "open_seconds": opened - begin,
        "open_cpu_us": (opened_cpu - began_cpu) / streams * 1e6,
        "event_cpu_us": event_cpu / events * 1e6,
    }


async def _cancel_all(client: penstock.Client, pool: penstock.Pool, url: str, streams: int) -> dict[str, Any]:
    """Open, cancel, count what is left: with the last stream every connection of the pool is to be closed."""
    progress = _Progress()
    async with trio.open_nursery() as nursery:
        for _ in range(streams):
            nursery.start_soon(_follow, client, f"{url}/events", progress)
        await progress.reach(lambda: progress.opened == streams)
        begin, began_cpu = time.monotonic(), time.process_time()
        nursery.cancel_scope.cancel()
    return {
        "seconds": time.monotonic() - begin,
        "cpu_seconds": time.process_time() - began_cpu,
        "connections_left": pool.statistics().total,
        "sockets": open_sockets(),
    }


async def _measure_streams(pool: penstock.Pool, url: str, streams: int) -> dict[str, Any]:
    sockets = open_sockets()
    async with penstock.Client(pool=pool) as client:
        await _run_to_end(client, url, WARM_UP)
        gc.collect()
        base = resident_bytes()
        found = await _run_to_end(client, url, streams)
        found["base"] = base
        found["after"] = resident_bytes()
        found["cancelled"] = cancelled = await _cancel_all(client, pool, url, streams)
        cancelled["sockets_left"] = cancelled.pop("sockets") - sockets
    return found


async def _measure_idle(pool: penstock.Pool, url: str, connections: int) -> dict[str, Any]:
    async with penstock.Client(pool=pool) as client:
        await _run_to_end(client, url, WARM_UP)
        gc.collect()
        base = resident_bytes()
        await pool.prewarm(url, count=connections)
        return {"base": base, "resident": resident_bytes()}


async def _main(job: dict[str, Any]) -> dict[str, Any]:
    count = job["streams"]
    config = penstock.PoolConfig(
        max_connections=count,
        max_connections_per_host=count,
        max_waiters=count,
        max_dials_per_host=DIALS,
        pool_timeout=LIMIT,
        connect_timeout=LIMIT,
        tls=penstock.TLSConfig(trust=job["authority"] or "certifi"),
        **job["options"],
    )
    measure = {"streams": _measure_streams, "idle": _measure_idle}[job["part"]]
    with trio.move_on_after(LIMIT):
        async with penstock.Pool(config) as pool:
            return await measure(pool, job["url"], count)
    sys.exit(f"{count} streams took more than {LIMIT} s")


def main() -> None:
    """Do one job."""
    job = json.loads(sys.argv[1])
    if job["core"] is not None:
        os.sched_setaffinity(0, {job["core"]})
    raise_descriptor_limit()
    print(json.dumps(trio.run(_main, job)))


if __name__ == "__main__":
    main()
