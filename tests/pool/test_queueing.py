"""Who waits is served in order: by priority, in turns between tenants, first come first served inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import penstock
from penstock.testing import serve_ok
from tests.support.scene import Scene, assert_at_rest, scene

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.testing import MockClock


async def order_of_service(s: Scene, requests: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """Queue these behind one request that holds the only connection; say in which order they are served."""
    served: list[str] = []

    async def ask(name: str, options: dict[str, Any]) -> None:
        await s.client.get(f"{s.url}/{name}", **options)
        served.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(s.client.get, s.url)
        await wait_all_tasks_blocked()
        for name, options in requests:
            nursery.start_soon(ask, name, options)
            await wait_all_tasks_blocked()
        assert s.pool.statistics().waiting == len(requests)
    targets = [request.target.decode()[1:] for peer in s.network.peers for request in peer.requests]
    assert targets[1:] == served
    assert_at_rest(s.pool, s.network)
    return "".join(served)


async def test_first_come_first_served(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=1), max_connections=1) as s:
        assert await order_of_service(s, [(name, {}) for name in "abcdef"]) == "abcdef"
        assert s.network.connects == 1


async def test_the_lower_priority_number_goes_first(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=1), max_connections=1) as s:
        wishes = {"a": 5, "b": 0, "c": -100, "d": 5, "e": 0, "f": 100}
        assert await order_of_service(s, [(name, {"priority": wish}) for name, wish in wishes.items()]) == "cbeadf"


async def test_tenants_take_turns_inside_a_priority(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=1), max_connections=1) as s:
        tenants = {"a": "busy", "b": "busy", "c": "busy", "d": "other", "e": None, "f": "other"}
        assert await order_of_service(s, [(name, {"tenant": who}) for name, who in tenants.items()]) == "adebfc"


async def test_acquire_queues_by_the_same_rules(autojump_clock: MockClock) -> None:
    async with scene(max_connections=1) as s:
        served: list[str] = []

        async def take(name: str, priority: int) -> None:
            async with s.pool.acquire(s.url, priority=priority):
                served.append(name)
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            for name, priority in {"a": 0, "b": 1, "c": -1}.items():
                nursery.start_soon(take, name, priority)
                await wait_all_tasks_blocked()
        assert served == ["a", "c", "b"]


@pytest.mark.parametrize("priority", [-101, 101, 1.0, True, "0"])
async def test_a_priority_that_is_none(priority: Any, autojump_clock: MockClock) -> None:
    async with scene() as s:
        with pytest.raises((ValueError, TypeError), match="priority must be"):
            s.pool.acquire(s.url, priority=priority)
        assert s.network.connects == 0


async def test_a_waiter_that_leaves_loses_its_place_only(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=1), max_connections=1) as s:
        finished: list[float] = []

        async def ask(patience: float) -> None:
            with trio.move_on_after(patience):
                await s.client.get(s.url)
                finished.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            for patience in (9.5, 1.5, 9.5):
                nursery.start_soon(ask, patience)
                await wait_all_tasks_blocked()
        # The second one was cancelled in its exchange, half a second in; its connection is gone, the third dials.
        assert finished == [1.0, 2.5]
        assert_at_rest(s.pool, s.network)


async def test_a_waiter_cancelled_in_the_step_in_which_it_is_served_passes_its_connection_on(
    autojump_clock: MockClock,
) -> None:
    async with scene(max_connections=1) as s:
        scope = trio.CancelScope()

        async def victim() -> None:
            with scope:
                await s.client.post(f"{s.url}/victim", content=b"pay")

        async with trio.open_nursery() as nursery:
            async with s.pool.acquire(s.url):
                nursery.start_soon(victim)
                await wait_all_tasks_blocked()
                nursery.start_soon(s.client.get, f"{s.url}/next")
                await wait_all_tasks_blocked()
            # The connection was handed over just now; the victim has not run since.
            assert s.pool.statistics().waiting == 1
            scope.cancel()
        assert scope.cancelled_caught
        # Nothing was sent for somebody who had given up, and the connection was good for the next one.
        assert [request.target for peer in s.network.peers for request in peer.requests] == [b"/next"]
        assert s.network.connects == 1
        assert_at_rest(s.pool, s.network)


async def test_a_release_wakes_one_waiter(autojump_clock: MockClock) -> None:
    async with scene(max_connections=2) as s:
        holding: list[int] = []
        most = 0

        async def hold() -> None:
            nonlocal most
            async with s.pool.acquire(s.url) as lease:
                holding.append(lease.connection_id)
                most = max(most, len(holding))
                await trio.sleep(1)
                holding.remove(lease.connection_id)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(hold)
        assert trio.current_time() == 5
        assert most == 2
        assert_at_rest(s.pool, s.network)


async def test_explain_says_what_each_waiter_waits_for(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=10), max_connections=2, max_connections_per_host=1) as s:
        other = s.serve("other.test", serve_ok(delay=10))
        third = s.serve("third.test", serve_ok(delay=10))
        s.network.add_host("slow.test", "192.0.2.9")

        async def ask(url: str) -> None:
            with trio.move_on_after(5):
                await s.client.get(url, tenant="acme", priority=3)

        async with trio.open_nursery() as nursery:
            for url in (s.url, s.url, other, third):
                nursery.start_soon(ask, url)
                await wait_all_tasks_blocked()
            await trio.sleep(1)
            lines = {str(line.origin): line for line in s.pool.explain()}
            assert lines.keys() == {s.url, third}
            assert lines[s.url].reason == "max_connections_per_host is reached"
            assert lines[third].reason == "max_connections is reached"
            assert (lines[third].waited, lines[third].tenant, lines[third].priority) == (1.0, "acme", 3)
            s.pool.suspend()
            assert {line.reason for line in s.pool.explain()} == {"the pool is suspended"}


async def test_explain_knows_a_dial_and_a_pause(autojump_clock: MockClock) -> None:
    async with scene(unhealthy_threshold=1, dial_backoff=10, dial_backoff_max=10) as s:
        s.network.add_host("slow.test", "192.0.2.9")
        s.network.route("192.0.2.9", delay=3)
        async with trio.open_nursery() as nursery:

            async def fails() -> None:
                with pytest.raises(penstock.ConnectError):
                    await s.client.get("http://slow.test")

            nursery.start_soon(fails)
            await trio.sleep(1)
            assert [line.reason for line in s.pool.explain()] == [
                "a dial is running for it; whatever connection comes first serves it"
            ]
        with trio.move_on_after(1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(s.client.get, "http://slow.test")
                await wait_all_tasks_blocked()
                assert [line.reason for line in s.pool.explain()] == [
                    "the endpoint failed and is left alone for a while"
                ]
