"""The cancel sweep finds a planted leak that sits between two steps of another task, and is reproducible."""

from __future__ import annotations

import itertools
import random
import time
from collections import deque

import pytest
import trio

from tests.support.sweep import NotReproducible, Sweep, SweepFailed, cancel_sweep


class ToyPool:
    """One slot. `release` gives it to the oldest waiter; the leaky one forgets that a waiter may leave meanwhile."""

    def __init__(self, *, leaky: bool) -> None:
        self.leaky = leaky
        self.is_free = True
        self.waiting: deque[trio.Event] = deque()
        self.abandoned: set[trio.Event] = set()

    async def acquire(self) -> None:
        if self.is_free:
            self.is_free = False
            return
        turn = trio.Event()
        self.waiting.append(turn)
        try:
            await turn.wait()
        except trio.Cancelled:
            if turn in self.waiting:
                self.waiting.remove(turn)
            elif self.leaky:
                pass
            elif turn.is_set():
                await self.release()  # noqa: ASYNC102 - shielded where it waits
            else:
                self.abandoned.add(turn)
            raise

    async def release(self) -> None:
        while self.waiting:
            turn = self.waiting.popleft()
            # Stands for anything that takes a step: closing the old connection, say. Here the slot is assigned, but
            # its new owner does not know.
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            if turn not in self.abandoned:
                turn.set()
                return
        self.is_free = True

    async def use(self) -> None:
        await self.acquire()
        try:
            await trio.sleep(1)
        finally:
            await self.release()  # noqa: ASYNC102 - shielded where it waits


async def contention(sweep: Sweep, *, leaky: bool) -> ToyPool:
    pool = ToyPool(leaky=leaky)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.use, name="holder")
        nursery.start_soon(victim, sweep, pool, name="victim")
        await trio.testing.wait_all_tasks_blocked()
    return pool


async def victim(sweep: Sweep, pool: ToyPool) -> None:
    with sweep.victim_scope():
        await pool.use()


def slot_is_back(pool: ToyPool) -> None:
    assert pool.is_free, "the slot leaked"


def test_a_planted_leak_is_found_at_a_step_of_another_task() -> None:
    async def scenario(sweep: Sweep) -> ToyPool:
        return await contention(sweep, leaky=True)

    with pytest.raises(SweepFailed, match="the slot leaked") as caught:
        cancel_sweep(scenario, check=slot_is_back, seeds=range(10))
    failing = {step.task for failure in caught.value.failures for step in failure.steps}
    assert failing == {"holder"}, "cancelling at the victim's own steps would have found nothing"


def test_the_mended_pool_passes() -> None:
    async def scenario(sweep: Sweep) -> ToyPool:
        return await contention(sweep, leaky=False)

    start = time.perf_counter()
    report = cancel_sweep(scenario, check=slot_is_back, seeds=range(10))
    assert report.points == sum(report.steps.values()) > 50
    assert (time.perf_counter() - start) / report.points < 0.02


def test_every_step_before_and_after_is_tried_once() -> None:
    cancelled_at = []

    async def scenario(sweep: Sweep) -> None:
        progress = 0
        with sweep.victim_scope() as scope:
            for _ in range(3):
                await trio.lowlevel.checkpoint()
                progress += 1
        if sweep.cancelled:
            assert scope.cancelled_caught
            cancelled_at.append(progress)

    report = cancel_sweep(scenario, seeds=[0])
    assert report.points == report.steps[0] == len(cancelled_at)
    assert cancelled_at == sorted(cancelled_at)
    assert set(cancelled_at) == {0, 1, 2}


def test_seeds_interleave_differently_and_reproducibly() -> None:
    orders: list[tuple[int, list[int]]] = []

    async def scenario(sweep: Sweep) -> None:
        order: list[int] = []

        async def note(number: int) -> None:
            await trio.lowlevel.checkpoint()
            order.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(note, number)
            with sweep.victim_scope():
                await trio.lowlevel.checkpoint()
        orders.append((sweep.seed, order))

    cancel_sweep(scenario, seeds=range(5))
    first, orders[:] = list(orders), []
    cancel_sweep(scenario, seeds=range(5))
    assert orders == first
    assert len({str(order) for _, order in orders}) > 5


def test_a_pair_of_cancels_hits_two_victims() -> None:
    both = 0

    async def sleeper(sweep: Sweep, scopes: list[trio.CancelScope]) -> None:
        with sweep.victim_scope() as scope:
            scopes.append(scope)
            for _ in range(5):
                await trio.sleep(1)

    async def scenario(sweep: Sweep) -> None:
        nonlocal both
        scopes: list[trio.CancelScope] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper, sweep, scopes)
            nursery.start_soon(sleeper, sweep, scopes)
        both += all(scope.cancelled_caught for scope in scopes)

    report = cancel_sweep(scenario, seeds=[1], at_most=5, pairs=20)
    assert report.points == 25
    assert both > 0


def test_time_is_virtual_and_a_run_that_hangs_fails() -> None:
    async def slow(sweep: Sweep) -> None:
        with sweep.victim_scope():
            await trio.sleep(1000)

    cancel_sweep(slow, seeds=[0])

    async def hangs_when_cancelled(sweep: Sweep) -> None:
        with sweep.victim_scope() as scope:
            await trio.sleep(1)
        if scope.cancelled_caught:
            await trio.sleep_forever()

    with pytest.raises(SweepFailed, match="TooSlowError"):
        cancel_sweep(hangs_when_cancelled, seeds=[0])


def test_an_endless_loop_fails() -> None:
    async def scenario(sweep: Sweep) -> None:
        with sweep.victim_scope() as scope:
            for _ in itertools.count():
                await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught

    with pytest.raises(SweepFailed, match="more than"):
        cancel_sweep(scenario, seeds=[0])


def test_an_irreproducible_scenario_is_refused() -> None:
    chance = random.Random(0)

    async def scenario(sweep: Sweep) -> None:
        with sweep.victim_scope():
            if chance.random() < 0.5:
                await trio.lowlevel.checkpoint()
            await trio.sleep(1)

    with pytest.raises(NotReproducible, match="step"):
        cancel_sweep(scenario, seeds=range(10))


def test_an_error_without_any_cancel_is_reported_as_such() -> None:
    async def scenario(sweep: Sweep) -> None:
        with sweep.victim_scope():
            raise ZeroDivisionError

    with pytest.raises(SweepFailed, match="no step: ZeroDivisionError"):
        cancel_sweep(scenario)


def test_an_error_in_a_finaliser_belongs_to_its_point() -> None:
    class Leaky:
        def __init__(self) -> None:
            self.released = False

        def __del__(self) -> None:
            assert self.released, "dropped without release"

    async def scenario(sweep: Sweep) -> None:
        with sweep.victim_scope():
            lease = Leaky()
            await trio.sleep(1)
            lease.released = True

    with pytest.raises(SweepFailed, match="dropped without release"):
        cancel_sweep(scenario, seeds=[0])


def test_an_async_check_runs_inside_trio_and_a_scenario_needs_a_victim() -> None:
    async def scenario(sweep: Sweep) -> float:
        with sweep.victim_scope():
            await trio.sleep(5)
        return trio.current_time()

    async def check(then: float) -> None:
        await trio.sleep(1)
        assert trio.current_time() == pytest.approx(then + 1)

    cancel_sweep(scenario, check=check)

    async def nobody(sweep: Sweep) -> None:
        await trio.sleep(1)

    with pytest.raises(ValueError, match="victim_scope"):
        cancel_sweep(nobody)
