"""An endpoint that fails is left alone for a while; idle connections are looked at from time to time."""

from __future__ import annotations

import errno
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock import events
from penstock.testing import ScriptedPeer, serve_ok, stall
from tests.support.scene import assert_at_rest, at_once, scene, settle
from tests.support.server import closes_without_answer

if TYPE_CHECKING:
    from trio.testing import MockClock

ADDRESS = "192.0.2.7"


async def test_failures_in_a_row_evict_idle_connections_and_hold_dials_back(autojump_clock: MockClock) -> None:
    async with scene(
        closes_without_answer(), unhealthy_threshold=3, dial_backoff=10, dial_backoff_max=10, pool_timeout=1
    ) as s:
        await s.pool.prewarm(s.url, 6)
        for failures in (1, 2, 3):
            with pytest.raises(penstock.ReadError):
                await s.client.get(s.url)
            assert s.only_endpoint.failures == failures
        (unhealthy,) = s.seen.of(events.EndpointUnhealthy)
        assert (unhealthy.failures, unhealthy.at) == (3, 0)
        assert 5 <= unhealthy.until <= 10
        assert s.network.open_connections == 0
        assert s.seen.close_reasons.count("unhealthy_endpoint") == 3
        assert s.only_endpoint.paused_for == unhealthy.until
        with pytest.raises(penstock.PoolTimeout):
            await s.client.get(s.url)
        assert s.network.connects == 6


async def test_a_waiter_outlasts_the_pause(autojump_clock: MockClock) -> None:
    async with scene(unhealthy_threshold=1, dial_backoff=10, dial_backoff_max=10) as s:
        s.network.add_host("down.test", ADDRESS)
        s.network.route(ADDRESS, errno=errno.ECONNREFUSED, times=1)
        url = s.serve("down.test", serve_ok(delay=1))
        with pytest.raises(penstock.ConnectError):
            await s.client.get(url)
        answers = await at_once(5, lambda: s.client.get(url))
        assert len(answers) == 5
        # Five to ten seconds of pause; then one dial tries, and only when it has proved itself the others follow.
        assert 6 <= trio.current_time() <= 15
        assert len(s.seen.of(events.EndpointRecovered)) == 1
        assert s.only_endpoint.failures == 0
        assert_at_rest(s.pool, s.network)


async def test_the_pause_doubles_while_the_endpoint_stays_down(autojump_clock: MockClock) -> None:
    async with scene(unhealthy_threshold=1, dial_backoff=1, dial_backoff_max=60, pool_timeout=1000) as s:
        s.network.add_host("down.test", ADDRESS)
        s.network.route(ADDRESS, errno=errno.ECONNREFUSED)
        url = s.serve("down.test", serve_ok())
        for _ in range(8):
            with pytest.raises(penstock.ConnectError):
                await s.client.get(url)
        starts = [attempt.at for attempt in s.network.attempts]
        pauses = [after - before for before, after in pairwise(starts)]
        for number, pause in enumerate(pauses):
            full = min(60.0, 2.0**number)
            assert full / 2 <= pause <= full + 1e-9


async def test_a_success_resets_the_count(autojump_clock: MockClock) -> None:
    async def every_third_works(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        if len(s.network.peers) % 3 == 0:
            await peer.respond(200, [(b"connection", b"close")])

    async with scene(every_third_works, unhealthy_threshold=3) as s:
        for number in range(1, 10):
            if number % 3:
                with pytest.raises(penstock.ReadError):
                    await s.client.get(s.url)
            else:
                await s.client.get(s.url)
        assert s.seen.of(events.EndpointUnhealthy) == []


async def test_timeouts_count_against_the_endpoint(autojump_clock: MockClock) -> None:
    async with scene(stall, unhealthy_threshold=2, read_timeout=1) as s:
        for _ in range(2):
            with pytest.raises(penstock.ReadTimeout):
                await s.client.get(s.url)
        assert len(s.seen.of(events.EndpointUnhealthy)) == 1


async def test_what_the_caller_does_counts_against_nobody(autojump_clock: MockClock) -> None:
    async with scene(stall, unhealthy_threshold=1) as s:
        for _ in range(3):
            with trio.move_on_after(1):
                await s.client.get(s.url)
            async with s.pool.acquire(s.url) as lease:
                lease.discard()
        assert s.only_endpoint.failures == 0


async def test_an_unhealthy_endpoint_does_not_hurt_another(autojump_clock: MockClock) -> None:
    async with scene(closes_without_answer(), unhealthy_threshold=1) as s:
        other = s.serve("other.test", serve_ok())
        await s.client.get(other)
        with pytest.raises(penstock.ReadError):
            await s.client.get(s.url)
        await s.client.get(other)
        assert s.requests_per_connection == [2, 1]


async def test_idle_connections_are_looked_at(autojump_clock: MockClock) -> None:
    async with scene(idle_timeout=1000, health_check_interval=30) as s:
        await s.pool.prewarm(s.url, 2)
        await settle(500)
        assert s.network.open_connections == 2
        assert s.seen.close_reasons == []
        assert (await s.client.get(s.url)).text == "ok"
        assert_at_rest(s.pool, s.network)


async def test_no_health_check_at_all(autojump_clock: MockClock) -> None:
    async with scene(idle_timeout=1000, health_check_interval=None) as s:
        await s.client.get(s.url)
        await settle(500)
        await s.client.get(s.url)
        assert s.requests_per_connection == [2]
