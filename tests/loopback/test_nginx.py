"""nginx as the server: one that nobody here wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import penstock
from tests.support.certificates import client_config
from tests.support.nginx import large_body, run_nginx
from tests.support.nginx import nginx as nginx

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.nginx import Nginx

CONFIG = penstock.PoolConfig(tls=client_config())


def origin(nginx: Nginx, *, tls: bool) -> str:
    return nginx.tls_url if tls else nginx.url


both_ways = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


@both_ways
async def test_a_large_file_and_small_ones_share_a_connection(nginx: Nginx, *, tls: bool) -> None:
    async with penstock.Pool(CONFIG) as pool, penstock.Client(pool=pool, base_url=origin(nginx, tls=tls)) as client:
        assert (await client.get("/large")).content == large_body()
        async with client.stream("GET", "/large") as response:
            assert b"".join([piece async for piece in response.aiter_bytes()]) == large_body()
        assert (await client.head("/large")).headers["content-length"] == str(len(large_body()))
        for status in (204, 304, 404, 503):
            assert (await client.get(f"/status/{status}")).status_code == status
        assert pool.statistics().counts.dials_ok == 1


@both_ways
async def test_a_connection_that_nginx_ends_after_some_requests_is_replaced(tmp_path: Path, *, tls: bool) -> None:
    with run_nginx(tmp_path, keepalive_requests=3) as nginx:
        url = origin(nginx, tls=tls) + "/echo"
        async with penstock.Pool(CONFIG) as pool, penstock.Client(pool=pool) as client:
            for number in range(9):
                answer = (await client.post(url, content=b"x")).text
                assert answer.startswith("POST /echo ")
                assert answer.endswith(f"request={number % 3 + 1}\n")
            (endpoint,) = pool.statistics().endpoints
        assert endpoint.counts.dials_ok == 3
        assert endpoint.closed_by_reason == {"connection_close_header": 3}


async def test_what_nginx_says_about_keeping_connections_is_believed(tmp_path: Path) -> None:
    with run_nginx(tmp_path, keepalive_timeout="75s 1s") as nginx:
        async with penstock.Pool(CONFIG) as pool, penstock.Client(pool=pool) as client:
            for _ in range(3):
                await client.get(nginx.url + "/")
            (endpoint,) = pool.statistics().endpoints
        # One second is less than the margin: nothing is kept.
        assert endpoint.closed_by_reason == {"keepalive_hint": 3}


async def test_prewarmed_connections_survive_their_session_tickets(nginx: Nginx) -> None:
    async with penstock.Pool(CONFIG) as pool, penstock.Client(pool=pool) as client:
        await pool.prewarm(nginx.tls_url, 4)
        assert pool.statistics().idle == 4
        assert (await client.get(nginx.tls_url + "/small")).status_code == 200
        assert pool.statistics().counts.dials_started == 4
        assert pool.statistics().counts.refused == 0


async def test_a_server_of_tls_1_2_needs_a_word_of_ours(tmp_path: Path) -> None:
    with run_nginx(tmp_path, tls_versions="TLSv1.2") as nginx:
        async with penstock.Client(config=CONFIG) as client:
            with pytest.raises(penstock.TLSError):
                await client.get(nginx.tls_url + "/")


async def test_compressed_pages_are_read_as_they_were(nginx: Nginx) -> None:
    async with penstock.Client(config=CONFIG) as client:
        response = await client.get(nginx.url + "/gzip", headers={"accept-encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"
    assert response.content == b"the same words over and over\n" * 200


async def test_an_upload_that_nginx_refuses_early_is_answered(nginx: Nginx) -> None:
    async with penstock.Client(config=CONFIG) as client:
        response = await client.post(nginx.url + "/early", content=b"x" * 5_000_000)
    assert response.status_code == 413
