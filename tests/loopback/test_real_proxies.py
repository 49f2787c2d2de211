"""Through proxies that nobody here wrote to a server that nobody here wrote."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

import penstock
from penstock import PoolConfig, Proxy
from tests.support.certificates import client_config
from tests.support.nginx import http2_nginx as http2_nginx
from tests.support.nginx import large_body
from tests.support.real_proxies import PASSWORD, USER, run_microsocks, run_tinyproxy, tls_in_front_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.nginx import Nginx

credentials = pytest.mark.parametrize("authenticates", [False, True], ids=["open", "authenticating"])


def through(url: str, *, authenticates: bool) -> PoolConfig:
    own = {"username": USER, "password": PASSWORD} if authenticates else {}
    return PoolConfig(tls=client_config(), proxy=Proxy(url, **own))


async def use(config: PoolConfig, nginx: Nginx) -> None:
    """Both protocols, small and large, and few connections."""
    async with penstock.Pool(config) as pool, penstock.Client(pool) as client:
        for url, version in ((nginx.url, "HTTP/1.1"), (nginx.tls_url, "HTTP/2")):
            # First: tinyproxy ends connections without saying so, and a POST that meets such an end is not sent again.
            assert (await client.post(f"{url}/upload", content=b"x" * 500_000)).status_code == 200
            for _ in range(3):
                response = await client.get(f"{url}/large")
                assert response.content == large_body()
                assert response.http_version == version
        books = pool.statistics()
        assert {endpoint.counts.dials_ok for endpoint in books.endpoints if endpoint.origin.is_secure} == {1}
        assert books.active == 0


@credentials
async def test_tinyproxy(tmp_path: Path, http2_nginx: Nginx, *, authenticates: bool) -> None:
    with run_tinyproxy(tmp_path, authenticates=authenticates) as port:
        await use(through(f"http://127.0.0.1:{port}", authenticates=authenticates), http2_nginx)
        assert "CONNECT localhost" in (tmp_path / "tinyproxy.log").read_text()


@credentials
async def test_tinyproxy_behind_tls(tmp_path: Path, http2_nginx: Nginx, *, authenticates: bool) -> None:
    with run_tinyproxy(tmp_path, authenticates=authenticates) as port:
        async with tls_in_front_of(port) as outer:
            await use(through(f"https://localhost:{outer}", authenticates=authenticates), http2_nginx)


@credentials
@pytest.mark.parametrize("kind", ["socks5", "socks5h"])
async def test_microsocks(http2_nginx: Nginx, kind: str, *, authenticates: bool) -> None:
    with run_microsocks(authenticates=authenticates) as port:
        await use(through(f"{kind}://127.0.0.1:{port}", authenticates=authenticates), http2_nginx)


async def test_refusals_of_tinyproxy(tmp_path: Path) -> None:
    with run_tinyproxy(tmp_path, authenticates=True) as port:
        config = PoolConfig(proxy=f"http://{USER}:wrong@127.0.0.1:{port}")
        async with penstock.Pool(config) as pool, penstock.Client(pool) as client:
            with pytest.raises(penstock.ProxyError) as caught:
                await client.get("https://localhost:1/")
            assert caught.value.status in (401, 407)
            assert (await client.get("http://localhost:1/")).status_code in (401, 407)
            assert pool.statistics().active == 0
    with run_tinyproxy(tmp_path) as port:
        config = PoolConfig(proxy=f"http://127.0.0.1:{port}")
        async with penstock.Pool(config) as pool, penstock.Client(pool) as client:
            with pytest.raises(penstock.ProxyError) as caught:
                await client.get("https://localhost:1/")
            assert caught.value.status is not None
            assert caught.value.status >= 400
            assert pool.statistics().total == 0


async def test_refusals_of_microsocks() -> None:
    with run_microsocks(authenticates=True) as port:
        for own, words in (("", "it wants credentials"), (f"{USER}:wrong@", "refuses the username and password")):
            async with penstock.Pool(PoolConfig(proxy=f"socks5h://{own}127.0.0.1:{port}")) as pool:
                with pytest.raises(penstock.ProxyError, match=words):
                    async with pool.acquire("http://127.0.0.1:1"):
                        pass
                assert pool.statistics().total == 0
    with run_microsocks() as port:
        async with penstock.Pool(PoolConfig(proxy=f"socks5h://127.0.0.1:{port}")) as pool:
            with pytest.raises(penstock.ProxyError, match="refused the connection"):
                async with pool.acquire("http://127.0.0.1:1"):
                    pass


async def test_a_proxy_that_dies_takes_only_its_connections_along(tmp_path: Path, http2_nginx: Nginx) -> None:
    with ExitStack() as running:
        port = running.enter_context(run_tinyproxy(tmp_path))
        config = PoolConfig(tls=client_config(), proxy={"https://": f"http://127.0.0.1:{port}"})
        async with penstock.Pool(config) as pool, penstock.Client(pool) as client:
            for url in (http2_nginx.url, http2_nginx.tls_url):
                assert (await client.get(f"{url}/small")).status_code == 200
            running.close()
            for _ in range(2):
                with pytest.raises(penstock.ProxyError, match=f"the proxy 127.0.0.1:{port} cannot be reached"):
                    await client.get(f"{http2_nginx.tls_url}/small")
            assert (await client.get(f"{http2_nginx.url}/small")).status_code == 200
            books = pool.statistics()
            assert {endpoint.origin.is_secure: endpoint.counts.dials_ok for endpoint in books.endpoints} == {
                False: 1,
                True: 1,
            }
            assert (books.total, books.active) == (1, 0)
