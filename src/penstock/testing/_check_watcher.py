"""What every `IdleWatcher` must do, as checks that can be run against any implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trio.testing import wait_all_tasks_blocked

from .._net.stream import send_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._net.stream import ByteStream
    from .._net.watcher import IdleWatcher

    StreamMaker = Callable[[], Awaitable[tuple[ByteStream, ByteStream]]]
    WatcherMaker = Callable[[], IdleWatcher]


async def check_idle_watcher(watcher_maker: WatcherMaker, stream_maker: StreamMaker) -> None:
    """Run the contract of `IdleWatcher` against an implementation.

    Args:
        watcher_maker: makes a new watcher.
        stream_maker: an async function that returns the two ends of a new connection; the first one is watched.

    Raises:
        AssertionError: the contract is broken; the message says how.
    """
    for check in (_check_bytes_and_end, _check_forget, _check_watch_while_waiting, _check_cancelled):
        watcher = watcher_maker()
        ours, theirs = await stream_maker()
        try:
            with trio.move_on_after(10) as scope:
                await check(watcher, ours, theirs)
            _expect(not scope.cancelled_caught, f"{check.__name__.removeprefix('_')} did not end")
        finally:
            watcher.close()
            watcher.close()
            ours.close()
            theirs.close()


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


async def _check_bytes_and_end(watcher: IdleWatcher, ours: ByteStream, theirs: ByteStream) -> None:
    token = object()
    watcher.watch(ours, token)
    await send_all(theirs, b"x")
    _expect(await watcher.wait() == [token], "bytes on an idle stream must be reported with the stream's token")
    with trio.move_on_after(0.05) as scope:
        await watcher.wait()
    _expect(scope.cancelled_caught, "a stream that was reported must be forgotten")
    while ours.try_receive(10) is not None:
        pass
    watcher.watch(ours, "again")
    theirs.close()
    _expect(await watcher.wait() == ["again"], "the end of an idle stream must be reported")


async def _check_forget(watcher: IdleWatcher, ours: ByteStream, theirs: ByteStream) -> None:
    watcher.forget(ours)
    watcher.watch(ours, "forgotten")
    watcher.forget(ours)
    watcher.forget(ours)
    await send_all(theirs, b"x")
    with trio.move_on_after(0.05) as scope:
        await watcher.wait()
    _expect(scope.cancelled_caught, "a forgotten stream must not be reported")
    watcher.watch(ours, "late")
    _expect(await watcher.wait() == ["late"], "a stream that is readable when it is watched must be reported")


async def _check_watch_while_waiting(watcher: IdleWatcher, ours: ByteStream, theirs: ByteStream) -> None:
    reported: list[object] = []

    async def wait() -> None:
        reported.extend(await watcher.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked(0.01)
        watcher.watch(ours, "watched")
        await wait_all_tasks_blocked(0.01)
        _expect(not reported, "a quiet stream must not be reported")
        await send_all(theirs, b"x")
    _expect(reported == ["watched"], "a stream watched during a wait must be reported")


async def _check_cancelled(watcher: IdleWatcher, ours: ByteStream, theirs: ByteStream) -> None:
    watcher.watch(ours, "kept")
    await send_all(theirs, b"x")
    with trio.CancelScope() as scope:
        scope.cancel()
        await watcher.wait()
    _expect(scope.cancelled_caught, "wait did not notice that it was cancelled")
    _expect(await watcher.wait() == ["kept"], "a cancelled wait must forget nothing")
