"""A server that breaks the rules of a stream loses that stream, seen by callers of a pool: its neighbour lives on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock import HTTP2Config, ProtocolReason, RemoteProtocolError
from tests.support.h2_hostile import code_of, turned_on
from tests.support.h2_peer import H2Peer, H2Script, serve
from tests.support.scene import assert_at_rest, scene, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trio.testing import MockClock

    Attack = Callable[[H2Peer], Awaitable[object]]

FRAMING, LIMIT, TRUNCATED = ProtocolReason.FRAMING, ProtocolReason.LIMIT, ProtocolReason.TRUNCATED
OK = [(b":status", b"200")]
PROTOCOL, FLOW, CANCEL, CALM = 1, 3, 8, 11


def head(*fields: tuple[bytes, bytes], end_stream: bool = False) -> Attack:
    return lambda peer: peer.headers(1, list(fields), end_stream=end_stream)


async def too_long(peer: H2Peer) -> None:
    await peer.headers(1, [*OK, (b"content-length", b"5")])
    await peer.data(1, b"123456", end_stream=True)


async def too_short(peer: H2Peer) -> None:
    await peer.headers(1, [*OK, (b"content-length", b"5")])
    await peer.data(1, b"1234", end_stream=True)


async def content_of_204(peer: H2Peer) -> None:
    await peer.headers(1, [(b":status", b"204")])
    await peer.data(1, b"surprise")


async def bad_trailers(peer: H2Peer) -> None:
    await peer.headers(1, OK)
    await peer.data(1, b"some")
    await peer.headers(1, OK, end_stream=True)


async def many_hints(peer: H2Peer) -> None:
    for _ in range(100):
        await peer.headers(1, [(b":status", b"103"), (b"link", b"</a>")])


async def large_trailers(peer: H2Peer) -> None:
    await peer.headers(1, OK)
    await peer.headers(1, [(b"x", b"y")] * 300, end_stream=True)


#: Name → (what is said on stream 1, reason, code of our reset or None where there is nothing left to reset).
ATTACKS: dict[str, tuple[Attack, ProtocolReason, int | None]] = {
    "content before the head": (lambda peer: peer.data(1, b"x"), FRAMING, PROTOCOL),
    "no status": (head((b"x", b"y")), FRAMING, PROTOCOL),
    "a status of four digits": (head((b":status", b"0200")), FRAMING, PROTOCOL),
    "a status that is no number": (head((b":status", b"abc")), FRAMING, PROTOCOL),
    "the status twice": (head(*OK, *OK), FRAMING, PROTOCOL),
    "a pseudo-field of requests": (head(*OK, (b":path", b"/")), FRAMING, PROTOCOL),
    "switching protocols": (head((b":status", b"101")), ProtocolReason.UPGRADE, PROTOCOL),
    "a name in upper case": (head(*OK, (b"X-A", b"b")), FRAMING, PROTOCOL),
    "a line end in a value": (head(*OK, (b"x", b"a\r\nset-cookie: b")), FRAMING, PROTOCOL),
    "a field of HTTP/1.1": (head(*OK, (b"connection", b"close")), FRAMING, PROTOCOL),
    "an interim response at the end": (head((b":status", b"103"), end_stream=True), FRAMING, None),
    "interim responses without end": (many_hints, LIMIT, CALM),
    "trailers of too many fields": (large_trailers, LIMIT, None),
    "content too long": (too_long, FRAMING, None),
    "content too short": (too_short, TRUNCATED, None),
    "a length and no content": (head(*OK, (b"content-length", b"5"), end_stream=True), TRUNCATED, None),
    "content where there is none": (content_of_204, FRAMING, PROTOCOL),
    "trailers with a status": (bad_trailers, FRAMING, None),
    "a window by nothing": (lambda peer: peer.window_update(1, 0), FRAMING, PROTOCOL),
    "a window too large": (lambda peer: peer.window_update(1, 2**31 - 1), FRAMING, FLOW),
}


@pytest.mark.parametrize("by_byte", [False, True], ids=["whole", "by byte"])
@pytest.mark.parametrize("name", ATTACKS)
async def test_a_malformed_response_costs_its_stream_only(name: str, by_byte: bool, autojump_clock: MockClock) -> None:
    attack, reason, code = ATTACKS[name]
    after = await turned_on(attack, by_byte=by_byte, saves_neighbour=True)

    assert isinstance(after.victim, RemoteProtocolError)
    assert (after.victim.reason, after.victim.request_sent, after.victim.attempt) == (reason, "fully", 1)
    assert isinstance(after.neighbour, penstock.Response)
    assert after.neighbour.content == b"neighbour"
    assert after.resets == ([] if code is None else [(1, code)])
    # Nothing was sent again, and the request afterwards found the same connection.
    assert (after.goaway, after.close_reasons, after.heads) == (None, [], [3])
    assert after.took < 1


async def test_content_for_head_costs_its_stream_only(autojump_clock: MockClock) -> None:
    async def attack(peer: H2Peer) -> None:
        await peer.headers(1, OK)
        await peer.data(1, b"surprise")

    after = await turned_on(attack, method="HEAD", saves_neighbour=True)

    # The head was there already, and the content that there must not be is nobody's.
    assert isinstance(after.victim, penstock.Response | RemoteProtocolError)
    assert isinstance(after.neighbour, penstock.Response)
    assert [stream for stream, _ in after.resets] == [1]
    assert after.heads == [3]


@pytest.mark.parametrize("code", [1, 2, 8, 11, 99])
async def test_streams_that_are_reset_one_after_the_other_count_against_the_endpoint(
    code: int, autojump_clock: MockClock
) -> None:
    async def script(peer: H2Peer) -> None:
        while True:
            await peer.rst((await peer.request()).stream, code)

    server = H2Script(script)
    async with scene(server, http1=False) as s:
        for _ in range(20):
            with pytest.raises(RemoteProtocolError) as caught:
                await s.client.get(s.url)
            assert caught.value.reason is ProtocolReason.RESET
        assert s.only_endpoint.failures >= 3 or server.connections > 1
        await settle()
        assert_at_rest(s.pool, s.network)
    assert sum(len(peer.requests) for peer in server.peers) == 20


async def test_frames_behind_the_end_of_a_stream_are_dropped_and_not_answered(autojump_clock: MockClock) -> None:
    async def attack(peer: H2Peer) -> None:
        await peer.respond(1, body=b"done")
        await peer.data(1, b"more")
        await peer.headers(1, [(b"x-learned", b"late")], end_stream=True)
        await peer.window_update(1, 5)
        await peer.rst(1, 8)
        await peer.respond(3, fields=[(b"x-learned", b"late")], body=b"neighbour")
        await serve(peer)

    after = await turned_on(attack)

    assert isinstance(after.victim, penstock.Response)
    assert after.victim.content == b"done"
    assert isinstance(after.neighbour, penstock.Response)
    assert after.neighbour.headers["x-learned"] == "late"
    assert (after.resets, after.goaway, after.heads) == ([], None, [3])


async def test_a_window_that_hardly_opens_ends_the_upload_by_its_own_limit(autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        first = await peer.head()
        neighbour = await peer.request(3)
        await peer.respond(neighbour.stream, body=b"neighbour")
        while not peer.of("RST_STREAM"):
            await peer.wait(40)
            await peer.window_update(first.stream, 1)
        assert code_of(peer.of("RST_STREAM")[0]) == CANCEL
        await serve(peer)

    server = H2Script(script, settings={"initial_window_size": 10}, open_windows=False)
    async with scene(server, http1=False) as s:

        async def upload() -> None:
            start = trio.current_time()
            with pytest.raises(penstock.WriteTimeout) as caught:
                await s.client.post(s.url, content=b"x" * 1000)
            assert trio.current_time() - start == pytest.approx(30, abs=1)
            assert caught.value.request_sent == "partly"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload)
            await trio.sleep(0.5)
            assert (await s.client.get(s.url)).content == b"neighbour"
        assert (await s.client.get(s.url)).content == b"ok"
    assert server.connections == 1


async def test_a_reset_behind_a_whole_response_leaves_the_response(autojump_clock: MockClock) -> None:
    """An upload that is not wanted any more (RFC 9113 §8.1)."""

    async def body() -> AsyncIterator[bytes]:
        yield b"some"
        await trio.sleep_forever()

    async def script(peer: H2Peer) -> None:
        request = await peer.head()
        async with peer.together():
            await peer.respond(request.stream, 200, body=b"enough")
            await peer.rst(request.stream, 0)
        await serve(peer)

    server = H2Script(script)
    async with scene(server, http1=False) as s:
        response = await s.client.post(s.url, content=body())
        assert (response.status_code, response.content) == (200, b"enough")
        assert (await s.client.get(s.url)).content == b"ok"
    assert server.connections == 1


async def test_a_head_larger_than_the_server_takes_is_refused_here_and_costs_nothing(autojump_clock: MockClock) -> None:
    server = H2Script(serve, settings={"max_header_list_size": 500})
    async with scene(server, http1=False) as s:
        with pytest.raises(penstock.LocalProtocolError) as caught:
            await s.client.get(s.url, headers={"x-large": "v" * 500})
        assert caught.value.request_sent == "no"
        assert (await s.client.get(s.url)).content == b"ok"
        await settle()
        assert_at_rest(s.pool, s.network)
    assert [len(peer.requests) for peer in server.peers] == [1]


async def test_a_server_that_asks_for_a_table_of_four_gigabytes(autojump_clock: MockClock) -> None:
    server = H2Script(serve, settings={"header_table_size": 2**32 - 1})
    config = HTTP2Config(encoder_table=4096)
    async with scene(server, http1=False, http2_config=config) as s:
        for number in range(200):
            await s.client.get(s.url, headers={f"x-{number}": "v" * 1000})
        session = next(s.pool._runner.machine.connections()).handle.session
        table = session._h2.encoder.header_table
        assert table.maxsize == 4096
        assert sum(len(name) + len(value) + 32 for name, value in table.dynamic_entries) <= 4096
    assert server.connections == 1
