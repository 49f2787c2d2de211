"""Small requests to many origins, one at a time to each, or as many at a time to one."""

from __future__ import annotations

import time
from functools import partial
from types import ModuleType

from ..crews import run_together
from ..getters import Get, Settings, open_getter
from ..nginx import BODY
from ..server import Server

#: How often each connection is used before the clock starts.
WARM_UP = 3


async def measure(
    competitor: ModuleType, server: Server, ports: list[int], in_flight: int, requests: int
) -> dict[str, float]:
    """Microseconds of CPU per request; the tasks, `in_flight` of them, share the ports evenly."""
    urls = [f"{server._replace(port=ports[number % len(ports)]).url}/" for number in range(in_flight)]
    settings = Settings(limit=in_flight, per_host=in_flight // len(ports))
    each = requests // in_flight
    async with open_getter(competitor, settings) as get:
        await run_together(competitor.LOOP, [partial(_ask, get, url, WARM_UP) for url in urls])
        wall, cpu = time.perf_counter(), time.process_time()
        await run_together(competitor.LOOP, [partial(_ask, get, url, each) for url in urls])
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    made = each * in_flight
    return {"cpu_us": cpu / made * 1e6, "per_second": made / wall}


async def _ask(get: Get, url: str, times: int) -> None:
    for _ in range(times):
        body = await get(url)
    if body != BODY:
        raise RuntimeError(f"wrong body: {body[:80]!r}")
