"""Requests to a healthy origin, with or without as many to one that never answers."""

from __future__ import annotations

import time
from functools import partial
from types import ModuleType

from ..crews import Work, pause, run_together
from ..getters import Get, Settings, open_getter
from ..odd_server import BODY
from ..server import Server

#: Connections that a client may have: for half of those who ask for one.
LIMIT = 50

#: Milliseconds that the healthy origin works on a request: connections are what is short, not CPU time.
WORK = 60

#: Seconds until a request to the stalled origin is given up, and until its task tries again.
PATIENCE = 0.5
REST = 0.05

#: Seconds in which the stalled origin takes hold before the clock starts.
ONSET = 0.5


async def measure(
    competitor: ModuleType, server: Server, stalled: int | None, in_flight: int, seconds: float
) -> dict[str, float]:
    """Latency and throughput of `in_flight` tasks at the healthy origin over so many seconds."""
    loop = competitor.LOOP
    begin = time.perf_counter() + ONSET
    end = begin + seconds
    latencies: list[float] = []
    async with open_getter(competitor, Settings(limit=LIMIT, patience=PATIENCE)) as get:
        ask: Work = partial(_ask, get, f"{server.url}/{WORK}", begin, end, latencies)
        crew = [ask] * in_flight
        if stalled is not None:
            suffer: Work = partial(_suffer, get, f"{server._replace(port=stalled).url}/{WORK}", end, loop)
            crew = [ask, suffer] * in_flight
        await run_together(loop, crew)
    if not latencies:
        raise RuntimeError(f"the healthy origin got no request in {seconds} s")
    ordered = sorted(latencies)
    return {
        "p99_ms": ordered[int(len(ordered) * 0.99)] * 1e3,
        "p50_ms": ordered[len(ordered) // 2] * 1e3,
        "per_second": len(ordered) / seconds,
    }


async def _ask(get: Get, url: str, begin: float, end: float, latencies: list[float]) -> None:
    """Ask the healthy origin again and again; what began in time counts, however late it ends."""
    while (before := time.perf_counter()) < end:
        body = await get(url)
        if before >= begin:
            latencies.append(time.perf_counter() - before)
        if body != BODY:
            raise RuntimeError(f"wrong body: {body[:80]!r}")


async def _suffer(get: Get, url: str, end: float, loop: str) -> None:
    """Ask the stalled origin again and again."""
    while time.perf_counter() < end:
        try:
            await get(url)
        except Exception:  # noqa: BLE001 - each library has its own error for a time that ran out
            await pause(loop, REST)
        else:
            raise RuntimeError("the stalled origin answered")
