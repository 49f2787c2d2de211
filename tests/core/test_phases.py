"""The pool as a whole: suspend and resume, renew, drain, close."""

from __future__ import annotations

from penstock._core.planning import Phase
from penstock._core.waiters import WaiterState
from penstock._events import CloseReason
from tests.support.story import Story

# ---- suspend and resume ----------------------------------------------------------------------------------------------


def test_a_suspended_pool_serves_nobody() -> None:
    story = Story()
    number = story.idle()
    story.machine.suspend()

    assert story.ask() is None
    story.ask("b")

    assert story.told() == []
    assert story.states() == {number: "IDLE"}


def test_what_is_released_or_connected_while_suspended_stays_idle_until_the_pool_resumes() -> None:
    story = Story(max_connections=2)
    first = story.active()
    story.ask()
    story.told()
    story.machine.suspend()
    story.ask()

    story.release(first)
    story.connect(2)
    assert story.told() == []

    story.machine.resume(story.now)
    assert story.told() == ["deliver 2 to 2", "deliver 1 to 3"]


def test_deadlines_run_while_suspended() -> None:
    story = Story()
    story.machine.suspend()
    story.ask(wait=5.0)
    assert story.wake_at == 5.0

    story.wake(5.0)

    assert story.told() == ["fail 1: pool_timeout"]


def test_resume_gives_free_slots_to_the_oldest_waiters_of_all_origins() -> None:
    story = Story(max_connections=1)
    story.endpoint("a")
    story.machine.suspend()
    story.ask("b")
    story.ask("a")

    story.machine.resume(story.now)

    assert story.told() == ["dial 1"]
    assert story.entries[1].endpoint.origin.host == "b"


def test_resume_restores_the_floors() -> None:
    story = Story()
    story.machine.suspend()
    story.endpoint(declared=True, min_idle=1)
    assert story.told() == []

    story.machine.resume(story.now)

    assert story.told() == ["dial 1"]


def test_suspend_and_resume_do_nothing_where_they_make_no_sense() -> None:
    story = Story()
    story.machine.resume(story.now)
    assert story.machine.phase is Phase.RUNNING

    story.machine.drain(story.now)
    story.machine.suspend()
    story.machine.resume(story.now)
    assert story.machine.phase is Phase.DRAINING


# ---- renew -----------------------------------------------------------------------------------------------------------


def test_renew_closes_idle_connections_now_and_active_ones_when_their_exchanges_end() -> None:
    story = Story()
    busy = story.active()
    idle = story.active()
    story.release(idle)
    story.told()

    story.machine.renew(story.now)
    assert story.told() == ["close 2: generation"]

    story.release(busy)
    assert story.told() == ["close 1: generation"]


def test_renew_lets_several_exchanges_of_one_connection_finish() -> None:
    story = Story()
    story.active(capacity=3)
    assert story.ask() == 1
    story.machine.renew(story.now)

    assert story.ask() is None
    assert story.told() == ["dial 2"]
    story.release(1)
    assert story.told() == []
    story.release(1)
    assert story.told() == ["close 1: generation"]


def test_a_dial_of_an_older_generation_is_closed_and_its_waiter_gets_another() -> None:
    story = Story(max_connections=2)
    story.ask()
    story.told()
    story.machine.renew(story.now)

    assert story.connect(1) is True
    assert story.told() == ["close 1: generation", "dial 2"]

    story.connect(2)
    assert story.told() == ["deliver 2 to 1"]


def test_renew_closes_what_is_being_probed() -> None:
    story = Story(health_check_interval=10.0)
    story.idle()
    story.wake(10.0)
    assert story.told() == ["probe 1"]

    story.machine.renew(story.now)
    story.probed(1)

    assert story.told() == ["close 1: generation"]


# ---- drain and close -------------------------------------------------------------------------------------------------


def test_drain_refuses_waiters_and_lets_exchanges_finish() -> None:
    story = Story(max_connections=3, max_connections_per_host=2)
    busy = story.active()
    story.idle("b")
    story.ask()
    story.ask()
    story.told()

    story.machine.drain(story.now)
    assert story.told() == [
        "fail 3: pool_closed",
        "fail 4: pool_closed",
        "close 3: draining",
        "close 2: draining",
    ]
    assert story.ask() is None
    assert story.told() == ["fail 5: pool_closed"]
    assert story.waiters[5].state is WaiterState.REJECTED

    story.release(busy)
    assert story.told() == ["close 1: draining"]
    for number in (1, 2, 3):
        story.closed(number)
    assert story.machine.total == 0


def test_a_dial_that_succeeds_after_it_was_given_up_is_not_taken() -> None:
    story = Story()
    story.ask()
    story.machine.drain(story.now)

    assert story.connect(1) is False
    story.closed(1)

    assert story.machine.total == 0
    assert story.endpoint().counters.dials_given_up == 1


def test_a_dial_that_fails_after_it_was_given_up_frees_its_slot() -> None:
    story = Story()
    story.ask()
    story.machine.drain(story.now)

    story.fail(1)

    assert story.machine.total == 0
    assert story.endpoint().closed_by_reason == {"draining": 1}


def test_close_closes_exchanges_in_flight_too() -> None:
    story = Story()
    busy = story.active()

    story.machine.close(story.now)
    assert story.told() == ["close 1: pool_closed"]

    story.closed(busy)
    story.release(busy, CloseReason.POOL_CLOSED, succeeded=None)
    assert story.told() == []
    assert story.endpoint().counters.released == 1


def test_close_after_drain_keeps_the_first_reason() -> None:
    story = Story()
    story.active()
    story.machine.drain(story.now)

    story.machine.close(story.now)

    assert story.told() == ["close 1: draining"]


def test_drain_and_close_may_be_repeated() -> None:
    story = Story()
    story.idle()
    story.machine.drain(story.now)
    story.machine.drain(story.now)
    story.machine.close(story.now)
    story.machine.close(story.now)
    story.machine.drain(story.now)

    assert story.told() == ["close 1: draining"]
    assert story.machine.phase is Phase.CLOSED


def test_drain_works_on_a_suspended_pool() -> None:
    story = Story()
    story.machine.suspend()
    story.ask()

    story.machine.drain(story.now)

    assert story.told() == ["fail 1: pool_closed"]


def test_a_closed_pool_dials_for_nobody() -> None:
    story = Story(min_idle=1)
    endpoint = story.endpoint(declared=True)
    story.told()
    story.machine.close(story.now)
    story.closed(1)

    story.machine.prewarm(story.now, endpoint, 3)

    assert story.told() == ["close 1: pool_closed"]


def test_a_closed_pool_keeps_its_books_and_asks_for_no_more_time() -> None:
    story = Story(idle_timeout=60.0)
    busy = story.active()
    story.machine.close(story.now)
    story.closed(busy)

    story.wake(60.0)
    story.release(busy, succeeded=None)

    assert story.endpoint().counters.released == 1
    assert story.wake_at == float("inf")
