"""HTTP/2 with nginx, over TLS and by prior knowledge."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from tests.support.certificates import client_config
from tests.support.nginx import SMALL, large_body, run_nginx
from tests.support.nginx import http2_nginx as http2_nginx
from tests.support.scene import at_once
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.nginx import Nginx

both_ways = pytest.mark.parametrize("tls", [False, True], ids=["prior knowledge", "tls"])


def origin(nginx: Nginx, *, tls: bool) -> str:
    return nginx.tls_url if tls else nginx.h2c_url


def open_pool(*, tls: bool, **settings: int) -> penstock.Pool:
    """Over TLS the server chooses."""
    return penstock.Pool(penstock.PoolConfig(tls=client_config(), http1=tls, **settings))  # type: ignore[arg-type]


@both_ways
async def test_everything_a_client_asks_for_goes_over_one_connection(http2_nginx: Nginx, *, tls: bool) -> None:
    async with open_pool(tls=tls) as pool, penstock.Client(pool=pool, base_url=origin(http2_nginx, tls=tls)) as client:
        response = await client.get("/small")
        assert (response.http_version, response.content) == ("HTTP/2", SMALL)
        responses = await at_once(20, lambda: client.get("/large"))
        assert all(response.content == large_body() for response in responses)  # type: ignore[attr-defined]
        assert (await client.head("/large")).headers["content-length"] == str(len(large_body()))
        for status in (204, 304, 404, 503):
            assert (await client.get(f"/status/{status}")).status_code == status
        assert (await client.get("/gzip")).text == "the same words over and over\n" * 200
        (endpoint,) = pool.statistics().endpoints
        assert endpoint.counts.dials_ok == 1
        (connection,) = endpoint.connections
        assert (connection.protocol, connection.capacity) == ("HTTP/2", 128)


@both_ways
async def test_no_request_is_lost_where_nginx_leaves_in_the_middle_of_load(tmp_path: Path, *, tls: bool) -> None:
    """Every fiftieth request of a connection brings a GOAWAY, with others under way."""
    count = 600
    with run_nginx(tmp_path, http2=True, keepalive_requests=50) as nginx:
        async with open_pool(tls=tls) as pool, penstock.Client(pool=pool, base_url=origin(nginx, tls=tls)) as client:
            numbers = iter(range(count))

            async def work() -> None:
                for number in numbers:
                    response = await client.post(f"/echo/{number}", content=b"x" * 100)
                    assert response.text.startswith(f"POST /echo/{number} ")

            with trio.fail_after(60):
                await at_once(20, work)
            (endpoint,) = pool.statistics().endpoints
            assert endpoint.counts.dials_ok >= count // 50
            assert endpoint.closed_by_reason.keys() == {"goaway"}
        nginx.process.terminate()
        nginx.process.wait(timeout=10)
        processed = Counter(line.split()[4] for line in nginx.requests() if " /echo/" in line)
    assert processed == Counter(f"/echo/{number}" for number in range(count))


@both_ways
async def test_a_small_limit_of_streams_is_kept(tmp_path: Path, *, tls: bool) -> None:
    with run_nginx(tmp_path, http2=True, max_concurrent_streams=3) as nginx:
        async with (
            open_pool(tls=tls, max_connections_per_host=4) as pool,
            penstock.Client(pool=pool, base_url=origin(nginx, tls=tls)) as client,
        ):
            await client.get("/small")
            responses = await at_once(200, lambda: client.get("/small"))
            assert all(response.content == SMALL for response in responses)  # type: ignore[attr-defined]
            (endpoint,) = pool.statistics().endpoints
            assert endpoint.counts.dials_ok <= 4
            assert {entry.capacity for entry in endpoint.connections} == {3}
        assert "concurrent streams exceeded" not in nginx.log()


@both_ways
async def test_responses_that_are_cancelled_leave_the_connection_as_it_was(http2_nginx: Nginx, *, tls: bool) -> None:
    async with open_pool(tls=tls) as pool, penstock.Client(pool=pool, base_url=origin(http2_nginx, tls=tls)) as client:

        async def drop() -> None:
            with trio.CancelScope() as scope:
                async with client.stream("GET", "/slow/large") as response:
                    async for _ in response.aiter_bytes():
                        scope.cancel()

        for _ in range(3):
            await at_once(50, drop)
        assert (await client.get("/large")).content == large_body()
        (endpoint,) = pool.statistics().endpoints
        assert endpoint.counts.dials_ok == 1
        await wait_until(lambda: pool.statistics().endpoints[0].connections[0].resetting == 0)


@both_ways
async def test_uploads_of_every_kind(http2_nginx: Nginx, *, tls: bool) -> None:
    async def pieces(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield bytes(50_000)

    async with open_pool(tls=tls) as pool, penstock.Client(pool=pool, base_url=origin(http2_nginx, tls=tls)) as client:
        assert (await client.post("/upload", content=bytes(1_000_000))).status_code == 200
        assert (await client.post("/upload", content=pieces(20))).status_code == 200
        # Refused while it is being sent, by its head or by what has come.
        for _ in range(3):
            assert (await client.post("/upload", content=bytes(5_000_000))).status_code == 413
            assert (await client.post("/early", content=pieces(100))).status_code == 413
        responses = await at_once(20, lambda: client.post("/upload", content=bytes(500_000)))
        assert {response.status_code for response in responses} == {200}  # type: ignore[attr-defined]
