"""Ten thousand requests of two hundred tasks over TLS, by either protocol, and nothing left afterwards."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock.testing import serve_ok
from tests.support.certificates import client_config, server_context
from tests.support.nginx import SMALL
from tests.support.nginx import http2_nginx as http2_nginx
from tests.support.nginx import nginx as nginx
from tests.support.server import ScriptServer

if TYPE_CHECKING:
    from tests.support.nginx import Nginx

REQUESTS = 10_000
TASKS = 200
CONNECTIONS = 25
HTTP2_CONNECTIONS = 4
DESCRIPTORS = Path("/proc/self/fd")

needs_proc = pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="counts descriptors by /proc")


def open_descriptors() -> int:
    gc.collect()
    return sum(1 for _ in DESCRIPTORS.iterdir())


def living_tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def ask(url: str, expected: bytes, connections: int = CONNECTIONS) -> penstock.Statistics:
    config = penstock.PoolConfig(max_connections_per_host=connections, tls=client_config())
    async with penstock.Pool(config) as pool, penstock.Client(pool=pool) as client:

        async def task() -> None:
            for _ in range(REQUESTS // TASKS):
                assert (await client.get(url)).content == expected

        async with trio.open_nursery() as nursery:
            for _ in range(TASKS):
                nursery.start_soon(task)
        return pool.statistics()


@needs_proc
async def test_ten_thousand_requests_over_tls() -> None:
    async with ScriptServer(serve_ok(b"hello"), tls=server_context()) as server:
        tasks = living_tasks()
        descriptors = open_descriptors()
        statistics = await ask(server.url, b"hello")
        assert server.connections <= CONNECTIONS
        assert sum(server.requests_per_connection) == REQUESTS
        assert statistics.counts.delivered - statistics.counts.refused == REQUESTS
        assert statistics.counts.failed == statistics.counts.timed_out == statistics.counts.rejected == 0
        assert (statistics.active, statistics.waiting) == (0, 0)
        with trio.fail_after(10):
            # The server's own tasks end when they see the connections end.
            while living_tasks() > tasks:  # noqa: ASYNC110 - trio tells nobody when a task ends
                await trio.sleep(0.01)
        assert open_descriptors() == descriptors


@needs_proc
async def test_ten_thousand_requests_to_nginx(nginx: Nginx) -> None:
    tasks, descriptors = living_tasks(), open_descriptors()
    statistics = await ask(nginx.tls_url + "/small", SMALL)
    # nginx ends a connection after a thousand requests.
    assert statistics.counts.dials_ok <= CONNECTIONS + REQUESTS // 1000
    assert statistics.total <= CONNECTIONS
    assert (living_tasks(), open_descriptors()) == (tasks, descriptors)


@needs_proc
async def test_ten_thousand_requests_to_nginx_over_http2(http2_nginx: Nginx) -> None:
    tasks, descriptors = living_tasks(), open_descriptors()
    statistics = await ask(http2_nginx.tls_url + "/small", SMALL, HTTP2_CONNECTIONS)
    (endpoint,) = statistics.endpoints
    # nginx takes leave of a connection after a thousand requests, and answers those that are on their way.
    assert endpoint.closed_by_reason.keys() == {"goaway"}
    assert statistics.counts.dials_started <= HTTP2_CONNECTIONS + REQUESTS // 1000
    assert statistics.total <= HTTP2_CONNECTIONS
    assert statistics.counts.failed == statistics.counts.timed_out == statistics.counts.rejected == 0
    assert (statistics.active, statistics.waiting) == (0, 0)
    assert (living_tasks(), open_descriptors()) == (tasks, descriptors)
