"""HTTP proxies that refuse, break or lie, and proxies that nobody reaches: what the error says, and what is left."""

from __future__ import annotations

import errno
import pickle
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

import penstock
import penstock.events
from penstock import Proxy
from penstock._net.network import SocketOptions
from penstock.testing import ScriptedPeer, serve_ok
from tests.support.certificates import client_config, server_context
from tests.support.proxies import OPENED, relay
from tests.support.proxy_world import TOKEN, TUNNELS, wait_refused, world

if TYPE_CHECKING:
    from pathlib import Path

    from penstock.testing import Handler

PROXY = "http://user:pass%3Aword@proxy.test:3128"


def answers(data: bytes, *, pieces: int | None = None) -> Handler:
    """A proxy that answers whatever is asked with the same bytes, and waits."""

    async def handler(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.send(data, pieces=pieces)
        await peer.wait_closed()

    return handler


async def closes_at_once(peer: ScriptedPeer) -> None:
    await peer.expect_request()


async def resets(peer: ScriptedPeer) -> None:
    await peer.expect_request()
    peer.rst()


async def echoes(peer: ScriptedPeer) -> None:
    """Says what it was told, in an answer of its own kind."""
    await peer.expect_request()
    await peer.respond(403, (), b"you said: " + bytes(peer.received)[-60:], reason=f"no {TOKEN}")


async def echoes_nothing_else(peer: ScriptedPeer) -> None:
    await peer.send(await peer.receive())
    await peer.wait_closed()


async def closes_in_the_middle(peer: ScriptedPeer) -> None:
    await peer.expect_request()
    await peer.send(b"HTTP/1.1 200 O")


HUGE = b"HTTP/1.1 200 OK\r\n" + b"X-A: %b\r\n" % (b"b" * 2000)
REFUSALS: dict[str, tuple[Handler, int | None, str]] = {
    "407": (
        answers(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 3\r\n\r\nwho"),
        407,
        "the proxy proxy.test:3128 answered CONNECT with 407 Proxy Authentication Required; the proxy said: who",
    ),
    "502": (answers(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"), 502, "answered CONNECT with 502 Bad Gateway"),
    "502 without words": (answers(b"HTTP/1.1 502 \r\n\r\n"), 502, "answered CONNECT with 502 ["),
    "302": (answers(b"HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\n\r\n"), 302, "answered CONNECT with 302"),
    "endless body": (
        answers(b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 3000),
        503,
        "; the proxy said: " + "f" * 64 + "…",
    ),
    "garbage": (answers(b"SSH-2.0-x\r\n"), None, "did not answer CONNECT as it must: the answer is not HTTP/1"),
    "binary": (answers(bytes(range(256))), None, "is not HTTP/1"),
    "TLS": (answers(b"\x15\x03\x01\x00\x02\x02\x46"), None, "speaks TLS"),
    "HTTP/2": (answers(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"), None, "HTTP/2"),
    "huge head": (answers(HUGE), None, "is longer than allowed"),
    "many fields": (answers(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 40), None, "more header fields than allowed"),
    "many interim ones": (answers(b"HTTP/1.1 100 C\r\n\r\n" * 17), None, "interim responses"),
    "101": (answers(b"HTTP/1.1 101 Switching\r\n\r\n"), None, "changes the protocol unasked"),
    "contradictory": (
        answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        None,
        "did not answer CONNECT as it must",
    ),
    "early bytes": (answers(OPENED + b"x"), None, "sent something into the tunnel before anybody spoke"),
    "close": (closes_at_once, None, "closed the connection without an answer to CONNECT"),
    "close in the middle": (
        closes_in_the_middle,
        None,
        "closed the connection in the middle of its answer to CONNECT",
    ),
    "reset": (resets, None, "broke the connection"),
    "echo": (echoes, 403, "answered CONNECT with 403 Forbidden; the proxy said"),
    "bare echo": (echoes_nothing_else, None, "is not HTTP/1"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_tunnel_that_fails_says_why_and_gives_its_slot_back(name: str, autojump_clock: MockClock) -> None:
    handler, status, words = REFUSALS[name]
    proxy = Proxy("http://proxy.test:3128", username="user", password="pass:word")
    async with world(proxy, max_head_size=1024, max_head_fields=32, max_connections=1) as w:
        w.front.listen("proxy.test", 3128, handler)
        error = await wait_refused(w)
        assert words in str(error)
        assert str(error).endswith("[https://localhost]")
        assert (error.proxy, error.status, error.phase) == ("proxy.test:3128", status, "proxy")
        assert (error.request_sent, error.attempt) == ("no", 1)
        for text in (str(error), repr(error.__cause__), repr(error.__context__), repr(error.__dict__)):
            assert TOKEN not in text
            assert "pass:word" not in text
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
        assert w.behind.connects == 0


async def test_a_head_that_drips_opens_the_tunnel(autojump_clock: MockClock) -> None:
    async def drips(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.send(OPENED, pieces=1, every=0.01)
        found = await w.behind.resolve("localhost", 443)
        await relay(peer, await w.behind.connect(found[0], options=SocketOptions()))

    async with world(PROXY) as w:
        w.front.listen("proxy.test", 3128, drips)
        assert (await w.client.post("https://localhost/", content=b"hi")).content == b"hi"


async def test_who_waits_in_vain_for_a_broken_proxy_is_told_of_it(autojump_clock: MockClock) -> None:
    async with world(PROXY, pool_timeout=1, dial_backoff=10) as w:
        w.front.listen("proxy.test", 3128, answers(b"HTTP/1.1 407 No\r\n\r\n"))
        for _ in range(3):
            await wait_refused(w)
        with pytest.raises(
            penstock.PoolTimeout, match=r"the latest dial failed: the proxy .* answered CONNECT"
        ) as caught:
            await w.client.get("https://localhost/")
        assert isinstance(caught.value.__cause__, penstock.ProxyError)


async def test_settings_of_ours_that_cannot_be_used_are_no_fault_of_the_origin(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    broken = attrs.evolve(client_config(), keylog_file=str(tmp_path / "missing" / "keys"))
    for proxy in (None, Proxy("https://proxy.test:3129", tls=broken)):
        async with world(proxy or PROXY, tls=broken if proxy is None else client_config()) as w:
            for _ in range(9):
                with pytest.raises((penstock.TLSError, penstock.ProxyError), match="keylog_file cannot be opened"):
                    await w.client.get("https://localhost/")
            assert not [event for event in w.events if isinstance(event, penstock.events.EndpointUnhealthy)]


@pytest.mark.parametrize("url", TUNNELS)
async def test_a_proxy_that_cannot_be_reached_is_named(url: str, autojump_clock: MockClock) -> None:
    async with world(url) as w:
        w.front.add_host("localhost", "127.0.0.1")
        w.front.add_host("proxy.test", "192.0.2.1")
        w.front.route("192.0.2.1", errno=errno.ECONNREFUSED)
        error = await wait_refused(w)
        assert isinstance(error.__cause__, penstock.ConnectError)
        assert str(error).startswith(f"the proxy {error.proxy} cannot be reached: ")
        assert (error.phase, error.request_sent) == ("connect", "no")


async def test_a_proxy_whose_name_is_unknown_is_named(autojump_clock: MockClock) -> None:
    async with world("http://nowhere.test:3128") as w:
        error = await wait_refused(w)
        assert isinstance(error.__cause__, penstock.NameResolutionError)
        assert (error.phase, error.proxy) == ("resolve", "nowhere.test:3128")


@pytest.mark.parametrize("url", TUNNELS)
async def test_connect_timeout_is_for_everything_up_to_the_origins_handshake(
    url: str, autojump_clock: MockClock
) -> None:
    async def silent(peer: ScriptedPeer) -> None:
        await peer.stall()

    async with world(url, connect_timeout=2) as w:
        w.front.add_host("localhost", "127.0.0.1")
        for port in (3128, 3129, 1080):
            w.front.listen("proxy.test", port, silent, tls=server_context("proxy.test") if port == 3129 else None)
        start = trio.current_time()
        with pytest.raises(penstock.ConnectTimeout, match=r"connecting through the proxy proxy\.test:\d+"):
            await w.client.get("https://localhost/")
        assert trio.current_time() - start == pytest.approx(2, abs=0.1)
        assert w.pool.statistics().total == w.front.open_connections == 0


async def test_an_origin_that_fails_behind_a_tunnel_is_no_proxy_error(autojump_clock: MockClock) -> None:
    async def silent(peer: ScriptedPeer) -> None:
        await peer.stall()

    async with world(PROXY, connect_timeout=2) as w:
        w.behind.listen("localhost", 443, serve_ok(), tls=server_context("other.test"))
        with pytest.raises(penstock.CertificateError):
            await w.client.get("https://localhost/")
        w.behind.listen("localhost", 443, silent)
        with pytest.raises(penstock.ConnectTimeout):
            await w.client.get("https://localhost/")


@pytest.mark.parametrize("kind", ["407", "close", "early bytes", "bad TLS", "socks"])
async def test_a_thousand_failed_tunnels_leave_nothing_behind(kind: str, autojump_clock: MockClock) -> None:
    url = "socks5h://u:p@proxy.test" if kind == "socks" else PROXY
    settings = {"dial_backoff": 0.001, "dial_backoff_max": 0.001, "max_connections": 5}
    async with world(url, credentials=(b"no", b"no"), **settings) as w:
        if kind == "bad TLS":
            w.behind.listen("localhost", 443, serve_ok(), tls=server_context("other.test"))
        elif kind != "socks":
            w.front.listen("proxy.test", 3128, REFUSALS[kind][0])
        failed = 0

        async def ask() -> None:
            nonlocal failed
            for _ in range(100):
                with pytest.raises((penstock.ProxyError, penstock.CertificateError)):
                    await w.client.get("https://localhost/")
                failed += 1

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
        books = w.pool.statistics()
        assert failed == 1000
        assert (books.total, books.active, books.dialing, books.waiting) == (0, 0, 0, 0)
        assert w.front.open_connections == 0


async def test_retries_hold_through_a_proxy_and_end_where_another_try_ends_the_same_way(
    autojump_clock: MockClock,
) -> None:
    policy = penstock.RetryPolicy(max_attempts=3)
    for status, tries in ((503, 3), (407, 1), (403, 1)):
        async with world(PROXY, retry=policy) as w:
            w.front.listen("proxy.test", 3128, answers(b"HTTP/1.1 %d X\r\n\r\n" % status))
            with pytest.raises(penstock.ProxyError) as caught:
                await w.client.get("https://localhost/")
            assert (caught.value.attempt, caught.value.status) == (tries, status)
    wrong = Proxy("https://proxy.test:3129", tls=penstock.TLSConfig())
    async with world(wrong, retry=policy) as w:
        with pytest.raises(penstock.ProxyError) as caught:
            await w.client.get("https://localhost/")
        assert caught.value.attempt == 1
