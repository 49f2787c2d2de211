"""A lease that is used in a wrong way hurts nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

import penstock
from penstock import Origin
from penstock.testing import head, serve_ok, stall
from tests.support.h2_peer import H2Script
from tests.support.scene import scene, settle

if TYPE_CHECKING:
    from trio.testing import MockClock

    from penstock.testing import ScriptedPeer
    from tests.support.h2_peer import H2Peer


async def test_bytes_that_come_between_acquire_and_request_are_no_answer(autojump_clock: MockClock) -> None:
    async def speak_first(peer: ScriptedPeer) -> None:
        await peer.send(head(200, [(b"content-length", b"6")]) + b"poison")
        await peer.wait_closed()

    async with scene(speak_first, latency=0.01) as s, s.pool.acquire(s.url) as lease:
        await trio.sleep(1)
        with pytest.raises(penstock.RemoteProtocolError) as caught:
            await lease.request("GET", "/")
    assert caught.value.reason is penstock.ProtocolReason.UNSOLICITED
    assert caught.value.request_sent == "no"


async def test_a_connection_that_ended_while_leased_says_so(autojump_clock: MockClock) -> None:
    async def leave(peer: ScriptedPeer) -> None:
        peer.fin()

    async with scene(leave, latency=0.01) as s, s.pool.acquire(s.url) as lease:
        await trio.sleep(1)
        with pytest.raises(penstock.ReadError, match="ended before the request") as caught:
            await lease.request("GET", "/")
    assert caught.value.request_sent == "no"


async def test_a_lease_given_up_while_another_task_uses_it_closes_its_connection(autojump_clock: MockClock) -> None:
    async with scene(stall, max_connections=1) as s:
        async with trio.open_nursery() as nursery, s.pool.acquire(s.url) as lease:

            async def use() -> None:
                with pytest.raises(penstock.ReadError):
                    await lease.request("GET", "/")

            nursery.start_soon(use)
            await settle()
        s.serve("other.test", serve_ok())
        assert (await s.client.get("http://other.test")).status_code == 200
        assert s.pool.statistics().active == 0


async def never_answer(peer: H2Peer) -> None:
    await peer.request()
    await peer.wait_closed()


async def never_end(peer: H2Peer) -> None:
    request = await peer.request()
    await peer.headers(request.stream, [(b":status", b"200")])
    await peer.wait_closed()


async def never_end_http1(peer: ScriptedPeer) -> None:
    await peer.expect_request()
    await peer.send(head(200, [(b"content-length", b"9")]))
    await peer.wait_closed()


@pytest.mark.parametrize("way", ["discard", "release_soon"])
async def test_a_lease_given_up_while_another_task_waits_for_the_head_tells_that_task(
    way: str, autojump_clock: MockClock
) -> None:
    with trio.fail_after(10):
        async with scene(H2Script(never_answer), http1=False) as s:
            async with s.pool.acquire(s.url) as lease, trio.open_nursery() as nursery:

                async def use() -> None:
                    with pytest.raises(penstock.ReadError, match="given up"):
                        await lease.request("GET", "/")

                nursery.start_soon(use)
                await settle()
                getattr(lease, way)()
            assert s.pool.statistics().active == 0


@pytest.mark.parametrize("http1", [True, False])
@pytest.mark.parametrize("way", ["discard", "release_soon"])
async def test_a_lease_given_up_while_another_task_reads_tells_that_task_and_breaks_nothing(
    way: str, http1: bool, autojump_clock: MockClock
) -> None:
    with trio.fail_after(10):
        async with scene(never_end_http1 if http1 else H2Script(never_end), http1=http1) as s:
            async with s.pool.acquire(s.url) as lease, trio.open_nursery() as nursery:
                await lease.request("GET", "/")

                async def read() -> None:
                    with pytest.raises(penstock.StreamClosed):
                        await lease.read()

                nursery.start_soon(read)
                await settle()
                getattr(lease, way)()
            await settle()
            assert s.pool.statistics().active == 0


@pytest.mark.parametrize("http1", [True, False])
async def test_two_tasks_that_read_from_one_lease_both_get_an_error(http1: bool, autojump_clock: MockClock) -> None:
    with trio.fail_after(10):
        async with scene(never_end_http1 if http1 else H2Script(never_end), http1=http1) as s:
            async with s.pool.acquire(s.url) as lease, trio.open_nursery() as nursery:
                await lease.request("GET", "/")

                async def read(error: type[penstock.PenstockError]) -> None:
                    with pytest.raises(error):
                        await lease.read()

                nursery.start_soon(read, penstock.StreamClosed)
                await settle()
                await read(penstock.LocalProtocolError)
            assert s.pool.statistics().active == 0


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"tenant": ["x"]}, TypeError),
        ({"tenant": 7}, TypeError),
        ({"priority": "high"}, TypeError),
        ({"priority": 101}, ValueError),
        ({"timeouts": 5}, TypeError),
    ],
)
async def test_what_is_no_place_or_limit_is_refused_before_anything_happens(
    options: dict[str, Any], error: type[Exception], autojump_clock: MockClock
) -> None:
    async with scene() as s:
        with pytest.raises(error, match=next(iter(options))):
            s.pool.acquire(s.url, **options)
        assert s.pool.statistics().counts.acquires == 0


@pytest.mark.parametrize("name", ["request", "start"])
async def test_what_is_no_limit_of_an_exchange_is_refused_before_it_begins(
    name: str, autojump_clock: MockClock
) -> None:
    async with scene() as s, s.pool.acquire(s.url) as lease:
        with pytest.raises(TypeError, match="timeouts must be a Timeouts or None, not 5"):
            await getattr(lease, name)("GET", "/", timeouts=5)
        assert (await lease.request("GET", "/")).status == 200


@pytest.mark.parametrize("scheme", ["HTTPS", "ftp", ""])
async def test_an_origin_made_by_hand_is_checked(scheme: str, autojump_clock: MockClock) -> None:
    async with scene() as s:
        with pytest.raises(penstock.UnsupportedProtocol):
            s.pool.acquire(Origin(scheme, "a.test", 443))
        with pytest.raises(penstock.InvalidURL):
            s.pool.acquire(Origin("https", "a test", 443))


async def test_an_acquire_is_entered_once(autojump_clock: MockClock) -> None:
    async with scene() as s:
        acquire = s.pool.acquire(s.url)
        async with acquire:
            pass
        with pytest.raises(RuntimeError, match="entered once"):
            await acquire.__aenter__()
