"""Many requests in the same moment, with few connections there."""

from __future__ import annotations

import time
from functools import partial
from types import ModuleType

from ..crews import Work, pause, run_together
from ..getters import Get, Settings, open_getter
from ..odd_server import BODY, accepted
from ..server import Server

#: Milliseconds of work that make the first connections overlap, so that each request opens its own.
OVERLAP = 50

#: Connections that a client may open, more than anybody needs.
LIMIT = 100

#: Seconds after which every dial that somebody started has ended.
AFTERMATH = 0.3


async def measure(
    competitor: ModuleType, server: Server, *, tally: int, at_once: int, floor: int, work: int
) -> dict[str, float]:
    """Connections opened for `at_once` requests of `work` milliseconds while `floor` connections are idle."""
    settings = Settings(limit=LIMIT, per_host=LIMIT, min_idle=floor, authority=server.authority)
    loop = competitor.LOOP
    async with open_getter(competitor, settings) as get:
        warm = partial(_fetch, get, f"{server.url}/{OVERLAP}", [])
        await run_together(loop, [warm] * floor)
        await pause(loop, AFTERMATH)
        there = accepted(tally)
        if there != floor:
            raise RuntimeError(f"{there} connections instead of {floor} before the spike")

        latencies: list[float] = []
        crew: list[Work] = [partial(_fetch, get, f"{server.url}/{work}", latencies)] * at_once
        cpu = time.process_time()
        await run_together(loop, crew)
        cpu = time.process_time() - cpu
        await pause(loop, AFTERMATH)
        return {
            "worst_ms": max(latencies) * 1e3,
            "median_ms": sorted(latencies)[at_once // 2] * 1e3,
            "opened": accepted(tally),
            "cpu_ms": cpu * 1e3,
        }


async def _fetch(get: Get, url: str, latencies: list[float]) -> None:
    before = time.perf_counter()
    body = await get(url)
    latencies.append(time.perf_counter() - before)
    if body != BODY:
        raise RuntimeError(f"wrong body: {body[:80]!r}")
