"""Nothing there, no such name, no descriptor left."""

from __future__ import annotations

import errno
import resource
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from tests.support.certificates import client_config
from tests.support.nginx import SMALL, Nginx, nginx

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["nginx"]


@contextmanager
def closed_port() -> Iterator[int]:
    """A port that is bound, so that nobody else gets it, and on which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def test_refused() -> None:
    with closed_port() as port:
        async with penstock.Client() as client:
            with pytest.raises(penstock.ConnectError) as caught:
                await client.get(f"http://127.0.0.1:{port}")
            error = caught.value
            assert type(error) is penstock.ConnectError
            assert (error.phase, error.request_sent, str(error.origin)) == (
                "connect",
                "no",
                f"http://127.0.0.1:{port}",
            )
            assert isinstance(error.__cause__, OSError)
            assert error.__cause__.errno == errno.ECONNREFUSED
            assert client._pool is not None
            (endpoint,) = client._pool.statistics().endpoints
            assert endpoint.failures == 1
            assert client._pool.statistics().total == 0


async def test_refused_on_every_address() -> None:
    with closed_port() as port:
        async with penstock.Client() as client:
            with pytest.raises(penstock.ConnectError, match=f"localhost:{port}"):
                await client.get(f"http://localhost:{port}")


async def test_a_name_that_does_not_resolve() -> None:
    # RFC 6761: it never does.
    async with penstock.Client() as client:
        for _ in range(2):
            with trio.fail_after(30), pytest.raises(penstock.NameResolutionError) as caught:
                await client.get("http://does-not-exist.invalid/", timeout=20)
            assert caught.value.phase == "resolve"
            assert str(caught.value.origin) == "http://does-not-exist.invalid"
            assert caught.value.request_sent == "no"


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Nothing can be opened inside: the limit lies at the lowest descriptor that is free."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as probe:
        lowest = probe.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_no_descriptor_left_is_nobodys_fault_but_ours(host: str, nginx: Nginx) -> None:
    url = f"http://{host}:{nginx.http_port}/small"
    config = penstock.PoolConfig(unhealthy_threshold=1)
    async with penstock.Client(config=config) as client:
        # A thread for look-ups is there already.
        await client.get(url)
        pool = client._pool
        assert pool is not None
        pool.renew()
        with no_descriptor_left():
            for _ in range(5):
                with pytest.raises(penstock.ConnectError) as caught:
                    await client.get(url)
                assert not isinstance(caught.value, penstock.NameResolutionError)
                cause: BaseException | None = caught.value
                while cause is not None and not isinstance(cause, OSError):
                    cause = cause.__cause__
                assert cause is not None
                assert cause.errno == errno.EMFILE
            (endpoint,) = pool.statistics().endpoints
            assert endpoint.failures == 0
            assert endpoint.paused_for == 0
        # As soon as there are descriptors again everything works, without a pause.
        assert (await client.get(url)).content == SMALL


async def test_an_idle_connection_makes_room_when_descriptors_run_out(nginx: Nginx) -> None:
    async with penstock.Client(config=penstock.PoolConfig(tls=client_config())) as client:
        await client.get(f"{nginx.tls_url}/small")
        pool = client._pool
        assert pool is not None
        with no_descriptor_left():
            plain = f"http://127.0.0.1:{nginx.http_port}/small"
            assert (await client.get(plain)).content == SMALL
        reasons = [endpoint.closed_by_reason for endpoint in pool.statistics().endpoints]
        assert {"resource_exhausted": 1} in reasons
