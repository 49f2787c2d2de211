"""Requests through tunnels: what CONNECT says, what opens a tunnel, HTTP/2 and TLS inside of it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

import penstock
from penstock import Proxy
from penstock._net.tls_stream import TLSStream
from penstock.testing import serve_echo, serve_ok
from tests.support.certificates import server_context
from tests.support.h2_alpn import alpn_context
from tests.support.h2_server import H2Server, Incoming, Response
from tests.support.proxy_world import AUTHORIZATION, TOKEN, TUNNELS, World, world


@pytest.mark.parametrize("url", TUNNELS)
async def test_an_https_origin_is_reached_through_a_tunnel_that_is_used_again(
    url: str, autojump_clock: MockClock
) -> None:
    async with world(url) as w:
        w.front.add_host("localhost", "127.0.0.1")
        w.behind.listen("127.0.0.1", 443, serve_echo(), tls=server_context())
        for _ in range(3):
            response = await w.client.post("https://localhost/path?q", content=b"x" * 100_000)
            assert response.content == b"x" * 100_000
            assert response.headers["x-target"] == "/path?q"
        assert len(w.proxy.tunnels) == w.front.connects == 1
        assert w.proxy.tunnels[0] == ("127.0.0.1" if url.startswith("socks5:") else "localhost", 443)


async def test_connect_says_where_to_and_nothing_about_the_request(autojump_clock: MockClock) -> None:
    proxy = Proxy("http://user:pass%3Aword@proxy.test:3128", headers={"X-Tenant": "seven"})
    async with world(proxy, authorization=AUTHORIZATION) as w:
        await w.client.get("https://localhost/path", headers={"Authorization": "Bearer mine", "X-Own": "1"})
        (asked,) = w.proxy.requests
        assert (asked.method, asked.target) == (b"CONNECT", b"localhost:443")
        assert asked.headers == [
            (b"host", b"localhost:443"),
            (b"proxy-authorization", AUTHORIZATION),
            (b"x-tenant", b"seven"),
        ]
        (origin,) = w.behind.peers
        assert TOKEN.encode() not in origin.received
        assert b"proxy-authorization" not in bytes(origin.received).lower()
        assert b"x-tenant" not in bytes(origin.received).lower()


async def test_an_ipv6_origin_stands_in_brackets_in_connect(autojump_clock: MockClock) -> None:
    async with world("http://proxy.test:3128") as w:
        w.behind.listen("::1", 8443, serve_ok(), tls=server_context("::1"))
        assert (await w.client.get("https://[::1]:8443/")).status_code == 200
        assert w.proxy.requests[0].target == w.proxy.requests[0].header(b"host") == b"[::1]:8443"


async def answer(_: Incoming) -> Response:
    return Response(body=b"ok")


async def test_http2_is_agreed_on_through_tunnels_of_each_kind(autojump_clock: MockClock) -> None:
    for url in TUNNELS[:3]:
        async with world(url) as w:
            w.front.add_host("localhost", "127.0.0.1")
            server = H2Server(answer)
            for host in ("localhost", "127.0.0.1"):
                w.behind.listen(host, 443, server, tls=alpn_context("h2"))
            responses: list[penstock.Response] = []

            async def ask(w: World, responses: list[penstock.Response]) -> None:
                responses.append(await w.client.get("https://localhost/"))

            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(ask, w, responses)
            assert {response.http_version for response in responses} == {"HTTP/2"}
            assert w.front.connects == 1


@pytest.mark.parametrize(
    "opened",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 201 Made\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 299 Fine\r\nConnection: close\r\n\r\n",
    ],
)
async def test_any_2xx_opens_the_tunnel_whatever_its_fields_say(opened: bytes, autojump_clock: MockClock) -> None:
    async with world("http://proxy.test:3128", opened=opened) as w:
        assert (await w.client.post("https://localhost/", content=b"hi")).content == b"hi"


async def test_a_body_larger_than_every_buffer_comes_through_tls_in_tls(autojump_clock: MockClock) -> None:
    body = bytes(range(256)) * 8000
    async with world("https://proxy.test:3129") as w:
        w.behind.listen("localhost", 443, serve_ok(body), tls=server_context())
        for _ in range(3):
            assert (await w.client.get("https://localhost/")).content == body
        assert w.front.connects == 1


async def test_a_record_in_a_tunnel_is_one_record_outside(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    sizes: list[int] = []
    try_send = TLSStream.try_send

    def count(stream: TLSStream, data: bytes | memoryview) -> int:
        if type(stream) is TLSStream:
            sizes.append(len(data))
        return try_send(stream, data)

    monkeypatch.setattr(TLSStream, "try_send", count)
    async with world("https://proxy.test:3129") as w:
        await w.client.post("https://localhost/", content=bytes(500_000))
    assert 16000 < max(sizes) <= 16384
