"""Real sockets on bad days: servers that leave, names that do not exist, descriptors that run out."""

from __future__ import annotations

import errno
import resource
import socket
from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock.testing import serve_echo, serve_in_turn, serve_ok, serve_then_say
from tests.support.certificates import client_config, server_context
from tests.support.server import (
    ScriptServer,
    closes_mid_body,
    closes_mid_chunk,
    closes_mid_head,
    closes_while_uploading,
    closes_without_answer,
    times_out_idle,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from penstock.testing import Handler

CONFIG = penstock.PoolConfig(tls=client_config())

both_ways = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


def serve(handler: Handler, *, tls: bool) -> ScriptServer:
    return ScriptServer(handler, tls=server_context() if tls else None)


@both_ways
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("leave", [closes_mid_head, closes_mid_body, closes_mid_chunk, closes_without_answer])
async def test_a_server_that_leaves_in_the_middle(leave: Callable[..., Handler], *, reset: bool, tls: bool) -> None:
    async with (
        serve(serve_in_turn(leave(reset=reset), serve_ok(b"after")), tls=tls) as server,
        penstock.Pool(CONFIG) as pool,
        penstock.Client(pool=pool) as client,
    ):
        with pytest.raises((penstock.ReadError, penstock.RemoteProtocolError)) as caught:
            await client.get(server.url)
        assert caught.value.request_sent == "fully"
        assert pool.statistics().total == 0
        # A connection that was fresh is never replayed.
        assert server.connections == 1
        assert (await client.get(server.url)).content == b"after"


@both_ways
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
async def test_a_server_that_leaves_while_we_send(*, reset: bool, tls: bool) -> None:
    async with (
        serve(closes_while_uploading(reset=reset), tls=tls) as server,
        penstock.Pool(CONFIG) as pool,
        penstock.Client(pool=pool) as client,
    ):
        with pytest.raises((penstock.WriteError, penstock.ReadError)) as caught:
            await client.post(server.url, content=b"x" * 20_000_000)
        assert caught.value.request_sent == "partly"
        assert pool.statistics().total == 0


@both_ways
@pytest.mark.parametrize("handler", [times_out_idle(0), serve_then_say(b"\r\n")], ids=["408", "stray line"])
async def test_what_comes_while_idle_reaches_nobody(handler: Handler, *, tls: bool) -> None:
    async with (
        serve(serve_in_turn(handler, serve_ok(b"second")), tls=tls) as server,
        penstock.Pool(CONFIG) as pool,
        penstock.Client(pool=pool) as client,
    ):
        assert (await client.get(server.url)).status_code == 200
        with trio.fail_after(10):
            # Without any traffic of ours: the watcher closes it.
            while pool.statistics().total:  # noqa: ASYNC110 - statistics are looked at, not waited for
                await trio.sleep(0.01)
        assert (await client.get(server.url)).content == b"second"


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
