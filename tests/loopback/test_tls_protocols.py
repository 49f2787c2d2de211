"""Which protocol is agreed on over real sockets, and what is said where none can be."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trio

import penstock
from penstock._net.network import SocketNetwork
from penstock._pool.connecting import Connector
from penstock._types import Origin
from penstock.testing import ScriptedPeer, serve_ok
from tests.support.certificates import authority_file, client_config, client_context
from tests.support.h2_alpn import alpn_context
from tests.support.nginx import run_nginx
from tests.support.server import ScriptServer
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

BOTH = ("h2", "http/1.1")


def agreed(server: ScriptServer) -> list[str | None]:
    return [None if peer.tls is None else peer.tls.selected_alpn_protocol() for peer in server.peers]


@pytest.mark.parametrize(
    ("spoken", "settings", "chosen"),
    [(("http/1.1",), {}, "http/1.1"), ((), {}, None), (BOTH, {"http2": False}, "http/1.1")],
)
async def test_http1_is_spoken_where_it_was_agreed_on(
    spoken: tuple[str, ...], settings: dict[str, Any], chosen: str | None
) -> None:
    config = penstock.PoolConfig(tls=client_config(), **settings)
    async with ScriptServer(serve_ok(), tls=alpn_context(*spoken)) as server, penstock.Client(config=config) as client:
        response = await client.get(server.url)
        assert (response.text, response.http_version) == ("ok", "HTTP/1.1")
        assert agreed(server) == [chosen]


@pytest.mark.parametrize("spoken", [("http/1.1",), ()])
async def test_a_server_without_http2_hears_no_request_where_http1_is_off(spoken: tuple[str, ...]) -> None:
    heard: list[bytes] = []

    async def hear(peer: ScriptedPeer) -> None:
        heard.append(await peer.wait_closed())

    config = penstock.PoolConfig(tls=client_config(), http1=False)
    async with ScriptServer(hear, tls=alpn_context(*spoken)) as server, penstock.Client(config=config) as client:
        with pytest.raises(penstock.TLSError, match=r"did not agree on HTTP/2; .*PoolConfig\(http1=True\)") as caught:
            await client.post(server.url, content=b"secret")
        assert (caught.value.phase, caught.value.request_sent) == ("tls", "no")
        await wait_until(lambda: heard)
    assert heard == [b""]


async def test_a_callers_context_that_offers_more_than_is_allowed() -> None:
    context = ssl.create_default_context(cafile=authority_file())
    context.set_alpn_protocols(["h2", "http/1.1"])
    config = penstock.PoolConfig(tls=penstock.TLSConfig(trust=context), http2=False)
    async with ScriptServer(serve_ok(), tls=alpn_context(*BOTH)) as server, penstock.Client(config=config) as client:
        with pytest.raises(penstock.TLSError, match=r"'h2', which the SSLContext .* only http/1\.1 is allowed"):
            await client.get(server.url)


async def test_a_callers_context_that_offers_nothing_gets_http1() -> None:
    config = penstock.PoolConfig(tls=penstock.TLSConfig(trust=client_context()))
    async with ScriptServer(serve_ok(), tls=alpn_context(*BOTH)) as server, penstock.Client(config=config) as client:
        assert (await client.get(server.url)).http_version == "HTTP/1.1"
        assert agreed(server) == [None]


@pytest.mark.parametrize(
    ("settings", "version"), [({}, "HTTP/2"), ({"http2": False}, "HTTP/1.1"), ({"http1": False}, "HTTP/2")]
)
async def test_nginx_is_spoken_to_as_was_agreed(tmp_path: Path, settings: dict[str, Any], version: str) -> None:
    config = penstock.PoolConfig(tls=client_config(), **settings)
    with run_nginx(tmp_path, http2=True) as nginx:
        connector = Connector(config, SocketNetwork())
        with trio.fail_after(5):
            connection = await connector.connect(connector.route(Origin("https", "localhost", nginx.https_port), None))
        assert connection.http_version == version
        connection.close()
