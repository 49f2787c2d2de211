"""Every time-out says which setting ended the wait, how long that is, and what was being done."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock._net.timer import PhaseTimer, Watchdog
from penstock.testing import chunk, head, serve_ok, stall
from tests.support.h2_peer import H2Peer, H2Script
from tests.support.scene import scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from penstock.testing import Handler, ScriptedPeer


async def one_piece(peer: ScriptedPeer) -> None:
    await peer.expect_request()
    await peer.send(head(200, [(b"transfer-encoding", b"chunked")]) + chunk(b"x"))
    await peer.wait_closed()


async def drip(peer: ScriptedPeer) -> None:
    await peer.expect_request()
    await peer.send(head(200, [(b"transfer-encoding", b"chunked")]))
    while True:
        await peer.wait(1)
        await peer.send(chunk(b"x"))


OK = [(b":status", b"200")]


async def stall_h2(peer: H2Peer) -> None:
    await peer.request()
    await peer.wait_closed()


async def one_piece_h2(peer: H2Peer) -> None:
    request = await peer.request()
    await peer.headers(request.stream, OK)
    await peer.data(request.stream, b"x")
    await peer.wait_closed()


async def drip_h2(peer: H2Peer) -> None:
    request = await peer.request()
    await peer.headers(request.stream, OK)
    while True:
        await peer.wait(1)
        await peer.data(request.stream, b"x")


OVER_HTTP2 = {stall: H2Script(stall_h2), one_piece: H2Script(one_piece_h2), drip: H2Script(drip_h2)}


def check(error: penstock.TimeoutException, limit: str, seconds: float, phase: str) -> None:
    for one in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (one.limit, one.seconds, one.phase) == (limit, seconds, phase)
        assert f"{limit} of {seconds:g} s" in str(one)


@pytest.mark.parametrize(
    ("handler", "limits", "expected"),
    [
        (stall, penstock.Timeouts(read=3), ("read_timeout", 3, "first_byte")),
        (stall, penstock.Timeouts(read=3, first_byte=9), ("first_byte_timeout", 9, "first_byte")),
        (stall, penstock.Timeouts(read=3, first_byte=9, total=7), ("total_timeout", 7, "first_byte")),
        (one_piece, penstock.Timeouts(read=3, first_byte=9), ("read_timeout", 3, "read")),
        (drip, penstock.Timeouts(read=3, total=7.5), ("total_timeout", 7.5, "read")),
    ],
)
@pytest.mark.parametrize("http1", [True, False], ids=["HTTP/1.1", "HTTP/2"])
async def test_an_answer_that_is_late(
    http1: bool,
    handler: Handler,
    limits: penstock.Timeouts,
    expected: tuple[str, float, str],
    autojump_clock: MockClock,
) -> None:
    async with scene(handler if http1 else OVER_HTTP2[handler], http1=http1) as s:
        with pytest.raises(penstock.ReadTimeout) as caught:
            await s.client.get(s.url, timeout=limits)
        assert autojump_clock.current_time() == expected[1]
        check(caught.value, *expected)
        assert s.pool.statistics().active == 0


@pytest.mark.parametrize(
    ("limits", "limit", "seconds"),
    [(penstock.Timeouts(write=2), "write_timeout", 2), (penstock.Timeouts(write=2, total=1), "total_timeout", 1)],
)
async def test_a_request_that_is_not_taken(
    limits: penstock.Timeouts, limit: str, seconds: float, autojump_clock: MockClock
) -> None:
    async with scene(stall, capacity=100) as s:
        with pytest.raises(penstock.WriteTimeout) as caught:
            await s.client.post(s.url, content=bytes(10_000), timeout=limits)
    check(caught.value, limit, seconds, "write")


async def test_a_dial_that_is_late(autojump_clock: MockClock) -> None:
    async with scene() as s:
        await s.client.get(s.url)
        s.network.route(s.network.attempts[0].address, delay=float("inf"))
        s.pool.renew()
        with pytest.raises(penstock.ConnectTimeout) as caught:
            await s.client.get(s.url, timeout=penstock.Timeouts(connect=4))
    check(caught.value, "connect_timeout", 4, "connect")


@pytest.mark.parametrize(
    ("limits", "limit", "seconds"),
    [(penstock.Timeouts(pool=2), "pool_timeout", 2), (penstock.Timeouts(pool=2, total=1), "total_timeout", 1)],
)
async def test_a_connection_that_is_not_to_be_had(
    limits: penstock.Timeouts, limit: str, seconds: float, autojump_clock: MockClock
) -> None:
    async with scene(serve_ok(), max_connections=1) as s, s.pool.acquire(s.url):
        with pytest.raises(penstock.PoolTimeout) as caught:
            await s.client.get(s.url, timeout=limits)
    check(caught.value, limit, seconds, "pool")


async def test_a_prewarm_that_is_late(autojump_clock: MockClock) -> None:
    async with scene(pool_timeout=3, connect_timeout=None) as s:
        await s.client.get(s.url)
        s.network.route(s.network.attempts[0].address, delay=float("inf"))
        with pytest.raises(penstock.PoolTimeout) as caught:
            await s.pool.prewarm(s.url, count=2)
    assert (caught.value.limit, caught.value.seconds) == ("pool_timeout", 3)


async def test_a_body_that_takes_its_time_meets_no_limit(autojump_clock: MockClock) -> None:
    """A slow producer is the caller's own code, which never runs under a limit of the network."""

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(3):
            await trio.sleep(50)
            yield b"x"

    async with scene(serve_ok()) as s:
        limits = penstock.Timeouts(connect=1, read=1, write=1, pool=1, first_byte=1)
        assert (await s.client.post(s.url, content=slowly(), timeout=limits)).text == "ok"
        assert autojump_clock.current_time() == pytest.approx(150)
        with pytest.raises(penstock.WriteTimeout) as caught:
            await s.client.post(s.url, content=slowly(), timeout=penstock.Timeouts(total=60))
        assert s.pool.statistics().active == 0
    check(caught.value, "total_timeout", 60, "write")


class Interrupted:
    """Goes on to the next phase when it is interrupted, as an upload does whose connection breaks."""

    def __init__(self, timer: PhaseTimer) -> None:
        self.timer = timer
        self.times = 0

    def interrupt(self) -> None:
        self.times += 1
        self.timer.first_byte()


async def test_the_limit_that_passed_first_is_the_one_that_is_named(autojump_clock: MockClock) -> None:
    watchdog = Watchdog()
    timer = PhaseTimer(penstock.Timeouts(write=2, total=1))
    target = Interrupted(timer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watchdog.run)
        with pytest.raises(penstock.WriteTimeout) as caught, timer:
            timer.guard(target, watchdog)
            timer.write()
            await trio.sleep(5)
            raise penstock.ReadError("closed")
        nursery.cancel_scope.cancel()
    assert target.times == 1
    check(caught.value, "total_timeout", 1, "write")
