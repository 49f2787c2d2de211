"""The plain stream: tries that never block, waits that end, and writes that are not continued after a cut."""

from __future__ import annotations

import socket
import struct
import traceback

import pytest
import trio
import trio.testing

from penstock._config import Timeouts
from penstock._errors import LocalProtocolError, ReadError, WriteError, WriteTimeout
from penstock._events import CloseReason
from penstock._net.stream import SocketStream, look, send_all
from penstock._net.timer import PhaseTimer, Watchdog

Pair = tuple[SocketStream, socket.socket]
LARGE = bytes(8 << 20)


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


async def test_nothing_yet_and_something_and_the_end_are_three_answers(pair: Pair) -> None:
    stream, peer = pair
    assert stream.try_receive(100) is None
    peer.sendall(b"hello")
    await stream.wait_readable()
    assert stream.try_receive(2) == b"he"
    assert stream.try_receive(100) == b"llo"
    assert not stream.ended_cleanly
    peer.shutdown(socket.SHUT_WR)
    await stream.wait_readable()
    assert stream.try_receive(100) == b""
    assert stream.ended_cleanly


async def test_a_reset_is_a_read_error(pair: Pair) -> None:
    stream, peer = pair
    reset(peer)
    await stream.wait_readable()
    with pytest.raises(ReadError, match="reset") as caught:
        stream.try_receive(100)
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    assert not stream.ended_cleanly
    with pytest.raises(WriteError):
        stream.try_send(b"x")


async def test_send_all_waits_for_a_slow_peer(pair: Pair) -> None:
    stream, peer = pair
    received = 0

    def drain() -> None:
        nonlocal received
        while received < len(LARGE):
            received += len(peer.recv(1 << 20))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, drain)
        await send_all(stream, LARGE)
    assert received == len(LARGE)


async def test_a_write_that_takes_too_long_is_a_write_timeout(
    pair: Pair, autojump_clock: trio.testing.MockClock
) -> None:
    stream, _ = pair

    class Guarded:
        def interrupt(self) -> None:
            stream.close()

    watchdog = Watchdog()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watchdog.run)
        with pytest.raises(WriteTimeout), PhaseTimer(Timeouts(write=3)) as timer:
            timer.guard(Guarded(), watchdog)
            await send_all(stream, LARGE, timer)
        assert trio.current_time() == 3
        nursery.cancel_scope.cancel()


async def test_a_cancelled_write_leaves_the_stream_broken_for_writing_only(
    pair: Pair, autojump_clock: trio.testing.MockClock
) -> None:
    stream, peer = pair
    with trio.move_on_after(1):
        await send_all(stream, LARGE)
    with pytest.raises(WriteError, match="cut short"):
        stream.try_send(b"x")
    peer.sendall(b"early answer")
    await stream.wait_readable()
    assert stream.try_receive(100) == b"early answer"


async def test_closing_wakes_those_who_wait(pair: Pair) -> None:
    stream, _ = pair
    while stream.try_send(LARGE):
        pass

    async def expect(wait: object, error: type[Exception]) -> None:
        with pytest.raises(error, match="closed"):
            await wait()  # type: ignore[operator]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect, stream.wait_readable, ReadError)
        nursery.start_soon(expect, stream.wait_writable, WriteError)
        await trio.testing.wait_all_tasks_blocked()
        stream.close()


async def test_a_closed_stream_says_so(pair: Pair) -> None:
    stream, peer = pair
    stream.close()
    stream.close()
    assert stream.fileno() == -1
    assert peer.recv(100) == b""
    with pytest.raises(ReadError):
        stream.try_receive(100)
    with pytest.raises(WriteError):
        stream.try_send(b"x")
    with pytest.raises(ReadError):
        await stream.wait_readable()
    with pytest.raises(WriteError):
        await stream.wait_writable()


def test_a_stream_can_be_closed_outside_a_run(pair: Pair) -> None:
    stream, peer = pair
    stream.close()
    assert peer.recv(100) == b""


async def test_a_forgotten_stream_warns() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        stream = SocketStream(ours)
        del ours
        holder = [stream]
        del stream
        with pytest.warns(ResourceWarning):
            holder.clear()


async def test_the_last_look(pair: Pair) -> None:
    stream, peer = pair
    assert look(stream) is None
    peer.sendall(b"HTTP/1.1 408")
    await stream.wait_readable()
    assert look(stream) is CloseReason.UNSOLICITED_DATA
    stream.try_receive(100)
    peer.shutdown(socket.SHUT_WR)
    await stream.wait_readable()
    assert look(stream) is CloseReason.PEER_CLOSED


async def test_the_last_look_at_a_broken_stream(pair: Pair) -> None:
    stream, peer = pair
    reset(peer)
    await stream.wait_readable()
    assert look(stream) is CloseReason.IO_ERROR


async def test_two_tasks_may_not_wait_for_the_same_thing(pair: Pair) -> None:
    stream, peer = pair
    stream.try_send(LARGE)
    for wait, what in ((stream.wait_readable, "reads from"), (stream.wait_writable, "writes to")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(LocalProtocolError, match=f"another task {what}"):
                await wait()
            nursery.cancel_scope.cancel()
    peer.close()


@pytest.mark.parametrize("wait", ["wait_readable", "wait_writable"])
async def test_a_cancelled_wait_keeps_no_frame_of_the_loop(pair: Pair, wait: str) -> None:
    stream, _ = pair
    while stream.try_send(LARGE):
        pass
    caught: list[str] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await getattr(stream, wait)()
        except trio.Cancelled as error:
            caught = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
            raise
    assert scope.cancelled_caught
    assert caught == ["test_a_cancelled_wait_keeps_no_frame_of_the_loop"]
