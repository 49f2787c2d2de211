"""Exchanges with a real h11 server: bodies up and down, early answers, broken connections, drains, limits."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import h11
import pytest
import trio
import trio.testing

from penstock._config import Timeouts
from penstock._errors import (
    LocalProtocolError,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    TimeoutException,
    WriteError,
    WriteTimeout,
)
from penstock._events import CloseReason
from penstock._http.h1 import HTTP1Connection, HTTP1Exchange
from penstock._net.timer import PhaseTimer, Watchdog
from tests.support.h1_verdict import request
from tests.support.h11_peer import H11Peer, parse_request
from tests.support.memory_stream import MemoryStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from penstock._http.exchange import ResponseHead

pytestmark = pytest.mark.usefixtures("each_engine")

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
REFUSAL = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def timer(**limits: float | None) -> PhaseTimer:
    return PhaseTimer(Timeouts(**limits))


async def read(exchange: HTTP1Exchange) -> bytes:
    body = bytearray()
    while piece := await exchange.receive(timer()):
        body += piece
    return bytes(body)


async def ask(connection: HTTP1Connection, **options: object) -> tuple[HTTP1Exchange, ResponseHead, bytes]:
    exchange = connection.open_exchange()
    head = await exchange.send(request(**options), timer())  # type: ignore[arg-type]
    return exchange, head, await read(exchange)


# One request, one write


async def test_a_connection_carries_one_exchange_after_another() -> None:
    stream = MemoryStream()
    connection, peer = HTTP1Connection(stream), H11Peer(stream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.serve, 3)
        for _ in range(3):
            exchange, head, body = await ask(connection)
            assert (head.status, body) == (200, b"hello")
            assert exchange.outcome is not None
            assert exchange.outcome.close is None
            assert exchange.request_sent == "fully"

    assert len(peer.requests) == 3


@pytest.mark.parametrize("size", [0, 1, 1000, 65536])
async def test_head_and_small_body_go_out_in_one_write(size: int) -> None:
    stream = MemoryStream(HELLO)
    await ask(HTTP1Connection(stream), method="POST", content=b"x" * size)

    assert stream.writes == 1
    assert len(parse_request(bytes(stream.sent)).body) == size


async def test_the_outcome_is_there_with_the_last_piece() -> None:
    exchange = HTTP1Connection(MemoryStream(HELLO)).open_exchange()
    await exchange.send(request(), timer())

    assert exchange.outcome is None
    assert await exchange.receive(timer()) == b"hello"
    assert exchange.outcome is not None
    assert await exchange.receive(timer()) == b""
    assert await exchange.receive(timer()) == b""


async def test_try_receive_never_waits() -> None:
    stream = MemoryStream(HELLO[:-2])
    exchange = HTTP1Connection(stream).open_exchange()
    await exchange.send(request(), timer())

    assert [exchange.try_receive(), exchange.try_receive()] == [b"hel", None]
    stream.feed(b"lo")
    assert [exchange.try_receive(), exchange.try_receive()] == [b"lo", b""]


async def test_asking_to_close_closes() -> None:
    stream = MemoryStream(HELLO)
    exchange, _, _ = await ask(HTTP1Connection(stream), headers=[("Connection", "close")])

    assert exchange.outcome is not None
    assert exchange.outcome.close is CloseReason.CONNECTION_CLOSE_HEADER


async def test_a_connection_takes_no_second_exchange_while_one_runs_or_after_a_bad_one() -> None:
    connection = HTTP1Connection(MemoryStream(HELLO))
    first = connection.open_exchange()
    with pytest.raises(LocalProtocolError):
        connection.open_exchange()
    first.abandon(CloseReason.DISCARDED)
    with pytest.raises(LocalProtocolError):
        connection.open_exchange()


async def test_a_closed_connection_has_closed_its_stream() -> None:
    stream = MemoryStream()
    connection = HTTP1Connection(stream)
    connection.close()
    connection.close()

    assert stream.is_closed


async def test_an_exchange_carries_one_request() -> None:
    exchange, _, _ = await ask(HTTP1Connection(MemoryStream(HELLO)))
    with pytest.raises(LocalProtocolError):
        await exchange.send(request(), timer())


async def test_bytes_that_are_always_there_do_not_starve_other_tasks() -> None:
    stream = MemoryStream(CHUNKED, *[b"1\r\nx\r\n"] * 200, b"0\r\n\r\n")
    exchange = HTTP1Connection(stream).open_exchange()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await exchange.send(request(), timer())
        before = turns
        assert await read(exchange) == b"x" * 200
        assert turns - before >= 10
        nursery.cancel_scope.cancel()


async def test_what_was_whole_comes_before_the_error() -> None:
    exchange = HTTP1Connection(MemoryStream(CHUNKED + b"5\r\nhello\r\nzz\r\n")).open_exchange()
    await exchange.send(request(), timer())

    assert await exchange.receive(timer()) == b"hello"
    for _ in range(2):
        with pytest.raises((RemoteProtocolError, LocalProtocolError)):
            await exchange.receive(timer())


# Bodies up


async def up() -> AsyncIterator[bytes]:
    for piece in (b"one", b"", b"two", b"x" * 100_000):
        await trio.lowlevel.checkpoint()
        yield piece


def plain_up() -> Iterator[bytes]:
    yield from (b"one", b"", b"two", b"x" * 100_000)


class NoSeek(io.RawIOBase):
    def __init__(self, data: bytes) -> None:
        self._rest = data

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece


WANTED = b"onetwo" + b"x" * 100_000


@pytest.mark.parametrize("window", [None, 10, 1000])
@pytest.mark.parametrize(
    ("make", "is_chunked"),
    [
        (lambda: WANTED, False),
        (WANTED.decode, False),
        (lambda: bytearray(WANTED), False),
        (lambda: memoryview(WANTED), False),
        (lambda: io.BytesIO(WANTED), False),
        (lambda: NoSeek(WANTED), True),
        (lambda: [b"one", b"two", b"x" * 100_000], True),
        (plain_up, True),
        (up, True),
    ],
)
async def test_every_kind_of_body_arrives(make: object, is_chunked: bool, window: int | None) -> None:
    stream = MemoryStream()
    stream.window = window
    peer = H11Peer(stream)

    async def widen() -> None:
        while True:
            await trio.testing.wait_all_tasks_blocked()
            stream.open_window(50_000)

    async with trio.open_nursery() as nursery:
        if window is not None:
            nursery.start_soon(widen)
        nursery.start_soon(peer.serve, 1)
        exchange, _, body = await ask(HTTP1Connection(stream), method="POST", content=make())  # type: ignore[operator]
        nursery.cancel_scope.cancel()

    assert body == b"hello"
    assert exchange.outcome is not None
    assert exchange.outcome.close is None
    assert exchange.request_sent == "fully"
    (received,) = peer.requests
    assert received.body == WANTED
    assert ((b"transfer-encoding", b"chunked") in received.headers) is is_chunked


async def test_a_file_goes_out_from_its_position_and_stays_open(tmp_path: object) -> None:
    path = tmp_path / "body"  # type: ignore[operator]
    path.write_bytes(b"skip" + b"y" * 2_000_000)
    with path.open("rb") as file:
        file.seek(4)
        stream = MemoryStream()
        peer = H11Peer(stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.serve, 1)
            await ask(HTTP1Connection(stream), method="PUT", content=file)
        assert not file.closed
    assert peer.requests[0].body == b"y" * 2_000_000
    assert (b"content-length", b"2000000") in peer.requests[0].headers


async def test_a_caller_may_force_chunks_or_announce_a_length() -> None:
    for headers, content in (
        ([("Transfer-Encoding", "chunked")], b"hello"),
        ([("Content-Length", "6")], [b"one", b"two"]),
    ):
        stream = MemoryStream()
        peer = H11Peer(stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.serve, 1)
            exchange, _, _ = await ask(HTTP1Connection(stream), method="POST", content=content, headers=headers)
        assert exchange.outcome is not None
        assert exchange.outcome.close is None
        assert peer.requests[0].body == b"".join([content] if isinstance(content, bytes) else content)
        assert (headers[0][0].lower().encode(), headers[0][1].encode()) in peer.requests[0].headers


@pytest.mark.parametrize("pieces", [[b"short"], [b"much", b"too", b"long"], []])
async def test_a_body_of_another_length_than_announced_is_an_error(pieces: list[bytes]) -> None:
    exchange = HTTP1Connection(MemoryStream()).open_exchange()
    with pytest.raises(LocalProtocolError, match="than the 6 bytes announced"):
        await exchange.send(request("POST", content=iter(pieces), headers=[("Content-Length", "6")]), timer())

    assert exchange.outcome is not None
    assert exchange.outcome.close is CloseReason.DISCARDED
    assert not exchange.outcome.failed


class CallersError(Exception):
    pass


async def broken_up() -> AsyncIterator[bytes]:
    yield b"one"
    raise CallersError


def broken_plain_up() -> Iterator[bytes]:
    yield b"one"
    raise CallersError


@pytest.mark.parametrize("make", [broken_up, broken_plain_up])
async def test_what_the_body_raises_comes_out_as_itself(make: object) -> None:
    exchange = HTTP1Connection(MemoryStream()).open_exchange()
    with pytest.raises(CallersError):
        await exchange.send(request("POST", content=make()), timer())  # type: ignore[operator]

    assert exchange.request_sent == "partly"
    assert exchange.outcome is not None
    assert exchange.outcome.close is CloseReason.DISCARDED
    assert not exchange.outcome.failed


@pytest.mark.parametrize(("content", "kind"), [(["text"], "str"), ([b"a", None, b"c"], "NoneType")])
async def test_a_body_that_yields_anything_but_bytes_is_refused(content: object, kind: str) -> None:
    stream = MemoryStream()
    exchange = HTTP1Connection(stream).open_exchange()
    with pytest.raises(LocalProtocolError, match=f"must yield bytes, not {kind}"):
        await exchange.send(request("POST", content=content), timer())

    assert not stream.sent.endswith(b"0\r\n\r\n")
    assert exchange.outcome is not None
    assert exchange.outcome.close is CloseReason.DISCARDED


@pytest.mark.parametrize("length", [[], [("Content-Length", "1")]])
async def test_empty_pieces_do_not_starve_other_tasks(length: list[tuple[str, str]]) -> None:
    turns = 0

    def empty() -> Iterator[bytes]:
        for _ in range(10_000):
            yield b""
            if turns >= 10:
                break
        yield b"x"

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    stream = MemoryStream()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(H11Peer(stream).serve, 1)
        nursery.start_soon(count)
        await ask(HTTP1Connection(stream), method="POST", content=empty(), headers=length)
        nursery.cancel_scope.cancel()

    assert turns >= 10


async def test_a_one_shot_body_is_not_sent_twice() -> None:
    wire = request("POST", content=plain_up())
    stream = MemoryStream(HELLO)
    await HTTP1Connection(stream).open_exchange().send(wire, timer())
    with pytest.raises(LocalProtocolError, match="was read before"):
        await HTTP1Connection(MemoryStream(HELLO)).open_exchange().send(wire, timer())


@pytest.mark.parametrize("content", [b"x" * 70_000, [b"one", b"two"], io.BytesIO(b"zzz")])
async def test_a_replayable_body_is_sent_twice_the_same(content: object) -> None:
    wire = request("POST", content=content)
    sent = []
    for _ in range(2):
        stream = MemoryStream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(H11Peer(stream).serve, 1)
            await HTTP1Connection(stream).open_exchange().send(wire, timer())
        sent.append(bytes(stream.sent))

    assert wire.body.is_replayable
    assert sent[0] == sent[1]


async def test_a_one_shot_async_body_is_not_sent_twice() -> None:
    wire = request("POST", content=up())
    await HTTP1Connection(MemoryStream(REFUSAL)).open_exchange().send(wire, timer())
    with pytest.raises(LocalProtocolError, match="was read before"):
        await HTTP1Connection(MemoryStream(REFUSAL)).open_exchange().send(wire, timer())


async def test_an_upload_that_never_waits_does_not_starve_other_tasks() -> None:
    stream = MemoryStream()
    peer = H11Peer(stream)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        nursery.start_soon(peer.serve, 1)
        await ask(HTTP1Connection(stream), method="POST", content=[b"x"] * 200)
        assert turns >= 10
        nursery.cancel_scope.cancel()


async def test_a_body_with_tasks_of_its_own_can_be_stopped() -> None:
    async def grouped() -> AsyncIterator[bytes]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep_forever()
        yield b""

    exchange = HTTP1Connection(MemoryStream(REFUSAL)).open_exchange()
    head = await exchange.send(request("POST", content=grouped()), timer())

    assert head.status == 413


# Early answers and broken writes


class CleanUpError(Exception):
    pass


async def untidy() -> AsyncIterator[bytes]:
    try:
        while True:
            yield b"x" * 1000
            await trio.sleep(1)
    finally:
        raise CleanUpError


async def test_what_a_stopped_body_raises_does_not_hide_the_answer(autojump_clock: trio.testing.MockClock) -> None:
    stream = MemoryStream()
    exchange = HTTP1Connection(stream).open_exchange()
    heads = []

    async def send() -> None:
        heads.append(await exchange.send(request("POST", content=untidy()), timer()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.sleep(5)
        stream.feed(REFUSAL)

    assert heads[0].status == 413
    assert await read(exchange) == b"no!"
    assert exchange.outcome is not None
    assert exchange.outcome.close is CloseReason.EARLY_BODY_CLOSE


async def test_what_a_stopped_body_raises_does_not_hide_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    exchange = HTTP1Connection(MemoryStream()).open_exchange()

    async def interrupt() -> None:
        await trio.sleep(5)
        exchange.interrupt()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(interrupt)
        with pytest.raises(ReadError, match="a limit passed") as caught:
            await exchange.send(request("POST", content=untidy()), timer())
    assert isinstance(caught.value.__cause__, CleanUpError)

    assert exchange.outcome is not None
    assert exchange.outcome.close is CloseReason.TIMED_OUT


async def test_a_limit_that_passes_after_the_end_leaves_the_connection_to_the_next_exchange() -> None:
    stream = MemoryStream()
    connection, peer = HTTP1Connection(stream), H11Peer(stream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.serve, 2)
        ended, _, _ = await ask(connection)

        ended.interrupt()

        exchange, _, body = await ask(connection)
    assert body == b"hello"
    assert exchange.outcome is not None
    assert exchange.outcome.close is None


async def test_what_a_body_raises_when_the_caller_gives_up_is_the_callers(
    autojump_clock: trio.testing.MockClock,
) -> None:
    exchange = HTTP1Connection(MemoryStream()).open_exchange()
    with trio.move_on_after(5), pytest.raises(CleanUpError):
        await exchange.send(request("POST", content=untidy()), timer())


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 1000


@pytest.mark.parametrize("content", [b"x" * 200_000, "endless"])
async def test_an_early_refusal_is_returned_at_once_and_stops_the_upload(content: object) -> None:
    stream = MemoryStream()
    stream.window = 5000
    exchange = HTTP1Connection(stream).open_exchange()
    heads = []

    async def send() -> None:
        heads.append(
            await exchange.send(request("POST", content=endless() if content == "endless" else content), timer())
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await stream.wait_sent(5000)
        stream.feed(REFUSAL)
    assert heads[0].status == 413
    assert await read(exchange) == b"no!"
    assert len(stream.sent) == 5000
    assert exchange.request_sent == "partly"
    assert exchange.outcome is not None
    assert exchange.outcome.close is CloseReason.EARLY_BODY_CLOSE
    assert not exchange.outcome.failed


async def test_an_early_success_lets_the_upload_end() -> None:
    stream = MemoryStream()
    stream.window = 100
    exchange = HTTP1Connection(stream).open_exchange()
    heads = []

    async def send() -> None:
        heads.append(await exchange.send(request("POST", content=b"x" * 100_000), timer()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await stream.wait_sent(100)
        stream.feed(CHUNKED, b"3\r\none\r\n", b"3\r\ntwo\r\n")
        await trio.testing.wait_all_tasks_blocked()
        assert not heads
        stream.open_window(None)
    assert heads[0].status == 200
    stream.feed(b"0\r\n\r\n")
    assert await read(exchange) == b"onetwo"
    assert exchange.outcome is not None
    assert exchange.outcome.close is None
    assert len(parse_request(bytes(stream.sent)).body) == 100_000


async def test_a_whole_early_success_lets_the_upload_end_too() -> None:
    stream = MemoryStream(HELLO)
    stream.window = 100
    exchange = HTTP1Connection(stream).open_exchange()
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            await exchange.send(request("POST", content=b"x" * 100_000), timer())

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        stream.open_window(None)
    assert exchange.outcome is None
    assert await read(exchange) == b"hello"
    assert exchange.outcome is not None
    assert exchange.outcome.close is None


async def test_a_whole_early_success_before_a_close_is_delivered() -> None:
    stream = MemoryStream(HELLO)
    stream.window = 100
    exchange = HTTP1Connection(stream).open_exchange()
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            await exchange.send(request("POST", content=b"x" * 100_000), timer())

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        stream.reset()
    assert await read(exchange) == b"hello"
    assert exchange.outcome is not None
    assert exchange.outcome.close is CloseReason.IO_ERROR


async def test_a_flood_of_early_success_is_left_in_the_network() -> None:
    stream = MemoryStream()
    stream.window = 100
    stream.feed(CHUNKED, *[b"ffff\r\n" + b"x" * 65535 + b"\r\n"] * 20)
    exchange = HTTP1Connection(stream).open_exchange()
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            await exchange.send(request("POST", content=b"x" * 100_000), timer())

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        assert len(stream._incoming) > 10
        stream.open_window(None)
    stream.feed(b"0\r\n\r\n")
    assert await read(exchange) == b"x" * 65535 * 20


@pytest.mark.parametrize("size", [10, 100_000])
@pytest.mark.parametrize("after", ["eof", "reset"])
async def test_an_answer_that_was_sent_before_the_connection_broke_is_delivered(size: int, after: str) -> None:
    stream = MemoryStream(REFUSAL)
    stream.feed_eof()
    if after == "reset":
        stream.reset()
    stream.break_writes()
    exchange, head, body = await ask(HTTP1Connection(stream), method="POST", content=b"x" * size)

    assert (head.status, body) == (413, b"no!")
    assert exchange.outcome is not None
    assert exchange.outcome.close is not None


@pytest.mark.parametrize("answer", [b"", REFUSAL[:20], b"junk"])
@pytest.mark.parametrize("size", [10, 100_000])
async def test_without_a_whole_answer_the_write_error_is_the_error(size: int, answer: bytes) -> None:
    stream = MemoryStream(answer)
    stream.reset()
    exchange = HTTP1Connection(stream).open_exchange()
    with pytest.raises(WriteError) as caught:
        await exchange.send(request("POST", content=b"x" * size), timer())

    assert caught.value.request_sent == exchange.request_sent == "no"
    assert exchange.outcome is not None
    assert exchange.outcome.failed


async def test_a_body_cut_after_a_broken_write_is_the_write_error() -> None:
    stream = MemoryStream(REFUSAL[:-1])
    stream.feed_eof()
    stream.break_writes()
    exchange = HTTP1Connection(stream).open_exchange()
    await exchange.send(request("POST", content=b"x"), timer())
    with pytest.raises(WriteError):
        await read(exchange)


@pytest.mark.parametrize("how", ["eof", "reset"])
async def test_a_silent_end_says_what_was_sent_and_seen(how: str) -> None:
    stream = MemoryStream()
    exchange = HTTP1Connection(stream).open_exchange()
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            with pytest.raises(ReadError) as caught:
                await exchange.send(request(), timer())
            assert caught.value.request_sent == "fully"

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        stream.feed_eof() if how == "eof" else stream.reset()
    assert exchange.request_sent == "fully"
    assert not exchange.response_started
    assert exchange.outcome is not None
    assert exchange.outcome.failed
    assert exchange.outcome.close in {CloseReason.PEER_CLOSED, CloseReason.IO_ERROR}


# Giving up


@pytest.mark.parametrize(
    ("rest", "wanted"),
    [
        ([b"lo"], True),
        ([b"lo" + b"HTTP/1.1 200 OK\r\n\r\n"], False),
        ([], None),
    ],
)
async def test_try_drain_takes_what_is_there(rest: list[bytes], wanted: bool | None) -> None:
    stream = MemoryStream(HELLO[:-2], *rest)
    exchange = HTTP1Connection(stream).open_exchange()
    await exchange.send(request(), timer())

    assert exchange.try_drain() is wanted
    assert (exchange.outcome is None) is (wanted is None)


@pytest.mark.parametrize(
    ("wire", "limit", "wanted"),
    [
        ([HELLO[:-2], b"lo"], 65536, True),
        ([CHUNKED, b"5\r\nhello\r\n", b"0\r\n\r\n"], 65536, True),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"], 65536, False),
        ([CHUNKED, *[b"ffff\r\n" + b"x" * 65535 + b"\r\n"] * 2, b"0\r\n\r\n"], 65536, False),
        ([b"HTTP/1.1 200 OK\r\n\r\n"], 65536, False),
        ([b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"], 65536, False),
        ([CHUNKED, b"junk\r\n"], 65536, False),
        ([HELLO[:-2], b"lo"], 1, False),
    ],
)
async def test_drain_reads_a_small_rest_and_gives_up_on_a_large_one(
    wire: list[bytes], limit: int, wanted: bool
) -> None:
    exchange = HTTP1Connection(MemoryStream(*wire)).open_exchange()
    await exchange.send(request(), timer())

    assert await exchange.drain(timer(), limit) is wanted
    assert exchange.outcome is not None
    assert (exchange.outcome.close is None) is wanted


@pytest.mark.parametrize("with_timer", [True, False])
async def test_drain_waits_for_the_rest(with_timer: bool) -> None:
    limits = timer() if with_timer else None
    stream = MemoryStream(HELLO[:-2])
    exchange = HTTP1Connection(stream).open_exchange()
    await exchange.send(request(), timer())
    results = []

    async def drain() -> None:
        results.append(await exchange.drain(limits))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain)
        await trio.testing.wait_all_tasks_blocked()
        stream.feed(b"lo")
    assert results == [True]


async def test_a_cancelled_drain_closes() -> None:
    exchange = HTTP1Connection(MemoryStream(HELLO[:-2])).open_exchange()
    await exchange.send(request(), timer())
    with trio.move_on_after(0) as scope:
        await exchange.drain(None)

    assert scope.cancelled_caught
    assert exchange.outcome is not None
    assert exchange.outcome.close is CloseReason.EARLY_BODY_CLOSE


@pytest.mark.parametrize("first", ["try_drain", "drain"])
async def test_a_drain_after_the_connection_broke_says_so(first: str) -> None:
    stream = MemoryStream(HELLO[:-2])
    exchange = HTTP1Connection(stream).open_exchange()
    await exchange.send(request(), timer())
    stream.reset()

    assert (exchange.try_drain() if first == "try_drain" else await exchange.drain(timer())) is False
    assert exchange.try_drain() is False


async def test_an_exchange_that_never_began_is_not_drained() -> None:
    exchange = HTTP1Connection(MemoryStream()).open_exchange()

    assert exchange.try_drain() is False
    assert exchange.outcome is not None


async def test_an_abandoned_exchange_has_nothing_to_read() -> None:
    exchange = HTTP1Connection(MemoryStream(HELLO)).open_exchange()
    await exchange.send(request(), timer())
    exchange.abandon(CloseReason.LEAKED)
    with pytest.raises(LocalProtocolError):
        await exchange.receive(timer())
    exchange.abandon(CloseReason.DISCARDED)

    assert exchange.outcome is not None
    assert exchange.outcome.close is CloseReason.LEAKED


@pytest.mark.parametrize("cancel_at", range(1, 40))
@pytest.mark.parametrize("content", [b"small", b"x" * 70_000, "generator"])
async def test_a_cancelled_exchange_always_has_an_outcome(cancel_at: int, content: object) -> None:
    stream = MemoryStream()
    stream.window = 2000
    peer = H11Peer(stream)
    connection = HTTP1Connection(stream)
    exchange = connection.open_exchange()

    async def victim() -> None:
        try:
            await exchange.send(request("POST", content=up() if content == "generator" else content), timer())
            await read(exchange)
        except trio.Cancelled:
            # Nobody had to tell the exchange; it may have ended well just before.
            assert exchange.outcome is not None
            raise

    async def answer() -> None:
        await peer.receive()
        peer.send(h11.Response(status_code=200, headers=[("Transfer-Encoding", "chunked")]))
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
            peer.send(h11.Data(data=b"piece"))
        peer.send(h11.EndOfMessage())

    async def widen() -> None:
        while True:
            await trio.testing.wait_all_tasks_blocked()
            stream.open_window(30_000)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        nursery.start_soon(widen)
        async with trio.open_nursery() as inner:
            inner.start_soon(victim)
            for _ in range(cancel_at):
                await trio.testing.wait_all_tasks_blocked(0.0) if cancel_at % 2 else await trio.lowlevel.checkpoint()
            inner.cancel_scope.cancel()
        nursery.cancel_scope.cancel()

    if exchange.outcome is None:
        # Cancelled before its first step.
        assert exchange.request_sent == "no"
        return
    if exchange.outcome.close is None:
        parse_request(bytes(stream.sent))
    else:
        with pytest.raises(LocalProtocolError):
            connection.open_exchange()


# Limits, on virtual time


async def late(exchange: HTTP1Exchange, limits: PhaseTimer, wire: object) -> None:
    watchdog = Watchdog()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watchdog.run)
        try:
            with limits:
                limits.guard(exchange, watchdog)
                await exchange.send(wire, limits)  # type: ignore[arg-type]
                while await exchange.receive(limits):
                    pass
        finally:
            nursery.cancel_scope.cancel()


async def test_a_head_that_drips_is_late(autojump_clock: trio.testing.MockClock) -> None:
    stream = MemoryStream()
    exchange = HTTP1Connection(stream).open_exchange()

    async def drip() -> None:
        for at in range(len(HELLO)):
            stream.feed(HELLO[at : at + 1])
            await trio.sleep(2.9)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        with pytest.RaisesGroup(ReadTimeout):
            await late(exchange, timer(read=3.0), request())
        assert trio.current_time() == pytest.approx(3.0, abs=0.1)
        nursery.cancel_scope.cancel()
    assert exchange.outcome is not None
    assert exchange.outcome.close is CloseReason.TIMED_OUT
    assert exchange.outcome.failed


async def test_an_interim_response_starts_the_wait_anew(autojump_clock: trio.testing.MockClock) -> None:
    stream = MemoryStream()
    exchange = HTTP1Connection(stream).open_exchange()

    async def serve() -> None:
        for _ in range(5):
            await trio.sleep(2)
            stream.feed(b"HTTP/1.1 102 Processing\r\n\r\n")
        await trio.sleep(2)
        stream.feed(HELLO)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await late(exchange, timer(read=3.0), request())
    assert trio.current_time() == pytest.approx(12.0, abs=0.1)


async def test_a_peer_that_never_reads_is_late(autojump_clock: trio.testing.MockClock) -> None:
    stream = MemoryStream()
    stream.window = 100
    exchange = HTTP1Connection(stream).open_exchange()
    with pytest.RaisesGroup(WriteTimeout):
        await late(exchange, timer(write=5.0), request("POST", content=b"x" * 100_000))

    assert trio.current_time() == pytest.approx(5.0, abs=0.1)
    assert exchange.outcome is not None
    assert exchange.outcome.close is CloseReason.TIMED_OUT


async def test_the_callers_body_may_take_its_time(autojump_clock: trio.testing.MockClock) -> None:
    stream = MemoryStream()
    exchange = HTTP1Connection(stream).open_exchange()
    peer = H11Peer(stream)

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(3):
            await trio.sleep(100)
            yield b"x"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.serve, 1)
        await late(exchange, timer(read=3.0, write=3.0), request("POST", content=slow()))
    assert peer.requests[0].body == b"xxx"


async def test_the_total_limit_ends_a_body_that_never_yields(autojump_clock: trio.testing.MockClock) -> None:
    exchange = HTTP1Connection(MemoryStream()).open_exchange()

    async def never() -> AsyncIterator[bytes]:
        await trio.sleep_forever()
        yield b""

    with pytest.RaisesGroup(TimeoutException):
        await late(exchange, timer(total=7.0), request("POST", content=never()))
    assert trio.current_time() == pytest.approx(7.0, abs=0.1)


class EndsOnce(MemoryStream):
    """Says once that it has ended, and breaks if it is asked again."""

    has_ended = False

    def try_receive(self, max_bytes: int) -> bytes | None:
        data = super().try_receive(max_bytes)
        if data == b"":
            assert not self.has_ended
            self.has_ended = True
        return data


@pytest.mark.parametrize("start", [b"", HELLO[:20]])
async def test_an_end_is_heard_when_it_is_said_first(start: bytes) -> None:
    stream = EndsOnce(start)
    stream.feed_eof()
    exchange = HTTP1Connection(stream).open_exchange()
    with pytest.raises(ReadError, match="closed the connection"):
        await exchange.send(request(), timer())
    assert exchange.outcome is not None
    assert exchange.outcome.close is CloseReason.PEER_CLOSED
