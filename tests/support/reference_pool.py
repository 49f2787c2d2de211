"""The pool once more, naively: plain lists, everything looked at anew after every event, O(n²) and proud of it.

Written from the rules of the design, to be compared with the machine: who is served in which order and with which
connection, who is refused and why, which dials run for whom, which connections hold a slot in which state. What the
rules leave open (in which order floors of several endpoints share the last slots of the total) the comparison has to
avoid.
"""

from __future__ import annotations

from .reference_books import LIVE_STATES, ReferenceBooks
from .reference_records import INF, Connection, Endpoint, Waiter


class ReferencePool(ReferenceBooks):
    """A pool of few words. Its methods are named as the machine's; `now` never goes back."""

    # ---- events ------------------------------------------------------------------------------------------------------

    def endpoint(self, now: float, name: str, *, declared: bool = False) -> Endpoint:
        if name not in self.endpoints:
            floor = min(self.floors.get(name, self.config.min_idle), self.config.max_connections_per_host)
            multiplexes = name in self.multiplexing
            self.endpoints[name] = Endpoint(
                self.config.max_connections_per_host,
                floor,
                declared,
                multiplexes,
                expected=INF if multiplexes else 1,
                last_used=-INF if declared else now,
            )
            self.lacking[name] = []
            if declared:
                self.rest(now)
        return self.endpoints[name]

    def acquire(
        self,
        now: float,
        name: str,
        *,
        priority: int,
        tenant: str | None,
        deadline: float,
        connect_timeout: float | None,
    ) -> Waiter:
        endpoint = self.endpoint(now, name)
        endpoint.last_used = max(endpoint.last_used, now)
        self.waiter_number += 1
        waiter = Waiter(self.waiter_number, name, priority, tenant, deadline, connect_timeout)
        connection = None
        if self.phase == "RUNNING" and not any(other.origin == name and not other.fresh for other in self.queue):
            connection = self.choose(now, name)
        if connection is not None:
            self.hand_over(waiter, connection)
        elif self.phase in ("DRAINING", "CLOSED"):
            self.refuse_waiter(waiter, "POOL_CLOSED")
        elif deadline <= now:
            self.refuse_waiter(waiter, "POOL_TIMEOUT")
        elif len(self.queue) >= self.config.max_waiters:
            self.refuse_waiter(waiter, "POOL_FULL")
        else:
            self.join(waiter, first=False)
        self.rest(now)
        return waiter

    def acquire_fresh(self, now: float, name: str, deadline: float) -> Waiter:
        endpoint = self.endpoint(now, name)
        endpoint.last_used = max(endpoint.last_used, now)
        self.waiter_number += 1
        waiter = Waiter(self.waiter_number, name, 0, None, deadline, fresh=True)
        self.evict(name)
        if self.phase in ("DRAINING", "CLOSED"):
            self.refuse_waiter(waiter, "POOL_CLOSED")
        elif deadline <= now:
            self.refuse_waiter(waiter, "POOL_TIMEOUT")
        else:
            self.join(waiter, first=False)
        self.rest(now)
        return waiter

    def cancel(self, now: float, waiter: Waiter) -> None:
        if waiter.state == "QUEUED":
            self.leave(waiter)
            waiter.state = "CANCELLED"
        self.rest(now)

    def refuse(self, now: float, waiter: Waiter, reason: str) -> None:
        connection = waiter.connection
        assert connection is not None
        waiter.connection = None
        connection.in_use -= 1
        connection.exchanges -= 1
        if reason == "PEER_CLOSED" and not connection.in_use:
            self.endpoints[waiter.origin].lesson.peer_closed(now, now - connection.idle_since)
        if connection.state in ("ACTIVE", "DRAINING"):
            self.retire(connection)
        if not connection.exchanges:
            endpoint = self.endpoints[waiter.origin]
            endpoint.exchange_failures += 1
            if self.fail(now, endpoint):
                self.evict(waiter.origin)
        other = self.choose(now, waiter.origin) if self.phase == "RUNNING" and not waiter.fresh else None
        if other is not None:
            self.hand_over(waiter, other)
        elif self.phase in ("DRAINING", "CLOSED"):
            self.refuse_waiter(waiter, "POOL_CLOSED")
        elif waiter.deadline <= now:
            self.refuse_waiter(waiter, "POOL_TIMEOUT")
        else:
            self.join(waiter, first=not waiter.fresh)
        self.rest(now)

    def release(
        self,
        now: float,
        waiter: Waiter,
        *,
        broken: bool,
        succeeded: bool | None,
        idle_hint: float | None,
        resetting: bool,
    ) -> None:
        connection = waiter.connection
        assert connection is not None
        waiter.connection = None
        connection.in_use -= 1
        connection.resetting += resetting
        endpoint = self.endpoints[connection.origin]
        endpoint.last_used = max(endpoint.last_used, now)
        limit = self.config.max_requests_per_connection
        was_active = connection.state == "ACTIVE"
        if was_active:
            if (
                broken
                or not self.config.keep_alive
                or now >= connection.expires_at
                or (limit is not None and connection.exchanges >= limit)
                or (idle_hint is not None and not connection.in_use and idle_hint <= 2.0)
            ):
                self.retire(connection)
            elif self.must_yield(now, connection):
                self.yielding = connection
                self.retire(connection)
            else:
                self.rest_connection(now, connection, idle_hint)
        elif connection.state == "DRAINING":
            self.retire(connection)
        # Who waits has the connection before anything is concluded from the exchange; no dial comes before that.
        if was_active and connection.state not in ("CLOSING", "DRAINING"):
            self.rest(now)
        if succeeded:
            endpoint.exchange_failures = 0
            if endpoint.dial_failures < self.config.unhealthy_threshold:
                endpoint.pauses = 0
                endpoint.paused_until = 0.0
        elif succeeded is not None and (was_active or not connection.failed):
            connection.failed = True
            endpoint.exchange_failures += 1
            if self.fail(now, endpoint):
                self.evict(connection.origin)
        self.rest(now)

    def connected(self, now: float, connection: Connection, capacity: int) -> None:
        if connection.state != "DIALING":
            return
        endpoint = self.endpoints[connection.origin]
        endpoint.dial_failures = 0
        self.shortages = 0
        self.end_dial(connection)
        connection.state = "IDLE"
        connection.opened_at = now
        connection.expires_at = now + self.config.keep_alive_timeout * (1.0 - 0.1 * self.chance)
        if endpoint.multiplexes:
            limit = self.config.max_requests_per_connection
            self.expect(
                connection.origin, INF if capacity <= 0 else capacity if limit is None else min(capacity, limit)
            )
        if connection.generation != self.generation:
            connection.state = "CLOSING"
        else:
            self.set_capacity(now, connection, capacity)
            self.rest_connection(now, connection, None)
            while self.phase == "RUNNING" and self.has_room(connection):
                fresh = [waiter for waiter in self.queue if waiter.origin == connection.origin and waiter.fresh]
                if not fresh:
                    break
                self.leave(fresh[0])
                self.hand_over(fresh[0], connection)
        self.rest(now)

    def dial_failed(self, now: float, connection: Connection, *, local: bool, allowed: float | None) -> None:
        if connection.state != "DIALING":
            self.closed(now, connection)
            return
        endpoint = self.endpoints[connection.origin]
        endpoint.target = 0
        waiters = [
            waiter for waiter in connection.covered if endpoint.expected == 1 or waiter.arrival <= connection.began
        ]
        self.connections.remove(connection)
        self.end_dial(connection)
        if local:
            self.shortages += 1
            self.floors_paused_until = now + self.pause(self.shortages)
            idle = self.longest_idle()
            first_time = [waiter for waiter in waiters if not waiter.retried]
            if idle is not None and first_time:
                idle.state = "CLOSING"
            for waiter in waiters:
                if idle is not None and not waiter.retried:
                    waiter.retried = True
                else:
                    self.leave(waiter)
                    self.refuse_waiter(waiter, "DIAL_FAILED")
        else:
            endpoint.dial_failures += 1
            for waiter in waiters:
                patience = INF if waiter.connect_timeout is None else waiter.connect_timeout
                if allowed is None or patience <= allowed:
                    self.leave(waiter)
                    self.refuse_waiter(waiter, "DIAL_FAILED")
            if self.fail(now, endpoint):
                self.evict(connection.origin)
            if now < endpoint.paused_until and not self.of(connection.origin, "DIALING", *LIVE_STATES):
                for other in [other for other in self.queue if other.origin == connection.origin]:
                    self.leave(other)
                    self.refuse_waiter(other, "DIAL_FAILED")
        self.rest(now)

    def lost(self, now: float, connection: Connection, reason: str) -> None:
        if connection.state == "IDLE":
            if reason == "PEER_CLOSED":
                self.endpoints[connection.origin].lesson.peer_closed(now, now - connection.idle_since)
            connection.state = "CLOSING"
            self.note_in_vain(now, connection)
        self.rest(now)

    def probed(self, now: float, connection: Connection, reason: str | None) -> None:
        if connection.state == "PROBING":
            if reason is None:
                connection.state = "IDLE"
                connection.checked_at = now
                others = self.of(connection.origin, *LIVE_STATES)
                connection.turn = min([other.turn for other in others]) - 1.0
                self.plan_look(now, connection)
            else:
                connection.state = "CLOSING"
                endpoint = self.endpoints[connection.origin]
                if reason == "IO_ERROR":
                    endpoint.exchange_failures += 1
                    if self.fail(now, endpoint):
                        self.evict(connection.origin)
        self.rest(now)

    def capacity_changed(self, now: float, connection: Connection, capacity: int) -> None:
        if connection.state in LIVE_STATES and capacity != connection.capacity:
            had_room = self.has_room(connection)
            self.set_capacity(now, connection, capacity)
            if self.has_room(connection) and not had_room:
                self.turn += 1.0
                connection.turn = self.turn
        elif connection.state == "DRAINING":
            connection.capacity = capacity
        self.rest(now)

    def resets_seen(self, now: float, connection: Connection, resets: int) -> None:
        had_room = self.has_room(connection)
        connection.resetting -= resets
        if self.has_room(connection) and not had_room:
            self.turn += 1.0
            connection.turn = self.turn
        self.rest(now)

    def going_away(self, now: float, connection: Connection) -> None:
        if connection.state in LIVE_STATES:
            self.retire(connection)
            self.note_in_vain(now, connection)
        self.rest(now)

    def broken(self, now: float, connection: Connection, reason: str) -> None:
        if connection.state == "IDLE" and reason == "PEER_CLOSED":
            self.endpoints[connection.origin].lesson.peer_closed(now, now - connection.idle_since)
        if connection.state in (*LIVE_STATES, "DRAINING"):
            connection.state = "CLOSING"
            self.note_in_vain(now, connection)
        self.rest(now)

    def note_in_vain(self, now: float, connection: Connection) -> None:
        """What the server ends within two seconds and unused is a failure."""
        endpoint = self.endpoints[connection.origin]
        if connection.exchanges == 0 and now < connection.opened_at + 2.0:
            endpoint.exchange_failures += 1
            if self.fail(now, endpoint):
                self.evict(connection.origin)

    def closed(self, now: float, connection: Connection) -> None:
        self.connections.remove(connection)
        connection.state = "CLOSED"
        self.rest(now)

    def tick(self, now: float) -> None:
        """Time passed: look at everything that has a time."""
        for connection in list(self.connections):
            if connection.state in LIVE_STATES and now >= connection.barred_until:
                self.retire(connection)
            if now < connection.look_at:
                continue
            connection.look_at = INF
            if connection.state != "IDLE":
                continue
            interval = self.config.health_check_interval
            if self.is_stale(now, connection):
                connection.state = "CLOSING"
            elif interval is not None and now >= connection.checked_at + interval:
                connection.state = "PROBING"
            else:
                self.plan_look(now, connection)
        for waiter in list(self.queue):
            if waiter.deadline <= now:
                self.leave(waiter)
                self.refuse_waiter(waiter, "POOL_TIMEOUT")
        self.rest(now)

    def prewarm(self, now: float, name: str, count: int) -> None:
        endpoint = self.endpoint(now, name)
        endpoint.last_used = max(endpoint.last_used, now)
        wish = min(count, endpoint.limit, self.config.max_connections)
        endpoint.target = max(endpoint.target, wish)
        self.rest(now)

    def suspend(self) -> None:
        if self.phase == "RUNNING":
            self.phase = "SUSPENDED"

    def resume(self, now: float) -> None:
        if self.phase == "SUSPENDED":
            self.phase = "RUNNING"
        self.rest(now)

    def renew(self, now: float) -> None:
        self.generation += 1
        for connection in list(self.connections):
            if connection.state in LIVE_STATES:
                self.retire(connection)
        self.rest(now)

    def stop(self, phase: str) -> None:
        """Drain or close."""
        if self.phase == "CLOSED" or (self.phase == "DRAINING" and phase == "DRAINING"):
            return
        self.phase = phase
        for waiter in list(self.queue):
            self.leave(waiter)
            self.refuse_waiter(waiter, "POOL_CLOSED")
        for endpoint in self.endpoints.values():
            endpoint.target = 0
        for connection in self.connections:
            if connection.state == "DIALING":
                connection.covered.clear()
            if connection.state != "CLOSING" and (phase == "CLOSED" or not connection.in_use):
                connection.state = "CLOSING"
            elif connection.state == "ACTIVE":
                connection.state = "DRAINING"

    def forget(self, name: str) -> None:
        del self.endpoints[name]

    # ---- at rest -----------------------------------------------------------------------------------------------------

    def rest(self, now: float) -> None:
        """Do all duties until nothing changes."""
        if self.phase == "RUNNING":
            for name in self.endpoints:
                self.serve(now, name)
        self.bound_idle()
        while self.phase == "RUNNING" and (self.dial_for_waiter(now) or self.dial_for_floor(now)):
            pass
        if self.phase == "RUNNING":
            self.make_way()
            self.make_room(now)
        for name, endpoint in self.endpoints.items():
            if endpoint.target and len(self.of(name, *LIVE_STATES)) >= endpoint.target:
                endpoint.target = 0

    def serve(self, now: float, name: str) -> None:
        while any(waiter.origin == name and not waiter.fresh for waiter in self.queue):
            connection = self.choose(now, name)
            if connection is None:
                return
            waiter = self.next_waiter(name)
            turns = self.turns[name, waiter.priority]
            if len(turns) > 1:
                turns.append(turns.pop(0))
            self.leave(waiter)
            self.hand_over(waiter, connection)

    def bound_idle(self) -> None:
        limit = self.config.max_idle_connections
        while limit is not None and self.idle_count() > limit:
            idle = self.longest_idle()
            assert idle is not None
            idle.state = "CLOSING"

    def dial_for_waiter(self, now: float) -> bool:
        waiter = self.oldest_wish(now)
        if waiter is None or len(self.connections) >= self.config.max_connections:
            return False
        self.dial(waiter.origin)
        return True

    def oldest_wish(self, now: float) -> Waiter | None:
        """Of those who come next at their origins and lack nothing but a slot of the total, the oldest."""
        wishes = [
            lacking[0]
            for name, lacking in self.lacking.items()
            if lacking and self.allows_dial(now, name) and not self.is_barred(name)
        ]
        return min(wishes, key=lambda waiter: waiter.number, default=None)

    def must_yield(self, now: float, connection: Connection) -> bool:
        """Whether the connection that came back goes to an origin that has none at all."""
        served = {other.origin for other in self.connections}
        starving = [
            lacking[0].number
            for other, lacking in self.lacking.items()
            if lacking and other not in served and self.allows_dial(now, other)
        ]
        here = any(waiter.origin == connection.origin and not waiter.fresh for waiter in self.queue)
        wanted = self.yielding is None or self.yielding.state != "DRAINING" if connection.in_use else here
        return (
            self.phase == "RUNNING"
            and wanted
            and len(self.connections) >= self.config.max_connections
            and not any(other.state == "CLOSING" for other in self.connections)
            and any(not here or number < self.next_waiter(connection.origin).number for number in starving)
        )

    def dial_for_floor(self, now: float) -> bool:
        if now < self.floors_paused_until or len(self.connections) >= self.config.max_connections:
            return False
        for name, endpoint in self.endpoints.items():
            used = endpoint.declared or now < endpoint.last_used + self.config.idle_timeout
            wanted = max(endpoint.min_idle if used else 0, endpoint.target)
            if wanted <= len(self.of(name, "DIALING", "CLOSING", *LIVE_STATES)) or not self.allows_dial(now, name):
                continue
            self.dial(name)
            return True
        return False

    def make_way(self) -> None:
        for name, lacking in self.lacking.items():
            slots = [connection for connection in self.connections if connection.origin == name]
            full = name in self.endpoints and len(slots) >= self.endpoints[name].limit and not self.is_barred(name)
            if full and lacking and lacking[0].fresh and self.of(name, "IDLE") and not self.of(name, "CLOSING"):
                self.evict(name)

    def make_room(self, now: float) -> None:
        held_up = self.oldest_wish(now) is not None
        full = len(self.connections) >= self.config.max_connections
        closing = any(connection.state == "CLOSING" for connection in self.connections)
        idle = self.longest_idle()
        if held_up and full and not closing and idle is not None:
            idle.state = "CLOSING"
