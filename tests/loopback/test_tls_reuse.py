"""What TLS connections share: sessions to resume, one context; and what they must survive: session tickets."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import trio

import penstock
from penstock.testing import serve_ok
from tests.support.certificates import authority, client_config, server_context
from tests.support.forge import leaf_pin
from tests.support.nginx import SMALL, Nginx, nginx
from tests.support.server import ScriptServer

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

__all__ = ["nginx"]


def resumed(server: ScriptServer) -> list[bool]:
    return [peer.tls is not None and bool(peer.tls.session_reused) for peer in server.peers]


async def test_a_further_connection_resumes_the_session() -> None:
    config = penstock.PoolConfig(tls=client_config(), keep_alive=False)
    async with ScriptServer(serve_ok(), tls=server_context()) as server, penstock.Client(config=config) as client:
        for _ in range(4):
            assert (await client.get(server.url)).text == "ok"
        assert resumed(server) == [False, True, True, True]


async def test_a_session_is_not_resumed_where_that_is_not_wanted(tmp_path: Path) -> None:
    trust = tmp_path / "authority.pem"
    trust.write_bytes(authority().cert_pem.bytes())
    tls = penstock.TLSConfig(trust=str(trust), session_resumption=False)
    config = penstock.PoolConfig(tls=tls, keep_alive=False)
    async with ScriptServer(serve_ok(), tls=server_context()) as server, penstock.Client(config=config) as client:
        for _ in range(2):
            await client.get(server.url)
        assert resumed(server) == [False, False]


async def test_a_pinned_session_is_resumed_with_its_verdict(tmp_path: Path) -> None:
    trust = tmp_path / "authority.pem"
    trust.write_bytes(authority().cert_pem.bytes())
    certificate = authority().issue_cert("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    tls = penstock.TLSConfig(trust=str(trust), pins={"localhost": [leaf_pin(certificate)]})
    config = penstock.PoolConfig(tls=tls, keep_alive=False)
    async with ScriptServer(serve_ok(), tls=context) as server, penstock.Client(config=config) as client:
        for _ in range(2):
            assert (await client.get(server.url)).text == "ok"
        assert resumed(server) == [False, True]


async def test_sessions_are_not_shared_between_pools() -> None:
    async with ScriptServer(serve_ok(), tls=server_context()) as server:
        for _ in range(2):
            async with penstock.Client(config=penstock.PoolConfig(tls=client_config())) as client:
                await client.get(server.url)
        assert resumed(server) == [False, False]


async def test_prewarmed_connections_survive_their_tickets(nginx: Nginx) -> None:
    config = penstock.PoolConfig(tls=client_config())
    async with penstock.Pool(config) as pool, penstock.Client(pool, base_url=nginx.tls_url) as client:
        await pool.prewarm(nginx.tls_url, 3)
        # Longer than it takes until they are watched, and until their tickets are there.
        await trio.sleep(0.4)
        books = pool.statistics()
        assert (books.idle, books.counts.closed) == (3, 0)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(client.get, "/small")
        assert (await client.get("/small")).content == SMALL
        assert pool.statistics().counts.dials_started == 3


async def test_a_second_pool_loads_no_certificates(
    nginx: Nginx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = tmp_path / "authority.pem"
    trust.write_bytes(authority().cert_pem.bytes())
    loads: list[Any] = []
    load = ssl.SSLContext.load_verify_locations

    def count(self: ssl.SSLContext, *args: Any, **options: Any) -> None:
        loads.append(args or options)
        load(self, *args, **options)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", count, raising=False)
    for _ in range(3):
        config = penstock.PoolConfig(tls=penstock.TLSConfig(trust=str(trust)))
        async with penstock.Client(config=config) as client:
            assert (await client.get(f"{nginx.tls_url}/small")).content == SMALL
    assert len(loads) == 1


async def test_a_pool_that_speaks_no_tls_makes_no_context(nginx: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a context was made")

    monkeypatch.setattr("penstock._net.tls_profile._make_context", refuse)
    async with penstock.Client() as client:
        assert (await client.get(f"{nginx.url}/small")).content == SMALL
