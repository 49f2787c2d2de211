"""One heap for everything that has a time; records of the dead stay few."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from penstock._core.timers import INF, Timers
from tests.support.story import Story


class Subject:
    def __init__(self, name: str) -> None:
        self.name = name
        self.timer_at = INF


def names(subjects: Iterable[object]) -> list[str]:
    return [subject.name for subject in subjects if isinstance(subject, Subject)]


def test_subjects_are_due_in_order_of_time() -> None:
    timers = Timers()
    for name, at in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("a2", 1.0)):
        timers.schedule(Subject(name), at)

    assert timers.next_at == 1.0
    assert names(timers.due(2.0)) == ["a", "a2", "b"]
    assert timers.next_at == 3.0


def test_an_earlier_wish_replaces_a_later_one() -> None:
    timers, subject = Timers(), Subject("a")
    assert timers.schedule(subject, 5.0) is True
    assert timers.schedule(subject, 2.0) is True

    assert names(timers.due(5.0)) == ["a"]
    assert timers.next_at == INF


def test_a_later_wish_changes_nothing() -> None:
    timers, subject = Timers(), Subject("a")
    timers.schedule(subject, 2.0)

    assert timers.schedule(subject, 5.0) is False
    assert timers.next_at == 2.0


def test_what_was_cancelled_is_never_due() -> None:
    timers, subject = Timers(), Subject("a")
    timers.cancel(subject)
    timers.schedule(subject, 2.0)
    timers.cancel(subject)

    assert timers.next_at == INF
    assert names(timers.due(10.0)) == []


def test_a_cancelled_record_is_passed_over_where_it_surfaces() -> None:
    timers, first, second = Timers(), Subject("a"), Subject("b")
    timers.schedule(first, 1.0)
    timers.schedule(second, 2.0)
    timers.cancel(first)

    assert names(timers.due(3.0)) == ["b"]


def test_a_subject_may_be_scheduled_again_while_it_is_due() -> None:
    timers, subject = Timers(), Subject("a")
    timers.schedule(subject, 1.0)
    seen = []
    for due in timers.due(1.5):
        seen.append(due)
        timers.schedule(subject, 2.0)

    assert seen == [subject]
    assert timers.next_at == 2.0


def test_dead_records_never_outnumber_the_live_ones_for_long() -> None:
    timers = Timers()
    living = [Subject("live") for _ in range(100)]
    for subject in living:
        timers.schedule(subject, 1e6)
    for number in range(10_000):
        passing = Subject("dead")
        timers.schedule(passing, 1000.0 + number)
        timers.cancel(passing)
        # An earlier wish buries a record too.
        timers.schedule(living[number % 100], 1e6 - number)

    assert len(timers._heap) < 500
    assert len(names(timers.due(1e7))) == 100


@given(st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 20)), max_size=300))
def test_it_agrees_with_a_plain_table(wishes: list[tuple[int, int | None]]) -> None:
    timers = Timers()
    subjects = [Subject(str(number)) for number in range(6)]
    table: dict[int, float] = {}
    for number, at in wishes:
        if at is None:
            timers.cancel(subjects[number])
            table.pop(number, None)
        else:
            timers.schedule(subjects[number], float(at))
            table[number] = min(table.get(number, INF), float(at))
        assert timers.next_at == min(table.values(), default=INF)

    for now in range(21):
        expected = sorted(str(number) for number, at in table.items() if at == now)
        assert sorted(names(timers.due(float(now)))) == expected


def test_a_connection_used_often_costs_one_record() -> None:
    story = Story()
    number = story.idle()
    for _ in range(1000):
        story.now += 0.001
        story.ask()
        story.release(number)

    assert len(story.machine._timers._heap) <= 2


def test_waiters_that_come_and_go_behind_a_full_pool_leave_nothing_behind() -> None:
    story = Story(max_connections=1)
    story.active("a")
    story.ask("b")
    for _ in range(1000):
        story.ask("c", wait=30.0)
        story.cancel(max(story.waiters))

    assert len(story.machine._stalled.notes) < 100
    assert len(story.machine._timers._heap) < 150
