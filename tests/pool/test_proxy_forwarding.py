"""Requests that an HTTP proxy passes on: in absolute form, to nobody but the origin."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

import penstock
from penstock import PoolConfig, Upstream
from penstock.testing import ScriptedPeer
from tests.support.proxy_world import AUTHORIZATION, world


@pytest.mark.parametrize("url", ["http://user:pass%3Aword@proxy.test:3128", "https://user:pass%3Aword@proxy.test:3129"])
async def test_an_http_origin_is_asked_for_in_absolute_form(url: str, autojump_clock: MockClock) -> None:
    async with world(url, authorization=AUTHORIZATION) as w:
        first = await w.client.get("http://api.test/path?q=1")
        second = await w.client.post("http://api.test:8080/", content=iter([b"a", b"b"]))
        await w.client.get("http://api.test/again", headers={"Host": "API.test:80"})
        assert first.headers["x-target"] == "http://api.test/path?q=1"
        assert second.content == b"ab"
        assert [r.target for r in w.proxy.requests[1:]] == [b"http://api.test:8080/", b"http://api.test/again"]
        for request in w.proxy.requests:
            assert request.header(b"proxy-authorization") == AUTHORIZATION
        assert w.proxy.requests[0].header(b"host") == b"api.test"
        # One connection for each origin, used again, and no tunnel.
        assert (w.front.connects, w.proxy.tunnels) == (2, [])


async def test_options_for_the_server_has_no_path_in_absolute_form(autojump_clock: MockClock) -> None:
    async with world("http://proxy.test:3128") as w:
        async with w.pool.acquire("http://api.test") as lease:
            await lease.request("OPTIONS", "*")
        assert w.proxy.requests[0].target == b"http://api.test"


async def test_a_407_to_a_request_that_was_to_be_passed_on_is_an_answer(autojump_clock: MockClock) -> None:
    async with world("http://proxy.test:3128", authorization=AUTHORIZATION) as w:
        response = await w.client.get("http://api.test/")
        assert (response.status_code, response.text) == (407, "who are you?")


async def test_another_host_than_the_urls_is_not_passed_on(autojump_clock: MockClock) -> None:
    async with world("http://proxy.test:3128") as w:
        with pytest.raises(penstock.LocalProtocolError, match="Host that differs"):
            await w.client.get("http://api.test/", headers={"Host": "other.test"})
        assert w.proxy.requests == []


async def test_content_waits_until_a_proxy_that_passes_it_on_asks_for_it(autojump_clock: MockClock) -> None:
    seen: list[bytes] = []

    async def asks(peer: ScriptedPeer) -> None:
        await peer.expect_head()
        await peer.wait(0.1)
        seen.append(bytes(peer.received)[-4:])
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        seen.append(await peer.expect_body())
        await peer.respond(200)

    async with world("http://proxy.test:3128") as w:
        w.front.listen("proxy.test", 3128, asks)
        await w.client.post("http://api.test/", content=b"content", headers={"Expect": "100-continue"})
        assert seen == [b"\r\n\r\n", b"content"]


async def test_what_is_pushed_is_passed_on(autojump_clock: MockClock) -> None:
    async with world("http://user:pass%3Aword@proxy.test:3128", authorization=AUTHORIZATION) as w:
        async with w.pool.acquire("http://api.test") as lease:
            pushed = await lease.start("POST", "/path")
            await pushed.send(b"one, ")
            await pushed.send(b"two")
            assert (await pushed.finish()).status == 200
        (request,) = w.proxy.requests
        assert (request.target, request.body) == (b"http://api.test/path", b"one, two")


async def test_http2_without_tls_is_not_passed_on(autojump_clock: MockClock) -> None:
    async with world("http://proxy.test:3128", http1=False) as w:
        start = trio.current_time()
        for _ in range(9):
            with pytest.raises(penstock.UnsupportedProtocol, match=r"http1=True"):
                await w.client.get("http://api.test/")
        with pytest.raises(penstock.UnsupportedProtocol):
            async with w.pool.acquire("http://api.test"):
                pass
        assert trio.current_time() == start
        assert not w.events
    config = PoolConfig(proxy="http://proxy.test:3128", http1=False)
    with pytest.raises(penstock.UnsupportedProtocol, match=r"http1=True"):
        penstock.Pool(config, upstreams=["http://api.test"])
    penstock.Pool(config, upstreams=["https://api.test", Upstream("http://api.test", proxy="direct")])


@pytest.mark.parametrize(
    "target", ["http://evil.test/x", "https://api.test/x", "http://api.test.evil.test/", "http://api.test@evil.test/",
               "http://api.test:81/", "http://evil.test?http://api.test/"]
)  # fmt: skip
async def test_a_target_at_another_place_than_the_origin_is_not_passed_on(
    target: str, autojump_clock: MockClock
) -> None:
    async with world("http://proxy.test:3128") as w:
        async with w.pool.acquire("http://api.test") as lease:
            with pytest.raises(penstock.LocalProtocolError, match="another place"):
                await lease.request("GET", target)
        assert w.proxy.requests == []


@pytest.mark.parametrize(
    "target", ["http://api.test/x", "http://API.test:80/x", "http://api.test?x", "http://api.test"]
)
async def test_a_target_in_absolute_form_at_the_origin_is_passed_on(target: str, autojump_clock: MockClock) -> None:
    async with world("http://proxy.test:3128") as w:
        async with w.pool.acquire("http://api.test") as lease:
            await lease.request("GET", target)
        assert [request.target for request in w.proxy.requests] == [target.encode()]
