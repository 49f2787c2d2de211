"""What the reference pool knows, and its verbs: one change of one thing each, without a thought for what follows."""

from __future__ import annotations

from penstock._config import PoolConfig

from .reference_records import INF, Connection, Endpoint, Waiter

IDLE_STATES = ("IDLE", "PROBING")
LIVE_STATES = ("IDLE", "ACTIVE", "PROBING")


class ReferenceBooks:
    """Plain lists of everything, looked at anew for each question."""

    def __init__(
        self, config: PoolConfig, chance: float, floors: dict[str, int], multiplexing: tuple[str, ...]
    ) -> None:
        self.config = config
        self.chance = chance
        self.floors = floors
        self.multiplexing = multiplexing
        self.phase = "RUNNING"
        self.generation = 0
        self.connections: list[Connection] = []
        self.endpoints: dict[str, Endpoint] = {}
        #: In order of arrival; a refused waiter stands before all others of its class and tenant.
        self.queue: list[Waiter] = []
        #: Waiters without a dial, the one that comes next first, by origin.
        self.lacking: dict[str, list[Waiter]] = {}
        #: The tenants whose turn comes, by origin and class.
        self.turns: dict[tuple[str, int], list[str | None]] = {}
        self.delivered: list[tuple[int, int]] = []
        self.refused: dict[int, str] = {}
        self.connection_number = 0
        self.waiter_number = 0
        self.arrivals = 0
        #: The connection that was latched last, with others on it, for an origin that has none.
        self.yielding: Connection | None = None
        self.turn = 0.0
        self.shortages = 0
        self.floors_paused_until = 0.0

    # ---- verbs -------------------------------------------------------------------------------------------------------

    def dial(self, name: str) -> None:
        self.connection_number += 1
        connection = Connection(self.connection_number, name, self.generation, began=self.arrivals)
        self.connections.append(connection)
        self.cover(connection)

    def cover(self, dial: Connection) -> None:
        """The dial begins, or has a place that it had not before."""
        self.turn += 1.0
        dial.spare_since = self.turn
        self.fill(dial.origin)

    def fill(self, name: str) -> None:
        """Whoever has no dial joins one that could serve more."""
        lacking = self.lacking[name]
        while lacking and (spare := [dial for dial in self.of(name, "DIALING") if self.is_spare(dial)]):
            dial = min(spare, key=lambda dial: dial.spare_since)
            waiter = lacking.pop(0)
            waiter.dial = dial
            dial.covered.append(waiter)

    def is_spare(self, dial: Connection) -> bool:
        return len(dial.covered) < self.endpoints[dial.origin].expected

    def lack(self, waiter: Waiter, *, first: bool) -> None:
        """The waiter has no dial: one that could serve more will do."""
        self.arrivals += 1
        waiter.arrival = self.arrivals
        self.lacking[waiter.origin].insert(0 if first else len(self.lacking[waiter.origin]), waiter)
        self.fill(waiter.origin)

    def end_dial(self, dial: Connection) -> None:
        dial.state = "ENDED"
        self.uncover(dial.origin, dial.covered)
        dial.covered = []

    def uncover(self, name: str, waiters: list[Waiter]) -> None:
        for waiter in waiters:
            waiter.dial = None
        self.lacking[name][:0] = waiters
        self.fill(name)

    def expect(self, name: str, expected: float) -> None:
        """How many waiters a dial is expected to serve, also those that run."""
        endpoint = self.endpoints[name]
        dials = self.of(name, "DIALING")
        spare = [dial for dial in dials if self.is_spare(dial)]
        endpoint.expected = expected
        surplus: list[Waiter] = []
        for dial in dials:
            places = min(len(dial.covered), expected)
            surplus += dial.covered[int(places) :]
            del dial.covered[int(places) :]
            if dial not in spare and self.is_spare(dial):
                self.turn += 1.0
                dial.spare_since = self.turn
        self.uncover(name, surplus)

    @staticmethod
    def stand_together(one: Waiter, other: Waiter) -> bool:
        return not one.fresh and (one.origin, one.priority, one.tenant) == (other.origin, other.priority, other.tenant)

    def join(self, waiter: Waiter, *, first: bool) -> None:
        waiter.state = "QUEUED"
        if waiter.fresh:
            self.queue.append(waiter)
            self.lack(waiter, first=False)
            return
        turns = self.turns.setdefault((waiter.origin, waiter.priority), [])
        if first:
            if waiter.tenant in turns:
                turns.remove(waiter.tenant)
            turns.insert(0, waiter.tenant)
            line = [other for other in self.queue if self.stand_together(other, waiter)]
            behind = next((other for other in line if other.number > waiter.number), None)
            self.queue.insert(len(self.queue) if behind is None else self.queue.index(behind), waiter)
        else:
            if waiter.tenant not in turns:
                turns.append(waiter.tenant)
            self.queue.append(waiter)
        self.lack(waiter, first=first)

    def leave(self, waiter: Waiter) -> None:
        self.queue.remove(waiter)
        self.leave_line(waiter)
        if waiter.dial is not None:
            dial, waiter.dial = waiter.dial, None
            was_spare = self.is_spare(dial)
            dial.covered.remove(waiter)
            if not was_spare:
                self.cover(dial)
        else:
            self.lacking[waiter.origin].remove(waiter)

    def leave_line(self, waiter: Waiter) -> None:
        if waiter.fresh:
            return
        same_line = [
            other
            for other in self.queue
            if (other.origin, other.priority, other.tenant) == (waiter.origin, waiter.priority, waiter.tenant)
            and not other.fresh
        ]
        if not same_line:
            self.turns[waiter.origin, waiter.priority].remove(waiter.tenant)

    def next_waiter(self, name: str) -> Waiter:
        mine = [waiter for waiter in self.queue if waiter.origin == name and not waiter.fresh]
        priority = min(waiter.priority for waiter in mine)
        tenant = self.turns[name, priority][0]
        return next(waiter for waiter in mine if waiter.priority == priority and waiter.tenant == tenant)

    def refuse_waiter(self, waiter: Waiter, reason: str) -> None:
        waiter.state = reason
        self.refused[waiter.number] = reason

    def hand_over(self, waiter: Waiter, connection: Connection) -> None:
        waiter.state = "DELIVERED"
        waiter.connection = connection
        connection.state = "ACTIVE"
        connection.in_use += 1
        connection.exchanges += 1
        self.turn += 1.0
        connection.turn = self.turn
        self.delivered.append((waiter.number, connection.number))

    def choose(self, now: float, name: str) -> Connection | None:
        while True:
            ready = [connection for connection in self.of(name, "IDLE", "ACTIVE") if self.has_room(connection)]
            if not ready:
                return None
            if self.endpoints[name].packed:
                soft_limit = self.config.http2_config.soft_streams
                chosen = min(
                    ready,
                    key=lambda connection: (
                        connection.in_use if connection.in_use >= soft_limit else 0,
                        connection.number,
                    ),
                )
            elif self.config.reuse == "lifo":
                chosen = max(ready, key=lambda connection: connection.turn)
            elif self.config.reuse == "round_robin":
                chosen = min(ready, key=lambda connection: connection.turn)
            else:
                chosen = min(ready, key=lambda connection: (connection.in_use, connection.exchanges, connection.number))
            if not self.is_stale(now, chosen):
                return chosen
            self.retire(chosen)

    def has_room(self, connection: Connection) -> bool:
        limit = self.config.max_requests_per_connection
        taken = connection.in_use + connection.resetting
        return taken < connection.capacity and (limit is None or connection.exchanges < limit)

    def set_capacity(self, now: float, connection: Connection, capacity: int) -> None:
        connection.capacity = capacity
        if capacity > 1 and self.config.reuse == "lifo":
            self.endpoints[connection.origin].packed = True
        if capacity > 0:
            connection.barred_until = INF
        elif connection.barred_until == INF:
            connection.barred_until = now + self.config.http2_config.barred_timeout

    def is_barred(self, name: str) -> bool:
        return any(connection.origin == name and connection.barred_until < INF for connection in self.connections)

    def is_stale(self, now: float, connection: Connection) -> bool:
        if now >= connection.expires_at:
            return True
        if connection.in_use:
            return False
        if now >= connection.usable_until:
            return True
        if now < connection.idle_until:
            return False
        endpoint = self.endpoints[connection.origin]
        used = endpoint.declared or now < endpoint.last_used + self.config.idle_timeout
        return len(self.of(connection.origin, *LIVE_STATES)) > (endpoint.min_idle if used else 0)

    def rest_connection(self, now: float, connection: Connection, idle_hint: float | None) -> None:
        """The exchange is over; the connection has room."""
        self.turn += 1.0
        connection.turn = self.turn
        connection.idle_since = now
        connection.usable_until = INF if idle_hint is None else now + (idle_hint - 2.0)
        if not connection.in_use:
            connection.state = "IDLE"
            connection.checked_at = now
            lesson = self.endpoints[connection.origin].lesson
            connection.idle_until = now + lesson.idle_timeout(now, self.config.idle_timeout)
            self.plan_look(now, connection)

    def plan_look(self, now: float, connection: Connection) -> None:
        config = self.config
        probe_at = INF if config.health_check_interval is None else connection.checked_at + config.health_check_interval
        idle_until = connection.idle_until if connection.idle_until > now else now + config.idle_timeout
        # An earlier look is not called off.
        look_at = min(idle_until, connection.usable_until, connection.expires_at, probe_at, connection.barred_until)
        connection.look_at = min(connection.look_at, look_at)

    def retire(self, connection: Connection) -> None:
        if connection.in_use:
            connection.state = "DRAINING"
            connection.barred_until = INF
        else:
            connection.state = "CLOSING"

    def evict(self, name: str) -> None:
        for connection in self.of(name, *IDLE_STATES):
            connection.state = "CLOSING"

    def fail(self, now: float, endpoint: Endpoint) -> bool:
        """Whether a pause begins."""
        failures = max(endpoint.dial_failures, endpoint.exchange_failures)
        if now < endpoint.paused_until or (not endpoint.pauses and failures < self.config.unhealthy_threshold):
            return False
        endpoint.pauses += 1
        endpoint.paused_until = now + self.pause(endpoint.pauses)
        return True

    def pause(self, count: int) -> float:
        full = min(self.config.dial_backoff_max, self.config.dial_backoff * 2.0 ** (count - 1))
        return full * (1.0 - 0.5 * self.chance)

    # ---- questions ---------------------------------------------------------------------------------------------------

    def allows_dial(self, now: float, name: str) -> bool:
        """Whether one more dial may start, the total aside."""
        endpoint = self.endpoints[name]
        slots = [connection for connection in self.connections if connection.origin == name]
        dials = len(self.of(name, "DIALING"))
        if len(slots) >= endpoint.limit or dials >= self.config.max_dials_per_host:
            return False
        return not endpoint.pauses or (now >= endpoint.paused_until and not dials)

    def of(self, name: str, *states: str) -> list[Connection]:
        return [
            connection for connection in self.connections if connection.origin == name and connection.state in states
        ]

    def idle_count(self) -> int:
        return sum(connection.state in IDLE_STATES for connection in self.connections)

    def longest_idle(self) -> Connection | None:
        idle = [connection for connection in self.connections if connection.state in IDLE_STATES]
        return min(idle, key=lambda connection: connection.idle_since, default=None)
