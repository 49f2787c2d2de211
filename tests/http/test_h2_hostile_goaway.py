"""What a server says when it closes a connection: however often, however long, in whatever order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import penstock
from penstock import HTTP2Config, ProtocolReason, RemoteProtocolError
from tests.support import h2_frames as frames
from tests.support.h2_hostile import turned_on
from tests.support.h2_peer import H2Peer, H2Script, serve
from tests.support.scene import assert_at_rest, scene, settle

if TYPE_CHECKING:
    from trio.testing import MockClock

CALM, HTTP1_REQUIRED = 11, 13


@pytest.mark.parametrize("count", [1, 100])
async def test_the_neighbour_finishes_and_the_victim_is_sent_elsewhere(count: int, autojump_clock: MockClock) -> None:
    """Stream 1 is named, stream 3 is not; saying so again and again changes nothing."""

    async def attack(peer: H2Peer) -> None:
        async with peer.together():
            for _ in range(count):
                await peer.goaway(1, 0, b"bye")
        await peer.wait(1)
        await peer.respond(1, body=b"finished")

    after = await turned_on(attack, method="POST")

    assert isinstance(after.victim, penstock.Response)
    assert after.victim.content == b"finished"
    assert isinstance(after.neighbour, penstock.Response)
    assert after.neighbour.content == b"ok"
    assert after.heads == [2, 2]
    assert after.close_reasons == ["goaway"]


async def test_a_flood_of_goodbyes_ends_the_connection(autojump_clock: MockClock) -> None:
    config = HTTP2Config(glitch_burst=50, glitch_rate=1.0)
    after = await turned_on(lambda peer: peer.send(frames.goaway(3) * 60), http2_config=config)

    for result in (after.victim, after.neighbour):
        assert isinstance(result, RemoteProtocolError)
        assert result.reason is ProtocolReason.LIMIT
    assert (after.goaway, after.heads) == (CALM, [2, 1])


@pytest.mark.parametrize("code", [1, CALM, 0xABCDEF])
async def test_what_is_said_with_an_error_is_escaped_and_bounded(code: int, autojump_clock: MockClock) -> None:
    """The very first stream was refused with an error: that server means it, and nothing is sent again."""
    said = b"\x1b[31m\r\n" + b"z" * 16_000

    async def script(peer: H2Peer) -> None:
        await peer.request()
        await peer.goaway(0, code, said)
        await peer.wait_closed()

    server = H2Script(script, serve)
    async with scene(server, http1=False) as s:
        with pytest.raises(RemoteProtocolError) as caught:
            await s.client.post(s.url, content=b"x")
        message = str(caught.value)
        assert caught.value.reason is ProtocolReason.GOAWAY
        assert "\\x1b[31m\\r\\n" in message
        assert message.isprintable()
        assert len(message) < 500
        assert s.only_endpoint.failures == 1
        assert server.connections == 1
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_goodbye_to_everything_may_be_said_before_any_request(autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        await peer.goaway(0)
        await peer.wait_closed()

    server = H2Script(script, serve)
    async with scene(server, http1=False) as s:
        assert (await s.client.post(s.url, content=b"x")).content == b"ok"
        await settle()
        assert_at_rest(s.pool, s.network)
    assert sum(len(peer.requests) for peer in server.peers[1:]) == 1


@pytest.mark.parametrize("way", ["goaway", "reset"])
async def test_a_server_that_wants_http1_where_that_is_not_allowed_is_not_asked_for_ever(
    way: str, autojump_clock: MockClock
) -> None:
    async def script(peer: H2Peer) -> None:
        request = await peer.request()
        if way == "goaway":
            await peer.goaway(0, HTTP1_REQUIRED)
        else:
            await peer.rst(request.stream, HTTP1_REQUIRED)
        await peer.wait_closed()

    server = H2Script(script)
    async with scene(server, http1=False) as s:
        with pytest.raises(RemoteProtocolError):
            await s.client.post(s.url, content=b"x")
        await settle()
        assert_at_rest(s.pool, s.network)
    assert sum(len(peer.requests) for peer in server.peers) <= 3


async def test_a_reset_and_goodbye_in_one_piece_leave_what_was_whole(autojump_clock: MockClock) -> None:
    async def attack(peer: H2Peer) -> None:
        async with peer.together():
            await peer.respond(1, body=b"whole")
            await peer.goaway(1, CALM, b"enough")
        peer.wire.fin()

    after = await turned_on(attack)

    assert isinstance(after.victim, penstock.Response)
    assert after.victim.content == b"whole"
    assert isinstance(after.neighbour, penstock.Response), "it was proven not to be processed"
    assert after.heads == [2, 2]
