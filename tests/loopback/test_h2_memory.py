"""A connection that carries one request after the other does not grow."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

import trio

import penstock
from tests.support.nghttpd import run_nghttpd
from tests.support.nginx import SMALL

if TYPE_CHECKING:
    from pathlib import Path

TASKS = 20
REQUESTS = 3000


def living_blocks() -> int:
    """How many pieces of memory Python's objects take."""
    gc.collect()
    return sys.getallocatedblocks()


async def test_three_thousand_requests_leave_nothing_behind(tmp_path: Path) -> None:
    config = penstock.PoolConfig(http1=False, max_connections_per_host=1)
    with run_nghttpd(tmp_path) as server:
        async with penstock.Pool(config) as pool, penstock.Client(pool) as client:

            async def task() -> None:
                for _ in range(REQUESTS // TASKS):
                    assert (await client.get(f"{server.url}/small")).content == SMALL

            async def all_tasks() -> None:
                async with trio.open_nursery() as nursery:
                    for _ in range(TASKS):
                        nursery.start_soon(task)

            await all_tasks()
            before = living_blocks()
            await all_tasks()
            # One that every request left would be five times as many.
            assert living_blocks() - before < REQUESTS / 5
            assert pool.statistics().counts.dials_started == 1
