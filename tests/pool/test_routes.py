"""Which protocol an endpoint is spoken to in: by the settings, the scheme, the handshake, and a server's demand."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock import PoolConfig
from penstock._pool.connecting import Connector, Route
from penstock._types import Origin
from penstock.testing import FakeNetwork, serve_ok
from tests.support.certificates import client_config
from tests.support.h2_alpn import alpn_context, serve_by_alpn
from tests.support.h2_peer import H2Peer, H2Script

if TYPE_CHECKING:
    from trio.testing import MockClock

    from penstock.testing import Handler, ScriptedPeer

PLAIN, SECURE = Origin("http", "localhost", 80), Origin("https", "localhost", 443)
BOTH = ("h2", "http/1.1")


async def silent(peer: H2Peer) -> None:
    """Says what every server says first, and nothing more."""
    await peer.wait_closed()


def route(origin: Origin = SECURE, **settings: Any) -> Route:
    return Connector(PoolConfig(**settings), FakeNetwork()).route(origin, None)


@pytest.mark.parametrize(
    ("settings", "plain", "secure"),
    [
        ({}, ("http/1.1",), BOTH),
        ({"http2": False}, ("http/1.1",), ("http/1.1",)),
        ({"http1": False}, ("h2",), ("h2",)),
    ],
)
def test_what_may_be_spoken(settings: dict[str, Any], plain: tuple[str, ...], secure: tuple[str, ...]) -> None:
    for origin, protocols in ((PLAIN, plain), (SECURE, secure)):
        found = route(origin, **settings)
        assert found.protocols == protocols
        assert found.multiplexes is ("h2" in protocols)


def test_a_server_may_demand_http1_where_that_is_allowed() -> None:
    found = route()
    for _ in range(2):
        assert found.require_http1()
        assert found.protocols == ("http/1.1",)
        assert not found.multiplexes


@pytest.mark.parametrize("origin", [PLAIN, SECURE])
def test_and_nowhere_else(origin: Origin) -> None:
    found = route(origin, http1=False)
    assert not found.require_http1()
    assert found.protocols == ("h2",)


# Connecting


def both(script: Handler) -> Handler:
    return serve_by_alpn({"h2": script, "http/1.1": serve_ok(), None: serve_ok()})


@pytest.mark.parametrize(
    ("spoken", "settings", "version"),
    [
        (BOTH, {}, "HTTP/2"),
        (("http/1.1", "h2"), {}, "HTTP/1.1"),
        (("http/1.1",), {}, "HTTP/1.1"),
        ((), {}, "HTTP/1.1"),
        (BOTH, {"http2": False}, "HTTP/1.1"),
        (BOTH, {"http1": False}, "HTTP/2"),
    ],
)
async def test_the_handshake_decides(
    spoken: tuple[str, ...], settings: dict[str, Any], version: str, autojump_clock: MockClock
) -> None:
    config = PoolConfig(tls=client_config(), **settings)
    async with FakeNetwork() as network:
        network.listen("localhost", 443, both(H2Script(silent)), tls=alpn_context(*spoken))
        connector = Connector(config, network)
        connection = await connector.connect(connector.route(SECURE, None))
        assert connection.http_version == version
        connection.close()


@pytest.mark.parametrize("spoken", [(), ("http/1.1",)])
async def test_a_server_without_http2_is_refused_where_http1_is_off(
    spoken: tuple[str, ...], autojump_clock: MockClock
) -> None:
    async with FakeNetwork() as network:
        network.listen("localhost", 443, serve_ok(), tls=alpn_context(*spoken))
        connector = Connector(PoolConfig(tls=client_config(), http1=False), network)
        with pytest.raises(penstock.TLSError, match=r"needs PoolConfig\(http1=True\)"):
            await connector.connect(connector.route(SECURE, None))
    assert network.open_connections == 0


@pytest.mark.parametrize(("settings", "version"), [({}, "HTTP/1.1"), ({"http1": False}, "HTTP/2")])
async def test_without_tls_http2_needs_prior_knowledge(
    settings: dict[str, Any], version: str, autojump_clock: MockClock
) -> None:
    async with FakeNetwork() as network:
        network.listen("localhost", 80, H2Script(silent))
        connector = Connector(PoolConfig(**settings), network)
        connection = await connector.connect(connector.route(PLAIN, None))
        assert connection.http_version == version
        connection.close()


async def test_a_demand_for_http1_holds_for_every_further_connection(autojump_clock: MockClock) -> None:
    async with FakeNetwork() as network:
        network.listen("localhost", 443, both(H2Script(silent)), tls=alpn_context(*BOTH))
        connector = Connector(PoolConfig(tls=client_config()), network)
        way = connector.route(SECURE, None)
        versions = []
        for demand in (False, True, False):
            if demand:
                way.require_http1()
            connection = await connector.connect(way)
            versions.append(connection.http_version)
            connection.close()
        assert versions == ["HTTP/2", "HTTP/1.1", "HTTP/1.1"]


async def test_what_a_server_was_told_of_calm_holds_for_the_whole_route(autojump_clock: MockClock) -> None:
    async with FakeNetwork() as network:
        network.listen("localhost", 443, both(H2Script(silent)), tls=alpn_context(*BOTH))
        connector = Connector(PoolConfig(tls=client_config()), network)
        way = connector.route(SECURE, None)
        assert way.pace is None
        paces = set()
        for _ in range(2):
            (await connector.connect(way)).close()
            paces.add(way.pace)
        assert len(paces) == 1
        assert None not in paces


async def says_http1(peer: ScriptedPeer) -> None:
    await peer.receive()
    await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await peer.wait_closed()


async def test_a_server_that_agreed_on_http2_and_speaks_http1_is_refused_where_that_is_off(
    autojump_clock: MockClock,
) -> None:
    async with FakeNetwork() as network:
        network.listen("localhost", 443, says_http1, tls=alpn_context("h2"))
        connector = Connector(PoolConfig(tls=client_config(), http1=False), network)
        with pytest.raises(penstock.RemoteProtocolError):
            await connector.connect(connector.route(SECURE, None))
        assert len(network.peers) == 1
    assert network.open_connections == 0


async def test_and_is_spoken_to_in_http1_from_then_on_where_that_is_allowed(autojump_clock: MockClock) -> None:
    async with FakeNetwork() as network:
        network.listen(
            "localhost", 443, serve_by_alpn({"h2": says_http1, "http/1.1": serve_ok()}), tls=alpn_context(*BOTH)
        )
        connector = Connector(PoolConfig(tls=client_config()), network)
        way = connector.route(SECURE, None)
        for _ in range(2):
            connection = await connector.connect(way)
            assert connection.http_version == "HTTP/1.1"
            connection.close()
        assert len(network.peers) == 3
    assert network.open_connections == 0


def test_a_program_that_speaks_http1_only_loads_no_http2() -> None:
    program = """
import sys, trio, penstock
from penstock.testing import FakeNetwork, serve_ok

async def main():
    async with FakeNetwork() as network:
        network.listen("api.test", 80, serve_ok())
        async with penstock.Pool(network=network) as pool, penstock.Client(pool) as client:
            assert (await client.get("http://api.test/")).text == "ok"

trio.run(main)
found = [name for name in sys.modules if name.partition(".")[0] in ("h2", "hpack") or name == "penstock._http.h2"]
assert not found, found
"""
    subprocess.run([sys.executable, "-c", program], check=True)
