"""Requests through SOCKS proxies."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

import penstock
from penstock.testing import serve_echo, serve_ok
from tests.support.proxy_world import SECRET, world


@pytest.mark.parametrize("url", ["socks5://user:pass%3Aword@proxy.test", "socks5h://user:pass%3Aword@proxy.test"])
async def test_an_http_origin_is_reached_through_socks_as_if_directly(url: str, autojump_clock: MockClock) -> None:
    async with world(url, credentials=(b"user", SECRET.encode())) as w:
        w.front.add_host("localhost", "127.0.0.1")
        w.behind.listen("127.0.0.1", 80, serve_echo())
        response = await w.client.get("http://localhost/path")
        assert response.headers["x-target"] == "/path"
        assert SECRET.encode() not in w.behind.peers[0].received
        assert w.proxy.methods == [b"\x02\x00"]


@pytest.mark.parametrize(("host", "heard"), [("192.0.2.7", "192.0.2.7"), ("[2001:db8::7]", "2001:db8::7")])
@pytest.mark.parametrize("kind", ["socks5", "socks5h"])
async def test_socks_has_a_type_for_each_kind_of_address(
    kind: str, host: str, heard: str, autojump_clock: MockClock
) -> None:
    async with world(f"{kind}://proxy.test") as w:
        w.behind.listen(heard, 80, serve_ok())
        assert (await w.client.get(f"http://{host}/")).text == "ok"
        assert w.proxy.tunnels == [(heard, 80)]


async def test_a_name_that_socks5_looks_up_here_and_does_not_find_is_no_fault_of_the_proxy(
    autojump_clock: MockClock,
) -> None:
    async with world("socks5://proxy.test") as w:
        with pytest.raises(penstock.NameResolutionError):
            await w.client.get("http://nowhere.test/")
        assert w.front.connects == 0
