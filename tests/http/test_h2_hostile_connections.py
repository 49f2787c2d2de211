"""A server that breaks the rules of a connection loses that connection, and is told why; the pool goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import penstock
from penstock import HTTP2Config, ProtocolReason, RemoteProtocolError
from penstock.testing import FakeNetwork, ScriptedPeer, serve_ok
from tests.support import h2_frames as frames
from tests.support.certificates import client_config
from tests.support.h2_alpn import alpn_context, serve_by_alpn
from tests.support.h2_hostile import code_of, turned_on
from tests.support.h2_peer import H2Peer, H2Script, serve
from tests.support.scene import at_once, scene, settle

if TYPE_CHECKING:
    from trio.testing import MockClock

FRAMING, LIMIT = ProtocolReason.FRAMING, ProtocolReason.LIMIT
PROTOCOL, FLOW, SIZE, COMPRESSION, CALM = 1, 3, 6, 9, 11

#: Small limits, so that crossing them is quick.
CONFIG = HTTP2Config(
    max_header_block=2048, max_continuations=4, max_settings=8, max_empty_data=20, glitch_burst=100, glitch_rate=1.0,
    stream_window=65535, connection_window=65535,
)  # fmt: skip

#: Name → (what is sent on a connection with streams 1 and 3, code, reason).
ATTACKS: dict[str, tuple[bytes, int, ProtocolReason]] = {
    "a frame of 16 MiB announced": (frames.frame("DATA", stream=1, length=2**24 - 1), SIZE, FRAMING),
    "a frame of 16 MiB begun": (
        frames.frame("DATA", stream=1, length=2**24 - 1, payload=b"x" * 5000), SIZE, FRAMING,
    ),
    "a frame one byte too long": (frames.frame("DATA", stream=1, length=16385), SIZE, FRAMING),
    "a short RST_STREAM": (frames.frame("RST_STREAM", stream=1, payload=b"abc"), SIZE, FRAMING),
    "a short PING": (frames.frame("PING", payload=b"short"), SIZE, FRAMING),
    "half a setting": (frames.frame("SETTINGS", payload=b"abc"), SIZE, FRAMING),
    "an acknowledgement with content": (frames.frame("SETTINGS", flags=1, payload=b"abcdef"), SIZE, FRAMING),
    "a short GOAWAY": (frames.frame("GOAWAY", payload=b"abcd"), SIZE, FRAMING),
    "PING on a stream": (frames.frame("PING", stream=1, payload=b"12345678"), PROTOCOL, FRAMING),
    "GOAWAY on a stream": (frames.frame("GOAWAY", stream=1, payload=b"12345678"), PROTOCOL, FRAMING),
    "DATA on no stream": (frames.data(0, b"x"), PROTOCOL, FRAMING),
    "HEADERS on an even stream": (frames.headers(2, b"\x88"), PROTOCOL, FRAMING),
    "HEADERS on a stream to come": (frames.headers(99, b"\x88"), PROTOCOL, FRAMING),
    "RST_STREAM on a stream to come": (frames.rst(99), PROTOCOL, FRAMING),
    "a push": (frames.push_promise(1, 2, b"\x82\x84\x86\x41\x00"), PROTOCOL, FRAMING),
    "another frame inside a header block": (
        frames.headers(1, b"\x88", end_headers=False) + frames.ping(), PROTOCOL, FRAMING,
    ),
    "GOAWAY inside a header block": (
        frames.headers(1, b"\x88", end_headers=False) + frames.goaway(3), PROTOCOL, FRAMING,
    ),
    "CONTINUATION of nothing": (frames.continuation(1, b"\x88"), PROTOCOL, FRAMING),
    "more padding than payload": (frames.frame("DATA", stream=1, flags=8, payload=b"\x09abc"), PROTOCOL, FRAMING),
    "push switched on": (frames.settings(enable_push=1), PROTOCOL, FRAMING),
    "frames of nothing asked for": (frames.settings(max_frame_size=0), PROTOCOL, FRAMING),
    "a window too large in SETTINGS": (frames.settings(initial_window_size=2**31), FLOW, FRAMING),
    "a window of the connection too large": (frames.window_update(0, 2**31 - 1), FLOW, FRAMING),
    "a window of the connection by nothing": (frames.window_update(0, 0), PROTOCOL, FRAMING),
    "an index that is not in the table": (frames.headers(1, b"\xfe"), COMPRESSION, FRAMING),
    "an integer without end": (frames.headers(1, b"\xff" * 100), COMPRESSION, FRAMING),
    "a table size beyond ours": (frames.headers(1, b"\x3f\xe2\x1f\x88"), COMPRESSION, FRAMING),
    "a bomb of references": (
        frames.headers(1, b"\x40\x01x\x7f\x81\x07" + b"v" * 1024 + b"\xbe" * 800), CALM, LIMIT,
    ),
    "a header block without end": (
        frames.headers(1, b"\x88", end_headers=False) + frames.continuation(1, b"", end_headers=False) * 5, CALM, LIMIT,
    ),
    "a header block too large": (
        frames.headers(1, b"\x88" * 1500, end_headers=False) + frames.continuation(1, b"\x88" * 600), CALM, LIMIT,
    ),
    "too many settings": (frames.settings(dict.fromkeys(range(100, 109), 1)), CALM, LIMIT),
    "data frames of nothing": (frames.headers(1, b"\x88") + frames.data(1) * 21, CALM, LIMIT),
    "a flood of PING": (frames.ping() * 101, CALM, LIMIT),
    "a flood of SETTINGS": (frames.settings() * 101, CALM, LIMIT),
    "a flood of PRIORITY": (frames.priority(1, depends_on=3) * 101, CALM, LIMIT),
    "a flood of WINDOW_UPDATE": (frames.window_update(0, 1) * 120, CALM, LIMIT),
    "a flood of unknown frames": (frames.frame(0xBE, stream=1, payload=b"?") * 101, CALM, LIMIT),
}  # fmt: skip

SLOWLY = {name for name, (data, _, _) in ATTACKS.items() if len(data) < 200}


def check_error(result: object, reason: ProtocolReason) -> RemoteProtocolError:
    assert isinstance(result, RemoteProtocolError), result
    assert result.reason is reason
    assert result.request_sent == "fully"
    assert result.attempt == 1
    assert len(str(result)) < 500
    return result


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name", ATTACKS)
async def test_everything_on_the_connection_fails_at_once_and_is_not_sent_again(
    name: str, method: str, autojump_clock: MockClock
) -> None:
    data, code, reason = ATTACKS[name]
    after = await turned_on(lambda peer: peer.send(data), method=method, http2_config=CONFIG)

    one, other = check_error(after.victim, reason), check_error(after.neighbour, reason)
    assert one is not other
    assert (after.goaway, after.close_reasons) == (code, ["protocol_error"])
    assert after.resets == []
    assert after.heads == [2, 1]
    assert after.took < 1


@pytest.mark.parametrize("name", sorted(SLOWLY))
async def test_the_verdict_is_the_same_byte_by_byte(name: str, autojump_clock: MockClock) -> None:
    data, code, reason = ATTACKS[name]
    after = await turned_on(lambda peer: peer.send(data), by_byte=True, http2_config=CONFIG)

    check_error(after.victim, reason)
    check_error(after.neighbour, reason)
    assert (after.goaway, after.close_reasons, after.heads) == (code, ["protocol_error"], [2, 1])


#: Name → what is just allowed, with the same limits.
ALLOWED = {
    "SETTINGS, as many as allowed": frames.settings(dict.fromkeys(range(100, 108), 1)),
    "a flood just within its limit": frames.ping() * 59 + frames.priority(1) * 20 + frames.frame(0xBE) * 20,
    "data frames of nothing, as many as allowed": frames.data(1) * 20,
    "unknown frames and flags": frames.frame(0xBE, stream=1, flags=0xFF)
    + frames.frame("PING", payload=b"8" * 8, flags=0xF0),
    "unasked acknowledgements": frames.settings_ack() + frames.ping(ack=True),
    "the reserved bit": frames.frame("WINDOW_UPDATE", stream=1 << 31, payload=b"\x80\0\0\1"),
    "an extension that we do not speak": frames.frame("ALTSVC", payload=b"\0\0h2=\":8000\"") + frames.frame(0xC),
}  # fmt: skip


@pytest.mark.parametrize("by_byte", [False, True], ids=["whole", "by byte"])
@pytest.mark.parametrize("name", ALLOWED)
async def test_what_is_just_allowed_costs_nothing(name: str, by_byte: bool, autojump_clock: MockClock) -> None:
    async def attack(peer: H2Peer) -> None:
        await peer.headers(1, [(b":status", b"200")])
        await peer.send(ALLOWED[name])
        await peer.data(1, b"victim", end_stream=True)

    after = await turned_on(attack, by_byte=by_byte, saves_neighbour=True, http2_config=CONFIG)

    assert isinstance(after.victim, penstock.Response)
    assert isinstance(after.neighbour, penstock.Response)
    assert (after.victim.content, after.neighbour.content) == (b"victim", b"neighbour")
    assert (after.goaway, after.resets, after.heads) == (None, [], [3])


async def test_a_good_response_before_a_bad_frame_in_the_same_piece_is_delivered(autojump_clock: MockClock) -> None:
    async def attack(peer: H2Peer) -> None:
        async with peer.together():
            await peer.respond(1, body=b"good")
            await peer.send(frames.frame("PING", payload=b"short"))

    after = await turned_on(attack)

    assert isinstance(after.victim, penstock.Response)
    assert after.victim.content == b"good"
    check_error(after.neighbour, FRAMING)
    assert (after.goaway, after.heads) == (SIZE, [2, 1])


async def test_more_data_than_the_window_of_somebody_who_does_not_read(autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.headers(request.stream, [(b":status", b"200")])
        for size in (16384, 16384, 16384, 16383):
            await peer.data(request.stream, b"x" * size)
        await peer.wait(1)
        assert not peer.of("GOAWAY")
        await peer.data(request.stream, b"x")
        await peer.wait_closed()

    server = H2Script(script)
    async with scene(server, http1=False, http2_config=CONFIG) as s:
        async with s.client.stream("GET", s.url) as response:
            await settle(2)
            with pytest.raises(RemoteProtocolError) as caught:
                await response.aread()
        assert caught.value.reason is FRAMING
        assert s.network.open_connections == 0
    assert [code_of(seen) for seen in server.peers[0].of("GOAWAY")] == [FLOW]


# ---- the beginning ---------------------------------------------------------------------------------------------------

FIRST = {
    "HEADERS": (frames.headers(1, b"\x88"), ProtocolReason.SETTINGS, PROTOCOL),
    "PING": (frames.ping(), ProtocolReason.SETTINGS, PROTOCOL),
    "an acknowledgement": (frames.settings_ack(), ProtocolReason.SETTINGS, PROTOCOL),
    "a refusal in HTTP/1.1": (b"HTTP/1.1 400 Bad Request\r\n\r\n", ProtocolReason.VERSION, PROTOCOL),
    "a refusal in HTTP/1.0": (b"HTTP/1.0 505 Version Not Supported\r\n\r\n", ProtocolReason.VERSION, PROTOCOL),
    "SETTINGS of 16 MiB": (frames.frame("SETTINGS", length=2**24 - 4), FRAMING, SIZE),
    "forbidden SETTINGS": (frames.settings(max_frame_size=0), FRAMING, PROTOCOL),
    "a handshake of TLS": (b"\x15\x03\x01\x00\x02\x02\x46" + b"\0" * 10, FRAMING, SIZE),
    "a banner of SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", FRAMING, SIZE),
}


@pytest.mark.parametrize("by_byte", [False, True], ids=["whole", "by byte"])
@pytest.mark.parametrize("name", FIRST)
async def test_a_server_that_does_not_begin_with_settings(name: str, by_byte: bool, autojump_clock: MockClock) -> None:
    data, reason, code = FIRST[name]

    async def script(peer: H2Peer) -> None:
        await peer.expect("SETTINGS")
        for at in range(len(data) if by_byte else 1):
            await peer.wire.send(data[at : at + 1] if by_byte else data)
        await peer.wait_closed()

    server = H2Script(script, settings=None, ack_settings=False)
    async with scene(server, http1=False, latency=0.01) as s:
        with pytest.raises(RemoteProtocolError) as caught:
            await s.client.post(s.url, content=b"x")
        assert caught.value.reason is reason
        assert (caught.value.request_sent, caught.value.phase) == ("no", "connect")
        await settle()
        assert s.network.open_connections == 0
    assert server.peers[0].requests == {}
    assert [code_of(seen) for seen in server.peers[0].of("GOAWAY")] == [code]


async def test_a_server_that_agrees_on_http2_and_answers_in_http1_is_spoken_to_in_http1(
    autojump_clock: MockClock,
) -> None:
    async def mistaken(peer: ScriptedPeer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.wait_closed()

    handler = serve_by_alpn({"h2": mistaken, "http/1.1": serve_ok()})
    async with FakeNetwork() as network:
        network.listen("localhost", 443, handler, tls=alpn_context("h2", "http/1.1"))
        pool = penstock.Pool(penstock.PoolConfig(tls=client_config(), max_connections_per_host=1), network=network)
        async with pool, penstock.Client(pool) as client:
            for _ in range(3):
                response = await client.post("https://localhost", content=b"x")
                assert (response.content, response.http_version) == (b"ok", "HTTP/1.1")
        assert len(network.peers) == 2, "it is remembered"
        assert network.open_connections == 0


@pytest.mark.parametrize("others", [0, 5])
async def test_a_server_that_says_nothing_at_all_is_given_up_in_time(others: int, autojump_clock: MockClock) -> None:
    async def silent(peer: H2Peer) -> None:
        await peer.wait_closed()

    server = H2Script(silent, settings=None, ack_settings=False)
    async with scene(server, http1=False, connect_timeout=2.0, pool_timeout=20.0) as s:

        async def ask() -> object:
            with pytest.raises((penstock.ConnectTimeout, penstock.PoolTimeout)) as caught:
                await s.client.post(s.url, content=b"x")
            assert caught.value.request_sent == "no"
            return caught.type

        results = await at_once(1 + others, ask)
        assert penstock.ConnectTimeout in results
    assert all(not peer.requests for peer in server.peers)


@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_a_server_that_hangs_up_before_its_settings(end: str, autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        await peer.expect("SETTINGS")
        if end == "fin":
            peer.wire.fin()
        else:
            peer.wire.rst()

    async with scene(H2Script(script, settings=None, ack_settings=False), http1=False) as s:
        with pytest.raises(penstock.ConnectError) as caught:
            await s.client.post(s.url, content=b"x")
        assert caught.value.request_sent == "no"


async def test_settings_may_come_a_byte_at_a_time(autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        data = frames.settings(max_concurrent_streams=7)
        for at in range(len(data)):
            await peer.wire.send(data[at : at + 1])
        await serve(peer)

    async with scene(H2Script(script, settings=None, ack_settings=False), http1=False) as s:
        assert (await s.client.get(s.url)).content == b"ok"
        assert s.only_endpoint.connections[0].capacity == 7
