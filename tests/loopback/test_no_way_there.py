"""No way there: nobody listens, the name does not exist, descriptors run out. And one way more: a Unix socket."""

from __future__ import annotations

import errno
import resource
import socket
from typing import TYPE_CHECKING

import pytest

import penstock
from penstock.testing import serve_echo, serve_ok
from tests.support.server import (
    ScriptServer,
)

if TYPE_CHECKING:
    from pathlib import Path


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with penstock.Client() as client:
        with pytest.raises(penstock.ConnectError) as caught:
            await client.get(f"http://127.0.0.1:{port}/")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ECONNREFUSED
    assert caught.value.request_sent == "no"


async def test_a_name_that_does_not_resolve() -> None:
    async with penstock.Client() as client:
        with pytest.raises(penstock.NameResolutionError, match=r"no-such-host\.invalid"):
            await client.get("http://no-such-host.invalid/")


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    async with ScriptServer(serve_echo(), listener=listener) as server:
        upstream = penstock.Upstream("http://docker.test", unix_socket=path)
        async with penstock.Pool(upstreams=[upstream]) as pool, penstock.Client(pool=pool) as client:
            assert (await client.post("http://docker.test/", content=b"over a path")).content == b"over a path"
        assert server.connections == 1


async def test_no_descriptor_left_blames_no_endpoint() -> None:
    async with (
        ScriptServer(serve_ok(b"fine")) as server,
        penstock.Pool() as pool,
        penstock.Client(pool=pool) as client,
    ):
        await client.get(server.url)
        pool.renew()
        with no_descriptors():
            for _ in range(5):
                with pytest.raises(penstock.ConnectError) as caught:
                    await client.get(server.url)
                cause = caught.value.__cause__
                assert isinstance(cause, OSError)
                assert cause.errno == errno.EMFILE
        (endpoint,) = pool.statistics().endpoints
        assert (endpoint.failures, endpoint.paused_for) == (0, 0)
        assert (await client.get(server.url)).content == b"fine"


class no_descriptors:  # noqa: N801 - reads as a statement
    """Nothing can be opened inside."""

    def __enter__(self) -> None:
        self.limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as probe:
            lowest = probe.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, self.limits[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, self.limits)
