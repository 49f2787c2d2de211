"""The in-memory connection behaves as a TCP connection does where a client can tell."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from penstock._errors import LocalProtocolError, ReadError, WriteError
from penstock.testing import FakeStream, fake_stream_pair


async def receive(stream: FakeStream, max_bytes: int = 65536) -> bytes:
    while (data := stream.try_receive(max_bytes)) is None:
        await stream.wait_readable()
    return data


async def test_a_piece_arrives_after_the_latency(autojump_clock: MockClock) -> None:
    ours, theirs = fake_stream_pair(latency=3600.0)
    start = trio.current_time()
    theirs.try_send(b"hello")
    assert ours.try_receive(10) is None
    assert await receive(ours) == b"hello"
    assert trio.current_time() - start == pytest.approx(3600)


async def test_each_receive_gives_one_piece_as_it_was_sent() -> None:
    ours, theirs = fake_stream_pair()
    theirs.try_send(b"one")
    theirs.try_send(b"two")
    assert ours.try_receive(100) == b"one"
    assert ours.try_receive(2) == b"tw"
    assert ours.try_receive(100) == b"o"
    assert ours.try_receive(100) is None


async def test_bandwidth_spreads_bytes_over_time(autojump_clock: MockClock) -> None:
    ours, theirs = fake_stream_pair(bandwidth=1000.0, latency=1.0)
    start = trio.current_time()
    theirs.try_send(bytes(4000))
    arrivals = []
    count = 0
    while count < 4000:
        count += len(await receive(ours))
        arrivals.append((count, pytest.approx(trio.current_time() - start)))
    assert arrivals == [(1460, 2.46), (2920, 3.92), (4000, 5.0)]


async def test_a_full_buffer_takes_nothing_until_the_other_end_reads() -> None:
    ours, theirs = fake_stream_pair(capacity=10)
    assert ours.try_send(b"0123456789abc") == 10
    assert ours.try_send(b"abc") == 0
    written = []

    async def writer() -> None:
        await ours.wait_writable()
        written.append(ours.try_send(b"abc"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer)
        await wait_all_tasks_blocked()
        assert written == []
        assert theirs.try_receive(2) == b"01"
    assert written == [2]


async def test_half_close_ends_one_direction_only() -> None:
    ours, theirs = fake_stream_pair()
    theirs.try_send(b"last words")
    theirs.send_end()
    assert await receive(ours) == b"last words"
    assert not ours.ended_cleanly
    assert await receive(ours) == b""
    assert ours.ended_cleanly
    ours.try_send(b"still heard")
    assert await receive(theirs) == b"still heard"
    with pytest.raises(WriteError):
        theirs.try_send(b"x")


async def test_bytes_before_a_reset_can_be_read_and_writes_fail() -> None:
    ours, theirs = fake_stream_pair()
    theirs.try_send(b"partial")
    theirs.abort()
    with pytest.raises(WriteError) as write_error:
        ours.try_send(b"x")
    assert isinstance(write_error.value.__cause__, ConnectionResetError)
    assert ours.try_receive(100) == b"partial"
    with pytest.raises(ReadError) as read_error:
        ours.try_receive(100)
    assert isinstance(read_error.value.__cause__, ConnectionResetError)
    assert not ours.ended_cleanly


async def test_a_reset_wakes_a_blocked_writer_when_it_arrives(autojump_clock: MockClock) -> None:
    ours, theirs = fake_stream_pair(latency=5.0, capacity=1)
    ours.try_send(b"xx")
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.wait_writable)
        await wait_all_tasks_blocked()
        theirs.abort()
    assert trio.current_time() - start == pytest.approx(5.0)


async def test_closing_with_unread_bytes_resets() -> None:
    ours, theirs = fake_stream_pair()
    theirs.try_send(b"unread")
    ours.close()
    with pytest.raises(ReadError):
        theirs.try_receive(10)


async def test_bytes_that_reach_a_closed_end_are_answered_with_a_reset(autojump_clock: MockClock) -> None:
    ours, theirs = fake_stream_pair(latency=1.0)
    theirs.close()
    assert await receive(ours) == b""
    assert ours.try_send(b"too late") == 8
    await trio.sleep(1.9)
    assert ours.try_send(b"still not known") == 15
    await trio.sleep(0.2)
    with pytest.raises(WriteError):
        ours.try_send(b"x")
    assert ours.try_receive(10) == b"", "an end that was read stays the end"


async def test_a_cancelled_wait_to_write_breaks_the_stream_for_writing() -> None:
    ours, theirs = fake_stream_pair(capacity=1)
    ours.try_send(b"x")
    with trio.CancelScope() as scope:
        scope.cancel()
        await ours.wait_writable()
    theirs.try_receive(1)
    with pytest.raises(WriteError, match="cut short"):
        ours.try_send(b"y")


async def test_two_tasks_may_not_wait_for_the_same_thing() -> None:
    ours, theirs = fake_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.wait_readable)
        await wait_all_tasks_blocked()
        with pytest.raises(LocalProtocolError, match="another task reads"):
            await ours.wait_readable()
        theirs.try_send(b"x")


@pytest.mark.parametrize(
    ("options", "named"),
    [({"latency": -1.0}, "latency"), ({"bandwidth": 0.0}, "bandwidth"), ({"capacity": 0}, "capacity")],
)
def test_impossible_conditions_are_refused(options: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        fake_stream_pair(**options)


async def test_max_bytes_must_be_positive() -> None:
    ours, _ = fake_stream_pair()
    with pytest.raises(ValueError, match="max_bytes"):
        ours.try_receive(0)
