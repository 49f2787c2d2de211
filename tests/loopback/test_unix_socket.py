"""An upstream behind a Unix domain socket."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import pytest

import penstock
from penstock.testing import serve_echo
from tests.support.certificates import client_config
from tests.support.nginx import SMALL, run_nginx
from tests.support.server import ScriptServer

if TYPE_CHECKING:
    from pathlib import Path


async def test_one_server_of_our_own(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    async with ScriptServer(serve_echo(), listener=listener) as server:
        upstream = penstock.Upstream("http://docker.test", unix_socket=path)
        async with penstock.Pool(upstreams=[upstream]) as pool, penstock.Client(pool) as client:
            for _ in range(3):
                assert (await client.post("http://docker.test/", content=b"over a path")).content == b"over a path"
        assert server.requests_per_connection == [3]


async def test_requests_go_through_the_socket(tmp_path: Path) -> None:
    path = f"{tmp_path}/http.sock"
    with run_nginx(tmp_path, extra=f"listen unix:{path};") as server:
        upstream = penstock.Upstream("http://service.internal", unix_socket=path)
        async with penstock.Pool(upstreams=[upstream]) as pool, penstock.Client(pool) as client:
            for _ in range(3):
                assert (await client.get("http://service.internal/small")).content == SMALL
            assert pool.statistics().counts.dials_started == 1
            # Only what was declared goes there.
            assert (await client.get(f"{server.url}/small")).content == SMALL
            assert pool.statistics().counts.dials_started == 2


async def test_tls_through_the_socket(tmp_path: Path) -> None:
    path = f"{tmp_path}/https.sock"
    with run_nginx(tmp_path, extra=f"listen unix:{path} ssl;"):
        upstream = penstock.Upstream("https://localhost", unix_socket=path, tls=client_config(), min_idle=2)
        async with penstock.Pool(upstreams=[upstream]) as pool, penstock.Client(pool) as client:
            await pool.prewarm("https://localhost", 2)
            assert (await client.get("https://localhost/small")).content == SMALL
            assert pool.statistics().counts.dials_started == 2


async def test_the_certificate_is_checked_for_the_origin(tmp_path: Path) -> None:
    path = f"{tmp_path}/https.sock"
    with run_nginx(tmp_path, extra=f"listen unix:{path} ssl;"):
        upstream = penstock.Upstream("https://service.internal", unix_socket=path, tls=client_config())
        async with penstock.Pool(upstreams=[upstream]) as pool, penstock.Client(pool) as client:
            with pytest.raises(penstock.CertificateError, match=r"service\.internal"):
                await client.get("https://service.internal/small")


async def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    upstream = penstock.Upstream("http://service.internal", unix_socket=f"{tmp_path}/none.sock")
    async with penstock.Pool(upstreams=[upstream]) as pool, penstock.Client(pool) as client:
        with pytest.raises(penstock.ConnectError, match=r"none\.sock") as caught:
            await client.get("http://service.internal/")
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.ENOENT
