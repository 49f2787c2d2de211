"""The scripted HTTP/2 server says what its script says and reports what it heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h2.events
import h2.exceptions
import pytest
import trio

from penstock.testing import FakeNetwork, serve_ok
from tests.support import h2_frames as frames
from tests.support.h2_alpn import alpn_context, serve_by_alpn
from tests.support.h2_client import alpn_client, h2_client
from tests.support.h2_peer import H2Peer, H2Script, serve
from tests.support.server import ScriptServer

if TYPE_CHECKING:
    from trio.testing import MockClock


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("where", ["memory", "socket"])
async def test_a_script_runs_on_both_networks(where: str, *, tls: bool) -> None:
    server = H2Script(serve)
    secure = alpn_context("h2") if tls else None
    client_tls = alpn_client("h2", "http/1.1") if tls else None
    async with FakeNetwork() as network, ScriptServer(server, tls=secure) as sockets:
        network.listen("localhost", 443, server, tls=secure)
        port, where_to = (443, network) if where == "memory" else (sockets.port, None)
        async with h2_client(port, network=where_to, tls=client_tls) as client:
            for _ in range(3):
                answer = await client.get()
                assert (answer.status, answer.body) == (200, b"ok")
            answer = await client.post(b"/up", b"x" * 200_000)
            assert answer.status == 200
    (peer,) = server.peers
    assert list(peer.requests) == [1, 3, 5, 7]
    assert (peer.requests[7].method, peer.requests[7].path) == (b"POST", b"/up")
    assert peer.requests[7].body == b"x" * 200_000
    assert peer.seen[0].kind == "SETTINGS"
    assert len(peer.of("SETTINGS_ACK")) == 1


async def test_time_is_virtual_and_the_client_is_heard_meanwhile(autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.wait(3600)
        await peer.respond(request.stream, body=b"late", trailers=[(b"x-sum", b"1")])
        await peer.goaway(last=request.stream, code=0, debug=b"enough")

    server = H2Script(script)
    async with FakeNetwork(latency=0.1) as network:
        network.listen("localhost", 80, server)
        async with h2_client(80, network=network) as client:
            stream = await client.begin(b"GET")
            client.h2.ping(b"12345678")
            await client.flush()
            await client.until(lambda: any(isinstance(e, h2.events.PingAckReceived) for e in client.events))
            assert trio.current_time() < 1
            answer = await client.answer(stream)
            assert (answer.body, answer.trailers) == (b"late", {b"x-sum": b"1"})
            await client.until_gone()
            assert client.goaways == [(1, 0)]
        assert trio.current_time() == pytest.approx(3600.5, abs=1)
    assert server.finished == [0]


async def test_frames_are_expected_by_kind_and_kept_in_order() -> None:
    async def script(peer: H2Peer) -> None:
        request = await peer.head()
        assert not request.is_ended
        await peer.expect("SETTINGS_ACK")
        await peer.ping(b"question")
        ack = await peer.expect("PING_ACK")
        assert ack.frame.opaque_data == b"question"
        reset = await peer.expect("RST_STREAM", stream=request.stream)
        assert reset.frame.error_code == peer.requests[1].reset_code == 8
        assert [seen.kind for seen in peer.seen] == ["SETTINGS", "HEADERS", "SETTINGS_ACK", "PING_ACK", "RST_STREAM"]

    server = H2Script(script)
    async with FakeNetwork() as network:
        network.listen("localhost", 80, server)
        async with h2_client(80, network=network) as client:
            stream = await client.begin(b"POST", end_stream=False)
            await client.until(lambda: any(isinstance(e, h2.events.PingReceived) for e in client.events))
            client.h2.reset_stream(stream, 8)
            await client.flush()
            await client.until_gone()
    assert server.finished == [0]


async def test_nothing_is_acknowledged_by_a_peer_that_is_told_so() -> None:
    server = H2Script(serve, settings=None, ack_settings=False, ack_pings=False, open_windows=False)
    async with FakeNetwork() as network:
        network.listen("localhost", 80, server)
        async with h2_client(80, network=network) as client:
            client.h2.ping(b"12345678")
            assert (await client.post(b"/", b"x" * 65_535)).status == 200
            assert {type(event) for event in client.events} == {
                h2.events.ResponseReceived, h2.events.DataReceived, h2.events.StreamEnded,
            }  # fmt: skip


async def test_a_body_waits_for_the_windows() -> None:
    async def script(peer: H2Peer) -> None:
        await peer.respond((await peer.request()).stream, body=b"y" * 300_000)
        await peer.wait_closed()

    async with FakeNetwork() as network:
        network.listen("localhost", 80, H2Script(script))
        async with h2_client(80, network=network) as client:
            assert (await client.get()).body == b"y" * 300_000


ILLEGAL = {
    "settings on a stream": frames.frame("SETTINGS", stream=1),
    "a short ping": frames.frame("PING", payload=b"short"),
    "data on stream 0": frames.data(0, b"x"),
    "a window of nothing": frames.window_update(0, 0),
    "a window beyond all": frames.window_update(0, frames.MAX_WINDOW),
    "data on an idle stream": frames.data(99, b"x"),
    "a broken header block": frames.headers(1, b"\xff\xff\xff\xff"),
    "a continuation out of nowhere": frames.continuation(1, b""),
    "a frame that is too large": frames.data(1, bytes(20_000)),
    "a push": frames.push_promise(1, 2, b""),
    "a wrong window setting": frames.settings(initial_window_size=1 << 31),
}


@pytest.mark.parametrize("what", ILLEGAL)
async def test_illegal_frames_are_sent_as_they_are(what: str) -> None:
    async def script(peer: H2Peer) -> None:
        await peer.request()
        await peer.send(ILLEGAL[what])
        await peer.wait_closed()

    async with FakeNetwork() as network:
        network.listen("localhost", 80, H2Script(script))
        async with h2_client(80, network=network) as client:
            # Of the client's own settings, this one is remembered from its SETTINGS: pushes are off.
            client.h2.update_settings({2: 0})
            with pytest.raises((h2.exceptions.ProtocolError, ValueError)):
                await client.get()


async def test_legal_oddities_are_borne() -> None:
    async def script(peer: H2Peer) -> None:
        request = await peer.request()
        async with peer.together():
            await peer.frame(0xBE, stream=7, payload=b"?")
            await peer.priority(request.stream, weight=256)
            await peer.settings({0xABCD: 1})
            block = peer.encode([(b":status", b"200"), (b"a", b"b" * 100)])
            await peer.headers(request.stream, block[:5], end_headers=False)
            await peer.continuation(request.stream, block[5:9], end_headers=False)
            await peer.continuation(request.stream, block[9:])
            await peer.data(request.stream, b"ab", padding=255)
            await peer.data(request.stream, b"", padding=0)
            await peer.data(request.stream, end_stream=True)
        await peer.wait_closed()

    async with FakeNetwork() as network:
        network.listen("localhost", 80, H2Script(script))
        async with h2_client(80, network=network) as client:
            answer = await client.get()
            assert (answer.fields[b"a"], answer.body) == (b"b" * 100, b"ab")


async def test_each_connection_has_its_script_and_alpn_decides_who_serves() -> None:
    async def refuse(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.rst(request.stream, 0x7)
        await peer.wait_closed()

    server = H2Script(refuse, serve)
    by_alpn = serve_by_alpn({"h2": server, "http/1.1": serve_ok(), None: serve_ok()})
    async with ScriptServer(by_alpn, tls=alpn_context("h2", "http/1.1")) as sockets:
        async with h2_client(sockets.port, tls=alpn_client("h2")) as client:
            assert (await client.get()).reset_code == 7
        async with h2_client(sockets.port, tls=alpn_client("h2")) as client:
            assert (await client.get()).status == 200
        for offered, negotiated in ((["http/1.1"], "http/1.1"), ([], None), (["spdy/3"], None)):
            plain = await trio.open_tcp_stream("127.0.0.1", sockets.port)
            stream = trio.SSLStream(plain, alpn_client(*offered), server_hostname="localhost")
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 OK")
            assert stream.selected_alpn_protocol() == negotiated
            await trio.aclose_forcefully(stream)
    assert server.connections == 2


async def test_a_peer_that_does_not_read_fills_the_pipe() -> None:
    async def script(peer: H2Peer) -> None:
        peer.stop_reading()
        await peer.settings(initial_window_size=frames.MAX_WINDOW)
        await peer.window_update(0, frames.MAX_WINDOW - 65535)
        await trio.sleep_forever()

    async with FakeNetwork(capacity=10_000) as network:
        network.listen("localhost", 80, H2Script(script))
        async with h2_client(80, network=network) as client:
            stream = await client.begin(b"POST", end_stream=False)
            with trio.move_on_after(0.1) as scope:
                await client.send_body(stream, b"z" * 1_000_000)
            assert scope.cancelled_caught


async def test_a_wrong_script_and_a_client_without_http2_are_heard() -> None:
    async def wrong(peer: H2Peer) -> None:
        await peer.request()
        raise ZeroDivisionError

    async def use(script: object, data: bytes) -> None:
        async with FakeNetwork() as network:
            network.listen("localhost", 80, H2Script(script))  # type: ignore[arg-type]
            async with h2_client(80, network=network) as client:
                await client.stream.send_all(data)
                await client.begin(b"GET")
                await trio.sleep_forever()

    with pytest.raises(ZeroDivisionError):
        await use(wrong, b"")
    async with FakeNetwork() as network:
        script = H2Script(serve)
        with pytest.raises(AssertionError, match="no HTTP/2"):
            async with ScriptServer(script) as sockets:
                stream = await trio.open_tcp_stream("127.0.0.1", sockets.port)
                await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
                try:
                    await trio.sleep_forever()
                finally:
                    await trio.aclose_forcefully(stream)
    assert network.open_connections == 0
