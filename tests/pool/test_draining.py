"""The wait for a rest that a task of the pool reads."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from penstock._pool.draining import Draining, is_cancelled


async def test_what_is_settled_is_not_waited_for() -> None:
    draining = Draining()
    draining.settle()
    draining.settle()
    with trio.fail_after(1):
        await draining.wait()


async def test_settling_ends_the_wait() -> None:
    draining = Draining()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(draining.wait)
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        draining.settle()


async def test_a_cancellation_ends_the_wait_and_is_raised_by_the_next_one() -> None:
    draining = Draining()
    with trio.CancelScope() as scope:
        scope.cancel()
        await draining.wait()
        draining.settle()
        await trio.lowlevel.checkpoint()
        raise AssertionError
    assert scope.cancelled_caught


async def knows_that_it_is_cancelled() -> bool:
    await trio.lowlevel.cancel_shielded_checkpoint()
    return is_cancelled()


async def test_who_is_cancelled() -> None:
    assert not await knows_that_it_is_cancelled()
    with trio.CancelScope(deadline=trio.current_time() + 100):
        assert not await knows_that_it_is_cancelled()
        with trio.CancelScope(deadline=trio.current_time()):
            assert await knows_that_it_is_cancelled()
    with trio.CancelScope() as scope:
        scope.cancel()
        assert await knows_that_it_is_cancelled()
        with trio.CancelScope(shield=True):
            assert not await knows_that_it_is_cancelled()


async def test_several_wait_for_the_same() -> None:
    draining = Draining()
    done: list[str] = []

    async def wait(name: str) -> None:
        await draining.wait()
        done.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, "one")
        nursery.start_soon(wait, "two")
        await wait_all_tasks_blocked()
        assert done == []
        draining.settle()
    assert sorted(done) == ["one", "two"]
