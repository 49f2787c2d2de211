"""Event → machine → actions: the thin driver of the pure core.

Rules of the file:

1. Every call of a machine method is followed by `perform` before the next checkpoint. `perform` empties the list of
   actions, also those that performing an action brings about.
2. Between being handed a connection and owning it in a lease there is no checkpoint, save one that gives the connection
   back: a cancel that comes later is raised when somebody is responsible.
3. Closing never waits. A slot is free as soon as `close` has returned.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from .._core.actions import Close, Deliver, Dial, Emit, Fail, Probe, WakeAt
from .._core.connection import ConnectionEntry, State
from .._core.endpoint import key_of
from .._core.machine import PoolMachine
from .._core.waiters import Waiter, WaiterState
from .._errors import ConnectTimeout, PenstockError, PoolClosed, ProxyError, RequestError, TLSError
from .._events import CloseReason
from .._http.exchange import SERVED, CapacityChanged, GoingAway, LimitCrossed, ResetsSeen
from .._net.network import is_resource_exhaustion
from .._net.timer import Watchdog
from .draining import Draining
from .forks import forks
from .instruments import Instruments
from .lease import Lease
from .refusals import refusal
from .watching import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .._config import PoolConfig, Upstream
    from .._core.endpoint import Endpoint
    from .._http.exchange import ConnectionEvent, Exchange, HTTPConnection
    from .._http.request import WireRequest
    from .._net.network import Network
    from .._net.timer import PhaseTimer
    from .._types import Origin
    from .connecting import Connector
    from .pushing import Push

_INF = float("inf")

#: What is read of an unfinished body before its connection is given up: bytes, and seconds.
DRAIN_BYTES = 65536
DRAIN_SECONDS = 0.1


class Runner:
    """Owns the machine, the tasks of the pool, and the way in and out for callers."""

    def __init__(
        self,
        config: PoolConfig,
        connector: Connector,
        network: Network,
        *,
        upstreams: dict[Origin, Upstream],
        seed: int | None,
    ) -> None:
        self.chance = random.Random(seed).random  # noqa: S311 - jitter, no secret
        self.machine = PoolMachine(config, chance=self.chance)
        self.instruments = Instruments()
        self.config = config
        self.watchdog = Watchdog()
        self._connector = connector
        self._upstreams = upstreams
        self._watch = Watch(self, network.watcher())
        self._performing = False
        self._wake_at = _INF
        self._sleeper: trio.CancelScope | None = None
        self._tasks: trio.Nursery | None = None
        self.clock = trio.lowlevel.current_clock().current_time
        self._token = trio.lowlevel.current_trio_token()
        self._root = trio.lowlevel.current_root_task()
        self._forks = forks.count
        # Set as soon as nobody will be given a connection any more.
        self.ending = trio.Event()
        # Set whenever a connection opened, failed to open or closed; there only while somebody waits for it.
        self._changed: trio.Event | None = None
        self._perform_one: dict[type, Callable[[Any], None]] = {
            Dial: self._do_dial,
            Deliver: self._do_deliver,
            Fail: self._do_fail,
            Close: self._do_close,
            Probe: self._do_probe,
            WakeAt: self._do_wake_at,
            Emit: self._do_emit,
        }

    # ---- life ----------------------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the tasks of the pool until `stop`, and whatever happens outside."""
        async with trio.open_nursery() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._sleep)
            tasks.start_soon(self.watchdog.run)
            tasks.start_soon(self._watch.arm)
            tasks.start_soon(self._watch.watch)
            for origin in self._upstreams:
                self.endpoint(origin)
            self.perform()
            task_status.started()
            try:
                await trio.lowlevel.checkpoint_if_cancelled()
                # A cancellation from outside is for the caller's tasks: they are to end by it, not by a pool that
                # vanished under them. It leads to the end of the pool's block, and that calls `stop`.
                tasks.cancel_scope.shield = True
                await trio.sleep_forever()
            finally:
                # Also if a task of the pool broke, and before the nursery closes: whoever gives a connection back
                # afterwards must not start a task in it.
                self.stop()

    def stop(self) -> None:
        """Close every connection and end every task; synchronous, may be repeated."""
        self.ending.set()
        self.machine.close(self.clock())
        self.perform()
        self._announce_change()
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    def check_caller(self) -> None:
        """Refuse a caller that is not in the trio run, or not in the process, in which the pool was opened.

        Raises:
            RuntimeError: it is elsewhere; the sockets belong to the process and run that opened them.
        """
        if forks.count != self._forks:
            raise RuntimeError("this pool was opened before a fork; open one in the child process")
        if trio.lowlevel.current_root_task() is not self._root:
            raise RuntimeError("this pool was opened in another trio run; open one in each run")

    async def pause(self, seconds: float) -> bool:
        """Wait before something is sent again, but not when it can only fail; False if the pool ended meanwhile."""
        with trio.move_on_after(seconds) as scope:
            await self.ending.wait()
        return scope.cancelled_caught

    async def wait_changed(self) -> None:
        """Wait until a connection opened, failed to open or closed."""
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()

    # ---- the way in and out --------------------------------------------------------------------------------------

    def endpoint(self, origin: Origin, server_name: str | None = None) -> Endpoint:
        """The machine's endpoint of an origin, with its route."""
        endpoint = self.machine.endpoints.get(key_of(origin, server_name))
        if endpoint is None:
            declared = self._upstreams.get(origin)
            route = self._connector.route(origin, declared, server_name)
            endpoint = self.machine.endpoint(
                self.clock(),
                origin,
                route=route,
                max_connections=declared.max_connections if declared else None,
                min_idle=declared.min_idle if declared else None,
                declared=declared is not None and server_name is None,
                multiplexes=route.multiplexes,
                server_name=server_name,
            )
        return endpoint

    def take(
        self,
        origin: Origin,
        timer: PhaseTimer,
        *,
        priority: int,
        tenant: str | None,
        fresh: bool = False,
        stands_for: int = 0,
        server_name: str | None = None,
    ) -> Lease | Coroutine[Any, Any, Lease]:
        """Take a connection. Once there is a lease, whoever called owns it.

        Args:
            origin: what it leads to.
            timer: of the request.
            priority: class in the queue.
            tenant: whose turn it uses up.
            fresh: whether it must have been dialled just now.
            stands_for: the place of the waiter whose request is sent again; 0 if it is sent for the first time.
            server_name: the name that the server goes by in TLS, where that is not the origin's host.

        Returns:
            A lease; or, where somebody has to wait for it, what to await at once. Cancelling that leaves nothing
            behind. It raises PoolTimeout, PoolFull or PoolClosed where the pool refuses, and ConnectError where the
            dial on this caller's behalf failed.
        """
        machine = self.machine
        # Most are kept under their origin, and every request comes this way.
        endpoint = machine.endpoints.get(origin) if server_name is None else None
        endpoint = endpoint or self.endpoint(origin, server_name)
        now = self.clock()
        entry = None if fresh else machine.take(now, endpoint)
        if entry is not None:
            number = machine.arrivals
            if machine.actions:
                self.perform()
            self._watch.forget(entry)
            reason = entry.handle.look()
            if reason is None:
                return Lease(self, entry, timer, stands_for or number)
            waiter = _make_waiter(endpoint, timer, now, priority=priority, tenant=tenant, stands_for=stands_for)
            waiter.number = number
            entry = machine.refuse(now, waiter, entry, reason)
        else:
            waiter = _make_waiter(
                endpoint, timer, now, priority=priority, tenant=tenant, stands_for=stands_for, fresh=fresh
            )
            if fresh:
                machine.acquire_fresh(now, waiter)
            else:
                entry = machine.acquire(now, waiter)
        return self._take_later(waiter, entry, timer)

    async def _take_later(self, waiter: Waiter, entry: ConnectionEntry | None, timer: PhaseTimer) -> Lease:
        """Wait for a connection, unless there is one already."""
        machine = self.machine
        place = waiter.place
        while True:
            if machine.actions:
                self.perform()
            if entry is None:
                entry = await self._wait(waiter)
            self._watch.forget(entry)
            reason = entry.handle.look()
            if reason is None:
                return Lease(self, entry, timer, place)
            entry = machine.refuse(self.clock(), waiter, entry, reason)

    async def _wait(self, waiter: Waiter) -> ConnectionEntry:
        if waiter.state is WaiterState.QUEUED:
            waiter.handle = trio.lowlevel.current_task()

            def give_up(_: object) -> trio.lowlevel.Abort:
                self.machine.cancel(self.clock(), waiter)
                self.perform()
                return trio.lowlevel.Abort.SUCCEEDED

            try:
                await trio.lowlevel.wait_task_rescheduled(give_up)
            finally:
                waiter.handle = None
        if waiter.failure is not None:
            raise waiter.failure
        entry = waiter.entry
        assert entry is not None
        try:
            # Cancelled in the very step in which it was served: nothing is sent for it, and the next one has its turn.
            await trio.lowlevel.checkpoint_if_cancelled()
        except BaseException:
            self.give_back(entry, None)
            raise
        return entry

    def give_back(self, entry: ConnectionEntry, exchange: Exchange | None) -> None:
        """The exchange on a taken connection ended; None if there was none."""
        machine = self.machine
        now = self.clock()
        outcome = None if exchange is None else exchange.outcome
        if exchange is None or outcome is None:
            machine.put_back(now, entry)
        else:
            # What TLS has decrypted beyond the answer is as unasked for as what the parser has left, and nobody who
            # watches the socket would see it.
            reason = outcome.close or entry.handle.look_behind()
            if outcome is SERVED:
                machine.release(now, entry, reason)
            else:
                # Who was answered has no complaint, whatever ended the connection; who was not cannot tell.
                answered = True if exchange.response_started else None
                machine.release(
                    now,
                    entry,
                    reason,
                    succeeded=False if outcome.failed else answered,
                    idle_hint=outcome.idle_hint,
                    resetting=outcome.resetting,
                )
        if entry.state is State.IDLE:
            self._watch.went_idle(entry)
        if machine.actions:
            self.perform()

    def retire(self, entry: ConnectionEntry, reason: CloseReason) -> None:
        """Let a connection take nothing new."""
        self.machine.going_away(self.clock(), entry, reason)
        self.perform()

    def start_push(self, push: Push, request: WireRequest) -> None:
        """Run an exchange beside the caller who sends its content."""
        assert self._tasks is not None
        self._tasks.start_soon(push.run, request)

    def drain_later(self, entry: ConnectionEntry, exchange: Exchange) -> Draining:
        """Read the rest of an unfinished body off the caller's path, and keep the connection if it ends soon.

        Returns:
            What settles when the connection was given back, or as soon as it is seen that the body goes on.
        """
        assert self._tasks is not None
        draining = Draining()
        self._tasks.start_soon(self._drain, entry, exchange, draining)
        return draining

    async def _drain(self, entry: ConnectionEntry, exchange: Exchange, draining: Draining) -> None:
        try:
            with trio.move_on_after(DRAIN_SECONDS):
                await exchange.drain(None, DRAIN_BYTES, on_piece=draining.settle)
        finally:
            exchange.abandon(CloseReason.EARLY_BODY_CLOSE)
            self.give_back(entry, exchange)
            draining.settle()

    def reclaim(self, entry: ConnectionEntry, exchange: Exchange | None) -> None:
        """Give back what a lease held that was dropped; callable from any thread, at any moment."""
        try:
            self._token.run_sync_soon(self._reclaim, entry, exchange)
        except trio.RunFinishedError:
            entry.handle.close()

    def _reclaim(self, entry: ConnectionEntry, exchange: Exchange | None) -> None:
        if exchange is not None:
            exchange.abandon(CloseReason.LEAKED)
        self.give_back(entry, exchange)

    # ---- actions -------------------------------------------------------------------------------------------------

    def perform(self) -> None:
        """Perform what the machine asks for, until it asks for nothing more."""
        if self._performing:
            return
        self._performing = True
        try:
            while self.machine.actions:
                for action in self.machine.take_actions():
                    self._perform_one[type(action)](action)
        finally:
            self._performing = False

    def _do_deliver(self, action: Deliver) -> None:
        if action.waiter.handle is not None:
            trio.lowlevel.reschedule(action.waiter.handle)

    def _do_fail(self, action: Fail) -> None:
        waiter = action.waiter
        waiter.failure = refusal(self.machine, waiter, action.reason, action.cause, self.clock())
        if waiter.handle is not None:
            trio.lowlevel.reschedule(waiter.handle)

    def _do_dial(self, action: Dial) -> None:
        assert self._tasks is not None
        self._tasks.start_soon(self._dial, action.entry)

    def _do_close(self, action: Close) -> None:
        entry = action.entry
        if isinstance(entry.handle, trio.CancelScope):
            entry.handle.cancel()
        elif entry.handle is not None:
            self._watch.forget(entry)
            entry.handle.close()
            self.machine.closed(self.clock(), entry)
            self._announce_change()

    def _do_probe(self, action: Probe) -> None:
        entry = action.entry
        self._watch.forget(entry)
        self.machine.probed(self.clock(), entry, entry.handle.look())
        if entry.state is State.IDLE:
            self._watch.went_idle(entry)

    def _do_wake_at(self, action: WakeAt) -> None:
        self._wake_at = action.at
        if self._sleeper is not None:
            self._sleeper.deadline = action.at

    def _do_emit(self, action: Emit) -> None:
        self.instruments.tell(action.event)
        self.machine.observed = bool(self.instruments)

    def look_at_idle(self, entry: ConnectionEntry) -> bool:
        """Look at an idle connection that may have become readable; whether it is still good."""
        reason: CloseReason | None = entry.handle.look()
        if reason is not None:
            self.machine.lost(self.clock(), entry, reason)
        return reason is None

    def _announce_change(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def _hear(self, entry: ConnectionEntry, event: ConnectionEvent) -> None:
        """A connection with a reader of its own reports something."""
        machine = self.machine
        now = self.clock()
        if isinstance(event, CapacityChanged):
            machine.capacity_changed(now, entry, event.capacity)
        elif isinstance(event, ResetsSeen):
            machine.resets_seen(now, entry, event.resets)
        elif isinstance(event, GoingAway):
            if event.reason is CloseReason.HTTP1_REQUIRED:
                entry.endpoint.route.require_http1()
            machine.going_away(now, entry, event.reason)
        elif isinstance(event, LimitCrossed):
            machine.limit_crossed(now, entry, event.limit)
        else:
            machine.broken(now, entry, event.reason)
        self.perform()

    # ---- tasks ---------------------------------------------------------------------------------------------------

    async def _sleep(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._wake_at) as self._sleeper:
                await trio.sleep_forever()
            self._wake_at = _INF
            self.machine.woke(self.clock())
            self.perform()

    async def _dial(self, entry: ConnectionEntry) -> None:
        connection: HTTPConnection | None = None
        error: BaseException | None = None
        limit = self.config.connect_timeout if entry.waiter is None else entry.waiter.connect_timeout
        with trio.CancelScope(deadline=_INF if limit is None else self.clock() + limit) as scope:
            if entry.state is not State.DIALING:
                scope.cancel()
            entry.handle = scope
            try:
                connection = await self._connector.connect(entry.endpoint.route)
            except Exception as failure:  # noqa: BLE001 - whatever it is, somebody waits to be told
                error = failure
            except BaseException:
                # A cancellation; out of a race of addresses it comes as a group.
                self._dial_ended(entry, None, self._why_cancelled(entry, limit), limit)
                raise
        if connection is not None or error is not None:
            self._dial_ended(entry, connection, error, limit)

    def _why_cancelled(self, entry: ConnectionEntry, limit: float | None) -> PenstockError:
        origin = entry.endpoint.origin
        if entry.handle.cancel_called and entry.state is State.DIALING:
            way = entry.endpoint.route.way
            through = "" if way is None else f" through the proxy {way.proxy.address}"
            return ConnectTimeout(
                f"connect_timeout of {limit:g} s passed while connecting{through}",
                limit="connect_timeout",
                seconds=limit,
                origin=origin,
                phase="connect",
            )
        return PoolClosed("the pool gave the dial up", origin=origin, phase="connect")

    def _dial_ended(
        self,
        entry: ConnectionEntry,
        connection: HTTPConnection | None,
        error: BaseException | None,
        limit: float | None,
    ) -> None:
        machine = self.machine
        now = self.clock()
        if connection is not None:
            if machine.connected(now, entry, connection, connection.capacity):
                if connection.reads_itself:
                    assert self._tasks is not None
                    self._tasks.start_soon(connection.run, partial(self._hear, entry), self.watchdog)
                if entry.state is State.IDLE:
                    self._watch.went_idle(entry)
            else:
                connection.close()
                machine.closed(now, entry)
        else:
            assert error is not None
            if isinstance(error, RequestError):
                error.annotate(origin=entry.endpoint.origin)
            local = isinstance(error, PoolClosed) or _has_wrong_settings(error) or is_resource_exhaustion(error)
            allowed = limit if isinstance(error, ConnectTimeout) else None
            machine.dial_failed(now, entry, error, local=local, allowed=allowed)
        self.perform()
        self._announce_change()


def _has_wrong_settings(error: BaseException) -> bool:
    """Whether a file that our settings of TLS name cannot be used, those of TLS to a proxy included."""
    failure = error.__cause__ if isinstance(error, ProxyError) else error
    return isinstance(failure, TLSError) and failure.is_local


def _make_waiter(
    endpoint: Endpoint,
    timer: PhaseTimer,
    now: float,
    *,
    priority: int,
    tenant: str | None,
    stands_for: int,
    fresh: bool = False,
) -> Waiter:
    limits = timer.limits
    deadline, limit = timer.total_at, ("total_timeout", limits.total)
    if limits.pool is not None and now + limits.pool < deadline:
        deadline, limit = now + limits.pool, ("pool_timeout", limits.pool)
    return Waiter(
        endpoint,
        deadline=deadline,
        limit=limit,
        priority=priority,
        tenant=tenant,
        connect_timeout=limits.connect,
        fresh=fresh,
        stands_for=stands_for,
    )
