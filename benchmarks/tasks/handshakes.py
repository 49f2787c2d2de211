"""One request on each connection, one connection after the other."""

from __future__ import annotations

import time
from types import ModuleType

from ..doors import FULL, RESUMED
from ..getters import Settings, open_getter
from ..server import Server

#: Connections before the clock starts; the first of them leaves the session that later ones resume.
WARM_UP = 5


async def measure(competitor: ModuleType, server: Server, seconds: float, resumption: bool) -> dict[str, float]:
    """Microseconds of CPU per connection, with its handshake and one request, over about so many seconds.

    Raises:
        RuntimeError: the server says that a handshake was another than what was asked for.
    """
    url = f"{server.url}/"
    settings = Settings(authority=server.authority, keep_alive=False, resumption=resumption)
    expected = RESUMED if resumption else FULL
    # Whatever loads the trust store does so before the clock starts: every client loads it for its first connection.
    async with open_getter(competitor, settings) as get:
        for _ in range(WARM_UP):
            await get(url)
        count = 0
        wall, cpu = time.perf_counter(), time.process_time()
        while time.perf_counter() < wall + seconds:
            body = await get(url)
            if body != expected:
                raise RuntimeError(f"nginx says {body!r} of the session, instead of {expected!r}")
            count += 1
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu_us": cpu / count * 1e6, "wall_us": wall / count * 1e6}
