"""Operations of the pool's core, each on a machine that holds a number of something; and controls of the same shape.

Each maker takes that number and returns a function that does the operation once and leaves as many there as it found.
The controls do to a dict and a deque what an operation does to the ledger: whatever they cost more among many than
among few is what the caches cost, and no algorithm could save it.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from itertools import cycle
from typing import Any

from penstock._config import PoolConfig
from penstock._core.actions import Close, Deliver, Dial
from penstock._core.connection import ConnectionEntry
from penstock._core.endpoint import Endpoint
from penstock._core.machine import PoolMachine
from penstock._core.waiters import Waiter
from penstock._events import CloseReason
from penstock._types import Origin

Operation = Callable[[], object]

#: Seconds from one operation to the next.
STEP = 1e-4
NEVER = 1e9
#: What an HTTP/2 connection carries here; half of it is filled before the next connection is used.
STREAMS = 100


def _make(limit: int, *, hosts: int = 1, **settings: Any) -> tuple[PoolMachine, list[Endpoint]]:
    defaults: dict[str, Any] = {
        "max_connections": limit,
        "max_connections_per_host": limit,
        "max_dials_per_host": limit,
        "max_waiters": 1_000_000,
        "keep_alive_timeout": NEVER,
        "idle_timeout": NEVER,
    }
    machine = PoolMachine(PoolConfig(**defaults | settings), chance=lambda: 0.5)
    multiplexes = "http2_config" in settings
    endpoints = [
        machine.endpoint(0.0, Origin("https", f"h{number}.example.com", 443), multiplexes=multiplexes)
        for number in range(hosts)
    ]
    return machine, endpoints


def _answer(machine: PoolMachine, now: float) -> list[ConnectionEntry]:
    """Let every dial and every close succeed; returns the connections that were delivered."""
    delivered = []
    while machine.actions:
        for action in machine.take_actions():
            if isinstance(action, Dial):
                machine.connected(now, action.entry, None)
            elif isinstance(action, Close):
                machine.closed(now, action.entry)
            elif isinstance(action, Deliver):
                delivered.append(action.entry)
    return delivered


def _warm(machine: PoolMachine, endpoints: Iterable[Endpoint], count: int) -> None:
    """Open `count` idle connections to each."""
    for endpoint in endpoints:
        machine.prewarm(0.0, endpoint, count)
        _answer(machine, 0.0)


def _take(machine: PoolMachine, now: float, endpoint: Endpoint) -> ConnectionEntry:
    entry = machine.acquire(now, Waiter(endpoint, deadline=now + 30.0))
    assert entry is not None
    if machine.actions:
        machine.take_actions()
    return entry


def _give_back(machine: PoolMachine, now: float, entry: ConnectionEntry) -> None:
    machine.release(now, entry)
    if machine.actions:
        machine.take_actions()


def _take_and_give_back(machine: PoolMachine, endpoints: Iterable[Endpoint]) -> Operation:
    turns = cycle(endpoints)
    now = 1.0

    def operation() -> None:
        nonlocal now
        now += STEP
        _give_back(machine, now, _take(machine, now, next(turns)))

    return operation


def idle_newest(count: int) -> Operation:
    """Take the newest of N idle connections, give it back."""
    machine, endpoints = _make(count)
    _warm(machine, endpoints, count)
    return _take_and_give_back(machine, endpoints)


def idle_oldest(count: int) -> Operation:
    """Take the oldest of N idle connections, give it back (`round_robin`)."""
    machine, endpoints = _make(count, reuse="round_robin")
    _warm(machine, endpoints, count)
    return _take_and_give_back(machine, endpoints)


def idle_least_loaded(count: int) -> Operation:
    """Take the least loaded of N idle connections, give it back."""
    machine, endpoints = _make(count, reuse="least_loaded")
    _warm(machine, endpoints, count)
    return _take_and_give_back(machine, endpoints)


def busy_any(count: int) -> Operation:
    """One of N busy connections, any of them, comes back and is taken again."""
    machine, (endpoint,) = _make(count)
    _warm(machine, [endpoint], count)
    busy = [_take(machine, 0.5, endpoint) for _ in range(count)]
    random.Random(count).shuffle(busy)
    turns = cycle(busy)
    now = 1.0

    def operation() -> None:
        nonlocal now
        now += STEP
        _give_back(machine, now, next(turns))
        _take(machine, now, endpoint)

    return operation


def one_of_many_hosts(count: int) -> Operation:
    """N hosts with an idle connection each: the same one is taken and given back."""
    machine, endpoints = _make(count, hosts=count)
    _warm(machine, endpoints, 1)
    return _take_and_give_back(machine, endpoints[-1:])


def any_of_many_hosts(count: int) -> Operation:
    """N hosts with an idle connection each: any of them is taken and given back."""
    machine, endpoints = _make(count, hosts=count)
    _warm(machine, endpoints, 1)
    random.Random(count).shuffle(endpoints)
    return _take_and_give_back(machine, endpoints)


def http2_packing(count: int) -> Operation:
    """N connections over HTTP/2: a request ends on any of them, and the next one begins."""
    from penstock._http2_config import HTTP2Config

    machine, (endpoint,) = _make(count, http2_config=HTTP2Config(soft_streams=2), max_dials_per_host=count)
    waiters = [Waiter(endpoint) for _ in range(count)]
    machine.prewarm(0.0, endpoint, count)
    for action in machine.take_actions():
        if isinstance(action, Dial):
            machine.connected(0.0, action.entry, None, STREAMS)
    for waiter in waiters:
        machine.acquire(0.5, waiter)
    machine.take_actions()
    busy = [waiter.entry for waiter in waiters if waiter.entry is not None]
    random.Random(count).shuffle(busy)
    now = 1.0
    at = 0

    def operation() -> None:
        nonlocal now, at
        now += STEP
        _give_back(machine, now, busy[at])
        busy[at] = _take(machine, now, endpoint)
        at = (at + 1) % count

    return operation


def _behind_25(count: int) -> tuple[PoolMachine, Endpoint, list[Waiter]]:
    """25 busy connections and so many waiters behind them, each with a deadline of its own."""
    machine, (endpoint,) = _make(25)
    _warm(machine, [endpoint], 25)
    for _ in range(25):
        _take(machine, 0.5, endpoint)
    waiters = [Waiter(endpoint, deadline=1e6 + number * STEP) for number in range(count)]
    for waiter in waiters:
        machine.acquire(0.5, waiter)
    machine.take_actions()
    return machine, endpoint, waiters


def waiters_served(count: int) -> Operation:
    """N waiters: a connection comes back and is delivered, another waiter joins."""
    machine, endpoint, _ = _behind_25(count)
    entry = next(iter(endpoint.connections))
    now = 1.0

    def operation() -> None:
        nonlocal now, entry
        now += STEP
        machine.release(now, entry)
        (entry,) = _answer(machine, now)
        machine.acquire(now, Waiter(endpoint, deadline=2e6 + now))
        machine.take_actions()

    return operation


def waiters_leaving(count: int) -> Operation:
    """N waiters: any of them gives up, another one joins."""
    machine, endpoint, waiters = _behind_25(count)
    random.Random(count).shuffle(waiters)
    now = 1.0
    at = 0

    def operation() -> None:
        nonlocal now, at
        now += STEP
        machine.cancel(now, waiters[at])
        waiters[at] = waiter = Waiter(endpoint, deadline=2e6 + now)
        machine.acquire(now, waiter)
        if machine.actions:
            machine.take_actions()
        at = (at + 1) % count

    return operation


def waiters_timing_out(count: int) -> Operation:
    """N waiters with deadlines: the pool wakes up for the first, another one joins."""
    machine, endpoint, _ = _behind_25(count)
    now = 1e6 - STEP / 2

    def operation() -> None:
        nonlocal now
        now += STEP
        machine.woke(now)
        machine.acquire(now, Waiter(endpoint, deadline=now + count * STEP))
        machine.take_actions()

    return operation


def hosts_waiting(count: int) -> Operation:
    """N hosts wait for 25 slots: one comes free, is dialled for the host whose turn it is, and a waiter joins there."""
    machine, endpoints = _make(25, hosts=count + 25)
    for endpoint in endpoints:
        machine.acquire(0.5, Waiter(endpoint))
    busy = deque(_answer(machine, 0.5))
    now = 1.0

    def operation() -> None:
        nonlocal now
        now += STEP
        entry = busy.popleft()
        machine.release(now, entry, CloseReason.PEER_CLOSED)
        machine.acquire(now, Waiter(entry.endpoint))
        busy.extend(_answer(machine, now))

    return operation


def dial(count: int) -> Operation:
    """N busy connections: one more is dialled, carries a request and is closed."""
    machine, (endpoint,) = _make(count + 1)
    _warm(machine, [endpoint], count)
    for _ in range(count):
        _take(machine, 0.5, endpoint)
    now = 1.0

    def operation() -> None:
        nonlocal now
        now += STEP
        machine.acquire(now, Waiter(endpoint, deadline=now + 30.0))
        (entry,) = _answer(machine, now)
        machine.release(now, entry, CloseReason.PEER_CLOSED)
        _answer(machine, now)

    return operation


def expiry(count: int) -> Operation:
    """N idle connections: the pool wakes up, the oldest expires and is closed; another one is dialled."""
    machine, (endpoint,) = _make(count, idle_timeout=count * STEP, health_check_interval=None)
    now = 0.0

    def operation() -> None:
        nonlocal now
        now += STEP
        machine.woke(now)
        machine.prewarm(now, endpoint, count)
        _answer(machine, now)

    machine.prewarm(now, endpoint, count)
    for action in machine.take_actions():
        if isinstance(action, Dial):
            now += STEP
            machine.connected(now, action.entry, None)
    now += STEP / 2
    return operation


def making_room(count: int) -> Operation:
    """N hosts with an idle connection each, which is the limit: the oldest makes room for another host's."""
    machine, endpoints = _make(count, hosts=count + 1)
    _warm(machine, endpoints[:-1], 1)
    turns = cycle([endpoints[-1], *endpoints[:-1]])
    now = 1.0

    def operation() -> None:
        nonlocal now
        now += STEP
        machine.acquire(now, Waiter(next(turns), deadline=now + 30.0))
        (entry,) = _answer(machine, now)
        _give_back(machine, now, entry)

    return operation


class _Record:
    """As large as a connection's entry, and as often read and written in an operation."""

    __slots__ = tuple(f"field{number}" for number in range(22))

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)


def _control(count: int) -> tuple[list[_Record], dict[_Record, int], deque[_Record]]:
    records = [_Record() for _ in range(count)]
    listed = dict.fromkeys(records, 0)
    random.Random(count).shuffle(records)
    return records, listed, deque(records)


def control_same(count: int) -> Operation:
    """A dict and a deque of N: the same record is taken out and put back."""
    _, listed, line = _control(count)

    def operation() -> None:
        record: Any = line.pop()
        listed[record] = now = listed.pop(record) + 1
        record.field0, record.field10, record.field21 = now, now, record.field5
        line.append(record)

    return operation


def control_next(count: int) -> Operation:
    """A dict and a deque of N: any record is taken out and put back."""
    _, listed, line = _control(count)

    def operation() -> None:
        record: Any = line.popleft()
        listed[record] = now = listed.pop(record) + 1
        record.field0, record.field10, record.field21 = now, now, record.field5
        line.append(record)

    return operation


def control_hosts(count: int) -> Operation:
    """N records with a dict and a deque each: any of them is taken out of its own and put back."""
    records = [_Record() for _ in range(count)]
    hosts = [({record: 0}, deque([record])) for record in records]
    random.Random(count).shuffle(hosts)
    turns = cycle(hosts)

    def operation() -> None:
        listed, line = next(turns)
        record: Any = line.popleft()
        listed[record] = now = listed.pop(record) + 1
        record.field0, record.field10, record.field21 = now, now, record.field5
        line.append(record)

    return operation


OPERATIONS: tuple[Callable[[int], Operation], ...] = (
    idle_newest,
    idle_oldest,
    idle_least_loaded,
    busy_any,
    one_of_many_hosts,
    any_of_many_hosts,
    http2_packing,
    waiters_served,
    waiters_leaving,
    waiters_timing_out,
    hosts_waiting,
    dial,
    expiry,
    making_room,
)
CONTROLS: tuple[Callable[[int], Operation], ...] = (control_same, control_next, control_hosts)
