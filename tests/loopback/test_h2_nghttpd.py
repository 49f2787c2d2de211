"""HTTP/2 with nghttpd, over TLS and by prior knowledge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

import penstock
from tests.support.certificates import client_config
from tests.support.nghttpd import nghttpd as nghttpd
from tests.support.nghttpd import run_nghttpd
from tests.support.nginx import SMALL, large_body
from tests.support.scene import at_once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.nghttpd import Nghttpd

CONFIG = penstock.PoolConfig(tls=client_config(), http1=False)


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield bytes(10_000)


async def test_downloads_and_echoes_share_a_connection(nghttpd: Nghttpd) -> None:
    async with penstock.Pool(CONFIG) as pool, penstock.Client(pool=pool, base_url=nghttpd.url) as client:
        response = await client.get("/small")
        assert (response.http_version, response.content) == ("HTTP/2", SMALL)
        assert (await client.get("/empty")).content == b""
        assert (await client.get("/nowhere")).status_code == 404
        content = large_body()[:300_000]
        async with trio.open_nursery() as nursery:

            async def download() -> None:
                assert (await client.get("/large")).content == large_body()

            async def echo() -> None:
                assert (await client.post("/", content=content)).content == content

            async def echo_pieces() -> None:
                assert (await client.put("/", content=pieces(30))).content == bytes(300_000)

            for _ in range(10):
                for work in (download, echo, echo_pieces):
                    nursery.start_soon(work)
        assert pool.statistics().counts.dials_ok == 1


async def test_trailers_arrive(tmp_path: Path) -> None:
    with run_nghttpd(tmp_path, tls=True, trailer="x-sum: 12") as nghttpd:
        async with penstock.Client(config=CONFIG, base_url=nghttpd.url) as client:
            response = await client.get("/large")
            assert response.content == large_body()
            assert dict(response.trailers) == {"x-sum": "12"}


async def test_trailers_that_are_sent_are_no_error(nghttpd: Nghttpd) -> None:
    async with penstock.Client(config=CONFIG, base_url=nghttpd.url) as client:
        response = await client.post("/", content=pieces(3), trailers={"x-sum": "12"})
        assert response.content == bytes(30_000)


async def test_two_streams_at_a_time(tmp_path: Path) -> None:
    with run_nghttpd(tmp_path, max_concurrent_streams=2, verbose=True) as nghttpd:
        config = penstock.PoolConfig(http1=False, max_connections_per_host=3)
        async with penstock.Pool(config) as pool, penstock.Client(pool=pool, base_url=nghttpd.url) as client:
            await client.get("/small")
            responses = await at_once(100, lambda: client.post("/", content=b"x" * 5000))
            assert all(response.content == b"x" * 5000 for response in responses)  # type: ignore[attr-defined]
            assert pool.statistics().counts.dials_ok <= 3
        assert "REFUSED_STREAM" not in nghttpd.log()


async def test_cancelled_responses_are_reset(tmp_path: Path) -> None:
    with run_nghttpd(tmp_path, verbose=True) as nghttpd:
        async with penstock.Pool(CONFIG) as pool, penstock.Client(pool=pool, base_url=nghttpd.url) as client:

            async def drop() -> None:
                async with client.stream("GET", "/large"):
                    pass

            await at_once(20, drop)
            assert (await client.get("/large")).content == large_body()
            assert pool.statistics().counts.dials_ok == 1
        log = nghttpd.log()
        assert log.count("recv RST_STREAM frame") + log.count("recv (stream_id=") >= 20
        assert "error_code=CANCEL" in log
