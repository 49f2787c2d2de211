"""Connections end by time without anybody asking: idle time, age, the server's hint; and by number of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from penstock import events
from penstock.testing import serve_ok, serve_then_close_idle
from tests.support.scene import assert_at_rest, at_once, scene, settle
from tests.support.server import hints_keep_alive

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_an_idle_connection_expires_without_traffic(autojump_clock: MockClock) -> None:
    async with scene(idle_timeout=60) as s:
        await s.client.get(s.url)
        await settle(59.5)
        assert s.network.open_connections == 1
        await settle(1)
        assert s.network.open_connections == 0
        (closed,) = s.seen.of(events.ConnectionClosed)
        assert (closed.at, closed.reason.value) == (60.0, "idle_expired")
        assert_at_rest(s.pool, s.network)


async def test_use_puts_the_end_of_the_idle_time_off(autojump_clock: MockClock) -> None:
    async with scene(idle_timeout=60) as s:
        for _ in range(10):
            await s.client.get(s.url)
            await settle(50)
        assert s.network.connects == 1


async def test_what_is_not_needed_any_more_ages_out(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=1), idle_timeout=60) as s:
        await at_once(10, lambda: s.client.get(s.url))
        for _ in range(10):
            await s.client.get(s.url)
            await settle(10)
        assert s.network.open_connections == 1
        assert s.seen.close_reasons == ["idle_expired"] * 9


async def test_a_connection_in_use_does_not_expire(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=500), idle_timeout=60, read_timeout=None) as s:
        await s.client.get(s.url)
        assert s.network.open_connections == 1


async def test_the_longest_life_of_an_idle_connection(autojump_clock: MockClock) -> None:
    async with scene(keep_alive_timeout=100, idle_timeout=1000) as s:
        await s.pool.prewarm(s.url, 20)
        await settle(89.9)
        assert s.network.open_connections == 20
        await settle(10.2)
        assert s.network.open_connections == 0
        ends = {event.at for event in s.seen.of(events.ConnectionClosed)}
        # Shortened by up to a tenth, each by its own chance, so that they do not all go at once.
        assert len(ends) == 20
        assert s.seen.close_reasons == ["max_age"] * 20


async def test_the_longest_life_ends_a_busy_connection_between_requests(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=20), keep_alive_timeout=100) as s:
        for _ in range(6):
            assert (await s.client.get(s.url)).text == "ok"
        assert s.requests_per_connection == [5, 1]
        assert s.seen.close_reasons == ["max_age"]


async def test_a_number_of_requests(autojump_clock: MockClock) -> None:
    async with scene(max_requests_per_connection=3) as s:
        for _ in range(7):
            await s.client.get(s.url)
        assert s.requests_per_connection == [3, 3, 1]
        assert s.seen.close_reasons == ["max_requests"] * 2


async def test_without_keep_alive_each_request_has_a_connection(autojump_clock: MockClock) -> None:
    async with scene(keep_alive=False) as s:
        for _ in range(3):
            await s.client.get(s.url)
        assert s.requests_per_connection == [1, 1, 1]
        assert s.seen.close_reasons == ["keep_alive_off"] * 3
        assert s.network.open_connections == 0


async def test_the_servers_hint_shortens_the_idle_time(autojump_clock: MockClock) -> None:
    async with scene(hints_keep_alive(b"timeout=10, max=100")) as s:
        await s.client.get(s.url)
        await settle(7.9)
        await s.client.get(s.url)
        await settle(9)
        # Two seconds before the server would have closed it.
        (closed,) = s.seen.of(events.ConnectionClosed)
        assert (closed.at, closed.reason.value) == (pytest.approx(15.9), "keepalive_hint")
        assert s.requests_per_connection == [2]


@pytest.mark.parametrize("hint", [b"timeout=2", b"timeout=0", b"timeout=-5"])
async def test_a_hint_that_leaves_no_time_closes_at_once(hint: bytes, autojump_clock: MockClock) -> None:
    async with scene(hints_keep_alive(hint)) as s:
        for _ in range(2):
            await s.client.get(s.url)
        assert s.requests_per_connection == [1, 1]
        assert s.seen.close_reasons == ["keepalive_hint"] * 2


@pytest.mark.parametrize("hint", [b"timeout=100000", b"max=5", b"timeout=soon", b"", b"timeout=1e3"])
async def test_a_hint_that_says_nothing_of_use(hint: bytes, autojump_clock: MockClock) -> None:
    async with scene(hints_keep_alive(hint), idle_timeout=60) as s:
        await s.client.get(s.url)
        await settle(50)
        assert s.network.open_connections == 1
        await settle(20)
        assert s.network.open_connections == 0


async def test_the_pool_learns_from_a_server_that_closes_earlier(autojump_clock: MockClock) -> None:
    async with scene(serve_then_close_idle(20), idle_timeout=60) as s:
        for _ in range(4):
            await s.client.get(s.url)
            await settle(30)
        reasons = s.seen.close_reasons
        assert reasons == ["peer_closed"] * 3 + ["idle_expired"]
        lives = [event.at for event in s.seen.of(events.ConnectionClosed)]
        assert lives[3] - 90 == pytest.approx(18, abs=0.1)


async def test_a_connection_past_its_time_is_not_taken_even_if_nobody_noticed_yet(autojump_clock: MockClock) -> None:
    async with scene(idle_timeout=60) as s:
        await s.client.get(s.url)
        # No task runs while the time passes: the pool's sleeper is late, and so is everybody else.
        autojump_clock.jump(61)
        await s.client.get(s.url)
        assert s.requests_per_connection == [1, 1]
        assert trio.current_time() == 61


async def test_taking_a_connection_without_using_it_does_not_make_it_younger(autojump_clock: MockClock) -> None:
    async with scene(idle_timeout=10) as s:
        await s.client.get(s.url)
        await settle(6)
        async with s.pool.acquire(s.url):
            await trio.sleep(2)
        await settle(1.5)
        assert s.network.open_connections == 1
        await settle(1)
        (closed,) = s.seen.of(events.ConnectionClosed)
        assert (closed.at, closed.reason.value) == (10.0, "idle_expired")


async def test_the_servers_hint_holds_on_after_a_turn_without_a_request(autojump_clock: MockClock) -> None:
    async with scene(hints_keep_alive(b"timeout=10")) as s:
        await s.client.get(s.url)
        await settle(5)
        async with s.pool.acquire(s.url):
            await trio.sleep(4)
        assert s.seen.close_reasons == ["keepalive_hint"]
