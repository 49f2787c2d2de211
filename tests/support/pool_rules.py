"""The rules of the pool, checked from scratch: what the machine keeps up to date with care is counted anew.

So a slip in the machine's books shows in the step that made it.
"""

from __future__ import annotations

from collections import Counter

from penstock import _events as events
from penstock._core.connection import State
from penstock._core.endpoint import Counters, Endpoint
from penstock._core.planning import Phase
from penstock._core.timers import INF
from penstock._core.waiters import WaiterState

from .pool_books import EPSILON, Books, require, same


class Rules(Books):
    """Every rule as a method."""

    def check(self) -> None:
        """Every rule, from scratch."""
        for endpoint in self.seen_endpoints:
            self._check_endpoint(endpoint)
        self._check_sets()
        self._check_waiters()
        self._check_rest()
        self._check_time()
        self._check_counters()
        if self.machine.observed:
            self._check_events()

    def _check_endpoint(self, endpoint: Endpoint) -> None:
        slots = self.slots(endpoint)
        same(set(endpoint.connections), set(slots), f"connections of {endpoint.origin}")
        require(len(slots) <= endpoint.max_connections, "more slots than the endpoint may use")
        require(len(endpoint.dials) <= self.config.max_dials_per_host, "more dials than may run at once")
        same(list(endpoint.dials), self.of(endpoint, State.DIALING), f"dials to {endpoint.origin}")
        counted = {state: len(self.of(endpoint, state)) for state in State}
        idle = counted[State.IDLE] + counted[State.PROBING]
        same(endpoint.idle, idle, f"idle connections to {endpoint.origin}")
        same(endpoint.probing, counted[State.PROBING], f"probes of {endpoint.origin}")
        same(endpoint.closing, counted[State.CLOSING], f"connections to {endpoint.origin} being closed")
        same(endpoint.live, idle + counted[State.ACTIVE], f"connections to {endpoint.origin} that can serve")
        same(endpoint.active, counted[State.ACTIVE] + counted[State.DRAINING], f"busy ones of {endpoint.origin}")
        same(
            set(endpoint.ready), {entry for entry in slots if self.has_room(entry)}, f"ready ones of {endpoint.origin}"
        )
        same(len(list(endpoint.ready)), len(set(endpoint.ready)), f"ready ones of {endpoint.origin}")
        if self.machine.endpoints.get(endpoint.origin) is not endpoint:
            require(not slots and not len(endpoint.upstream.queue), "an endpoint was forgotten while in use")

    def _check_sets(self) -> None:
        machine = self.machine
        live = [entry for entry in self.known if entry.state is not State.CLOSED]
        same(machine.total, len(live), "slots in use")
        same({entry.id for entry in machine.connections()}, {entry.id for entry in live}, "connections")
        require(len(live) <= self.config.max_connections, "more slots than the pool may use")
        same(machine.closing, len(self.in_state(State.CLOSING)), "connections being closed")
        same(set(self.closing), set(self.in_state(State.CLOSING)), "connections told to close")
        same(set(machine.idle), set(self.in_state(State.IDLE, State.PROBING)), "idle connections")
        since = [entry.idle_since for entry in machine.idle]
        same(since, sorted(since), "the order of the idle ones")
        limit = self.config.max_idle_connections
        same(machine.idle.size, len(since), "the number of the idle ones")
        require(limit is None or machine.idle.size <= limit, "more idle connections than allowed")
        for entry in live:
            known = self.known[entry]
            same(entry.in_use, known.held, f"exchanges on {entry!r}")
            same(entry.resetting, known.resetting, f"resets on {entry!r} that the server may not have seen")
            same(entry.exchanges, known.exchanges, f"exchanges so far on {entry!r}")
            same(entry.generation, known.generation, f"generation of {entry!r}")
            if entry.state in (State.DIALING, State.IDLE, State.PROBING):
                same(entry.in_use, 0, f"exchanges on {entry!r}")
            elif entry.state in (State.ACTIVE, State.DRAINING):
                require(entry.in_use > 0, f"no exchange on {entry!r}")
            if entry.state in (State.IDLE, State.ACTIVE, State.PROBING):
                same(entry.generation, self.generation, f"the generation of {entry!r}, which may be used")
            if entry.state is State.PROBING:
                require(entry in self.probes, "nobody probes it")
            if entry.is_open:
                same(entry.capacity, known.capacity, f"the capacity of {entry!r}")
                same(entry in entry.endpoint.barred, known.capacity <= 0, f"whether the server bars {entry!r}")
            elif entry in entry.endpoint.barred:
                same(entry.state, State.CLOSING, "a barred connection")

    def _check_waiters(self) -> None:
        queued = [waiter for waiter in self.waiters if waiter.state is WaiterState.QUEUED]
        same(self.machine.waiting, len(queued), "waiters")
        for waiter in self.waiters:
            require(waiter.state is not WaiterState.NEW, "a waiter is neither queued nor ended")
            same(waiter in self.ended, waiter.state is not WaiterState.QUEUED, f"the end of waiter {waiter.number}")
            if waiter.state is not WaiterState.QUEUED:
                require(waiter.dial is None, "a waiter that ended keeps a dial")
                require(waiter.timer_at == INF, "a waiter that ended keeps a timer")
        for endpoint in self.seen_endpoints:
            queue = endpoint.upstream.queue
            mine = self.queued(endpoint)
            same(len(queue), len(mine), f"waiters for {endpoint.origin}")
            same(set(queue), set(mine), f"waiters for {endpoint.origin}")
            covered = {waiter for waiter in mine if waiter.dial is not None}
            covering = queue.covering
            same(set(covering.uncovered), set(mine) - covered, "waiters without a dial")
            for waiter in covered:
                assert waiter.dial is not None
                require(waiter in waiter.dial.covered, "a waiter's dial runs for somebody else")
                require(waiter.dial.endpoint is endpoint, "a waiter's dial goes elsewhere")
                same(waiter.dial.state, State.DIALING, "a waiter's dial")
            spare = [dial for dial in endpoint.dials if len(dial.covered) < endpoint.expected]
            same(set(covering.spare), set(spare), "dials that could run for more")
            for dial in endpoint.dials:
                require(all(waiter.dial is dial for waiter in dial.covered), "a dial runs for who has another")
                require(len(dial.covered) <= endpoint.expected, "a dial runs for more than it can serve")
            require(not spare or not covering.uncovered, "a dial could run for more while somebody has none")

    def _check_rest(self) -> None:
        """No lost wake-up, no stall."""
        machine = self.machine
        if machine.phase is not Phase.RUNNING:
            if machine.phase is not Phase.SUSPENDED:
                same(machine.waiting, 0, "waiters of a pool that stops")
                same(self.in_state(State.IDLE, State.ACTIVE, State.PROBING, State.DIALING), [], "what still runs")
            return
        for endpoint in self.seen_endpoints:
            waiting = self.queued(endpoint)
            if not waiting:
                continue
            fit = [entry for entry in self.slots(endpoint) if self.is_fit(entry)]
            require(not fit or all(waiter.fresh for waiter in waiting), f"a waiter waits beside {fit}")
            if all(waiter.dial is not None for waiter in waiting) or endpoint.barred:
                continue
            health = endpoint.health
            dials = len(self.of(endpoint, State.DIALING))
            if len(self.slots(endpoint)) >= endpoint.max_connections:
                oldest = endpoint.upstream.queue.oldest_uncovered
                stuck = self.of(endpoint, State.IDLE) and not self.of(endpoint, State.CLOSING)
                require(
                    not stuck or (oldest and not oldest.fresh), "who wants a fresh connection is held up by idle ones"
                )
                continue
            if dials >= self.config.max_dials_per_host:
                continue
            if health.pauses and self.now < health.paused_until:
                require(self.wake_at <= health.paused_until, "a pause that nobody will end")
            elif health.pauses and dials:
                continue
            else:
                same(machine.total, self.config.max_connections, f"slots, while somebody waits for {endpoint.origin}")
                require(not machine.idle.size or machine.closing, "a waiter is held up by somebody's idle connection")

    def _check_time(self) -> None:
        """Nothing is due before the machine asked to be woken."""
        due = [(waiter.deadline, "a deadline") for waiter in self.waiters if waiter.state is WaiterState.QUEUED]
        interval = self.config.health_check_interval
        for entry in self.in_state(State.IDLE):
            known = self.known[entry]
            life = self.config.keep_alive_timeout * (1.0 - 0.1 * self.chance)
            due.append((known.opened_at + life + EPSILON, "the end of a life"))
            due.append((known.usable_until + EPSILON, "the end of a hint"))
            if entry.idle_until > self.now:
                due.append((entry.idle_until, "the end of an idle time"))
            if interval is not None:
                due.append((entry.checked_at + interval, "a probe"))
        there = self.in_state(State.IDLE, State.ACTIVE, State.PROBING)
        due += [(self.known[entry].barred_until, "the end of patience with a server") for entry in there]
        running = self.machine.phase is Phase.RUNNING
        for endpoint in self.machine.endpoints.values():
            held = endpoint.upstream.queue.covering.uncovered or self.wanted(endpoint) > endpoint.live + len(
                endpoint.dials
            )
            if running and held and endpoint.health.paused_until > self.now:
                due.append((endpoint.health.paused_until, "the end of a pause"))
            if not endpoint.declared and self.machine.phase is not Phase.CLOSED:
                require(endpoint.timer_at < INF, "an endpoint that is never forgotten")
        for at, what in due:
            require(at >= self.wake_at or at == INF, f"{what} at {at}, but the machine sleeps until {self.wake_at}")
            require(at > self.now or self.wake_at <= self.now, f"{what} at {at} is over")

    def _check_counters(self) -> None:
        total = Counters()
        total.add(self.machine.forgotten)
        for endpoint in self.machine.endpoints.values():
            total.add(endpoint.counters)
            same(sum(endpoint.closed_by_reason.values()), endpoint.counters.closed, "closes by reason")
        ends = Counter(self.ended.values())
        same(total.acquires, len(self.waiters), "acquires")
        same(total.delivered - total.refused, ends["DELIVERED"], "deliveries")
        same(total.failed, ends["DIAL_FAILED"], "waiters that failed")
        same(total.timed_out, ends["POOL_TIMEOUT"], "waiters that timed out")
        same(total.cancelled, ends["CANCELLED"], "waiters that were cancelled")
        same(total.rejected, ends["POOL_CLOSED"] + ends["POOL_FULL"], "waiters that were rejected")
        queued = self.machine.waiting
        spent = total.failed + total.timed_out + total.cancelled + total.rejected
        same(total.acquires, total.delivered - total.refused + spent + queued, "acquires")
        same(total.delivered, total.released + total.refused + len(self.leases), "deliveries")
        same(total.delivered, len(self.deliveries), "deliveries")
        same(total.dials_started, len(self.known), "dials")
        done = total.dials_ok + total.dials_failed + total.dials_given_up
        same(total.dials_started, done + len(self.in_state(State.DIALING)), "dials")
        same(total.dials_started, total.closed + self.machine.total, "connections")
        require(total.reused <= total.delivered, "more reuses than deliveries")

    def _check_events(self) -> None:
        """The events tell the whole story, in order."""
        for event in self.events:
            require(event.at >= self.told_at, "events out of order")
            self.told_at = event.at
            self._follow(event)
        self.events.clear()
        told = {
            State.DIALING: "dialling",
            State.DRAINING: "retired",
            State.CLOSING: "closing",
            State.CLOSED: "closed",
        }
        for entry in self.known:
            same(self.story[entry.id], told.get(entry.state, "open"), f"the story of {entry!r}")
            if entry.state in (State.IDLE, State.PROBING):
                same(self.told_held[entry.id], 0, f"exchanges on {entry!r} by the events")
        for waiter in self.waiters:
            if waiter.state is WaiterState.QUEUED:
                require(waiter.number in self.told_queued, "nobody was told that somebody waits")

    def _follow(self, event: events.Event) -> None:
        story = self.story
        match event:
            case events.DialStarted(connection=number):
                same(story.get(number), None, "before the dial")
                story[number] = "dialling"
            case events.DialFailed(connection=number):
                same(story[number], "dialling", "before the dial failed")
                story[number] = "failed"
            case events.ConnectionOpened(connection=number):
                same(story[number], "dialling", "before the connection opened")
                story[number] = "open"
            case events.ConnectionTaken(connection=number):
                same(story[number], "open", "before the connection was taken")
                self.told_held[number] += 1
            case events.ConnectionReturned(connection=number):
                same(story[number], "open", "before the connection was returned")
                self.told_held[number] -= 1
                require(self.told_held[number] >= 0, "returned more often than taken")
            case events.CapacityChanged(connection=number):
                require(story[number] in ("open", "retired"), "a capacity of what is not there")
            case events.ConnectionRetired(connection=number):
                same(story[number], "open", "before the connection was retired")
                story[number] = "retired"
            case events.ConnectionClosing(connection=number):
                require(story[number] in ("dialling", "open", "retired"), "closing after it closed")
                story[number] = "closing"
            case events.ConnectionClosed(connection=number):
                require(story[number] in ("failed", "closing"), "closed before it was closing")
                story[number] = "closed"
            case events.WaiterQueued(waiter=number):
                self.told_queued.add(number)
            case events.WaiterEnded(waiter=number):
                self.told_queued.discard(number)
