"""Which proxy a request goes through, and that every option holds through it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

import penstock
from penstock import PoolConfig, Proxy, TLSConfig, Upstream
from penstock.testing import ScriptedPeer, serve_ok, serve_then_close_idle
from tests.support.certificates import authority_file, client_config, client_context, server_context
from tests.support.proxy_world import TUNNELS, wait_refused, world


async def test_rules_and_upstreams_decide_for_each_origin(autojump_clock: MockClock) -> None:
    rules = penstock.ProxyRules({"all://": "http://proxy.test:3128"}, no_proxy=["direct.test"])
    upstreams = (
        Upstream("http://own.test", proxy="direct"),
        Upstream("http://socket.test", unix_socket="/run/it"),
        Upstream("http://localhost", proxy="socks5h://proxy.test"),
    )
    async with world(rules, upstreams=upstreams) as w:
        for name in ("direct.test", "own.test"):
            w.front.listen(name, 80, serve_ok(b"directly"))
            assert (await w.client.get(f"http://{name}/")).text == "directly"
        w.front.listen_unix("/run/it", serve_ok(b"by a socket"))
        assert (await w.client.get("http://socket.test/")).text == "by a socket"
        assert (await w.client.get("http://localhost/")).status_code == 200
        assert w.proxy.tunnels == [("localhost", 80)]
        assert (await w.client.get("http://other.test/")).text == "forwarded"


async def test_a_redirect_goes_through_the_proxy_of_where_it_leads(autojump_clock: MockClock) -> None:
    async def redirect(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.respond(302, [(b"location", b"https://localhost/there")])

    rules = penstock.ProxyRules({"https://": "http://proxy.test:3128"})
    async with world(rules) as w:
        w.front.listen("start.test", 80, redirect)
        response = await w.client.get("http://start.test/", follow_redirects=True)
        assert response.headers["x-target"] == "/there"
        assert w.proxy.tunnels == [("localhost", 443)]


async def test_socket_options_and_happy_eyeballs_hold_for_the_proxy(autojump_clock: MockClock) -> None:
    settings = {"local_address": "192.0.2.99", "tcp_nodelay": False, "tcp_keepalive": False}
    async with world("http://proxy.test:3128", **settings) as w:
        w.front.add_host("proxy.test", "2001:db8::1", "192.0.2.1", "192.0.2.2")
        w.front.route("192.0.2.1", errno=111)
        w.front.listen("192.0.2.2", 3128, w.proxy.http)
        await w.client.get("https://localhost/")
        assert [attempt.address for attempt in w.front.attempts] == ["192.0.2.1", "192.0.2.2"]
        assert {attempt.options for attempt in w.front.attempts} == {(False, False, "192.0.2.99")}


async def test_pins_hold_for_the_origin_and_for_the_proxy_apart(autojump_clock: MockClock) -> None:
    wrong = {"localhost": ["sha256/" + "A" * 43 + "="]}
    async with world("https://proxy.test:3129", tls=TLSConfig(trust=authority_file(), pins=wrong)) as w:
        with pytest.raises(penstock.PinMismatch) as caught:
            await w.client.get("https://localhost/")
        assert caught.value.request_sent == "no"
        assert (await w.client.get("http://localhost/")).status_code == 200
    pinned = TLSConfig(trust=authority_file(), pins={"proxy.test": wrong["localhost"]})
    async with world(Proxy("https://proxy.test:3129", tls=pinned)) as w:
        error = await wait_refused(w)
        assert isinstance(error.__cause__, penstock.PinMismatch)
        assert (error.phase, error.proxy, str(error.origin)) == ("tls", "proxy.test:3129", "https://localhost")
        assert w.proxy.requests == []


async def test_a_proxy_without_settings_of_its_own_is_trusted_as_origins_are(autojump_clock: MockClock) -> None:
    async with world("https://proxy.test:3129", tls=TLSConfig()) as w:
        error = await wait_refused(w)
        assert isinstance(error.__cause__, penstock.CertificateError)
        assert "proxy.test:3129" in str(error)
    async with world(Proxy("https://proxy.test:3129", tls=client_config()), tls=TLSConfig()) as w:
        with pytest.raises(penstock.CertificateError):
            await w.client.get("https://localhost/")


async def test_a_context_with_a_certificate_of_its_own_is_not_shown_to_a_proxy() -> None:
    ours = TLSConfig(trust=client_context())
    for proxy in ("https://proxy.test", {"https://api.test": "https://proxy.test"}):
        with pytest.raises(ValueError, match=r"Proxy\('https://proxy.test:443'\).*needs Proxy\(tls=…\).*SSLContext"):
            PoolConfig(proxy=proxy, tls=ours)
    with pytest.raises(ValueError, match=r"needs Proxy\(tls=…\)"):
        penstock.Pool(PoolConfig(tls=ours), upstreams=[Upstream("https://api.test", proxy="https://proxy.test")])
    PoolConfig(proxy=Proxy("https://proxy.test", tls=TLSConfig()), tls=ours)
    PoolConfig(proxy="http://proxy.test", tls=ours)


async def test_sessions_are_resumed_inside_and_outside_and_never_mixed(autojump_clock: MockClock) -> None:
    async with world("https://proxy.test:3129") as w:
        await w.client.get("https://localhost/")
        w.pool.renew()
        await w.client.get("https://localhost/")
        outer = [peer.tls for peer in w.front.peers]
        inner = [peer.tls for peer in w.behind.peers]
        assert [tls is not None and tls.session_reused for tls in outer] == [False, True]
        assert [tls is not None and tls.session_reused for tls in inner] == [False, True]


async def test_limits_hold_through_a_proxy(autojump_clock: MockClock) -> None:
    async with world("http://proxy.test:3128", max_connections=2, max_connections_per_host=2) as w:
        most = 0

        async def ask() -> None:
            nonlocal most
            await w.client.get("https://localhost/")
            most = max(most, w.pool.statistics().total)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
        assert most == w.front.connects == 2


@pytest.mark.parametrize("url", [TUNNELS[0], TUNNELS[1], TUNNELS[3]])
async def test_a_stale_tunnel_is_replaced(url: str, autojump_clock: MockClock) -> None:
    async with world(url) as w:
        w.behind.listen("localhost", 443, serve_then_close_idle(0.01), tls=server_context())
        for _ in range(3):
            assert (await w.client.get("https://localhost/")).text == "ok"
            await trio.sleep(0.0105)
        assert w.front.connects == 3


async def test_read_time_outs_hold_through_a_tunnel(autojump_clock: MockClock) -> None:
    async def silent(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.stall()

    async with world("https://proxy.test:3129", read_timeout=3) as w:
        w.behind.listen("localhost", 443, silent, tls=server_context())
        start = trio.current_time()
        with pytest.raises(penstock.ReadTimeout):
            await w.client.get("https://localhost/")
        assert trio.current_time() - start == pytest.approx(3, abs=0.1)
