"""A limit ends what is late, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock._core.timers import Timers
from penstock._net.timer import PhaseTimer, Watchdog
from penstock.testing import head, serve_ok, stall
from tests.support.scene import scene

if TYPE_CHECKING:
    from trio.testing import MockClock

    from penstock.testing import ScriptedPeer


async def test_data_that_never_runs_dry_is_not_late(autojump_clock: MockClock) -> None:
    async def flood(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.send(head(200, [(b"content-length", b"400")]))
        for _ in range(400):
            await peer.send(b"x")

    async def make_others_slow() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            autojump_clock.jump(0.3)

    async with scene(flood, read_timeout=5) as s, trio.open_nursery() as nursery:
        nursery.start_soon(make_others_slow)
        start = trio.current_time()
        response = await s.client.get(s.url)
        assert len(response.content) == 400
        # No read waited, but others had their turns, and took longer than a wait may last.
        assert trio.current_time() - start > 5
        nursery.cancel_scope.cancel()


async def test_a_limit_says_how_much_was_sent(autojump_clock: MockClock) -> None:
    async with scene(stall, read_timeout=3) as s:
        with pytest.raises(penstock.ReadTimeout) as caught:
            await s.client.post(s.url, content=b"x")
    assert caught.value.request_sent == "fully"
    assert caught.value.attempt == 1
    assert str(caught.value.origin) == s.url.rstrip("/")


async def test_the_limit_of_a_dead_exchange_does_not_reach_the_replay(autojump_clock: MockClock) -> None:
    async def once(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.respond()
        await peer.expect_request()
        await peer.wait(1)
        peer.close()

    async with scene(once, read_timeout=2, connect_timeout=10, pool_timeout=20) as s:
        await s.client.get(s.url)
        s.network.route(s.network.attempts[0].address, delay=float("inf"))
        with pytest.raises(penstock.ConnectTimeout):
            await s.client.get(s.url)


async def test_the_total_limit_of_a_lease_covers_all_its_reads(autojump_clock: MockClock) -> None:
    async def drip(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.send(head(200, [(b"content-length", b"100")]))
        for _ in range(100):
            await peer.wait(1)
            await peer.send(b"x")

    async with scene(drip) as s:
        start = trio.current_time()
        with pytest.raises(penstock.ReadTimeout, match="total_timeout of 3 s"):
            async with s.pool.acquire(s.url, timeouts=penstock.Timeouts(total=3)) as lease:
                await lease.request("GET", "/")
                while await lease.read():
                    pass
        assert trio.current_time() == start + 3


async def test_a_dial_taken_over_does_not_end_by_the_limit_of_who_began_it(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(), max_connections=1) as s:
        await s.client.get(s.url)
        s.pool.renew()
        address = s.network.attempts[0].address
        s.network.route(address, delay=0.8)
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.2):
                nursery.start_soon(_patient, s.client, s.url)
                await s.client.get(s.url, timeout=penstock.Timeouts(connect=0.5))


async def _patient(client: penstock.Client, url: str) -> None:
    await trio.sleep(0.1)
    response = await client.get(url, timeout=penstock.Timeouts(connect=5))
    assert response.status_code == 200


class Target:
    def interrupt(self) -> None:
        raise AssertionError("nothing is late")


async def test_a_stream_of_reads_leaves_no_records_behind(autojump_clock: MockClock) -> None:
    watchdog = Watchdog()
    limits = penstock.Timeouts(read=None, total=1000)
    timers = [PhaseTimer(limits) for _ in range(10)]
    for _ in range(1000):
        for timer in timers:
            with timer:
                timer.guard(Target(), watchdog)
                timer.read()
    kept: Timers = watchdog._timers
    assert len(kept._heap) < 200
