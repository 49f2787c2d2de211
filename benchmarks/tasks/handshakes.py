"""One request on each connection, one connection after the other: a stretch in TLS, and one without."""

from __future__ import annotations

import time
from types import ModuleType

from ..doors import FULL, RESUMED
from ..getters import Get, Settings, open_getter
from ..server import Server

#: Connections before the clock starts; the first of them leaves the session that later ones resume.
WARM_UP = 5

#: Changes between TLS and no TLS in one sample, so that a noisy moment hurts both.
STRETCHES = 8


async def measure(
    competitor: ModuleType, server: Server, seconds: float, resumption: bool, clear_port: int
) -> dict[str, float]:
    """Microseconds per connection, over about so many seconds, and what of them TLS takes.

    Raises:
        RuntimeError: the server says that a handshake was another than what was asked for.
    """
    settings = Settings(authority=server.authority, keep_alive=False, resumption=resumption)
    expected = RESUMED if resumption else FULL
    secure_url, clear_url = f"{server.url}/", f"{Server(clear_port).url}/"
    # Whatever loads the trust store does so before the clock starts: every client loads it for its first connection.
    async with open_getter(competitor, settings) as get:
        for _ in range(WARM_UP):
            await get(secure_url)
            await get(clear_url)
        secure, clear = Spent(), Spent()
        for _ in range(STRETCHES):
            await secure.spend(get, secure_url, seconds / STRETCHES / 2, expected)
            await clear.spend(get, clear_url, seconds / STRETCHES / 2, FULL)
    return {
        "handshake_us": secure.cpu_us - clear.cpu_us,
        "cpu_us": secure.cpu_us,
        "wall_us": secure.wall_us,
    }


class Spent:
    """What connections of one kind have taken."""

    def __init__(self) -> None:
        self._count = 0
        self._cpu = 0.0
        self._wall = 0.0

    async def spend(self, get: Get, url: str, seconds: float, expected: bytes) -> None:
        """Open connections for so long, and at least one."""
        wall, cpu = time.perf_counter(), time.process_time()
        end = wall + seconds
        while True:
            body = await get(url)
            if body != expected:
                raise RuntimeError(f"nginx says {body!r} of the session, instead of {expected!r}")
            self._count += 1
            if time.perf_counter() >= end:
                break
        self._cpu += time.process_time() - cpu
        self._wall += time.perf_counter() - wall

    @property
    def cpu_us(self) -> float:
        """CPU time of a connection."""
        return self._cpu / self._count * 1e6

    @property
    def wall_us(self) -> float:
        """Time of a connection."""
        return self._wall / self._count * 1e6
