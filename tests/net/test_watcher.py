"""One selector watches all idle streams."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from penstock._net.network import SocketNetwork
from penstock._net.stream import SocketStream
from penstock._net.watcher import SelectorWatcher


@pytest.fixture
def watcher() -> Iterator[SelectorWatcher]:
    watcher = SocketNetwork().watcher()
    assert isinstance(watcher, SelectorWatcher)
    yield watcher
    watcher.close()


@pytest.fixture
def streams() -> Iterator[list[tuple[SocketStream, socket.socket]]]:
    sockets = [socket.socketpair() for _ in range(20)]
    pairs = [(SocketStream(ours), theirs) for ours, theirs in sockets]
    yield pairs
    for stream, theirs in pairs:
        stream.close()
        theirs.close()


Streams = list[tuple[SocketStream, socket.socket]]


async def test_it_tells_which_became_readable_and_forgets_them(watcher: SelectorWatcher, streams: Streams) -> None:
    for number, (stream, _) in enumerate(streams):
        watcher.watch(stream, number)
    for number in (3, 7):
        streams[number][1].send(b"x")
    assert sorted(await watcher.wait()) == [3, 7]  # type: ignore[type-var]
    streams[4][1].send(b"x")
    assert await watcher.wait() == [4]


async def test_it_wakes_a_task_that_waits_already(watcher: SelectorWatcher, streams: Streams) -> None:
    found: list[object] = []

    async def wait() -> None:
        found.extend(await watcher.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        watcher.watch(streams[0][0], "late")
        await trio.testing.wait_all_tasks_blocked()
        streams[0][1].close()
    assert found == ["late"]


async def test_what_is_forgotten_is_not_told(watcher: SelectorWatcher, streams: Streams) -> None:
    first, second = streams[0], streams[1]
    watcher.watch(first[0], "first")
    watcher.watch(second[0], "second")
    watcher.forget(first[0])
    watcher.forget(first[0])
    first[1].send(b"x")
    second[1].send(b"x")
    assert await watcher.wait() == ["second"]
    watcher.watch(first[0], "first again")
    assert await watcher.wait() == ["first again"]


async def test_a_stream_closed_behind_its_back_does_no_harm(watcher: SelectorWatcher, streams: Streams) -> None:
    closed, _ = streams[0]
    number = closed.fileno()
    watcher.watch(closed, "closed")
    closed.close()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert number in (ours.fileno(), theirs.fileno())
        reborn, peer = (ours, theirs) if ours.fileno() == number else (theirs, ours)
        successor = SocketStream(reborn)
        watcher.watch(successor, "successor")
        watcher.forget(closed)
        peer.send(b"x")
        assert await watcher.wait() == ["successor"]


async def test_a_cancelled_wait_loses_nothing(
    watcher: SelectorWatcher, streams: Streams, autojump_clock: trio.testing.MockClock
) -> None:
    watcher.watch(streams[0][0], "token")
    with trio.move_on_after(1):
        await watcher.wait()
    streams[0][1].send(b"x")
    assert await watcher.wait() == ["token"]


async def test_closing_wakes_the_one_who_waits(watcher: SelectorWatcher) -> None:
    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await watcher.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        watcher.close()
    watcher.close()
