"""HTTP/2 with hypercorn on trio: applications in Python, which stream in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from tests.support.certificates import client_config
from tests.support.hypercorn_server import hypercorn as hypercorn
from tests.support.hypercorn_server import run_hypercorn
from tests.support.scene import at_once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.hypercorn_server import Hypercorn

both_ways = pytest.mark.parametrize("tls", [False, True], ids=["prior knowledge", "tls"])


def origin(hypercorn: Hypercorn, *, tls: bool) -> str:
    return hypercorn.tls_url if tls else hypercorn.url


def open_pool(*, tls: bool) -> penstock.Pool:
    return penstock.Pool(penstock.PoolConfig(tls=client_config(), http1=tls))


@both_ways
async def test_echoes_events_and_large_bodies_at_once(hypercorn: Hypercorn, *, tls: bool) -> None:
    content = bytes(range(256)) * 4000
    async with open_pool(tls=tls) as pool, penstock.Client(pool=pool, base_url=origin(hypercorn, tls=tls)) as client:
        assert (await client.get("/about")).text.startswith("2 http")

        async def echo() -> None:
            assert (await client.post("/echo", content=content)).content == content

        async def listen() -> None:
            async with client.sse("GET", "/events/10") as events:
                assert [event.data async for event in events] == [f"event {number}" for number in range(10)]

        async def download() -> None:
            assert len((await client.get("/bytes/5000000")).content) == 5_000_000

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    for work in (echo, listen, download):
                        nursery.start_soon(work)
        assert pool.statistics().counts.dials_ok == 1
    assert "Traceback" not in hypercorn.log()


@both_ways
async def test_both_directions_run_at_once(hypercorn: Hypercorn, *, tls: bool) -> None:
    async with open_pool(tls=tls) as pool, penstock.Client(pool=pool, base_url=origin(hypercorn, tls=tls)) as client:
        to_send, to_read = trio.open_memory_channel[bytes](0)

        async def pieces() -> AsyncIterator[bytes]:
            async for piece in to_read:
                yield piece

        with trio.fail_after(10):
            async with client.stream("POST", "/echo", content=pieces()) as response:
                answers = response.aiter_bytes()
                for number in range(20):
                    await to_send.send(b"%d" % number)
                    assert await anext(answers) == b"%d" % number
                await to_send.aclose()
                assert [piece async for piece in answers] == []


@both_ways
async def test_streams_that_are_cancelled_leave_the_connection_as_it_was(hypercorn: Hypercorn, *, tls: bool) -> None:
    async with open_pool(tls=tls) as pool, penstock.Client(pool=pool, base_url=origin(hypercorn, tls=tls)) as client:

        async def drop(path: str) -> None:
            with trio.CancelScope() as scope:
                async with client.stream("GET", path) as response:
                    async for _ in response.aiter_bytes():
                        scope.cancel()

        for path in ("/drip/1000", "/bytes/5000000", "/events/1000"):
            await at_once(30, lambda path=path: drop(path))  # type: ignore[misc]
        with trio.move_on_after(0.1):
            await at_once(30, lambda: client.get("/slow/5"))
        assert len((await client.get("/bytes/3000000")).content) == 3_000_000
        assert pool.statistics().counts.dials_ok == 1


async def test_a_small_limit_of_streams_is_kept(tmp_path: Path) -> None:
    with run_hypercorn(tmp_path, max_concurrent_streams=3) as hypercorn:
        config = penstock.PoolConfig(tls=client_config(), max_connections_per_host=3)
        async with penstock.Pool(config) as pool, penstock.Client(pool=pool, base_url=hypercorn.tls_url) as client:
            responses = await at_once(100, lambda: client.post("/echo", content=b"x" * 1000))
            assert all(response.content == b"x" * 1000 for response in responses)  # type: ignore[attr-defined]
            assert pool.statistics().counts.dials_ok == 3
        assert "Traceback" not in hypercorn.log()


async def test_alpn_decides(tmp_path: Path) -> None:
    with run_hypercorn(tmp_path, alpn=("http/1.1",)) as hypercorn:
        async with penstock.Client(
            config=penstock.PoolConfig(tls=client_config()), base_url=hypercorn.tls_url
        ) as client:
            assert (await client.get("/about")).text == "1.1 https GET /about"
