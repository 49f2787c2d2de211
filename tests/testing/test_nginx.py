"""The nginx that other tests rely on serves what it promises."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import client_context
from tests.support.nginx import SMALL, Nginx, large_body, nginx, run_nginx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["nginx"]


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
