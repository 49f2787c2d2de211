"""Large answers, one after the other; uploads at a time over one connection; an upload in pieces."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

from ..memory import forget_peak, peak_rss
from ..nginx import DOWNLOADS
from ..server import Server

UPLOADS = 50
UPLOAD = bytes(1_000_000)

#: A streamed upload: 32 MB, in what a file is usually read by.
PIECES, PIECE = 512, bytes(65536)


async def measure(
    competitor: ModuleType, server: Server, kind: str, path: str = "/upload", times: int = 1
) -> dict[str, float]:
    """Megabytes per second, and CPU time for each, on a connection that was used before."""
    transfer = KINDS[kind]
    async with competitor.open_client(server) as client:
        await client.upload("/upload", b"warm")
        forget_peak()
        wall, cpu = time.perf_counter(), time.process_time()
        moved = 0
        for _ in range(times):
            moved += await transfer(client, path)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        peak = peak_rss()
    return {"mb_per_second": moved / wall / 1e6, "cpu_us": cpu / moved * 1e12, "rss_mb": peak}


async def _download(client: Any, path: str) -> int:
    received: int = await client.download(path)
    if received != DOWNLOADS[path]:
        raise RuntimeError(f"{received} bytes came")
    return received


async def _upload_all(client: Any, path: str) -> int:
    import trio

    async with trio.open_nursery() as nursery:
        for _ in range(UPLOADS):
            nursery.start_soon(_upload, client, path, UPLOAD, len(UPLOAD))
    return UPLOADS * len(UPLOAD)


async def _upload_pieces(client: Any, path: str) -> int:
    await _upload(client, path, _pieces(), PIECES * len(PIECE))
    return PIECES * len(PIECE)


async def _pieces() -> AsyncIterator[bytes]:
    for _ in range(PIECES):
        yield PIECE


async def _upload(client: Any, path: str, body: bytes | AsyncIterator[bytes], size: int) -> None:
    # nginx says how many bytes of this request it has read, fields and the frame of each piece included.
    answer = await client.upload(path, body)
    if not size < int(answer) < size * 1.01:
        raise RuntimeError(f"nginx answers {answer[:80]!r}")


KINDS = {"download": _download, "uploads": _upload_all, "pieces": _upload_pieces}
