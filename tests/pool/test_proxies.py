"""Requests through proxies: tunnels, requests that are passed on, SOCKS; and that every option holds through them."""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
import trio
from trio.testing import MockClock

import penstock
from penstock import PoolConfig, Proxy, TLSConfig, Upstream
from penstock._net.tls_stream import TLSStream
from penstock.testing import FakeNetwork, ScriptedPeer, serve_echo, serve_ok, serve_then_close_idle
from tests.support.certificates import authority_file, client_config, client_context, server_context
from tests.support.h2_alpn import alpn_context
from tests.support.h2_server import H2Server, Incoming, Response
from tests.support.proxies import OPENED, FakeProxy
from tests.support.scene import assert_at_rest

SECRET = "pass:word"
TOKEN = "dXNlcjpwYXNzOndvcmQ="
AUTHORIZATION = b"Basic " + TOKEN.encode()


class Seen:
    """Keeps every event."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def event(self, event: Any) -> None:
        """One more."""
        self.events.append(event)


class World(NamedTuple):
    """A pool in front, a proxy, and the origins behind it."""

    front: FakeNetwork
    behind: FakeNetwork
    proxy: FakeProxy
    pool: penstock.Pool
    client: penstock.Client
    events: list[Any]


@asynccontextmanager
async def world(
    proxy: str | Proxy | penstock.ProxyRules,
    *,
    upstreams: tuple[Upstream, ...] = (),
    opened: bytes | None = None,
    authorization: bytes | None = None,
    credentials: tuple[bytes, bytes] | None = None,
    **settings: Any,
) -> AsyncIterator[World]:
    """Proxies at proxy.test: HTTP on 3128, HTTPS on 3129, SOCKS5 on 1080."""
    more = {} if opened is None else {"opened": opened}
    config = PoolConfig(proxy=proxy, **({"tls": client_config()} | settings))
    async with FakeNetwork(latency=0.001) as front, FakeNetwork() as behind:
        fake = FakeProxy(behind, authorization=authorization, credentials=credentials, **more)
        front.listen("proxy.test", 3128, fake.http)
        front.listen("proxy.test", 3129, fake.http, tls=server_context("proxy.test"))
        front.listen("proxy.test", 1080, fake.socks)
        behind.listen("localhost", 443, serve_echo(), tls=server_context())
        behind.listen("localhost", 80, serve_echo())
        pool = penstock.Pool(config, network=front, upstreams=upstreams)
        seen = Seen()
        async with pool, penstock.Client(pool) as client:
            pool.add_instrument(seen)
            yield World(front, behind, fake, pool, client, seen.events)
            await trio.sleep(1)
            assert_at_rest(pool, front)
        assert front.open_connections == 0


async def wait_refused(w: World, url: str = "https://localhost/") -> penstock.ProxyError:
    with pytest.raises(penstock.ProxyError) as caught:
        await w.client.get(url)
    assert w.pool.statistics().total == w.front.open_connections == 0
    return caught.value


# ---- tunnels ---------------------------------------------------------------------------------------------------------

TUNNELS = ["http://proxy.test:3128", "https://proxy.test:3129", "socks5://proxy.test", "socks5h://proxy.test"]


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


# ---- requests that are passed on -------------------------------------------------------------------------------------


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


# ---- which proxy -----------------------------------------------------------------------------------------------------


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


# ---- options hold through a proxy ------------------------------------------------------------------------------------


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
async def test_a_stale_tunnel_is_noticed_or_the_request_sent_again(url: str, autojump_clock: MockClock) -> None:
    async with world(url) as w:
        w.behind.listen("localhost", 443, serve_then_close_idle(0.01), tls=server_context())
        for _ in range(3):
            assert (await w.client.get("https://localhost/")).text == "ok"
            await trio.sleep(0.0105)
        assert w.pool.statistics().idle == 0 or w.front.connects == 3


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


# ---- secrets ---------------------------------------------------------------------------------------------------------


async def test_credentials_are_in_no_event_error_repr_or_log(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.DEBUG)
    for url, port in (("http", 3128), ("https", 3129), ("socks5h", 1080)):
        proxy = Proxy(f"{url}://user:pass%3Aword@proxy.test:{port}")
        async with world(proxy, authorization=b"other", credentials=(b"other", b"other")) as w:
            error = await wait_refused(w)
            shown = [str(error), repr(error), repr(error.__dict__), repr(error.__cause__), repr(error.__context__)]
            shown += [repr(w.events), repr(w.pool), repr(w.pool.config), repr(w.pool.statistics()), repr(w.client)]
            shown += [repr(proxy), str(proxy), caplog.text]
            assert_clean(shown)


def assert_clean(shown: list[str]) -> None:
    assert not [text for text in shown if SECRET in text or "pass%3Aword" in text or TOKEN[:9] in text]


def everything_of(error: BaseException | None) -> list[str]:
    """An error, and all that hangs on it."""
    if error is None:
        return []
    shown = [str(error), repr(error), repr(error.__dict__), "".join(traceback.format_exception(error))]
    return shown + everything_of(error.__cause__) + everything_of(error.__context__)


ECHOES = {
    "no HTTP": b"ERR %b",
    "no fields": b"HTTP/1.1 400 no\r\n %b\r\n\r\n",
    "no length": b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n",
    "no chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n",
    "cut": b"x" * 40 + b"%b",
}


@pytest.mark.parametrize("engine", ["h11", "httptools"])
@pytest.mark.parametrize("kind", ECHOES)
async def test_what_a_proxy_that_passes_requests_on_echoes_is_not_quoted(
    kind: str, engine: str, autojump_clock: MockClock
) -> None:
    async def echo(peer: ScriptedPeer) -> None:
        request = await peer.expect_request()
        await peer.send(ECHOES[kind] % (request.header(b"proxy-authorization") or b""))
        await peer.wait_closed()

    async with world("http://user:pass%3Aword@proxy.test:3128", http1_engine=engine) as w:
        w.front.listen("proxy.test", 3128, echo)
        with pytest.raises(penstock.RemoteProtocolError) as caught:
            await w.client.get("http://api.test/")
        assert_clean([*everything_of(caught.value), repr(w.events)])
        assert kind in ("cut", "no chunk") or "***" in caught.value.peer_said


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 %b\r\n\r\n", b"what is %b?"])
async def test_what_a_proxy_says_instead_of_the_origins_handshake_is_not_quoted(
    said: bytes, autojump_clock: MockClock
) -> None:
    async def echo(peer: ScriptedPeer) -> None:
        request = await peer.expect_request()
        await peer.send(OPENED)
        await peer.receive()
        await peer.send(said % (request.header(b"proxy-authorization") or b""))
        await peer.wait_closed()

    async with world("http://user:pass%3Aword@proxy.test:3128") as w:
        w.front.listen("proxy.test", 3128, echo)
        with pytest.raises(penstock.TLSError, match=r"\*\*\*") as caught:
            await w.client.get("https://localhost/")
        assert_clean([*everything_of(caught.value), repr(w.events)])


async def test_a_request_cannot_bring_credentials_for_the_proxy(autojump_clock: MockClock) -> None:
    for proxy in ("http://proxy.test:3128", "socks5h://proxy.test"):
        async with world(proxy) as w:
            for url in ("http://localhost/", "https://localhost/"):
                with pytest.raises(penstock.LocalProtocolError, match="proxy-authorization cannot be set"):
                    await w.client.get(url, headers={"Proxy-Authorization": "Basic x"})
