"""Cost of acquire and release in the pool's core, with few and with many connections or waiters."""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from typing import Any

from penstock._config import PoolConfig
from penstock._core.actions import Deliver, Dial
from penstock._core.connection import ConnectionEntry
from penstock._core.endpoint import Endpoint
from penstock._core.machine import PoolMachine
from penstock._core.waiters import Waiter
from penstock._types import Origin

from ..table import render, spread, verdict

#: How much more an operation may cost among 10,000 than among 10.
LIMIT = 1.3

#: Operations in a sample.
OPERATIONS = 5_000

Operation = Callable[[], None]


def _make(limit: int) -> PoolMachine:
    config = PoolConfig(
        max_connections=limit,
        max_connections_per_host=limit,
        max_dials_per_host=limit,
        max_waiters=100_000,
        keep_alive_timeout=1e9,
        idle_timeout=1e9,
    )
    return PoolMachine(config, chance=lambda: 0.5)


def _dial_all(machine: PoolMachine) -> list[ConnectionEntry]:
    """Let every dial succeed; returns the connections."""
    made = [action.entry for action in machine.take_actions() if isinstance(action, Dial)]
    for entry in made:
        machine.connected(0.0, entry, None)
    machine.take_actions()
    return made


def _take_and_return(machine: PoolMachine, endpoint: Endpoint) -> Operation:
    """Take an idle connection and give it back."""
    now = 1.0

    def operation() -> None:
        nonlocal now
        now += 1e-4
        entry = machine.acquire(now, Waiter(endpoint, deadline=now + 30.0))
        assert entry is not None
        if machine.actions:
            machine.take_actions()
        machine.release(now, entry)
        if machine.actions:
            machine.take_actions()

    return operation


def idle_on_one_host(count: int) -> Operation:
    """`count` idle connections to the host that is asked for."""
    machine = _make(count)
    endpoint = machine.endpoint(0.0, Origin("https", "api.example.com", 443))
    machine.prewarm(0.0, endpoint, count)
    _dial_all(machine)
    return _take_and_return(machine, endpoint)


def idle_on_many_hosts(count: int) -> Operation:
    """One idle connection to each of `count` hosts, one of which is asked for."""
    machine = _make(count)
    for number in range(count):
        endpoint = machine.endpoint(0.0, Origin("https", f"h{number}.example.com", 443))
        machine.prewarm(0.0, endpoint, 1)
        _dial_all(machine)
    return _take_and_return(machine, endpoint)


def waiters(count: int) -> Operation:
    """`count` waiters behind 25 busy connections: one is served, one more joins."""
    machine = _make(25)
    endpoint = machine.endpoint(0.0, Origin("https", "api.example.com", 443))
    machine.prewarm(0.0, endpoint, 25)
    _dial_all(machine)
    busy = [machine.acquire(0.5, Waiter(endpoint)) for _ in range(25)]
    for _ in range(count):
        machine.acquire(0.5, Waiter(endpoint, deadline=1e6))
    machine.take_actions()
    entry = busy[0]
    now = 1.0

    def operation() -> None:
        nonlocal now, entry
        now += 1e-4
        assert entry is not None
        machine.release(now, entry)
        for action in machine.take_actions():
            if isinstance(action, Deliver):
                entry = action.entry
        machine.acquire(now, Waiter(endpoint, deadline=1e6 + now))
        if machine.actions:
            machine.take_actions()

    return operation


SCENARIOS = {
    "idle connections, one host": idle_on_one_host,
    "idle connections, one per host": idle_on_many_hosts,
    "waiters behind 25 connections": waiters,
}


def _sample(operation: Operation) -> float:
    """Microseconds per operation."""
    started = time.process_time()
    for _ in range(OPERATIONS):
        operation()
    return (time.process_time() - started) / OPERATIONS * 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("--few", type=int, default=10)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=15, help="samples of each cell, taken in turn")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the table, and return everything as data."""
    rows: list[list[str]] = []
    verdicts: list[dict[str, Any]] = []
    for name, scenario in SCENARIOS.items():
        few, many = scenario(options.few), scenario(options.many)
        # As in `timeit`: what the collector does among 10,000 objects is not the pool's doing.
        gc.collect()
        gc.disable()
        try:
            pairs = [(_sample(few), _sample(many)) for _ in range(options.samples)]
        finally:
            gc.enable()
        small, large = spread([pair[0] for pair in pairs]), spread([pair[1] for pair in pairs])
        found = large.median / small.median
        rows.append([name, f"{small:.2f}", f"{large:.2f}", f"{found:.2f}", verdict(found <= LIMIT)])
        verdicts.append(
            {"name": name, "few_us": small.median, "many_us": large.median, "found": found, "limit": LIMIT}
            | {"met": found <= LIMIT}
        )
    head = ["µs for acquire + release", f"among {options.few}", f"among {options.many}", "ratio", f"at most {LIMIT}"]
    print(render(head, rows) + "\n")
    return {"targets": verdicts}
