"""The nginx that other tests rely on serves what it promises."""

from __future__ import annotations

import http.client
import ssl
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import client_context
from tests.support.h2_client import alpn_client, h2_client
from tests.support.nginx import SMALL, Nginx, http2_nginx, large_body, nginx, run_nginx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["http2_nginx", "nginx"]


@pytest.fixture(params=["plain", "tls"])
def client(request: pytest.FixtureRequest, nginx: Nginx) -> Iterator[http.client.HTTPConnection]:
    connection = (
        http.client.HTTPConnection("127.0.0.1", nginx.http_port, timeout=10)
        if request.param == "plain"
        else http.client.HTTPSConnection("localhost", nginx.https_port, timeout=10, context=client_context())
    )
    yield connection
    connection.close()


def ask(client: http.client.HTTPConnection, path: str, **options: object) -> tuple[int, bytes]:
    client.request(str(options.get("method", "GET")), path, body=options.get("body"))  # type: ignore[arg-type]
    response = client.getresponse()
    return response.status, response.read()


def test_it_serves_what_it_promises(client: http.client.HTTPConnection) -> None:
    assert ask(client, "/small") == (200, SMALL)
    assert ask(client, "/large") == (200, large_body())
    assert len(large_body()) == 1 << 20
    status, echo = ask(client, "/echo/x?y=z", method="PUT")
    assert (status, echo.split()[:2], echo.split()[3]) == (200, [b"PUT", b"/echo/x?y=z"], b"request=3")
    for code in (204, 304, 404, 413, 500, 503):
        assert ask(client, f"/status/{code}")[0] == code
    assert ask(client, "/upload", method="POST", body=b"x" * 100_000)[0] == 200
    assert ask(client, "/early", method="POST", body=b"xx")[0] == 413


def test_it_speaks_tls_13_only(nginx: Nginx) -> None:
    client = http.client.HTTPSConnection("localhost", nginx.https_port, timeout=10, context=client_context())
    client.connect()
    assert client.sock.version() == "TLSv1.3"
    client.close()


def test_keep_alive_is_adjustable(tmp_path: Path) -> None:
    running: AbstractContextManager[Nginx] = run_nginx(tmp_path, keepalive_requests=2, keepalive_timeout="75s 60s")
    with running as own:
        client = http.client.HTTPConnection("127.0.0.1", own.http_port, timeout=10)
        hints = []
        for _ in range(2):
            client.request("GET", "/small")
            response = client.getresponse()
            response.read()
            hints.append((response.getheader("Connection"), response.getheader("Keep-Alive")))
        client.close()
        assert hints == [("keep-alive", "timeout=60"), ("close", None)]
    assert own.process.returncode == 0
    assert [line.split()[1:3] for line in own.requests()] == [["1", "200"], ["1", "200"], ["2", "200"]]


@pytest.mark.parametrize("tls", [False, True], ids=["prior knowledge", "tls"])
async def test_it_speaks_http2_where_told(http2_nginx: Nginx, *, tls: bool) -> None:
    port = http2_nginx.https_port if tls else http2_nginx.h2c_port
    async with h2_client(port, tls=alpn_client("h2", "http/1.1") if tls else None) as client:
        assert (await client.get(b"/small")).body == SMALL
        assert (await client.get(b"/large")).body == large_body()
        assert (await client.post(b"/upload", b"x" * 100_000)).status == 200
        assert (await client.post(b"/early", b"x" * 100_000)).status == 413
        assert (await client.get(b"/status/204")).status == 204
        assert client.h2.remote_settings.max_concurrent_streams == 128


def test_a_client_that_offers_only_http1_gets_it(http2_nginx: Nginx) -> None:
    for context in (alpn_client("http/1.1"), alpn_client()):
        client = http.client.HTTPSConnection("localhost", http2_nginx.https_port, timeout=10, context=context)
        assert ask(client, "/small") == (200, SMALL)
        assert isinstance(client.sock, ssl.SSLSocket)
        assert client.sock.selected_alpn_protocol() != "h2"
        client.close()
    client = http.client.HTTPConnection("127.0.0.1", http2_nginx.http_port, timeout=10)
    assert ask(client, "/small") == (200, SMALL)
    client.close()


async def test_limits_of_http2_are_adjustable(tmp_path: Path) -> None:
    with run_nginx(tmp_path, http2=True, max_concurrent_streams=3, keepalive_requests=2) as own:
        async with h2_client(own.h2c_port) as client:
            await client.get(b"/small")
            assert client.h2.remote_settings.max_concurrent_streams == 3
            await client.get(b"/small")
            await client.until(lambda: bool(client.goaways))
            assert client.goaways == [(3, 0)]
