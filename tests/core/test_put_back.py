"""A connection that was taken and not used goes back as it was."""

from __future__ import annotations

from tests.support.story import Story


def taken(**settings: object) -> tuple[Story, int]:
    """A connection that was used once, idle since 0, and taken again at 6."""
    story = Story(idle_timeout=10.0, **settings)
    number = story.active()
    story.release(number)
    story.wake(6.0)
    assert story.ask() == number
    return story, number


def test_it_keeps_the_idle_time_it_had() -> None:
    story, number = taken()
    story.put_back(number)
    assert story.states() == {number: "IDLE"}
    assert story.entries[number].idle_since == 0.0
    assert story.wake_at == 10.0
    story.wake(10.0)
    assert story.told() == [f"close {number}: idle_expired"]


def test_it_is_closed_if_its_time_passed_while_it_was_held() -> None:
    story, number = taken()
    story.wake(11.0)
    story.put_back(number)
    assert story.told() == [f"close {number}: idle_expired"]


def test_it_keeps_the_servers_hint() -> None:
    story = Story()
    number = story.active()
    story.release(number, idle_hint=10.0)
    assert story.ask() == number
    story.wake(9.0)
    story.put_back(number)
    assert story.told() == [f"close {number}: keepalive_hint"]


def test_it_goes_to_who_waits_and_is_as_old_as_before() -> None:
    story, number = taken(max_connections=1)
    story.ask()
    exchanges = story.entries[number].exchanges
    story.put_back(number)
    assert story.told()[-1] == f"deliver {number} to 3"
    assert story.entries[number].idle_since == 0.0
    assert story.entries[number].exchanges == exchanges


def test_one_that_was_never_used_is_idle_since_it_opened() -> None:
    story = Story(idle_timeout=10.0)
    number = story.active()
    story.wake(3.0)
    story.put_back(number)
    assert story.entries[number].exchanges == 0
    story.wake(9.9)
    assert story.told() == []
    story.wake(10.0)
    assert story.told() == [f"close {number}: idle_expired"]


def test_one_that_was_retired_meanwhile_is_closed() -> None:
    story, number = taken()
    story.machine.renew(story.now)
    assert story.told() == []
    story.put_back(number)
    assert story.told() == [f"close {number}: generation"]


def test_one_that_was_dialled_for_a_replay_begins_to_be_idle() -> None:
    story = Story(idle_timeout=10.0)
    story.ask_fresh()
    story.listen()
    story.wake(3.0)
    story.connect(1)
    story.wake(4.0)
    assert story.told() == ["dial 1", "deliver 1 to 1"]
    story.put_back(1)
    assert story.states() == {1: "IDLE"}
    story.wake(13.9)
    assert story.told() == []
    story.wake(14.0)
    assert story.told() == ["close 1: idle_expired"]
