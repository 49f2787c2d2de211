"""The model finds bugs that pools have had: each is put back into the machine, and the model has to find it, soon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as HypothesisPhase
from hypothesis.stateful import run_state_machine_as_test

from penstock import _events as events
from penstock._core import connection as connection_module
from penstock._core import duties as duties_module
from penstock._core import planning as planning_module
from penstock._core.actions import Deliver
from penstock._core.connection import ConnectionEntry, State
from penstock._core.covering import Covering
from penstock._core.duties import Duties
from penstock._core.endpoint import Endpoint
from penstock._core.health import Health
from penstock._core.machine import PoolMachine
from penstock._core.selection import Packed
from penstock._core.timers import INF
from penstock._core.waiters import Waiter, WaiterState, WaitQueue
from penstock._events import CloseReason
from tests.support.pool_model import PoolModel

SOON = settings(
    max_examples=800,
    stateful_step_count=50,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[HypothesisPhase.generate],
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)

#: What a broken machine ends in: a rule that does not hold, or a table or dictionary of its own that says no.
FOUND = (AssertionError, LookupError, RuntimeError, TypeError)

Patch = pytest.MonkeyPatch
Bug = Callable[[Patch], None]
BUGS: list[Bug] = []


def bug(put_in: Bug) -> Bug:
    BUGS.append(put_in)
    return put_in


def replace(patch: Patch, owner: type, name: str, make: Callable[[Any], Any]) -> None:
    """Put `make(the original)` in the original's place."""
    patch.setattr(owner, name, make(getattr(owner, name)))


def nothing(*_: Any, **__: Any) -> None: ...


# ---- slots -----------------------------------------------------------------------------------------------------------


@bug
def a_slot_is_free_before_the_socket_is_closed(patch: Patch) -> None:
    patch.setattr(Endpoint, "slots", property(lambda self: len(self.connections) - self.closing))


@bug
def a_failed_dial_keeps_its_slot(patch: Patch) -> None:
    def wrap(free: Any) -> Any:
        return lambda self, now, entry: (
            None if entry.close_reason is CloseReason.DIAL_FAILED else free(self, now, entry)
        )

    replace(patch, Duties, "_free_slot", wrap)


@bug
def the_idle_limit_counts_all_connections(patch: Patch) -> None:
    def wrap(settle: Any) -> Any:
        def settle_and_cut(self: Any, now: float, entry: ConnectionEntry) -> None:
            settle(self, now, entry)
            limit = self.config.max_idle_connections
            while limit is not None and self.idle.size and self.total - self.closing > limit:
                self._close(now, self.idle.oldest, CloseReason.SURPLUS)

        return settle_and_cut

    replace(patch, Duties, "_settle", wrap)


@bug
def an_idle_connection_elsewhere_holds_the_last_slot(patch: Patch) -> None:
    patch.setattr(Duties, "_make_room", nothing)


@bug
def a_freed_slot_stays_with_its_endpoint(patch: Patch) -> None:
    patch.setattr(Duties, "_refill", nothing)


# ---- waiters ---------------------------------------------------------------------------------------------------------


@bug
def a_wake_up_is_lost(patch: Patch) -> None:
    patch.setattr(Duties, "_serve", nothing)


@bug
def a_released_connection_is_for_whoever_asks_next(patch: Patch) -> None:
    def wrap(release: Any) -> Any:
        def release_to_idle(self: Any, now: float, entry: ConnectionEntry, *rest: Any, **how: Any) -> None:
            queue = entry.endpoint.upstream.queue
            size, queue.size = queue.size, 0
            release(self, now, entry, *rest, **how)
            queue.size = size

        return release_to_idle

    replace(patch, PoolMachine, "release", wrap)


@bug
def everybody_is_woken(patch: Patch) -> None:
    def wrap(deliver: Any) -> Any:
        def deliver_to_all(self: Any, now: float, waiter: Waiter, entry: ConnectionEntry) -> None:
            deliver(self, now, waiter, entry)
            for other in list(waiter.endpoint.upstream.queue):
                self.actions.append(Deliver(other, entry))

        return deliver_to_all

    replace(patch, Duties, "_deliver", wrap)


@bug
def the_last_to_come_is_the_first_to_be_served(patch: Patch) -> None:
    def pop(self: Any) -> Waiter:
        waiter = max((waiter for waiter in self if not waiter.fresh), key=lambda waiter: waiter.number)
        self.remove(waiter)
        return waiter

    patch.setattr(WaitQueue, "pop", pop)


@bug
def tenants_do_not_take_turns(patch: Patch) -> None:
    def pop(self: Any) -> Waiter:
        line = next(iter(self._classes[self._priorities[0]].values()))
        waiter = next(iter(line))
        self.remove(waiter)
        return waiter

    patch.setattr(WaitQueue, "pop", pop)


@bug
def a_refused_waiter_goes_to_the_end_of_the_line(patch: Patch) -> None:
    patch.setattr(WaitQueue, "rejoin", WaitQueue.push)


@bug
def a_refused_waiter_is_forgotten(patch: Patch) -> None:
    def wrap(enqueue: Any) -> Any:
        def enqueue_once(self: Any, now: float, waiter: Waiter, *, again: bool) -> None:
            if waiter.queued_at == planning_module.INF:
                enqueue(self, now, waiter, again=again)

        return enqueue_once

    replace(patch, Duties, "_enqueue", wrap)


@bug
def a_deadline_is_forgotten(patch: Patch) -> None:
    def wrap(schedule: Any) -> Any:
        return lambda self, subject, at: None if isinstance(subject, Waiter) else schedule(self, subject, at)

    replace(patch, Duties, "_schedule", wrap)


@bug
def a_cancelled_waiter_stays_in_the_queue(patch: Patch) -> None:
    def cancel(self: Any, now: float, waiter: Waiter) -> None:
        if waiter.state is WaiterState.QUEUED:
            waiter.state = WaiterState.CANCELLED
            waiter.endpoint.counters.cancelled += 1

    patch.setattr(PoolMachine, "cancel", cancel)


# ---- dials -----------------------------------------------------------------------------------------------------------


@bug
def a_cancelled_waiter_takes_its_dial_with_it(patch: Patch) -> None:
    def drop(self: Any, waiter: Waiter) -> None:
        dial, waiter.dial = waiter.dial, None
        if dial is None:
            del self.uncovered[waiter]
        else:
            del dial.covered[waiter]

    patch.setattr(Covering, "drop", drop)


@bug
def a_waiter_whose_dial_ended_is_thought_to_have_one(patch: Patch) -> None:
    def end(self: Any, dial: ConnectionEntry) -> list[Waiter]:
        self.spare.pop(dial, None)
        return list(dial.covered)

    patch.setattr(Covering, "end", end)


@bug
def a_dial_that_runs_for_nobody_is_passed_over(patch: Patch) -> None:
    def add(self: Any, waiter: Waiter, *, first: bool) -> None:
        self.uncovered[waiter] = None
        self.uncovered.move_to_end(waiter, last=not first)

    patch.setattr(Covering, "add", add)


@bug
def a_failed_dial_fails_the_head_of_the_queue(patch: Patch) -> None:
    def wrap(end_dial: Any) -> Any:
        def end_for_the_first(self: Any, entry: ConnectionEntry) -> list[Waiter]:
            waiters = end_dial(self, entry)
            return [next(iter(entry.endpoint.upstream.queue))] if waiters else []

        return end_for_the_first

    replace(patch, Duties, "_end_dial", wrap)


@bug
def a_cold_burst_dials_for_each(patch: Patch) -> None:
    def wrap(make: Any) -> Any:
        def make_expecting_one(self: Any, *rest: Any, **how: Any) -> None:
            make(self, *rest, **how)
            self.expected = 1

        return make_expecting_one

    replace(patch, Endpoint, "__init__", wrap)


@bug
def a_dial_covers_everybody_though_the_server_speaks_http_1(patch: Patch) -> None:
    patch.setattr(Duties, "_expect", nothing)


@bug
def dials_that_run_go_by_what_was_expected_when_they_began(patch: Patch) -> None:
    patch.setattr(Covering, "expect", nothing)


@bug
def who_joined_a_shared_dial_late_fails_with_it(patch: Patch) -> None:
    def wrap(begin: Any) -> Any:
        def begin_for_all(self: Any, dial: ConnectionEntry) -> None:
            begin(self, dial)
            dial.began = 1 << 30

        return begin_for_all

    replace(patch, Covering, "begin", wrap)


@bug
def those_who_allow_more_time_fail_by_the_shorter_limit(patch: Patch) -> None:
    def wrap(dial_failed: Any) -> Any:
        def fail_all(self: Any, *rest: Any, allowed: float | None = None, **how: Any) -> None:
            dial_failed(self, *rest, **how)

        return fail_all

    replace(patch, PoolMachine, "dial_failed", wrap)


@bug
def a_server_that_allows_nothing_is_dialled_again(patch: Patch) -> None:
    patch.setattr(Duties, "_hindrance", lambda self, now, endpoint: self._limit(now, endpoint))


@bug
def a_server_that_allows_nothing_is_waited_for_without_end(patch: Patch) -> None:
    def wrap(schedule: Any) -> Any:
        return lambda self, subject, at: (
            None if at == getattr(subject, "barred_until", 0) else schedule(self, subject, at)
        )

    replace(patch, Duties, "_schedule", wrap)


@bug
def the_pause_of_an_endpoint_is_ignored(patch: Patch) -> None:
    patch.setattr(Health, "allows_dial", lambda self, now, dials: True)


@bug
def a_floor_is_never_restored(patch: Patch) -> None:
    patch.setattr(Duties, "_keep_floor", nothing)


# ---- connections -----------------------------------------------------------------------------------------------------


@bug
def an_expired_connection_is_delivered(patch: Patch) -> None:
    patch.setattr(Duties, "_choose", lambda self, now, endpoint: endpoint.order.pop(endpoint))


@bug
def the_longest_life_is_not_checked_on_return(patch: Patch) -> None:
    patch.setattr(Duties, "_unfit", nothing)


@bug
def a_timer_that_went_off_is_relied_on(patch: Patch) -> None:
    def wrap(due: Any) -> Any:
        def due_and_trusted(self: Any, now: float, entry: ConnectionEntry) -> None:
            watched = entry.watched
            due(self, now, entry)
            entry.watched = watched

        return due_and_trusted

    replace(patch, PoolMachine, "_connection_due", wrap)


@bug
def a_timer_that_comes_too_late_is_relied_on(patch: Patch) -> None:
    def wrap(unfit: Any) -> Any:
        def unfit_and_trusted(self: Any, now: float, entry: ConnectionEntry, idle_hint: float | None) -> Any:
            watched = entry.watched
            reason = unfit(self, now, entry, idle_hint)
            entry.watched = watched
            return reason

        return unfit_and_trusted

    replace(patch, Duties, "_unfit", wrap)


@bug
def a_hint_is_taken_for_the_whole_truth(patch: Patch) -> None:
    for module in (connection_module, duties_module):
        patch.setattr(module, "hinted_idle", lambda hint: hint)


@bug
def an_old_generation_is_as_good_as_a_new_one(patch: Patch) -> None:
    def wrap(connected: Any) -> Any:
        def connected_now(self: Any, now: float, entry: ConnectionEntry, *rest: Any) -> bool:
            entry.generation = self.generation
            return bool(connected(self, now, entry, *rest))

        return connected_now

    replace(patch, PoolMachine, "connected", wrap)


@bug
def one_exchange_more_than_there_is_room_for(patch: Patch) -> None:
    def wrap(has_room: Any) -> Any:
        def has_more_room(self: Any, entry: ConnectionEntry) -> bool:
            entry.capacity += 1
            try:
                return bool(has_room(self, entry))
            finally:
                entry.capacity -= 1

        return has_more_room

    replace(patch, Duties, "_has_room", wrap)


@bug
def resets_that_the_server_may_not_have_seen_are_forgotten(patch: Patch) -> None:
    def wrap(has_room: Any) -> Any:
        def has_room_or_resets(self: Any, entry: ConnectionEntry) -> bool:
            resetting, entry.resetting = entry.resetting, 0
            try:
                return bool(has_room(self, entry))
            finally:
                entry.resetting = resetting

        return has_room_or_resets

    replace(patch, Duties, "_has_room", wrap)


@bug
def resets_are_seen_and_nobody_is_served(patch: Patch) -> None:
    def resets_seen(self: Any, now: float, entry: ConnectionEntry, resets: int) -> None:
        entry.resetting -= resets

    patch.setattr(PoolMachine, "resets_seen", resets_seen)


@bug
def a_capacity_is_never_less_than_what_is_in_flight(patch: Patch) -> None:
    def wrap(set_capacity: Any) -> Any:
        def set_at_least(self: Any, now: float, entry: ConnectionEntry, capacity: int) -> None:
            set_capacity(self, now, entry, max(capacity, entry.in_use))

        return set_at_least

    replace(patch, Duties, "_set_capacity", wrap)


@bug
def a_capacity_changes_and_the_lists_do_not(patch: Patch) -> None:
    def capacity_changed(self: Any, now: float, entry: ConnectionEntry, capacity: int) -> None:
        if entry.is_open:
            self._set_capacity(now, entry, capacity)

    patch.setattr(PoolMachine, "capacity_changed", capacity_changed)


@bug
def a_connection_that_goes_away_is_still_taken(patch: Patch) -> None:
    def wrap(retire: Any) -> Any:
        def retire_idle(self: Any, now: float, entry: ConnectionEntry, reason: CloseReason) -> None:
            if reason is not CloseReason.GOAWAY or not entry.in_use:
                retire(self, now, entry, reason)

        return retire_idle

    replace(patch, Duties, "_retire", wrap)


@bug
def a_broken_connection_waits_for_its_exchanges(patch: Patch) -> None:
    def broken(self: Any, now: float, entry: ConnectionEntry, reason: CloseReason) -> None:
        if entry.is_open:
            self._retire(now, entry, reason)

    patch.setattr(PoolMachine, "broken", broken)


@bug
def a_connection_that_breaks_under_many_is_many_failures(patch: Patch) -> None:
    def wrap(judge: Any) -> Any:
        def judge_each(self: Any, now: float, entry: ConnectionEntry, succeeded: bool | None) -> None:
            judge(self, now, entry, succeeded)
            entry.failed = False

        return judge_each

    replace(patch, Duties, "_judge", wrap)


@bug
def a_connection_dialled_in_vain_is_nobodys_failure(patch: Patch) -> None:
    patch.setattr(Duties, "_ended_by_server", nothing)


@bug
def a_connection_that_was_not_needed_is_a_failure(patch: Patch) -> None:
    patch.setattr(duties_module, "SHORTEST_IDLE", INF)


@bug
def the_newest_connection_is_filled_first(patch: Patch) -> None:
    patch.setattr(Packed, "key", lambda self, entry: -entry.id)


@bug
def a_connection_in_use_never_yields(patch: Patch) -> None:
    def wrap(must_yield: Any) -> Any:
        return lambda self, now, entry: not entry.in_use and must_yield(self, now, entry)

    replace(patch, Duties, "_must_yield", wrap)


@bug
def a_busy_connection_lives_for_ever(patch: Patch) -> None:
    def wrap(stale: Any) -> Any:
        return lambda self, now, entry: None if entry.in_use else stale(self, now, entry)

    replace(patch, Duties, "_stale", wrap)


@bug
def a_probed_connection_can_still_be_taken(patch: Patch) -> None:
    def wrap(due: Any) -> Any:
        def due_and_ready(self: Any, now: float, entry: ConnectionEntry) -> None:
            due(self, now, entry)
            if entry.state is State.PROBING:
                entry.endpoint.order.add(entry)

        return due_and_ready

    replace(patch, PoolMachine, "_connection_due", wrap)


# ---- the pool, and what is told --------------------------------------------------------------------------------------


@bug
def a_drained_pool_keeps_its_waiters(patch: Patch) -> None:
    def wrap(stop: Any) -> Any:
        def stop_connections(self: Any, now: float, reason: CloseReason) -> None:
            end = self._end
            self._end = nothing
            stop(self, now, reason)
            self._end = end

        return stop_connections

    replace(patch, PoolMachine, "_stop", wrap)


@bug
def a_suspended_pool_serves(patch: Patch) -> None:
    patch.setattr(PoolMachine, "suspend", lambda self: setattr(self, "phase", planning_module.Phase.RUNNING))


@bug
def the_machine_sleeps_too_long(patch: Patch) -> None:
    def wrap(woke: Any) -> Any:
        def woke_once(self: Any, now: float) -> None:
            woke(self, now)
            self.actions[:] = [action for action in self.actions if type(action) is not planning_module.WakeAt]

        return woke_once

    replace(patch, PoolMachine, "woke", wrap)


@bug
def a_return_is_not_told(patch: Patch) -> None:
    def wrap(emit: Any) -> Any:
        def emit_most(self: Any, event: events.Event) -> None:
            if not isinstance(event, events.ConnectionReturned):
                emit(self, event)

        return emit_most

    replace(patch, Duties, "_emit", wrap)


@bug
def a_refusal_is_not_counted(patch: Patch) -> None:
    def wrap(reject: Any) -> Any:
        def reject_silently(self: Any, now: float, waiter: Waiter, *rest: Any) -> None:
            before = waiter.endpoint.counters.timed_out
            reject(self, now, waiter, *rest)
            waiter.endpoint.counters.timed_out = before

        return reject_silently

    replace(patch, Duties, "_reject", wrap)


@pytest.mark.parametrize("put_in", BUGS, ids=lambda put_in: put_in.__name__)
def test_the_model_finds_that(put_in: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(monkeypatch)

    with pytest.raises(FOUND):
        run_state_machine_as_test(PoolModel, settings=SOON)
