"""Each limit is exact, and says which one it was."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import pytest
import trio

import penstock
from penstock.testing import ScriptedPeer, chunk, head, serve_chunked, serve_ok, stall
from tests.support.scene import Scene, assert_at_rest, scene, settle
from tests.support.server import drips

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trio.testing import MockClock

ADDRESS = "192.0.2.7"


async def late(
    s: Scene, work: Callable[[], Awaitable[object]], kind: type[penstock.TimeoutException], after: float
) -> penstock.TimeoutException:
    """Run `work`, which has to end by this timeout exactly so many seconds later and leave nothing behind."""
    started = trio.current_time()
    with pytest.raises(penstock.TimeoutException) as caught:
        await work()
    assert trio.current_time() - started == pytest.approx(after, abs=1e-9)
    error = caught.value
    assert type(error) is kind
    assert isinstance(error, TimeoutError)
    assert str(error.origin) == s.url
    assert str(error).endswith(f"[{s.url}]")
    await settle(20)
    assert_at_rest(s.pool, s.network)
    return error


async def test_connect_into_a_black_hole(autojump_clock: MockClock) -> None:
    async with scene() as s:
        s.network.add_host("api.test", ADDRESS)
        s.network.route(ADDRESS, delay=inf)
        error = await late(s, lambda: s.client.get(s.url), penstock.ConnectTimeout, 5.0)
        assert (error.phase, error.request_sent) == ("connect", "no")
        assert "connect_timeout of 5 s passed while connecting" in str(error)
        error = await late(
            s, lambda: s.client.get(s.url, timeout=penstock.Timeouts(connect=0.25)), penstock.ConnectTimeout, 0.25
        )
        assert "connect_timeout of 0.25 s" in str(error)


async def test_connect_covers_the_look_up(autojump_clock: MockClock) -> None:
    async with scene(connect_timeout=3) as s:
        s.network.add_host("api.test", ADDRESS, delay=inf)
        await late(s, lambda: s.client.get(s.url), penstock.ConnectTimeout, 3.0)


async def test_connect_covers_the_handshake(autojump_clock: MockClock) -> None:
    async with scene(tls=True, connect_timeout=3) as s:
        s.network.listen("localhost", 443, stall)
        await late(s, lambda: s.client.get(s.url), penstock.ConnectTimeout, 3.0)


async def test_connect_counts_all_addresses_together(autojump_clock: MockClock) -> None:
    async with scene(connect_timeout=3) as s:
        addresses = [f"192.0.2.{number}" for number in range(1, 6)]
        s.network.add_host("api.test", *addresses, delay=1)
        for address in addresses:
            s.network.route(address, delay=inf)
        await late(s, lambda: s.client.get(s.url), penstock.ConnectTimeout, 3.0)
        # A second was spent on the look-up, then an attempt started every quarter of a second.
        assert s.network.connects == 5


async def test_pool(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=100), max_connections=1, read_timeout=None) as s, trio.open_nursery() as nursery:
        nursery.start_soon(s.client.get, s.url)
        await trio.sleep(1)
        with pytest.raises(penstock.PoolTimeout, match="no connection within 7 s") as caught:
            await s.client.get(s.url, timeout=penstock.Timeouts(pool=7))
        assert trio.current_time() == 8
        assert caught.value.phase == "pool"


async def test_read_of_the_head(autojump_clock: MockClock) -> None:
    async with scene(stall) as s:
        error = await late(s, lambda: s.client.get(s.url), penstock.ReadTimeout, 30.0)
        assert (error.phase, error.request_sent) == ("first_byte", "fully")
        assert "read_timeout of 30 s passed" in str(error)
        assert s.seen.close_reasons == ["timed_out"]


async def test_read_of_the_body_counts_from_the_last_piece(autojump_clock: MockClock) -> None:
    async def handler(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.send(head(200, [(b"content-length", b"100")]))
        for _ in range(3):
            await peer.wait(4)
            await peer.send(b"x")
        await peer.stall()

    async with scene(handler, read_timeout=5) as s:
        error = await late(s, lambda: s.client.get(s.url), penstock.ReadTimeout, 4 + 4 + 4 + 5)
        assert error.request_sent == "fully"


async def test_first_byte(autojump_clock: MockClock) -> None:
    async with scene(stall, first_byte_timeout=2) as s:
        error = await late(s, lambda: s.client.get(s.url), penstock.ReadTimeout, 2.0)
        assert error.phase == "first_byte"
        assert "first_byte_timeout of 2 s passed while waiting for the head of the response" in str(error)


async def test_first_byte_may_be_longer_than_read(autojump_clock: MockClock) -> None:
    """A model that thinks for long and then streams."""
    async with scene(serve_ok(delay=100), first_byte_timeout=120, read_timeout=5) as s:
        assert (await s.client.get(s.url)).text == "ok"


@pytest.mark.parametrize("limits", [{"read": 6}, {"read": 100, "first_byte": 6}])
async def test_a_head_that_drips_is_late_as_a_whole(limits: dict[str, float], autojump_clock: MockClock) -> None:
    async with scene(drips(0.5)) as s:
        await late(s, lambda: s.client.get(s.url, timeout=penstock.Timeouts(**limits)), penstock.ReadTimeout, 6.0)


async def test_a_body_that_drips_ends_by_the_total_limit(autojump_clock: MockClock) -> None:
    async with scene(serve_chunked([b"x"] * 1000, every=1)) as s:
        error = await late(
            s, lambda: s.client.get(s.url, timeout=penstock.Timeouts(total=12.5)), penstock.ReadTimeout, 12.5
        )
        assert "total_timeout of 12.5 s passed" in str(error)


async def test_write_counts_from_the_last_piece_that_was_taken(autojump_clock: MockClock) -> None:
    async def handler(peer: ScriptedPeer) -> None:
        await peer.expect_head()
        for _ in range(3):
            await peer.wait(4)
            await peer.receive(30_000)
        await peer.stall()

    async with scene(handler, write_timeout=5) as s:
        error = await late(s, lambda: s.client.post(s.url, content=bytes(1_000_000)), penstock.WriteTimeout, 17.0)
        assert (error.phase, error.request_sent) == ("write", "partly")
        assert "write_timeout of 5 s passed while sending the request" in str(error)


async def test_the_callers_own_body_is_under_no_limit_but_the_total(autojump_clock: MockClock) -> None:
    async def slow() -> AsyncIterator[bytes]:
        for _ in range(3):
            await trio.sleep(100)
            yield b"x"

    async with scene(serve_ok()) as s:
        assert (await s.client.post(s.url, content=slow())).text == "ok"
        assert trio.current_time() == 300
        await late(
            s,
            lambda: s.client.post(s.url, content=slow(), timeout=penstock.Timeouts(total=150)),
            penstock.WriteTimeout,
            150,
        )


@pytest.mark.parametrize(("where", "kind"), [("pool", penstock.PoolTimeout), ("read", penstock.ReadTimeout)])
async def test_total_covers_everything(where: str, kind: type[Any], autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=10), latency=1) as s:
        if where == "pool":
            s.network.add_host("api.test", ADDRESS, delay=4)
        limit = 3 if where == "pool" else 8
        timeouts = penstock.Timeouts(total=limit)
        await late(s, lambda: s.client.get(s.url, timeout=timeouts), kind, limit)


async def test_total_goes_on_over_a_replay_and_a_redirect(autojump_clock: MockClock) -> None:
    async def moved(peer: ScriptedPeer) -> None:
        while True:
            await peer.expect_request()
            await peer.wait(2)
            await peer.respond(302, [(b"location", b"/again")])

    async with scene(moved) as s:
        await late(
            s,
            lambda: s.client.get(s.url, follow_redirects=True, timeout=penstock.Timeouts(total=7)),
            penstock.ReadTimeout,
            7.0,
        )
        assert s.requests_per_connection == [4]


async def test_total_counts_while_the_caller_reads_a_stream(autojump_clock: MockClock) -> None:
    async with scene(serve_chunked([b"x"] * 100, every=1)) as s:
        started = trio.current_time()
        with pytest.raises(penstock.ReadTimeout, match="total_timeout of 5 s"):
            async with s.client.stream("GET", s.url, timeout=penstock.Timeouts(total=5)) as response:
                async for _ in response.aiter_raw():
                    pass
        assert trio.current_time() - started == 5
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_the_callers_own_pauses_are_not_the_servers(autojump_clock: MockClock) -> None:
    async with scene(serve_chunked([b"x"] * 3, every=1), read_timeout=2) as s:
        async with s.client.stream("GET", s.url) as response:
            pieces = response.aiter_raw()
            for _ in range(3):
                assert await anext(pieces)
                await trio.sleep(100)
        assert_at_rest(s.pool, s.network)


async def test_no_limit_at_all(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(delay=1_000_000)) as s:
        assert (await s.client.get(s.url, timeout=None)).text == "ok"


async def test_many_requests_with_limits_of_their_own(autojump_clock: MockClock) -> None:
    async with scene(stall, max_connections_per_host=50) as s:

        async def ask(seconds: float) -> None:
            with pytest.raises(penstock.ReadTimeout):
                await s.client.get(s.url, timeout=penstock.Timeouts(read=seconds))
            assert trio.current_time() == pytest.approx(seconds)

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(ask, 1 + (number * 7 % 50) / 10)
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_interim_answers_prolong_the_wait(autojump_clock: MockClock) -> None:
    async def handler(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        for _ in range(3):
            await peer.wait(4)
            await peer.send(head(102))
        await peer.wait(4)
        await peer.send(head(200, [(b"transfer-encoding", b"chunked")]) + chunk(b"ok") + chunk(b""))
        await peer.wait_closed()

    async with scene(handler, read_timeout=5) as s:
        assert (await s.client.get(s.url)).text == "ok"
        assert trio.current_time() == 16
