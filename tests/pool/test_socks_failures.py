"""SOCKS proxies that refuse, break or lie, and what they say of each address of an origin."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

import penstock
import penstock.events
from penstock import Proxy
from penstock.testing import ScriptedPeer, serve_ok
from tests.support.proxies import exactly
from tests.support.proxy_world import wait_refused, world

SOCKS_REFUSALS: dict[str, tuple[bytes, bytes, str]] = {
    "no method": (b"\x05\xff", b"", "refuses to talk: it takes no username and password"),
    "a method that was not offered": (b"\x05\x01", b"", "refuses to talk"),
    "an unknown method": (b"\x05\x77", b"", "does not speak SOCKS5"),
    "SOCKS4": (b"\x00\x5a", b"", "does not speak SOCKS5"),
    "HTTP": (b"HTTP/1.1 400 Bad\r\n\r\n", b"", "does not speak SOCKS5"),
    "close": (b"", b"", "closed the connection in the middle of SOCKS5"),
    "half a greeting": (b"\x05", b"", "closed the connection in the middle of SOCKS5"),
    "failure": (b"\x05\x00", b"\x05\x01\x00\x01\0\0\0\0\0\0", "refuses the tunnel: it failed"),
    "rules": (b"\x05\x00", b"\x05\x02\x00\x01\0\0\0\0\0\0", "its rules do not allow this"),
    "network": (b"\x05\x00", b"\x05\x03\x00\x01\0\0\0\0\0\0", "it cannot reach the network"),
    "host": (b"\x05\x00", b"\x05\x04", "closed the connection in the middle"),
    "host, without an address": (b"\x05\x00", b"\x05\x04\x00\x01", "it cannot reach the host"),
    "refused": (b"\x05\x00", b"\x05\x05\x00\x03\x01a\0\0", "the origin refused the connection"),
    "expired": (b"\x05\x00", b"\x05\x06\x00\x04" + bytes(18), "time to live"),
    "command": (b"\x05\x00", b"\x05\x07\x00\x01\0\0\0\0\0\0", "does not know the command"),
    "address": (b"\x05\x00", b"\x05\x08\x00\x01\0\0\0\0\0\0", "does not know this type of address"),
    "unknown code": (b"\x05\x00", b"\x05\x63\x00\x01\0\0\0\0\0\0", "it answered with code 99"),
    "unknown address": (b"\x05\x00", b"\x05\x00\x00\x09\0\0\0\0\0\0", "does not speak SOCKS5"),
    "another version": (b"\x05\x00", b"\x04\x00\x00\x01\0\0\0\0\0\0", "does not speak SOCKS5"),
    "half an answer": (b"\x05\x00", b"\x05\x00\x00\x01\0\0", "closed the connection in the middle of SOCKS5"),
}


@pytest.mark.parametrize("name", SOCKS_REFUSALS)
async def test_a_socks_proxy_that_refuses_is_quoted_in_words(name: str, autojump_clock: MockClock) -> None:
    greeting, answer, words = SOCKS_REFUSALS[name]

    async def handler(peer: ScriptedPeer) -> None:
        await exactly(peer, 4)
        await peer.send(greeting)
        if answer:
            # Whatever the CONNECT is.
            await peer.receive()
            await peer.send(answer)

    async with world(Proxy("socks5h://proxy.test", username="user", password="pass:word"), max_connections=1) as w:
        w.front.listen("proxy.test", 1080, handler)
        error = await wait_refused(w, "http://localhost/")
        assert words in str(error)
        assert (error.proxy, error.status, error.phase, error.request_sent) == ("proxy.test:1080", None, "proxy", "no")


async def test_a_socks_proxy_that_wants_credentials_where_there_are_none(autojump_clock: MockClock) -> None:
    async with world("socks5h://proxy.test", credentials=(b"a", b"b")) as w:
        assert "refuses to talk: it wants credentials" in str(await wait_refused(w))
    async with world("socks5h://a:c@proxy.test", credentials=(b"a", b"b")) as w:
        assert "refuses the username and password" in str(await wait_refused(w))


async def test_an_address_that_a_socks_proxy_cannot_reach_is_not_the_first_one_again(autojump_clock: MockClock) -> None:
    async with world("socks5://proxy.test") as w:
        w.front.add_host("two.test", "2001:db8::7", "192.0.2.7")
        w.behind.listen("192.0.2.7", 80, serve_ok())
        statuses = []

        async def ask() -> None:
            statuses.append((await w.client.get("http://two.test/")).status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ask)
        assert statuses == [200] * 4
        w.pool.renew()
        await trio.sleep(400)
        await ask()
        assert not [event for event in w.events if isinstance(event, penstock.events.DialFailed)]


async def test_every_address_is_offered_to_a_socks_proxy_and_the_last_refusal_told(autojump_clock: MockClock) -> None:
    asked = []

    async def refuses(peer: ScriptedPeer) -> None:
        await exactly(peer, 3)
        await peer.send(b"\x05\x00")
        head = await exactly(peer, 4)
        asked.append(head[3])
        await exactly(peer, {1: 4, 4: 16}[head[3]] + 2)
        await peer.send(b"\x05\x03\x00\x01" if head[3] == 4 else b"\x05\x05\x00\x01")

    async with world("socks5://proxy.test") as w:
        w.front.add_host("two.test", "2001:db8::7", "192.0.2.7")
        w.front.listen("proxy.test", 1080, refuses)
        assert "the origin refused the connection" in str(await wait_refused(w, "http://two.test/"))
        assert asked == [4, 1]


@pytest.mark.parametrize("answer", [b"\x05\xff", b"\x05\x00\x05\x02", b"\x05\x00\x05\x07", b"\x05\x00\x04"])
async def test_a_refusal_that_blames_no_address_is_not_asked_for_again(
    answer: bytes, autojump_clock: MockClock
) -> None:
    async def refuses(peer: ScriptedPeer) -> None:
        await exactly(peer, 3)
        await peer.send(answer[:2])
        await peer.receive()
        await peer.send(answer[2:])

    async with world("socks5://proxy.test") as w:
        w.front.add_host("two.test", "2001:db8::7", "192.0.2.7")
        w.front.listen("proxy.test", 1080, refuses)
        await wait_refused(w, "http://two.test/")
        assert w.front.connects == 1
        w.front.listen("proxy.test", 1080, w.proxy.socks)
        w.behind.listen("2001:db8::7", 80, serve_ok())
        assert (await w.client.get("http://two.test/")).text == "ok"
        assert [host for host, _ in w.proxy.tunnels] == ["2001:db8::7"]


async def test_a_socks_proxy_may_be_reset(autojump_clock: MockClock) -> None:
    async def handler(peer: ScriptedPeer) -> None:
        await peer.receive()
        peer.rst()

    async with world("socks5h://proxy.test") as w:
        w.front.listen("proxy.test", 1080, handler)
        error = await wait_refused(w)
        assert "broke the connection" in str(error)
        assert isinstance(error.__cause__, penstock.ReadError)
