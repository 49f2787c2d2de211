"""A short story about a machine: plain calls, and what the machine wants done as a list of words.

    story = Story(max_connections=1)
    story.ask("a")
    assert story.told() == ["dial 1"]
    story.connect(1)
    assert story.told() == ["deliver 1 to 1"]

Connections and waiters go by their numbers, in the order in which they came. Wishes to be woken are kept apart in
`wake_at`; events, if the story is observed, in `events`.
"""

from __future__ import annotations

from typing import Any

from penstock._config import PoolConfig
from penstock._core.actions import Close, Deliver, Dial, Emit, Fail, Probe, WakeAt
from penstock._core.connection import ConnectionEntry, State
from penstock._core.endpoint import Endpoint
from penstock._core.machine import PoolMachine
from penstock._core.timers import INF
from penstock._core.waiters import Waiter
from penstock._events import CloseReason, Event
from penstock._types import Origin


class Story:
    """A machine, its time, and what came of it so far.

    Args:
        chance: what the machine is told when it asks for a chance.
        observed: whether events are built.
        multiplexes: whether connections may turn out to carry several exchanges.
        **settings: of the pool.
    """

    def __init__(
        self, *, chance: float = 0.0, observed: bool = False, multiplexes: bool = False, **settings: Any
    ) -> None:
        settings.setdefault("health_check_interval", None)
        self.chance = chance
        self.multiplexes = multiplexes
        self.machine = PoolMachine(PoolConfig(**settings), chance=lambda: self.chance)
        self.machine.observed = observed
        self.now = 0.0
        self._wake_at = INF
        self.entries: dict[int, ConnectionEntry] = {}
        self.waiters: dict[int, Waiter] = {}
        self.causes: dict[int, BaseException | None] = {}
        self.events: list[Event] = []
        self._told: list[str] = []

    # ---- what happens ------------------------------------------------------------------------------------------------

    def endpoint(self, name: str = "a", **settings: Any) -> Endpoint:
        settings.setdefault("multiplexes", self.multiplexes)
        return self.machine.endpoint(self.now, Origin("https", name, 443), **settings)

    def ask(
        self,
        name: str = "a",
        *,
        wait: float = INF,
        priority: int = 0,
        tenant: str | None = None,
        connect: float | None = None,
        stands_for: int = 0,
    ) -> int | None:
        """Acquire; the number of the connection if there is one at once."""
        waiter = Waiter(
            self.endpoint(name),
            deadline=self.now + wait,
            priority=priority,
            tenant=tenant,
            connect_timeout=connect,
            stands_for=stands_for,
        )
        entry = self.machine.acquire(self.now, waiter)
        self.waiters[waiter.number] = waiter
        return None if entry is None else entry.id

    def ask_fresh(self, name: str = "a", *, wait: float = INF) -> None:
        """Acquire a connection that was just dialled, and no other."""
        waiter = Waiter(self.endpoint(name), deadline=self.now + wait, fresh=True)
        self.machine.acquire_fresh(self.now, waiter)
        self.waiters[waiter.number] = waiter

    def connect(self, number: int, *, capacity: int = 1) -> bool:
        self.listen()
        return self.machine.connected(self.now, self.entries[number], f"socket {number}", capacity)

    def fail(self, number: int, error: str = "refused", **how: Any) -> None:
        self.listen()
        self.machine.dial_failed(self.now, self.entries[number], OSError(error), **how)

    def release(self, number: int, reason: CloseReason | None = None, **how: Any) -> None:
        self.listen()
        self.machine.release(self.now, self.entries[number], reason, **how)

    def put_back(self, number: int) -> None:
        self.listen()
        self.machine.put_back(self.now, self.entries[number])

    def refuse(self, waiter: int, reason: CloseReason = CloseReason.PEER_CLOSED) -> int | None:
        entry = self.waiters[waiter].entry
        assert entry is not None
        other = self.machine.refuse(self.now, self.waiters[waiter], entry, reason)
        return None if other is None else other.id

    def cancel(self, waiter: int) -> None:
        self.machine.cancel(self.now, self.waiters[waiter])

    def closed(self, number: int) -> None:
        self.listen()
        self.machine.closed(self.now, self.entries[number])

    def lost(self, number: int, reason: CloseReason = CloseReason.PEER_CLOSED) -> None:
        self.machine.lost(self.now, self.entries[number], reason)

    def capacity(self, number: int, capacity: int) -> None:
        self.listen()
        self.machine.capacity_changed(self.now, self.entries[number], capacity)

    def resets_seen(self, number: int, resets: int = 1) -> None:
        self.machine.resets_seen(self.now, self.entries[number], resets)

    def going_away(self, number: int, reason: CloseReason = CloseReason.GOAWAY) -> None:
        self.machine.going_away(self.now, self.entries[number], reason)

    def broken(self, number: int, reason: CloseReason = CloseReason.IO_ERROR) -> None:
        self.machine.broken(self.now, self.entries[number], reason)

    def probed(self, number: int, reason: CloseReason | None = None) -> None:
        self.machine.probed(self.now, self.entries[number], reason)

    def wake(self, at: float) -> None:
        """Time passes until `at`, and the machine is woken then."""
        self.listen()
        self.now = at
        self._wake_at = INF
        self.machine.woke(at)

    # ---- what the machine wants --------------------------------------------------------------------------------------

    def told(self) -> list[str]:
        """What the machine wants done since the last call."""
        self.listen()
        told, self._told = self._told, []
        return told

    @property
    def wake_at(self) -> float:
        """When the machine wants to be woken next."""
        self.listen()
        return self._wake_at

    def listen(self) -> None:
        for action in self.machine.take_actions():
            match action:
                case Dial(entry):
                    self.entries[entry.id] = entry
                    self._told.append(f"dial {entry.id}")
                case Deliver(waiter, entry):
                    self._told.append(f"deliver {entry.id} to {waiter.number}")
                case Fail(waiter, reason, cause):
                    self.causes[waiter.number] = cause
                    self._told.append(f"fail {waiter.number}: {reason.value}")
                case Close(entry, reason):
                    self._told.append(f"close {entry.id}: {reason.value}")
                case Probe(entry):
                    self._told.append(f"probe {entry.id}")
                case WakeAt(at):
                    self._wake_at = at
                case Emit(event):
                    self.events.append(event)

    # ---- short cuts --------------------------------------------------------------------------------------------------

    def active(self, name: str = "a", *, capacity: int = 1) -> int:
        """A connection that was dialled for an acquirer and is in use; its number."""
        assert self.ask(name) is None
        self.listen()
        number = max(self.entries)
        self.connect(number, capacity=capacity)
        assert self.entries[number].state is State.ACTIVE
        self.told()
        return number

    def idle(self, name: str = "a") -> int:
        """A connection that was used once and is idle; its number."""
        number = self.active(name)
        self.release(number)
        self.told()
        return number

    def states(self) -> dict[int, str]:
        """The state of every connection that holds a slot, by number."""
        return {entry.id: entry.state.name for entry in self.machine.connections()}
