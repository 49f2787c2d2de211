"""The scripted peer hears what was sent, and says what it is told to say."""

from __future__ import annotations

import h11
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from penstock._net.stream import send_all
from penstock.testing import (
    ClientGone,
    FakeStream,
    Handler,
    ScriptedPeer,
    chunk,
    fake_stream_pair,
    head,
    serve_chunked,
    serve_echo,
    serve_events,
    serve_ok,
    serve_raw,
    serve_then_close,
    serve_then_close_idle,
    serve_then_say,
)
from penstock.testing._peer import cut

REQUEST = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


async def receive(stream: FakeStream) -> bytes:
    while (data := stream.try_receive(65536)) is None:
        await stream.wait_readable()
    return data


async def receive_all(stream: FakeStream) -> bytes:
    data = b""
    while piece := await receive(stream):
        data += piece
    return data


async def converse(handler: Handler, *requests: bytes) -> list[tuple[int, bytes]]:
    """Send requests one after the other; the status and body of each answer, as h11 reads them."""
    ours, theirs = fake_stream_pair()
    answers = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(handler, ScriptedPeer(theirs))
        leftover = b""
        for request in requests:
            parser = h11.Connection(h11.CLIENT)
            parser.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
            parser.send(h11.EndOfMessage())
            parser.receive_data(leftover) if leftover else None
            await send_all(ours, request)
            status, body = 0, b""
            while not isinstance(event := parser.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    parser.receive_data(await receive(ours))
                elif isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.Data):
                    body += event.data
            leftover = parser.trailing_data[0]
            answers.append((status, body))
        nursery.cancel_scope.cancel()
    return answers


async def test_requests_are_parsed_one_by_one_from_any_cut() -> None:
    ours, theirs = fake_stream_pair()
    peer = ScriptedPeer(theirs)
    stream = REQUEST + UPLOAD + REQUEST
    for index in range(len(stream)):
        ours.try_send(stream[index : index + 1])
    first = await peer.expect_request()
    assert (first.method, first.target, first.body, first.http_version) == (b"GET", b"/a?b=c", b"", "1.1")
    assert first.header(b"host") == b"x"
    assert first.header(b"accept") is None
    assert (await peer.expect_request()).body == b"abcde"
    await peer.expect_request()
    assert len(peer.requests) == 3
    assert bytes(peer.received) == stream


async def test_a_head_can_be_answered_before_its_body_comes() -> None:
    ours, theirs = fake_stream_pair()
    peer = ScriptedPeer(theirs)
    ours.try_send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
    assert (await peer.expect_head()).header(b"content-length") == b"5"
    await peer.respond(413)
    assert ours.try_receive(100) == head(413, [(b"content-length", b"0")])
    with pytest.raises(RuntimeError):
        await peer.expect_head()
    ours.try_send(b"12345")
    assert await peer.expect_body() == b"12345"
    assert peer.requests[0].body == b"12345"
    with pytest.raises(RuntimeError):
        await peer.expect_body()


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12"])
async def test_a_client_that_leaves_early_is_gone(said: bytes) -> None:
    ours, theirs = fake_stream_pair()
    if said:
        ours.try_send(said)
    ours.close()
    with pytest.raises(ClientGone):
        await ScriptedPeer(theirs).expect_request()


async def test_what_is_not_http_is_a_mistake_of_the_client() -> None:
    ours, theirs = fake_stream_pair()
    ours.try_send(b"\x16\x03\x01 hello\r\n\r\n")
    with pytest.raises(h11.RemoteProtocolError):
        await ScriptedPeer(theirs).expect_request()


async def test_pieces_are_sent_at_their_times(autojump_clock: MockClock) -> None:
    ours, theirs = fake_stream_pair()
    start = trio.current_time()
    seen = []

    async def listen() -> None:
        while data := await receive(ours):
            seen.append((data, trio.current_time() - start))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        peer = ScriptedPeer(theirs)
        await peer.send(b"abcdef", pieces=[1, 3], every=1.5)
        peer.close()
    assert seen == [(b"a", 0.0), (b"bcd", pytest.approx(1.5)), (b"ef", pytest.approx(3.0))]


@given(st.binary(max_size=200), st.none() | st.integers(1, 50) | st.lists(st.integers(1, 50), max_size=10))
def test_cutting_loses_nothing(data: bytes, pieces: int | list[int] | None) -> None:
    assert b"".join(cut(data, pieces)) == data


@pytest.mark.parametrize("pieces", [0, -1, [3, 0]])
def test_pieces_without_bytes_are_refused(pieces: int | list[int]) -> None:
    with pytest.raises(ValueError, match="pieces"):
        cut(b"abc", pieces)


@pytest.mark.parametrize(("status", "headers"), [(204, b""), (304, b""), (100, b""), (200, b"content-length: 3\r\n")])
async def test_framing_fits_the_status(status: int, headers: bytes) -> None:
    ours, theirs = fake_stream_pair()
    await ScriptedPeer(theirs).respond(status, body=b"abc" if status == 200 else b"")
    answer = ours.try_receive(100)
    assert answer is not None
    assert answer.partition(b"\r\n")[2] == headers + b"\r\n" + (b"abc" if status == 200 else b"")


async def test_head_is_answered_without_a_body() -> None:
    ours, theirs = fake_stream_pair()
    peer = ScriptedPeer(theirs)
    ours.try_send(REQUEST.replace(b"GET", b"HEAD"))
    await peer.expect_request()
    await peer.respond(body=b"unseen")
    assert ours.try_receive(100) == b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n"


async def test_wait_closed_tells_what_else_was_said() -> None:
    ours, theirs = fake_stream_pair()
    peer = ScriptedPeer(theirs)
    ours.try_send(REQUEST + b"more")
    await peer.expect_request()
    ours.try_send(b" and more")
    ours.abort()
    assert await peer.wait_closed() == b"more and more"


async def test_sending_to_somebody_who_left_raises() -> None:
    ours, theirs = fake_stream_pair()
    ours.abort()
    with pytest.raises(ClientGone):
        await ScriptedPeer(theirs).send(b"anybody?")
    with pytest.raises(ClientGone):
        await ScriptedPeer(theirs).receive()


def test_small_builders() -> None:
    assert head(299, [(b"a", b"b")]) == b"HTTP/1.1 299 \r\na: b\r\n\r\n"
    assert head(200, reason="Fine") == b"HTTP/1.1 200 Fine\r\n\r\n"
    assert chunk(b"x" * 17) == b"11\r\n" + b"x" * 17 + b"\r\n"
    assert chunk(b"") == b"0\r\n\r\n"


async def test_ready_handlers_answer() -> None:
    assert await converse(serve_ok(b"yes"), REQUEST, REQUEST) == [(200, b"yes")] * 2
    assert await converse(serve_echo(), UPLOAD, UPLOAD) == [(200, b"abcde")] * 2
    assert await converse(serve_chunked([b"ab", b"cd"], trailers=[(b"x", b"y")]), REQUEST) == [(200, b"abcd")]
    assert await converse(serve_events([b"one", b"two\nlines"]), REQUEST) == [
        (200, b"data: one\n\ndata: two\ndata: lines\n\n")
    ]
    assert await converse(serve_raw(head(200) + b"to the end", then=ScriptedPeer.fin), REQUEST) == [
        (200, b"to the end")
    ]


async def test_a_server_that_closes_after_its_answers() -> None:
    ours, theirs = fake_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_then_close(2, body=b""), ScriptedPeer(theirs))
        await send_all(ours, REQUEST * 2)
        answer = await receive_all(ours)
    keep = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    last = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    assert answer == keep + last


@pytest.mark.parametrize("after", [None, 0.0, 5.0])
async def test_a_server_that_speaks_unasked(after: float | None, autojump_clock: MockClock) -> None:
    ours, theirs = fake_stream_pair()
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_then_say(b"HTTP/1.1 200 Evil\r\n\r\n", after=after), ScriptedPeer(theirs))
        await send_all(ours, REQUEST)
        first = await receive(ours)
        if after is None:
            assert first.endswith(b"\r\n\r\nokHTTP/1.1 200 Evil\r\n\r\n")
        else:
            assert first.endswith(b"\r\n\r\nok")
            assert await receive(ours) == b"HTTP/1.1 200 Evil\r\n\r\n"
            assert trio.current_time() - start == pytest.approx(after)
        ours.close()


async def test_a_server_that_closes_while_idle(autojump_clock: MockClock) -> None:
    ours, theirs = fake_stream_pair()
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_then_close_idle(75.0), ScriptedPeer(theirs))
        await send_all(ours, REQUEST)
        assert (await receive(ours)).endswith(b"ok")
        assert await receive(ours) == b""
    assert trio.current_time() - start == pytest.approx(75.0)
