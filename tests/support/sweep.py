"""The cancel sweep: cancel one task at every scheduler step of *all* tasks, and look what is left behind.

A bug of cancellation hides between two steps of somebody else: the task that hands a connection over has run, the one
that is to have it has not. Cancelling at the victim's own checkpoints never gets there. So the steps of every task are
counted, before and after each (before: the task is already scheduled with its result; after: it has just blocked), in a
first run without a cancel. Then the scenario runs once more for each of them, with the cancel at that step.

A run must be reproducible for that: trio's scheduler is seeded, its batches are put in order before they are shuffled
(what pytest-trio does for hypothesis), the clock is virtual and jumps, and the garbage collector does not run in
between. Each run is compared step by step with the first one up to the cancel; a scenario that takes another course
is an error, not a smaller sweep. Different seeds interleave the tasks differently.

    def test_acquire_survives_cancellation() -> None:
        async def scenario(sweep: Sweep) -> ToyPool:
            pool = ToyPool()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pool.use)
                with sweep.victim_scope():
                    await pool.use()
            return pool

        def check(pool: ToyPool) -> None:
            assert pool.in_use == 0

        cancel_sweep(scenario, check=check)
"""

from __future__ import annotations

import gc
import inspect
import random
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import trio
import trio._core._run as trio_run
from trio.testing import MockClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

T = TypeVar("T")

#: Steps of one run after which it is taken for an endless loop.
RUNAWAY = 100_000


class Step(NamedTuple):
    """One moment between two pieces of running code."""

    hook: str
    task: str

    def __str__(self) -> str:
        return f"{self.hook} a step of {self.task.rpartition('<locals>.')[2]}"


class Failure(NamedTuple):
    """One point of the sweep after which something was wrong."""

    seed: int
    at: tuple[int, ...]
    steps: tuple[Step, ...]
    error: BaseException

    def __str__(self) -> str:
        where = ", then ".join(f"step {at} ({step})" for at, step in zip(self.at, self.steps, strict=True))
        leaves = ", ".join(f"{type(leaf).__name__}: {leaf}" for leaf in _leaves(self.error))
        return f"seed {self.seed}, cancelled at {where or 'no step'}: {leaves}"


class SweepReport(NamedTuple):
    """What a sweep did.

    Attributes:
        points: how many runs with a cancel there were.
        steps: how many steps the run without a cancel had, per seed.
    """

    points: int
    steps: dict[int, int]


class SweepFailed(AssertionError):
    """Something was left behind; `failures` has every point."""

    def __init__(self, failures: list[Failure], points: int) -> None:
        shown = "\n".join(f"  {failure}" for failure in failures[:10])
        super().__init__(f"{len(failures)} of {points} points failed:\n{shown}")
        self.failures = failures


class NotReproducible(RuntimeError):
    """The scenario took another course with the same seed."""


class Sweep(trio.abc.Instrument):
    """One run of a scenario; what the scenario is given.

    Attributes:
        seed: of this run, for whatever else is random in the scenario.
        cancelled: how many cancels have been made so far.
    """

    def __init__(self, seed: int, cancel_at: tuple[int, ...]) -> None:
        self.seed = seed
        self.cancelled = 0
        self.trace: list[Step] = []
        self.ran_away = False
        self.whole = trio.CancelScope()
        self._cancel_at = cancel_at
        self._victims: list[trio.CancelScope] = []
        self._running = 0

    @contextmanager
    def victim_scope(self) -> Iterator[trio.CancelScope]:
        """What runs in here is cancelled at some step. The second one entered is for the second cancel of a pair."""
        with trio.CancelScope() as scope:
            self._victims.append(scope)
            self._running += 1
            try:
                yield scope
            finally:
                self._running -= 1

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._count("before", task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._count("after", task)

    def _count(self, hook: str, task: trio.lowlevel.Task) -> None:
        if not self._running:
            return
        self.trace.append(Step(hook, task.name))
        if len(self.trace) > RUNAWAY:
            self.ran_away = True
            self.whole.cancel()
        if self.cancelled < len(self._cancel_at) and len(self.trace) == self._cancel_at[self.cancelled]:
            if self.cancelled < len(self._victims):
                self._victims[self.cancelled].cancel()
            self.cancelled += 1


def cancel_sweep(
    scenario: Callable[[Sweep], Awaitable[T]],
    *,
    seeds: Iterable[int] = range(3),
    check: Callable[[T], Awaitable[None] | None] | None = None,
    at_most: int | None = None,
    pairs: int = 0,
    limit: float = 3600.0,
) -> SweepReport:
    """Run `scenario` once for each step at which its victim can be cancelled.

    Call it from a plain function: each run is a `trio.run` of its own.

    Args:
        scenario: an async function that does everything once, with the code to cancel in `with sweep.victim_scope():`.
            It may assert by itself; what it returns is given to `check`.
        seeds: of the scheduler; each is a sweep of its own.
        check: a plain or async function, called in the same trio run after the scenario.
        at_most: try only so many steps per seed, sampled; None for all.
        pairs: besides, sample so many pairs of steps per seed: the first victim is cancelled at one, the second
            victim at a later one.
        limit: seconds on the virtual clock that a run may take.

    Raises:
        SweepFailed: a check failed, an exception left the scenario, or a run did not end.
        NotReproducible: a run took another course than the first one with its seed.
    """
    failures: list[Failure] = []
    points = 0
    lengths: dict[int, int] = {}
    for seed in seeds:
        trace, error = _run(scenario, check, seed, (), limit)
        if error is not None:
            raise SweepFailed([Failure(seed, (), (), error)], 1) from error
        if not trace:
            raise ValueError("the scenario never entered sweep.victim_scope()")
        lengths[seed] = len(trace)
        for cancel_at in _points(len(trace), random.Random(seed), at_most, pairs):
            points += 1
            seen, error = _run(scenario, check, seed, cancel_at, limit)
            same = cancel_at[0]
            if seen[:same] != trace[:same]:
                raise NotReproducible(_difference(seed, trace[:same], seen[:same]))
            if error is not None:
                steps = tuple(seen[at - 1] if at <= len(seen) else Step("after", "everything") for at in cancel_at)
                failures.append(Failure(seed, cancel_at, steps, error))
    if failures:
        raise SweepFailed(failures, points) from failures[0].error
    return SweepReport(points, lengths)


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in _leaves(inner)]


def _points(length: int, chance: random.Random, at_most: int | None, pairs: int) -> list[tuple[int, ...]]:
    singles = range(1, length + 1)
    chosen = singles if at_most is None or at_most >= length else sorted(chance.sample(singles, at_most))
    found: list[tuple[int, ...]] = [(step,) for step in chosen]
    if length > 1:
        found += [tuple(sorted(chance.sample(singles, 2))) for _ in range(pairs)]
    return found


def _difference(seed: int, expected: list[Step], seen: list[Step]) -> str:
    for index, step in enumerate(expected):
        found = seen[index] if index < len(seen) else "the end"
        if found != step:
            return f"seed {seed}: step {index + 1} was {step} at first, then {found}"
    raise AssertionError("the traces are equal")


def _run(
    scenario: Callable[[Sweep], Awaitable[T]],
    check: Callable[[T], Awaitable[None] | None] | None,
    seed: int,
    cancel_at: tuple[int, ...],
    limit: float,
) -> tuple[list[Step], BaseException | None]:
    sweep = Sweep(seed, cancel_at)

    async def main() -> None:
        with trio.fail_after(limit), sweep.whole:
            checked = check(await scenario(sweep)) if check is not None else await scenario(sweep)
            if inspect.isawaitable(checked):
                await checked
        if sweep.ran_away:
            raise AssertionError(f"the run went on for more than {RUNAWAY} steps")

    with _reproducible(seed), _unraisable_errors() as unraisable:
        try:
            trio.run(main, clock=MockClock(autojump_threshold=0), instruments=[sweep])
        except Exception as error:
            return sweep.trace, error
        # From Python 3.12 on, an exception that a `@contextmanager` swallows keeps its frames in a cycle.
        gc.collect()
    return sweep.trace, unraisable[0] if unraisable else None


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    chance, ordered = trio_run._r.getstate(), trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    trio_run._r.seed(seed)
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    collecting = gc.isenabled()
    gc.disable()
    # What is older than the run is not its garbage, and need not be gone through.
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if collecting:
            gc.enable()
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = ordered  # type: ignore[misc]
        trio_run._r.setstate(chance)


@contextmanager
def _unraisable_errors() -> Iterator[list[BaseException]]:
    """What goes wrong in finalisers belongs to the point at which it does."""
    errors: list[BaseException] = []

    def note(unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_value is not None:
            errors.append(unraisable.exc_value)

    before, sys.unraisablehook = sys.unraisablehook, note
    try:
        yield errors
    finally:
        sys.unraisablehook = before
