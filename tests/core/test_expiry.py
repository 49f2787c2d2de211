"""When a connection is too old, too idle, or past what its server promised or taught."""

from __future__ import annotations

import pytest

from penstock._core import backoff
from penstock._core.expiry import IdleLesson, life_span
from penstock._events import CloseReason
from tests.support.story import Story

# ---- idle time -------------------------------------------------------------------------------------------------------


def test_a_connection_that_was_idle_for_the_idle_timeout_is_closed_at_that_time() -> None:
    story = Story(idle_timeout=60.0)
    number = story.active()
    story.now = 5.0
    story.release(number)
    assert story.wake_at == 60.0

    story.wake(60.0)
    assert story.told() == []
    assert story.wake_at == 65.0

    story.wake(65.0)
    assert story.told() == ["close 1: idle_expired"]


def test_use_starts_the_idle_time_anew() -> None:
    story = Story(idle_timeout=60.0)
    number = story.idle()
    story.now = 50.0
    assert story.ask() == number
    story.wake(60.0)
    story.release(number)

    story.wake(119.0)
    assert story.told() == []
    story.wake(120.0)
    assert story.told() == ["close 1: idle_expired"]


def test_an_expired_connection_is_not_delivered_even_if_nobody_was_woken_in_time() -> None:
    story = Story(idle_timeout=60.0)
    story.idle()
    story.now = 60.0

    assert story.ask() is None

    assert story.told() == ["close 1: idle_expired", "dial 2"]


# ---- longest life ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("chance", "life"), [(0.0, 1800.0), (0.5, 1710.0), (1.0, 1620.0)])
def test_lives_are_shortened_by_chance_by_up_to_a_tenth(chance: float, life: float) -> None:
    assert life_span(1800.0, chance) == life


def test_connections_opened_together_do_not_end_together() -> None:
    story = Story(keep_alive_timeout=100.0, idle_timeout=1000.0)
    for chance in (0.0, 0.5, 1.0):
        story.chance = chance
        story.active()
    for number in (1, 2, 3):
        story.release(number)

    for at, closed in ((90.0, 3), (95.0, 2), (100.0, 1)):
        assert story.wake_at == at
        story.wake(at)
        assert story.told() == [f"close {closed}: max_age"]


def test_a_connection_past_its_longest_life_is_not_delivered() -> None:
    story = Story(keep_alive_timeout=100.0, idle_timeout=1000.0)
    story.idle()
    story.now = 100.0

    assert story.ask() is None

    assert story.told() == ["close 1: max_age", "dial 2"]


def test_a_connection_with_room_past_its_longest_life_takes_nothing_new() -> None:
    story = Story(keep_alive_timeout=100.0)
    story.active(capacity=2)
    story.now = 100.0

    assert story.ask() is None
    assert story.states() == {1: "DRAINING", 2: "DIALING"}


def test_an_active_connection_is_left_alone_by_the_clock() -> None:
    story = Story(idle_timeout=10.0, keep_alive_timeout=100.0, health_check_interval=5.0)
    story.idle()
    story.ask()

    for at in (5.0, 10.0, 100.0):
        story.wake(at)

    assert story.told() == []


def test_a_connection_whose_timer_went_off_in_use_is_asked_for_its_age_again() -> None:
    story = Story(idle_timeout=10.0, keep_alive_timeout=100.0)
    number = story.idle()
    assert story.ask() == number
    story.wake(10.0)
    story.release(number)
    assert story.wake_at == 20.0
    assert story.ask() == number
    story.wake(20.0)
    story.now = 100.0

    story.release(number)

    assert story.told() == [f"close {number}: max_age"]


@pytest.mark.parametrize("timer_went_off", [False, True])
def test_a_connection_of_the_floor_that_was_idle_too_long_is_not_delivered_once_there_are_more(
    *, timer_went_off: bool
) -> None:
    story = Story(idle_timeout=10.0)
    story.endpoint(min_idle=1, declared=True)
    story.connect(1)
    if timer_went_off:
        story.wake(10.0)
        assert story.wake_at == 20.0
    story.now = 11.0
    story.machine.prewarm(story.now, story.endpoint(), 2)
    story.connect(2)
    assert story.ask() == 2

    assert story.ask() is None

    assert story.told() == ["dial 1", "dial 2", "close 1: idle_expired", "dial 3"]


# ---- the server's hint -----------------------------------------------------------------------------------------------


def test_a_hint_shortens_the_idle_time_by_a_margin() -> None:
    story = Story(idle_timeout=60.0)
    number = story.active()
    story.release(number, idle_hint=5.0)

    story.wake(2.9)
    assert story.told() == []
    story.wake(3.0)
    assert story.told() == ["close 1: keepalive_hint"]


def test_a_hint_that_is_given_each_time_holds_from_the_latest() -> None:
    story = Story(idle_timeout=60.0)
    number = story.active()
    for at in (0.0, 2.0, 4.0):
        story.wake(at)
        story.release(number, idle_hint=5.0)
        if at < 4.0:
            assert story.ask() == number

    story.wake(6.9)
    assert story.told() == []
    story.wake(7.0)
    assert story.told() == ["close 1: keepalive_hint"]


def test_a_shorter_hint_brings_the_timer_forward() -> None:
    story = Story(idle_timeout=60.0)
    number = story.active()
    story.release(number, idle_hint=30.0)
    assert story.wake_at == 28.0
    assert story.ask() == number

    story.release(number, idle_hint=5.0)

    assert story.wake_at == 3.0


def test_a_connection_past_its_hint_is_not_delivered() -> None:
    story = Story()
    number = story.active()
    story.release(number, idle_hint=5.0)
    story.now = 3.0

    assert story.ask() is None
    assert story.told() == ["close 1: keepalive_hint", "dial 2"]


def test_a_hint_holds_for_one_idle_time_only() -> None:
    story = Story(idle_timeout=60.0)
    number = story.active()
    story.release(number, idle_hint=5.0)
    assert story.ask() == number
    story.release(number)

    story.now = 30.0
    assert story.ask() == number


def test_a_generous_hint_lengthens_nothing() -> None:
    story = Story(idle_timeout=60.0)
    number = story.active()
    story.release(number, idle_hint=1000.0)

    story.wake(60.0)

    assert story.told() == ["close 1: idle_expired"]


# ---- probes ----------------------------------------------------------------------------------------------------------


def test_an_idle_connection_is_probed_at_intervals() -> None:
    story = Story(health_check_interval=10.0, idle_timeout=60.0)
    number = story.idle()
    for at in (10.0, 20.0):
        story.wake(at)
        assert story.told() == ["probe 1"]
        story.probed(number)

    story.wake(30.0)
    assert story.told() == ["probe 1"]
    story.probed(number, CloseReason.PEER_CLOSED)
    assert story.told() == ["close 1: probe_failed"]


def test_a_connection_being_probed_is_not_delivered_until_it_is_back() -> None:
    story = Story(health_check_interval=10.0, max_connections_per_host=1)
    story.idle()
    story.wake(10.0)
    assert story.ask() is None

    story.probed(1)

    assert story.told() == ["probe 1", "deliver 1 to 2"]


def test_a_probe_that_comes_back_too_late_is_of_no_use() -> None:
    story = Story(health_check_interval=10.0)
    story.idle()
    story.wake(10.0)
    story.machine.renew(story.now)
    story.told()

    story.probed(1)
    story.closed(1)
    story.probed(1)

    assert story.told() == []
    assert story.machine.total == 0


def test_a_probe_that_took_longer_than_the_connection_lives_ends_it() -> None:
    story = Story(health_check_interval=10.0, idle_timeout=20.0)
    story.idle()
    story.wake(10.0)
    story.now = 25.0
    story.probed(1)

    assert story.ask() is None
    assert story.told() == ["probe 1", "close 1: idle_expired", "dial 2"]


# ---- what a server teaches -------------------------------------------------------------------------------------------


def test_idle_ages_that_agree_teach_the_servers_limit() -> None:
    story = Story(idle_timeout=60.0)
    for _ in range(3):
        number = story.idle()
        story.now += 20.0
        story.lost(number)
        story.closed(number)
    story.told()
    story.idle()

    story.wake(story.now + 18.0)

    assert story.told() == ["close 4: idle_expired"]


def test_what_is_lost_while_in_use_is_found_out_by_its_exchange() -> None:
    story = Story()
    number = story.active()

    story.lost(number)

    assert story.told() == []


def test_only_the_peers_closing_teaches() -> None:
    story = Story(idle_timeout=60.0)
    for _ in range(3):
        number = story.idle()
        story.now += 20.0
        story.lost(number, CloseReason.UNSOLICITED_DATA)
        story.closed(number)

    assert story.endpoint().lesson is None


def test_refusals_by_the_last_look_teach_too() -> None:
    story = Story(idle_timeout=60.0)
    number = story.idle()
    for _ in range(3):
        story.now += 20.0
        assert story.ask() == number
        story.refuse(max(story.waiters))
        story.closed(number)
        number += 1
        story.connect(number)
        story.release(number)

    assert story.endpoint().lesson.limit == pytest.approx(18.0)


def lesson(*ages: float) -> IdleLesson:
    one = IdleLesson()
    for age in ages:
        one.peer_closed(0.0, age)
    return one


def test_ages_that_differ_teach_nothing() -> None:
    assert lesson(20.0, 30.0, 40.0).limit is None
    assert lesson(20.0, 20.5).limit is None
    assert lesson(20.0, 20.5, 20.9).limit == pytest.approx(18.0)
    assert lesson(100.0, 104.0, 109.0).limit == pytest.approx(90.0)


def test_a_server_that_closes_young_connections_teaches_nothing_and_spoils_the_series() -> None:
    assert lesson(1.0, 1.0, 1.0).limit is None
    assert lesson(20.0, 20.0, 1.0, 20.0).limit is None


def test_a_lesson_is_forgotten_after_a_while() -> None:
    one = lesson(20.0, 20.0, 20.0)
    assert one.idle_timeout(600.0, 60.0) == pytest.approx(18.0)
    assert one.idle_timeout(600.1, 60.0) == 60.0
    assert one.limit is None


def test_a_lesson_never_lengthens() -> None:
    assert lesson(20.0, 20.0, 20.0).idle_timeout(0.0, 5.0) == 5.0
    assert lesson().idle_timeout(0.0, 5.0) == 5.0


# ---- backoff ---------------------------------------------------------------------------------------------------------


def test_pauses_double_up_to_the_longest() -> None:
    pauses = [backoff.pause(count, base=0.1, longest=30.0, chance=0.0) for count in (1, 2, 3, 9, 10, 10_000)]

    assert pauses == pytest.approx([0.1, 0.2, 0.4, 25.6, 30.0, 30.0])


def test_a_pause_is_shortened_by_up_to_half() -> None:
    assert backoff.pause(1, base=1.0, longest=30.0, chance=1.0) == 0.5
