"""What an operation costs, counted in instructions of Python: the same with ten of anything and with ten thousand."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

import pytest

from penstock._config import PoolConfig
from penstock._core.actions import Dial
from penstock._core.connection import ConnectionEntry
from penstock._core.endpoint import Endpoint
from penstock._core.machine import PoolMachine
from penstock._core.waiters import Waiter
from penstock._events import CloseReason
from penstock._types import Origin

Cost = TypeVar("Cost")

FEW, MANY = 10, 10_000

#: Branches taken differ a little; a walk over thousands of anything would differ by far more.
MARGIN = 1.1


def steps(run: Callable[..., object], *arguments: object) -> int:
    """How many instructions of Python a call goes through; a loop shows, wherever it is."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run(*arguments)
    finally:
        sys.settrace(before)
    return count


def with_few_and_many(measure: Callable[[int], Cost]) -> tuple[Cost, Cost]:
    """What `measure` finds with few of anything, and with many.

    The first measurement does not count: from Python 3.12 on a function tells its instructions only from the call
    after the one that asked for them.
    """
    measure(FEW)
    return measure(FEW), measure(MANY)


def machine_with(
    connections: int, *, idle: bool, waiters: int = 0, reuse: str = "lifo"
) -> tuple[PoolMachine, Endpoint]:
    """A machine with so many connections, all idle or all in use, and so many waiters behind them."""
    config = PoolConfig(
        max_connections=connections,
        max_connections_per_host=connections,
        max_dials_per_host=connections,
        max_waiters=waiters + connections,
        reuse=reuse,
    )
    machine = PoolMachine(config, chance=lambda: 0.5)
    endpoint = machine.endpoint(0.0, Origin("https", "a", 443))
    for _ in range(connections):
        machine.acquire(0.0, Waiter(endpoint))
    for action in machine.take_actions():
        if isinstance(action, Dial):
            machine.connected(0.0, action.entry, None)
    if idle:
        for entry in list(endpoint.connections):
            machine.release(0.0, entry)
    for number in range(waiters):
        machine.acquire(0.0, Waiter(endpoint, deadline=50.0 + number, tenant=str(number % 7), priority=number % 3))
    machine.take_actions()
    return machine, endpoint


def take_and_give_back(machine: PoolMachine, endpoint: Endpoint) -> None:
    entry = machine.acquire(1.0, Waiter(endpoint))
    assert entry is not None
    machine.release(1.0, entry)


@pytest.mark.parametrize("reuse", ["lifo", "round_robin", "least_loaded"])
def test_acquire_and_release_with_many_idle_connections(reuse: str) -> None:
    def measure(count: int) -> list[int]:
        machine, endpoint = machine_with(count, idle=True, reuse=reuse)
        take_and_give_back(machine, endpoint)
        return [steps(take_and_give_back, machine, endpoint) for _ in range(20)]

    few, many = with_few_and_many(measure)
    assert many == few
    assert max(few) < 900


def one_entry(endpoint: Endpoint) -> ConnectionEntry:
    return next(iter(endpoint.connections))


def test_hand_over_with_many_waiters() -> None:
    def measure(count: int) -> list[int]:
        machine, endpoint = machine_with(1, idle=False, waiters=count)
        entry = one_entry(endpoint)
        return [steps(machine.release, 1.0, entry) for _ in range(5)]

    few, many = with_few_and_many(measure)
    assert sum(many) < sum(few) * MARGIN


def join_and_leave(machine: PoolMachine, endpoint: Endpoint) -> None:
    waiter = Waiter(endpoint, deadline=1e6)
    machine.acquire(1.0, waiter)
    machine.cancel(1.0, waiter)


def test_joining_and_leaving_a_long_queue() -> None:
    def measure(count: int) -> list[int]:
        machine, endpoint = machine_with(1, idle=False, waiters=count)
        join_and_leave(machine, endpoint)
        return [steps(join_and_leave, machine, endpoint) for _ in range(20)]

    few, many = with_few_and_many(measure)
    assert many == few


def test_leaving_from_the_middle_of_a_long_queue() -> None:
    def measure(count: int) -> int:
        machine, endpoint = machine_with(1, idle=False, waiters=count)
        waiter = list(endpoint.upstream.queue)[count // 2]
        return steps(machine.cancel, 1.0, waiter)

    few, many = with_few_and_many(measure)
    assert many < few * MARGIN


def lose(machine: PoolMachine, entry: ConnectionEntry) -> None:
    machine.lost(1.0, entry, CloseReason.PEER_CLOSED)
    machine.closed(1.0, entry)


def test_losing_one_of_many_idle_connections() -> None:
    def measure(count: int) -> int:
        machine, endpoint = machine_with(count, idle=True)
        entry = list(endpoint.connections)[count // 2]
        return steps(lose, machine, entry)

    few, many = with_few_and_many(measure)
    assert many < few * MARGIN


def test_making_room_among_many_idle_connections() -> None:
    def measure(count: int) -> int:
        machine, _ = machine_with(count, idle=True)
        other = machine.endpoint(1.0, Origin("https", "b", 443))
        return steps(machine.acquire, 1.0, Waiter(other))

    few, many = with_few_and_many(measure)
    assert many < few * MARGIN


def test_waking_up_costs_what_is_due_and_no_more() -> None:
    def measure(count: int) -> int:
        machine, _ = machine_with(1, idle=False, waiters=count)
        return steps(machine.woke, 52.0)

    few, many = with_few_and_many(measure)
    assert many < few * MARGIN


def test_no_call_goes_deeper_however_much_there_is_to_do() -> None:
    machine, _ = machine_with(1, idle=False, waiters=MANY)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 40)
    try:
        machine.drain(1.0)
    finally:
        sys.setrecursionlimit(limit)

    assert machine.waiting == 0
    assert len(machine.take_actions()) == MANY
