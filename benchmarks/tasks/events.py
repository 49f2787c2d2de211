"""A stream of server-sent events, read to its end."""

from __future__ import annotations

import time
from types import ModuleType

from ..event_streams import EVENTS
from ..memory import forget_peak, peak_rss
from ..server import Server


async def measure(competitor: ModuleType, server: Server) -> dict[str, float]:
    """Microseconds of CPU per event, the request included, on a connection that had one such stream before."""
    async with competitor.open_client(server) as client:
        for _ in range(2):
            forget_peak()
            wall, cpu = time.perf_counter(), time.process_time()
            count = await client.events("/events")
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            if count != EVENTS:
                raise RuntimeError(f"{count} events came")
    return {"cpu_us": cpu / count * 1e6, "per_second": count / wall, "rss_mb": peak_rss()}
