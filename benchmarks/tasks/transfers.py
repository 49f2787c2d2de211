"""One large answer, or many uploads at a time over one connection."""

from __future__ import annotations

import gc
import time
from types import ModuleType
from typing import Any

import trio

from ..nginx import DOWNLOAD_SIZE
from ..server import Server

UPLOADS = 50
UPLOAD = bytes(1_000_000)


async def measure(competitor: ModuleType, server: Server, kind: str) -> dict[str, float]:
    """Bytes moved, and the seconds of CPU and of time they took, on a connection that was used before."""
    transfer = _download if kind == "download" else _upload_all
    async with competitor.open_client(server) as client:
        await client.upload("/upload", b"warm")
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        moved = await transfer(client)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"bytes": moved, "cpu_s": cpu, "wall_s": wall}


async def _download(client: Any) -> int:
    received: int = await client.download("/download")
    if received != DOWNLOAD_SIZE:
        raise RuntimeError(f"{received} bytes came")
    return received


async def _upload_all(client: Any) -> int:
    async with trio.open_nursery() as nursery:
        for _ in range(UPLOADS):
            nursery.start_soon(_upload, client)
    return UPLOADS * len(UPLOAD)


async def _upload(client: Any) -> None:
    # nginx says how many bytes of this request it has read, fields included.
    answer = await client.upload("/upload", UPLOAD)
    if not len(UPLOAD) < int(answer) < len(UPLOAD) + 1000:
        raise RuntimeError(f"nginx answers {answer[:80]!r}")
