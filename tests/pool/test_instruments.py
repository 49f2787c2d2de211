"""Instruments see what happens, in order; none of them can hurt the pool."""

from __future__ import annotations

import dataclasses
import errno
import logging
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import penstock
from penstock import events
from penstock.testing import serve_ok
from tests.support.scene import Recorder, at_once, scene, settle

if TYPE_CHECKING:
    from trio.testing import MockClock

ADDRESS = "192.0.2.7"


def names(seen: Recorder) -> list[str]:
    return [type(event).__name__ for event in seen.events]


async def test_the_life_of_a_connection_in_order(autojump_clock: MockClock) -> None:
    async with scene(idle_timeout=10) as s:
        for _ in range(2):
            await s.client.get(s.url)
        await settle(20)
        assert names(s.seen) == [
            "WaiterQueued",
            "DialStarted",
            "ConnectionOpened",
            "ConnectionTaken",
            "ConnectionReturned",
            "ConnectionTaken",
            "ConnectionReturned",
            "ConnectionClosing",
            "ConnectionClosed",
        ]
        times = [event.at for event in s.seen.events]
        assert times == [0.0] * 7 + [10.0, 10.0]
        assert {str(event.origin) for event in s.seen.events} == {s.url}
        assert {event.connection for event in s.seen.events if hasattr(event, "connection")} == {1}


async def test_a_wait_is_told_with_its_length(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=3), max_connections=1, latency=0.5) as s:
        await at_once(2, lambda: s.client.get(s.url))
        # One second for the connect; then one second there and back, and three for the answer.
        assert [event.waited for event in s.seen.of(events.ConnectionTaken)] == [1.0, 5.0]


async def test_failures_are_told_with_their_reasons(autojump_clock: MockClock) -> None:
    async with scene(max_connections=1, max_waiters=1, unhealthy_threshold=1) as s:
        s.network.add_host("down.test", ADDRESS)
        s.network.route(ADDRESS, errno=errno.ECONNREFUSED)
        with pytest.raises(penstock.ConnectError):
            await s.client.get("http://down.test")
        (failed,) = s.seen.of(events.DialFailed)
        assert isinstance(failed.error, penstock.ConnectError)
        (unhealthy,) = s.seen.of(events.EndpointUnhealthy)
        assert unhealthy.failures == 1

        async def ask(patience: float) -> None:
            with trio.move_on_after(patience):
                await s.client.get(s.url)

        async with s.pool.acquire(s.url), trio.open_nursery() as nursery:
            nursery.start_soon(ask, 1)
            await wait_all_tasks_blocked()
            with pytest.raises(penstock.PoolFull):
                await s.client.get(s.url)
            await trio.sleep(2)
            with pytest.raises(penstock.PoolTimeout):
                await s.client.get(s.url, timeout=penstock.Timeouts(pool=1))
        assert [event.reason.value for event in s.seen.of(events.WaiterEnded)] == [
            "dial_failed",
            "pool_full",
            "cancelled",
            "pool_timeout",
        ]


async def test_an_instrument_that_raises_is_logged_once_and_removed(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        calls = 0

        def event(self, event: events.Event) -> None:
            self.calls += 1
            raise ZeroDivisionError("in the instrument")

    async with scene() as s:
        broken = Broken()
        late = Recorder()
        s.pool.add_instrument(broken)
        s.pool.add_instrument(late)
        with caplog.at_level(logging.DEBUG, logger="penstock"):
            assert (await s.client.get(s.url)).text == "ok"
        assert broken.calls == 1
        # Those before and after it have missed nothing.
        assert names(s.seen) == names(late)
        (record,) = caplog.records
        assert (record.name, record.levelname) == ("penstock.instruments", "ERROR")
        assert "Broken" in record.getMessage()
        with pytest.raises(KeyError):
            s.pool.remove_instrument(broken)
        await s.client.get(s.url)
        assert len(caplog.records) == 1


async def test_instruments_come_and_go(autojump_clock: MockClock) -> None:
    async with scene() as s:
        s.pool.remove_instrument(s.seen)
        with pytest.raises(KeyError):
            s.pool.remove_instrument(s.seen)
        await s.client.get(s.url)
        assert s.seen.events == []
        s.pool.add_instrument(s.seen)
        s.pool.add_instrument(s.seen)
        await s.client.get(s.url)
        assert names(s.seen) == ["ConnectionTaken", "ConnectionReturned"]


async def test_an_instrument_may_remove_itself_and_look_at_the_pool(autojump_clock: MockClock) -> None:
    seen: list[tuple[str, int]] = []

    class Once:
        def event(self, event: events.Event) -> None:
            seen.append((type(event).__name__, s.pool.statistics().total))
            s.pool.explain()
            s.pool.remove_instrument(self)

    async with scene() as s:
        s.pool.add_instrument(Once())
        await s.client.get(s.url)
        await s.client.get(s.url)
        assert seen == [("WaiterQueued", 1)]


async def test_an_instrument_may_act_on_the_pool(autojump_clock: MockClock) -> None:
    class RenewsOnTrouble:
        def event(self, event: events.Event) -> None:
            if isinstance(event, events.ConnectionReturned):
                s.pool.renew()

    async with scene() as s:
        s.pool.add_instrument(RenewsOnTrouble())
        for _ in range(3):
            assert (await s.client.get(s.url)).text == "ok"
        assert s.requests_per_connection == [1, 1, 1]


@dataclasses.dataclass
class Unhashable:
    seen: int = 0

    def event(self, event: events.Event) -> None:
        self.seen += 1


async def test_instruments_are_told_apart_by_identity(autojump_clock: MockClock) -> None:
    async with scene() as s:
        one, other = Unhashable(), Unhashable()
        for instrument in (one, one, other):
            s.pool.add_instrument(instrument)
        s.pool.remove_instrument(other)
        with pytest.raises(KeyError):
            s.pool.remove_instrument(other)
        await s.client.get(s.url)
        assert one.seen > 0
        assert other.seen == 0


class Waits:
    async def event(self, event: events.Event) -> None:
        raise AssertionError


@pytest.mark.parametrize("wrong", [object(), lambda event: None, Waits()])
async def test_what_is_no_instrument_is_refused(wrong: Any, autojump_clock: MockClock) -> None:
    async with scene() as s:
        with pytest.raises(TypeError, match="needs a method event"):
            s.pool.add_instrument(wrong)
