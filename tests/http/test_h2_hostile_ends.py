"""Responses that end too early, however they end: nobody takes a part for the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import penstock
from penstock import RemoteProtocolError
from tests.support import h2_frames as frames
from tests.support.h2_peer import H2Peer, H2Script, serve
from tests.support.scene import assert_at_rest, scene, settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    Attack = Callable[[H2Peer], Awaitable[object]]

OK = [(b":status", b"200")]


async def said_and_reset(peer: H2Peer) -> None:
    await peer.rst(1, 0)


async def said_and_refused(peer: H2Peer) -> None:
    await peer.rst(1, 7)


async def said_and_malformed(peer: H2Peer) -> None:
    await peer.headers(1, OK, end_stream=True)


async def said_and_garbage(peer: H2Peer) -> None:
    await peer.send(frames.frame("PING", payload=b"short"))


async def said_and_gone(peer: H2Peer) -> None:
    peer.wire.fin()


async def said_and_broken(peer: H2Peer) -> None:
    peer.wire.rst()


@pytest.mark.parametrize("content", [b"", b"some"], ids=["head", "head and content"])
@pytest.mark.parametrize("streamed", [False, True], ids=["read at once", "read late"])
@pytest.mark.parametrize(
    "end", [said_and_reset, said_and_refused, said_and_malformed, said_and_garbage, said_and_gone, said_and_broken]
)
async def test_what_came_before_a_bad_end_never_passes_for_all(
    end: Attack, streamed: bool, content: bytes, autojump_clock: MockClock
) -> None:
    """Nothing announced a length, and all of it came in one piece."""

    async def script(peer: H2Peer) -> None:
        await peer.request()
        peer_ends = end in (said_and_gone, said_and_broken)
        async with peer.together():
            await peer.headers(1, OK)
            if content:
                await peer.data(1, content)
            if not peer_ends:
                await end(peer)
        if peer_ends:
            await end(peer)
        await peer.wait_closed()

    async with scene(H2Script(script, serve), http1=False) as s:
        with pytest.raises(penstock.NetworkError if end in (said_and_gone, said_and_broken) else RemoteProtocolError):
            if streamed:
                async with s.client.stream("GET", s.url) as response:
                    await settle()
                    pieces = response.aiter_raw()
                    if content:
                        assert await anext(pieces) == content
                    await anext(pieces)
            else:
                await s.client.get(s.url)
        await settle()
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("reused", [False, True], ids=["fresh", "reused"])
@pytest.mark.parametrize("begun", [False, True], ids=["no answer", "answer begun"])
@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_a_connection_that_just_ends_in_mid_stream(
    end: str, begun: bool, reused: bool, method: str, autojump_clock: MockClock
) -> None:
    """Sent again only where the connection had answered before, nothing came, and the method allows it."""

    async def script(peer: H2Peer) -> None:
        if reused:
            await peer.respond((await peer.request()).stream)
        request = await peer.request()
        if begun:
            await peer.headers(request.stream, OK)
            await peer.data(request.stream, b"some")
            await peer.wait(1)
        if end == "fin":
            peer.wire.fin()
        else:
            peer.wire.rst()
        await peer.wait_closed()

    server = H2Script(script, serve)
    async with scene(server, http1=False, latency=0.01) as s:
        if reused:
            await s.client.get(s.url)
        if reused and not begun and method == "GET":
            assert (await s.client.request(method, s.url)).content == b"ok"
            return
        with pytest.raises(penstock.ReadError) as caught:
            await s.client.request(method, s.url)
        assert caught.value.request_sent == "fully"
        assert server.connections == 1
        assert (await s.client.get(s.url)).content == b"ok"


async def test_a_header_block_that_never_ends_is_left_by_its_limits(autojump_clock: MockClock) -> None:
    """Drip-fed, it keeps everybody waiting: requests time out, and then the connection is used no more."""

    async def script(peer: H2Peer) -> None:
        request = await peer.request()
        block = frames.headers(request.stream, b"\x88" * 1000, end_headers=False)
        for at in range(len(block)):
            await peer.send(block[at : at + 1])
            await peer.wait(4)

    server = H2Script(script, serve)
    async with scene(server, http1=False, read_timeout=10.0) as s:
        for _ in range(3):
            with pytest.raises(penstock.ReadTimeout):
                await s.client.get(s.url)
        assert (await s.client.get(s.url)).content == b"ok"
        await settle()
    assert server.connections == 2
