"""A stream inside TLS: ends told apart, records never cut, and nothing but data counts as data."""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from penstock._errors import ReadError, WriteError
from penstock._events import CloseReason
from penstock._net.stream import ByteStream, look, send_all
from penstock._net.tls import TLSProfile, TLSStream, start_tls
from penstock._net.tls_stream import QUIET_BYTES, QUIET_RECORDS
from penstock._net.watcher import SelectorWatcher
from penstock._tls_config import TLSConfig
from tests.support import forge
from tests.support.tls_peer import TLSPeer
from tests.support.tls_server import echo, serve_tls

Connect = Callable[[int], Awaitable[ByteStream]]
PROFILE = TLSProfile(TLSConfig(trust=forge.root_file(), minimum_version="TLSv1.2"))
LARGE = random.Random(1).randbytes(1 << 20)


async def shake(
    *, segment: int = 65536, tickets: int = 2, maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> tuple[TLSStream, TLSPeer]:
    context = forge.server(forge.leaf(), minimum=ssl.TLSVersion.TLSv1_2, maximum=maximum)
    context.num_tickets = tickets
    peer = TLSPeer(context)
    stream = await start_tls(peer, PROFILE, host=forge.HOST, port=443)
    peer.segment = segment
    return stream, peer


def receive_all(stream: TLSStream, max_bytes: int = 65536) -> bytes:
    """What can be had without waiting."""
    pieces = []
    while data := stream.try_receive(max_bytes):
        assert len(data) <= max_bytes
        pieces.append(data)
    return b"".join(pieces)


# Data


@pytest.mark.parametrize("segment", [1, 7, 1000, 65536])
@pytest.mark.parametrize("max_bytes", [1, 100, 16384, 65536])
async def test_every_byte_arrives_once(segment: int, max_bytes: int) -> None:
    stream, peer = await shake(segment=segment)
    data = LARGE[:40_000]
    for size in (1, 99, 16_385, 5, 16_384):
        peer.send(data[:size])
        data = data[size:]
    assert receive_all(stream, max_bytes) == LARGE[: 40_000 - len(data)]
    assert stream.try_receive(max_bytes) is None


async def test_the_stream_below_is_known() -> None:
    stream, peer = await shake()
    assert stream.transport is peer
    assert stream.fileno() == -1


async def test_several_records_that_came_at_once_are_one_read() -> None:
    stream, peer = await shake(tickets=0)
    for _ in range(10):
        peer.send(b"0123456789")
    assert stream.try_receive(65536) == b"0123456789" * 10
    peer.send(LARGE[:40_000])
    assert stream.try_receive(65536) == LARGE[:40_000]


async def test_what_was_decrypted_already_is_readable_at_once(autojump_clock: MockClock) -> None:
    stream, peer = await shake()
    peer.send(b"0123456789")
    assert stream.try_receive(4) == b"0123"
    with trio.fail_after(1):
        await stream.wait_readable()
    assert stream.try_receive(100) == b"456789"
    with trio.move_on_after(1) as scope:
        await stream.wait_readable()
    assert scope.cancelled_caught


async def test_large_data_goes_both_ways_over_sockets(connect: Connect) -> None:
    received = bytearray()
    with serve_tls(forge.server(forge.leaf()), echo) as server:
        stream = await start_tls(await connect(server.port), PROFILE, host=forge.HOST, port=server.port)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, stream, LARGE)
            while len(received) < len(LARGE):
                data = stream.try_receive(65536)
                if data is None:
                    await stream.wait_readable()
                else:
                    received += data
        stream.close()
    assert received == LARGE
    assert server.failures == []


# Writes


@pytest.mark.parametrize("window", [1, 100, 16_384, 20_000])
@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 200_000])
async def test_a_peer_that_takes_little_gets_everything_in_order(window: int, size: int) -> None:
    if size // window > 20_000:
        size = 20_000
    stream, peer = await shake()
    peer.window = window

    async def open_again() -> None:
        while True:
            await trio.testing.wait_all_tasks_blocked()
            peer.open_window(window)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_again)
        await send_all(stream, LARGE[:size])
        await send_all(stream, b"end")
        nursery.cancel_scope.cancel()
    assert peer.received == LARGE[:size] + b"end"


async def test_data_counts_as_taken_only_when_its_record_has_left() -> None:
    stream, peer = await shake()
    peer.window = 10
    assert stream.try_send(b"request") == 0
    peer.window = None
    assert stream.try_send(b"request") == len(b"request")
    assert peer.received == b"request"


async def test_what_does_not_count_as_taken_the_peer_cannot_have_read() -> None:
    for window in range(0, 70_000, 997):
        stream, peer = await shake()
        peer.window = window
        rest, taken = memoryview(LARGE)[:60_000], 0
        while rest and (step := stream.try_send(rest)):
            taken += step
            rest = rest[step:]
        assert taken == len(peer.received)


async def test_a_cancelled_write_is_never_continued(autojump_clock: MockClock) -> None:
    stream, peer = await shake()
    peer.window = 10
    with trio.move_on_after(1):
        await send_all(stream, b"first")
    peer.window = None
    with pytest.raises(WriteError):
        stream.try_send(b"second")
    # Not even by a goodbye.
    stream.close()
    assert peer.received == b""
    assert peer.alert is None


async def test_closing_does_not_let_out_the_rest_of_an_abandoned_record() -> None:
    stream, peer = await shake()
    peer.window = 10
    assert stream.try_send(b"given up") == 0
    peer.window = None
    stream.close()
    assert peer.received == b""
    assert peer.is_closed


async def test_reading_goes_on_while_a_write_is_stuck() -> None:
    stream, peer = await shake()
    peer.window = 10
    assert stream.try_send(b"upload") == 0
    peer.send(b"413")
    assert stream.try_receive(100) == b"413"
    peer.window = None
    assert stream.try_send(b"upload") == len(b"upload")
    assert peer.received == b"upload"


async def test_a_closed_stream_says_so(connect: Connect) -> None:
    with serve_tls(forge.server(forge.leaf())) as server:
        stream = await start_tls(await connect(server.port), PROFILE, host=forge.HOST, port=server.port)
        assert stream.fileno() >= 0
        stream.close()
        stream.close()
        assert stream.fileno() == -1
        with pytest.raises(ReadError):
            stream.try_receive(100)
        with pytest.raises(WriteError):
            stream.try_send(b"x")
        with pytest.raises(ReadError):
            await stream.wait_readable()
        with pytest.raises(WriteError):
            await stream.wait_writable()
    # The server saw a close_notify, not a broken connection.
    assert server.failures == []


async def test_closing_never_waits_for_the_peer() -> None:
    stream, peer = await shake()
    peer.window = 0
    stream.close()
    assert peer.is_closed


# Ends


async def test_a_close_notify_is_a_clean_end() -> None:
    stream, peer = await shake()
    peer.send(b"last")
    peer.send_close_notify()
    peer.send_raw(b"whatever follows is ignored")
    assert stream.try_receive(100) == b"last"
    assert stream.try_receive(100) == b""
    assert stream.ended_cleanly
    await stream.wait_readable()
    assert stream.try_receive(100) == b""


@pytest.mark.parametrize("ignore", [False, True])
async def test_an_end_without_close_notify_is_not_clean_whatever_the_context_says(ignore: bool) -> None:
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    forge.root().configure_trust(trust)
    flag = getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0x80)
    trust.options = trust.options | flag if ignore else trust.options & ~flag
    peer = TLSPeer(forge.server(forge.leaf()))
    stream = await start_tls(peer, TLSProfile(TLSConfig(trust=trust)), host=forge.HOST, port=443)
    peer.send(b"truncated")
    peer.end()
    assert stream.try_receive(100) == b"truncated"
    assert stream.try_receive(100) == b""
    assert not stream.ended_cleanly
    assert look(stream) is CloseReason.PEER_CLOSED


async def test_a_record_cut_by_the_end_is_not_delivered() -> None:
    stream, peer = await shake(tickets=0)
    peer.send(b"never whole")
    peer.send_raw(peer.take_all()[:-3])
    peer.end()
    assert stream.try_receive(100) == b""
    assert not stream.ended_cleanly


async def test_a_truncation_over_sockets(connect: Connect) -> None:
    def cut(tls: ssl.SSLSocket) -> None:
        tls.sendall(b"truncated")
        tls.unwrap = None  # type: ignore[assignment, method-assign]
        tls.shutdown(socket.SHUT_WR)

    with serve_tls(forge.server(forge.leaf()), cut) as server:
        stream = await start_tls(await connect(server.port), PROFILE, host=forge.HOST, port=server.port)
        received = b""
        while (data := stream.try_receive(100)) != b"":
            if data is None:
                await stream.wait_readable()
            else:
                received += data
        stream.close()
    assert received == b"truncated"
    assert not stream.ended_cleanly


async def test_a_changed_record_is_a_read_error_after_the_data_before_it() -> None:
    stream, peer = await shake(tickets=0)
    peer.send(b"good")
    good = peer.take_all()
    peer.send(b"evil")
    evil = bytearray(peer.take_all())
    evil[-1] ^= 1
    peer.send_raw(good + evil)
    assert stream.try_receive(100) == b"good"
    for _ in range(2):
        await stream.wait_readable()
        with pytest.raises(ReadError, match="TLS failed"):
            stream.try_receive(100)
    assert look(stream) is CloseReason.IO_ERROR
    stream.close()


async def test_an_alert_after_data_is_a_read_error() -> None:
    stream, peer = await shake(tickets=0)
    peer.send(b"good")
    assert stream.try_receive(100) == b"good"
    # The server's own failure: a record it cannot read.
    peer._incoming.write(b"\x17\x03\x03\x00\x14" + bytes(20))
    peer._work()
    with pytest.raises(ReadError, match=r"TLS failed: .*ALERT"):
        stream.try_receive(100)


# Records without data


@pytest.mark.parametrize("tickets", [0, 1, 2, 50])
async def test_session_tickets_on_an_idle_stream_do_not_count(tickets: int) -> None:
    stream, peer = await shake(tickets=tickets)
    assert look(stream) is None
    peer.send(b"HTTP/1.1 408")
    assert look(stream) is CloseReason.UNSOLICITED_DATA


async def test_tickets_make_a_socket_readable_but_the_look_is_quiet(connect: Connect) -> None:
    watcher = SelectorWatcher()
    with serve_tls(forge.server(forge.leaf())) as server:
        stream = await start_tls(await connect(server.port), PROFILE, host=forge.HOST, port=server.port)
        watcher.watch(stream, "token")
        assert await watcher.wait() == ["token"]
        assert look(stream) is None
        stream.close()
    watcher.close()


async def test_a_close_notify_on_an_idle_stream() -> None:
    stream, peer = await shake()
    peer.send_close_notify()
    assert look(stream) is CloseReason.PEER_CLOSED
    assert stream.ended_cleanly


async def test_a_flood_of_bytes_without_data_is_refused() -> None:
    # In pieces so small that no record can be told from another.
    stream, _ = await shake(tickets=400, segment=4)
    with pytest.raises(ReadError, match="floods"):
        stream.try_receive(100)
    assert stream._quiet_bytes == QUIET_BYTES + 4


async def test_a_flood_of_small_records_is_refused() -> None:
    stream, _ = await shake(tickets=QUIET_RECORDS + 1)
    with pytest.raises(ReadError, match="floods"):
        stream.try_receive(100)


async def test_data_between_quiet_records_lets_the_count_begin_anew() -> None:
    stream, peer = await shake(tickets=60)
    assert look(stream) is None
    peer.send(b"x")
    assert stream.try_receive(1) == b"x"
    peer.tls.context.num_tickets = 0
    # A record that comes in pieces holds data in the end, and is no flood.
    peer.segment = 10
    peer.send(LARGE[:16384])
    assert receive_all(stream) == LARGE[:16384]
