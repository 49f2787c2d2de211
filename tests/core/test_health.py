"""Health: failures in a row pause an endpoint, one dial at a time tries again, a success ends the matter."""

from __future__ import annotations

import pytest

from penstock._core.health import Health
from penstock._core.sizing import Hindrance
from penstock._core.waiters import WaiterState
from penstock._events import CloseReason
from tests.support.story import Story


def test_a_failed_dial_fails_its_waiter_and_nobody_else() -> None:
    story = Story(max_dials_per_host=1)
    story.ask()
    story.ask()

    story.fail(1, "refused")

    assert story.told() == ["dial 1", "fail 1: dial_failed", "dial 2"]
    assert str(story.causes[1]) == "refused"
    assert story.waiters[1].state is WaiterState.FAILED
    assert story.waiters[2].state is WaiterState.QUEUED


def test_failures_up_to_the_threshold_pause_the_endpoint_and_close_its_idle_connections() -> None:
    story = Story(unhealthy_threshold=2, dial_backoff=0.1)
    story.endpoint(declared=True, min_idle=2)
    story.connect(1)
    story.fail(2)
    assert story.told() == ["dial 1", "dial 2", "dial 3"]

    story.fail(3)

    assert story.told() == ["close 1: unhealthy_endpoint"]
    assert story.wake_at == pytest.approx(0.1)


def test_the_pause_doubles_with_every_failure_and_shrinks_by_chance() -> None:
    story = Story(unhealthy_threshold=1, dial_backoff=0.1, dial_backoff_max=0.35)
    story.endpoint(declared=True, min_idle=1)
    pauses = []
    for number in range(1, 6):
        story.fail(number)
        pauses.append(story.wake_at - story.now)
        story.wake(story.wake_at)

    assert pauses == pytest.approx([0.1, 0.2, 0.35, 0.35, 0.35])

    story.chance = 1.0
    story.fail(6)
    assert story.wake_at - story.now == pytest.approx(0.35 / 2)


def test_nobody_waits_for_a_pause_that_would_only_hide_the_reason() -> None:
    story = Story(unhealthy_threshold=1, max_dials_per_host=1)
    story.ask()
    story.ask()

    story.fail(1)

    assert story.told() == ["dial 1", "fail 1: dial_failed", "fail 2: dial_failed"]


def test_waiters_stay_while_a_connection_or_a_dial_may_still_serve_them() -> None:
    story = Story(unhealthy_threshold=1, max_dials_per_host=2, max_connections_per_host=4)
    for _ in range(3):
        story.ask()
    assert story.told() == ["dial 1", "dial 2"]

    story.fail(1)
    assert story.told() == ["fail 1: dial_failed"]

    story.fail(2)
    assert story.told() == ["fail 2: dial_failed", "fail 3: dial_failed"]


def test_waiters_stay_while_an_exchange_may_give_its_connection_back() -> None:
    story = Story(unhealthy_threshold=1)
    number = story.active()
    story.ask()
    story.ask()
    assert story.told() == ["dial 2", "dial 3"]

    story.fail(2)
    assert story.told() == ["fail 2: dial_failed"]

    story.release(number)
    assert story.told() == ["deliver 1 to 3"]


def test_who_comes_during_a_pause_waits_for_its_end_and_for_one_try() -> None:
    story = Story(unhealthy_threshold=1, dial_backoff=0.1)
    story.ask()
    story.fail(1)
    story.told()
    story.ask()
    story.ask()
    assert story.told() == []
    assert story.machine.hindrance(story.now, story.waiters[2]) is Hindrance.PAUSED

    story.wake(story.wake_at)
    assert story.told() == ["dial 2"]

    story.fail(2)
    assert story.told() == ["fail 2: dial_failed", "fail 3: dial_failed"]


def test_after_a_pause_dials_go_one_at_a_time_until_an_exchange_succeeds() -> None:
    story = Story(unhealthy_threshold=1, dial_backoff=0.1)
    story.ask()
    story.fail(1)
    story.now = 0.1
    for _ in range(3):
        story.ask()
    assert story.told() == ["dial 1", "fail 1: dial_failed", "dial 2"]

    story.connect(2)
    assert story.told() == ["deliver 2 to 2", "dial 3"]

    story.release(2)
    assert story.told() == ["deliver 2 to 3"]
    assert not story.endpoint().health.is_unhealthy
    story.ask()
    story.ask()
    assert story.told() == ["dial 4", "dial 5"]


def test_exchanges_that_fail_pause_the_endpoint_though_dials_work() -> None:
    story = Story(unhealthy_threshold=2, dial_backoff=0.1)
    first, second, third = story.active(), story.active(), story.active()
    story.release(third)
    story.release(first, CloseReason.IO_ERROR, succeeded=False)
    assert story.told() == ["close 1: io_error"]

    story.release(second, CloseReason.IO_ERROR, succeeded=False)

    assert story.told() == ["close 2: io_error", "close 3: unhealthy_endpoint"]
    assert story.endpoint().health.is_unhealthy
    assert story.ask() is None
    assert story.told() == []


def test_a_success_between_resets_the_count() -> None:
    story = Story(unhealthy_threshold=2)
    for succeeded in (False, True, False):
        story.active()
        story.release(max(story.entries), CloseReason.IO_ERROR, succeeded=succeeded)

    assert not story.endpoint().health.is_unhealthy


def test_an_exchange_of_unknown_outcome_counts_neither_way() -> None:
    story = Story(unhealthy_threshold=2)
    for succeeded in (False, None, False):
        story.active()
        story.release(max(story.entries), CloseReason.CANCELLED_MID_EXCHANGE, succeeded=succeeded)

    assert story.endpoint().health.is_unhealthy


def test_failures_during_a_pause_do_not_lengthen_it() -> None:
    story = Story(unhealthy_threshold=1, dial_backoff=0.1)
    first, second = story.active(), story.active()
    story.release(first, CloseReason.IO_ERROR, succeeded=False)
    until = story.endpoint().health.paused_until

    story.now = 0.05
    story.release(second, CloseReason.IO_ERROR, succeeded=False)

    assert story.endpoint().health.paused_until == until == 0.1


def test_old_connections_that_work_do_not_set_off_dials_that_fail() -> None:
    story = Story(unhealthy_threshold=1, dial_backoff=0.1)
    number = story.active()
    story.ask()
    story.fail(2)
    story.told()

    story.release(number)
    assert story.ask() == number
    story.ask()

    assert story.told() == []
    assert story.endpoint().health.paused_until == 0.1


def test_probes_that_fail_with_an_error_count_as_failures() -> None:
    story = Story(unhealthy_threshold=1, health_check_interval=10.0)
    story.idle()
    story.idle("b")
    story.wake(10.0)
    assert story.told() == ["probe 1", "probe 2"]

    story.probed(1, CloseReason.IO_ERROR)
    story.probed(2, CloseReason.PEER_CLOSED)

    assert story.told() == ["close 1: probe_failed", "close 2: probe_failed"]
    assert story.endpoint("a").health.is_unhealthy
    assert not story.endpoint("b").health.is_unhealthy


# ---- connections dialled in vain -------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [0, 1])
@pytest.mark.parametrize("way", ["going_away", "broken", "lost"])
def test_a_connection_that_the_server_ends_at_once_and_unused_is_a_failure(way: str, capacity: int) -> None:
    story = Story(unhealthy_threshold=1, dial_backoff=0.1, min_idle=2, multiplexes=True)
    story.endpoint(declared=True)
    story.listen()
    story.connect(1, capacity=3)
    story.connect(2, capacity=capacity)
    story.now = 1.9

    getattr(story, way)(2)

    # Its neighbour is suspect; each is closed once, and no other is dialled before the pause is over.
    told = story.told()
    assert told[:3] == ["dial 1", "dial 2", told[2]]
    assert told[2].startswith("close 2: ")
    assert told[3:] == ["close 1: unhealthy_endpoint"]
    story.closed(1)
    story.closed(2)
    assert story.told() == []
    story.wake(2.0)
    assert story.told() == ["dial 3"]


def test_a_server_that_accepts_and_allows_nothing_is_dialled_ever_more_seldom() -> None:
    story = Story(unhealthy_threshold=3, dial_backoff=0.1, multiplexes=True)
    story.ask()
    pauses = []
    for number in range(1, 7):
        story.listen()
        story.connect(number, capacity=0)
        story.broken(number, CloseReason.PEER_CLOSED)
        story.closed(number)
        until = story.endpoint().health.paused_until
        pauses.append(round(until - story.now, 6))
        if until:
            story.wake(until)

    assert pauses == [0.0, 0.0, 0.1, 0.2, 0.4, 0.8]
    story.connect(7, capacity=2)
    assert story.told()[-1] == "deliver 7 to 1"


@pytest.mark.parametrize("capacity", [0, 1])
@pytest.mark.parametrize("way", ["going_away", "broken", "lost"])
def test_a_connection_that_had_its_time_to_be_used_is_no_failure_when_the_server_ends_it(
    way: str, capacity: int
) -> None:
    story = Story(unhealthy_threshold=1, min_idle=1, multiplexes=True)
    story.endpoint(declared=True)
    story.listen()
    story.connect(1, capacity=capacity)
    story.now = 2.0

    getattr(story, way)(1)

    assert not story.endpoint().health.is_unhealthy


@pytest.mark.parametrize("way", ["going_away", "broken", "lost"])
def test_a_connection_that_carried_something_is_no_failure_when_the_server_ends_it(way: str) -> None:
    story = Story(unhealthy_threshold=1)
    getattr(story, way)(story.idle())

    assert not story.endpoint().health.is_unhealthy


def test_a_connection_that_the_pool_ends_unused_is_nobodys_failure() -> None:
    story = Story(unhealthy_threshold=1, min_idle=1)
    story.endpoint(declared=True)
    story.listen()
    story.connect(1)
    story.machine.renew(story.now)

    assert story.told() == ["dial 1", "close 1: generation"]
    assert not story.endpoint().health.is_unhealthy


# ---- shortages of this machine ---------------------------------------------------------------------------------------


def test_a_shortage_closes_what_is_idle_longest_and_tries_once_more() -> None:
    story = Story(unhealthy_threshold=1)
    story.idle("b")
    story.ask("a")
    story.told()

    story.fail(2, local=True)
    assert story.told() == ["close 1: resource_exhausted", "dial 3"]

    story.idle("c")
    story.fail(3, local=True)
    assert story.told() == ["fail 2: dial_failed"]
    assert not story.endpoint("a").health.is_unhealthy


def test_a_shortage_with_nothing_idle_fails_the_waiter() -> None:
    story = Story()
    story.ask()

    story.fail(1, "too many open files", local=True)

    assert story.told() == ["dial 1", "fail 1: dial_failed"]
    assert str(story.causes[1]) == "too many open files"


def test_a_shortage_that_nobody_waits_for_closes_nothing() -> None:
    story = Story()
    story.idle("b")
    story.machine.prewarm(story.now, story.endpoint("a"), 1)
    story.told()

    story.fail(2, local=True)

    assert story.told() == []


# ---- the count itself ------------------------------------------------------------------------------------------------


def test_dials_and_exchanges_are_counted_apart() -> None:
    story = Story(unhealthy_threshold=3)
    health = Health()
    config = story.machine.config
    error = OSError()
    for _ in range(2):
        assert not health.dial_failed(0.0, error, config, 0.0)
        assert not health.exchange_failed(0.0, config, 0.0)
    assert health.failures == 2

    health.dialled()
    assert health.last_error is None
    assert not health.dial_failed(0.0, error, config, 0.0)
    assert health.exchange_failed(0.0, config, 0.0)
    assert health.failures == 3


def test_a_pause_longer_than_the_idle_time_is_kept_to_its_end() -> None:
    story = Story(unhealthy_threshold=1, dial_backoff=100.0, dial_backoff_max=100.0, idle_timeout=60.0)
    story.ask()
    story.fail(1)
    story.now = 50.0
    story.ask()
    story.told()

    story.wake(60.0)
    assert story.told() == []
    assert story.wake_at == 100.0

    story.wake(100.0)
    assert story.told() == ["dial 2"]
