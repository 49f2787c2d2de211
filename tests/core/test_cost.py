"""What an operation costs, counted in instructions of Python: the same with ten of anything and with ten thousand."""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from penstock._config import PoolConfig
from penstock._core.actions import Dial
from penstock._core.connection import ConnectionEntry
from penstock._core.endpoint import Endpoint
from penstock._core.machine import PoolMachine
from penstock._core.waiters import Waiter
from penstock._events import CloseReason
from penstock._types import Origin

FEW, MANY = 10, 10_000

#: Branches taken differ a little; a walk over thousands of anything would differ by far more.
MARGIN = 1.1


@contextmanager
def each_instruction(note: Callable[[], None]) -> Iterator[None]:
    """Call `note` for each instruction of Python that runs in here, in whatever function."""
    if sys.version_info >= (3, 12):
        # A trace function is no longer told the instructions of the first call that it asks for them.
        monitoring = sys.monitoring
        tool, instruction = monitoring.PROFILER_ID, monitoring.events.INSTRUCTION
        monitoring.use_tool_id(tool, "each_instruction")
        monitoring.register_callback(tool, instruction, lambda code, offset: note())
        monitoring.set_events(tool, instruction)
        try:
            yield
        finally:
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)
    else:

        def trace(frame: FrameType, event: str, argument: object) -> Any:
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            if event == "opcode":
                note()
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            yield
        finally:
            sys.settrace(before)


def steps(run: Callable[..., object], *arguments: object) -> int:
    """How many instructions of Python a call goes through; a loop shows, wherever it is."""
    count = 0

    def note() -> None:
        nonlocal count
        count += 1

    # A collection in between would count the finalisers of anybody's garbage, and whoever listens to it.
    collecting = gc.isenabled()
    gc.disable()
    try:
        with each_instruction(note):
            run(*arguments)
    finally:
        if collecting:
            gc.enable()
    return count


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


@pytest.mark.parametrize(("reuse", "at_most"), [("lifo", 570), ("round_robin", 585), ("least_loaded", 660)])
def test_acquire_and_release_with_many_idle_connections(reuse: str, at_most: int) -> None:
    costs = []
    for count in (FEW, MANY):
        machine, endpoint = machine_with(count, idle=True, reuse=reuse)
        take_and_give_back(machine, endpoint)
        costs.append([steps(take_and_give_back, machine, endpoint) for _ in range(20)])

    few, many = costs
    assert many == few
    assert max(few) < at_most


def test_a_hint_that_the_server_gives_each_time_costs_nothing_more() -> None:
    machine, endpoint = machine_with(FEW, idle=True)
    take_and_give_back(machine, endpoint)
    usual = steps(take_and_give_back, machine, endpoint)

    def take_and_give_back_with_hint() -> None:
        entry = machine.acquire(1.0, Waiter(endpoint))
        assert entry is not None
        machine.release(1.0, entry, idle_hint=5.0)

    take_and_give_back_with_hint()
    assert steps(take_and_give_back_with_hint) <= usual + 5


def one_entry(endpoint: Endpoint) -> ConnectionEntry:
    return next(iter(endpoint.connections))


def test_hand_over_with_many_waiters() -> None:
    costs = []
    for count in (FEW, MANY):
        machine, endpoint = machine_with(1, idle=False, waiters=count)
        entry = one_entry(endpoint)
        costs.append([steps(machine.release, 1.0, entry) for _ in range(5)])

    assert sum(costs[1]) < sum(costs[0]) * MARGIN


def join_and_leave(machine: PoolMachine, endpoint: Endpoint) -> None:
    waiter = Waiter(endpoint, deadline=1e6)
    machine.acquire(1.0, waiter)
    machine.cancel(1.0, waiter)


def test_joining_and_leaving_a_long_queue() -> None:
    costs = []
    for count in (FEW, MANY):
        machine, endpoint = machine_with(1, idle=False, waiters=count)
        join_and_leave(machine, endpoint)
        costs.append([steps(join_and_leave, machine, endpoint) for _ in range(20)])

    few, many = costs
    assert many == few


def test_leaving_from_the_middle_of_a_long_queue() -> None:
    costs = []
    for count in (FEW, MANY):
        machine, endpoint = machine_with(1, idle=False, waiters=count)
        waiter = list(endpoint.upstream.queue)[count // 2]
        costs.append(steps(machine.cancel, 1.0, waiter))

    assert costs[1] < costs[0] * MARGIN


def lose(machine: PoolMachine, entry: ConnectionEntry) -> None:
    machine.lost(1.0, entry, CloseReason.PEER_CLOSED)
    machine.closed(1.0, entry)


def test_losing_one_of_many_idle_connections() -> None:
    costs = []
    for count in (FEW, MANY):
        machine, endpoint = machine_with(count, idle=True)
        entry = list(endpoint.connections)[count // 2]

        costs.append(steps(lose, machine, entry))

    assert costs[1] < costs[0] * MARGIN


def test_making_room_among_many_idle_connections() -> None:
    costs = []
    for count in (FEW, MANY):
        machine, _ = machine_with(count, idle=True)
        other = machine.endpoint(1.0, Origin("https", "b", 443))
        costs.append(steps(machine.acquire, 1.0, Waiter(other)))

    assert costs[1] < costs[0] * MARGIN


def many_on_one(capacity: int, waiters: int) -> tuple[PoolMachine, ConnectionEntry]:
    """A full connection that carries many exchanges, and so many waiters behind it."""
    config = PoolConfig(max_connections=1, max_waiters=capacity + waiters)
    machine = PoolMachine(config, chance=lambda: 0.5)
    endpoint = machine.endpoint(0.0, Origin("https", "a", 443), multiplexes=True)
    for _ in range(capacity + waiters):
        machine.acquire(0.0, Waiter(endpoint))
    (entry,) = endpoint.connections
    machine.connected(0.0, entry, None, capacity)
    machine.take_actions()
    return machine, entry


def reset_and_see(machine: PoolMachine, entry: ConnectionEntry) -> None:
    machine.release(1.0, entry, resetting=True)
    machine.resets_seen(1.0, entry, 1)


def test_resets_on_a_connection_that_carries_many() -> None:
    costs = []
    for count in (FEW, MANY):
        machine, entry = many_on_one(count, count)
        costs.append(sum(steps(reset_and_see, machine, entry) for _ in range(5)))

    assert costs[1] < costs[0] * MARGIN


def test_taking_and_giving_back_beside_many_others() -> None:
    costs = []
    for count in (FEW, MANY):
        machine, entry = many_on_one(count, 0)
        machine.release(1.0, entry)
        take_and_give_back(machine, entry.endpoint)
        costs.append(max(steps(take_and_give_back, machine, entry.endpoint) for _ in range(20)))

    assert costs[1] < costs[0] * MARGIN


def break_and_close(machine: PoolMachine, entry: ConnectionEntry) -> None:
    machine.going_away(1.0, entry, CloseReason.GOAWAY)
    machine.broken(1.0, entry, CloseReason.IO_ERROR)


def test_the_end_of_a_connection_that_carries_many() -> None:
    costs = []
    for count in (FEW, MANY):
        machine, entry = many_on_one(count, count)
        costs.append(steps(break_and_close, machine, entry))

    assert costs[1] < costs[0] * MARGIN


def test_joining_and_leaving_a_dial_that_many_share() -> None:
    costs = []
    for count in (FEW, MANY):
        machine = PoolMachine(PoolConfig(max_waiters=2 * MANY), chance=lambda: 0.5)
        endpoint = machine.endpoint(0.0, Origin("https", "a", 443), multiplexes=True)
        for _ in range(count):
            machine.acquire(0.0, Waiter(endpoint))
        join_and_leave(machine, endpoint)
        costs.append(max(steps(join_and_leave, machine, endpoint) for _ in range(20)))

    assert costs[1] < costs[0] * MARGIN


def test_waking_up_costs_what_is_due_and_no_more() -> None:
    costs = []
    for count in (FEW, MANY):
        machine, _ = machine_with(1, idle=False, waiters=count)
        costs.append(steps(machine.woke, 52.0))

    assert costs[1] < costs[0] * MARGIN


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
