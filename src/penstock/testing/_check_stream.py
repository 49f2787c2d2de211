"""What every `ByteStream` must do, as checks that can be run against any implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from .._errors import NetworkError, ReadError, WriteError
from .._net.stream import ByteStream, send_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    StreamMaker = Callable[[], Awaitable[tuple[ByteStream, ByteStream]]]
    Check = Callable[[ByteStream, ByteStream], Awaitable[None]]

#: More than the buffers of two kernels take by default, so that a sender has to wait.
_MUCH = 8 << 20

#: Seconds for one check; only a stream that hangs needs them.
_LIMIT = 20.0


async def check_byte_stream(stream_maker: StreamMaker, *, clean_end: bool = True) -> None:
    """Run the contract of `ByteStream` against an implementation.

    Args:
        stream_maker: an async function that returns the two ends of a new connection, ready to use. Both ends are
            checked. The ends may be of different classes.
        clean_end: whether `close` of one end lets the other one end cleanly.

    Raises:
        AssertionError: the contract is broken; the message says how.
    """
    checks: list[Check] = [
        _check_order,
        _check_sizes,
        _check_waiting,
        _check_back_pressure,
        _check_big_transfer,
        _check_cancelled_read,
        _check_checkpoints,
        _check_closed,
        _check_closed_while_waiting,
        _check_peer_gone,
    ]
    for check in checks:
        for swapped in (False, True):
            await _run(check, stream_maker, swapped=swapped)
    for swapped in (False, True):
        await _run(_check_clean_end if clean_end else _check_end, stream_maker, swapped=swapped)


async def _run(check: Check, stream_maker: StreamMaker, *, swapped: bool) -> None:
    one, other = await stream_maker()
    try:
        with trio.move_on_after(_LIMIT) as scope:
            await (check(other, one) if swapped else check(one, other))
        _expect(not scope.cancelled_caught, f"{check.__name__.removeprefix('_')} did not end: somebody was not woken")
    finally:
        one.close()
        other.close()


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


async def _receive(stream: ByteStream, max_bytes: int = 65536) -> bytes:
    while (data := stream.try_receive(max_bytes)) is None:
        await stream.wait_readable()
    return data


async def _receive_exactly(stream: ByteStream, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        data = await _receive(stream, count - len(parts))
        _expect(bool(data), f"the stream ended after {len(parts)} of {count} bytes")
        parts += data
    return bytes(parts)


async def _check_order(one: ByteStream, other: ByteStream) -> None:
    await send_all(one, b"first ")
    await send_all(one, memoryview(b"second "))
    await send_all(other, b"answer")
    await send_all(one, b"third")
    _expect(await _receive_exactly(other, 18) == b"first second third", "bytes came in another order")
    _expect(await _receive_exactly(one, 6) == b"answer", "the two directions are mixed")


async def _check_sizes(one: ByteStream, other: ByteStream) -> None:
    _expect(one.try_receive(10) is None, "try_receive must be None while nothing has come")
    _expect(one.try_send(b"") == 0, "sending nothing takes nothing")
    _expect(one.try_send(b"abc") == 3, "a new connection must take three bytes at once")
    await other.wait_readable()
    _expect(not other.is_quiet(), "is_quiet must be False when something has come")
    _expect(await _receive(other, 1) == b"a", "try_receive gave more than max_bytes, or the wrong byte")
    _expect(not other.is_quiet(), "is_quiet must be False while something is left to read")
    _expect(await _receive_exactly(other, 2) == b"bc", "what a small receive left behind is gone")
    _expect(other.try_receive(10) is None, "try_receive must be None when all is read")
    _expect(isinstance(one.fileno(), int), "fileno must be an int")


async def _check_waiting(one: ByteStream, other: ByteStream) -> None:
    woken = False

    async def reader() -> None:
        nonlocal woken
        _expect(await _receive(other) == b"x", "the wrong bytes came")
        woken = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await wait_all_tasks_blocked(0.01)
        _expect(not woken, "a reader returned although nothing was sent")
        await send_all(one, b"x")


async def _check_back_pressure(one: ByteStream, other: ByteStream) -> None:
    filler = bytes(65536)
    sent = 0
    rest = filler
    while taken := one.try_send(rest):
        _expect(0 < taken <= len(rest), f"try_send answered {taken} for {len(rest)} bytes")
        sent += taken
        # A piece that was taken in part must be continued with its own rest.
        rest = rest[taken:] or filler
        _expect(sent < 16 * _MUCH, f"try_send took {sent} bytes that nobody read: there is no back-pressure")
    is_done = False

    async def writer() -> None:
        nonlocal is_done
        await one.wait_writable()
        await send_all(one, rest)
        await send_all(one, b"last")
        is_done = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer)
        await wait_all_tasks_blocked(0.01)
        _expect(not is_done, "more was taken although nobody had read")
        received = await _receive_exactly(other, sent + len(rest) + 4)
        whole = bytes(sent + len(rest)) + b"last"
        _expect(received == whole, "bytes were lost or changed under back-pressure")


async def _check_big_transfer(one: ByteStream, other: ByteStream) -> None:
    data = bytes(range(256)) * (_MUCH // 256)

    async def sender(stream: ByteStream) -> None:
        await send_all(stream, data)

    async def receiver(stream: ByteStream) -> None:
        # Not a power of two, so that pieces end inside of records and segments.
        received = await _receive_exactly(stream, len(data))
        _expect(received == data, "a big transfer was changed on its way")

    async with trio.open_nursery() as nursery:
        for stream in (one, other):
            nursery.start_soon(sender, stream)
            nursery.start_soon(receiver, stream)


async def _check_cancelled_read(one: ByteStream, other: ByteStream) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.wait_readable)
            await wait_all_tasks_blocked(0.01)
            scope.cancel()
    await send_all(one, b"after")
    _expect(await _receive_exactly(other, 5) == b"after", "a cancelled wait_readable lost bytes")
    await send_all(other, b"back")
    _expect(await _receive_exactly(one, 4) == b"back", "a cancelled wait_readable hurt the other direction")


async def _check_checkpoints(one: ByteStream, other: ByteStream) -> None:
    await send_all(one, b"x")
    # Whether it has to wait or not, it lets others run.
    for _ in range(2):
        with assert_checkpoints():
            await other.wait_readable()
    await _receive_exactly(other, 1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await one.wait_readable()
    _expect(scope.cancelled_caught, "wait_readable did not notice that it was cancelled")
    with assert_checkpoints():
        await one.wait_writable()
    with trio.CancelScope() as scope:
        scope.cancel()
        await one.wait_writable()
    _expect(scope.cancelled_caught, "wait_writable did not notice that it was cancelled")
    try:
        one.try_send(b"y")
    except WriteError:
        return
    raise AssertionError("a cancelled wait_writable must leave the stream broken for writing")


async def _check_closed(one: ByteStream, _other: ByteStream) -> None:
    one.close()
    one.close()
    for what, receive in (("try_receive", lambda: one.try_receive(1)), ("try_send", lambda: one.try_send(b"x"))):
        try:
            receive()
        except NetworkError as error:
            _expect(isinstance(error, ReadError if what == "try_receive" else WriteError), f"{what} raised {error!r}")
        else:
            raise AssertionError(f"{what} on a closed stream must raise")
    _expect(not one.is_quiet(), "is_quiet must be False once the stream is closed: try_receive raises")
    await _expect_raises(one.wait_readable, ReadError, "wait_readable on a closed stream")
    await _expect_raises(one.wait_writable, WriteError, "wait_writable on a closed stream")
    _expect(one.fileno() == -1, "a closed stream has no descriptor: fileno must be -1")


async def _check_closed_while_waiting(one: ByteStream, _other: ByteStream) -> None:
    filler = bytes(65536)
    while one.try_send(filler):
        pass
    # What a layer has to say to itself (TLS session tickets) may end a wait, but only once.
    _expect(one.try_receive(1) is None, "try_receive must be None while nothing has come")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_expect_raises, one.wait_readable, ReadError, "wait_readable while the stream is closed")
        nursery.start_soon(_expect_raises, one.wait_writable, WriteError, "wait_writable while the stream is closed")
        await wait_all_tasks_blocked(0.01)
        one.close()


async def _expect_raises(wait: Callable[[], Awaitable[None]], kind: type[NetworkError], what: str) -> None:
    try:
        await wait()
    except kind:
        return
    raise AssertionError(f"{what} must raise {kind.__name__}")


async def _check_end(one: ByteStream, other: ByteStream) -> None:
    await send_all(one, b"last words")
    one.close()
    _expect(await _receive_exactly(other, 10) == b"last words", "close lost bytes that had been sent")
    await other.wait_readable()
    _expect(not other.is_quiet(), "is_quiet must be False at the end: try_receive has something to say")
    _expect(await _receive(other) == b"", "the end must be read as b''")
    _expect(await _receive(other) == b"", "the end must stay the end")


async def _check_clean_end(one: ByteStream, other: ByteStream) -> None:
    _expect(not other.ended_cleanly, "ended_cleanly must be False before the end was read")
    await _check_end(one, other)
    _expect(other.ended_cleanly, "ended_cleanly must be True after a clean end")


async def _check_peer_gone(one: ByteStream, other: ByteStream) -> None:
    other.close()
    filler = bytes(65536)
    for _ in range(1000):
        try:
            if not one.try_send(filler):
                await one.wait_writable()
            await trio.sleep(0.001)
        except WriteError:
            return
    raise AssertionError("writing to a peer that has closed must raise WriteError in the end")
