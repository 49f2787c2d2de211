"""A server may close a kept connection at the very moment a request leaves: who may be replayed, and who may not."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
import trio

import penstock
from penstock import events
from penstock.testing import (
    FakeNetwork,
    ScriptedPeer,
    head,
    serve_echo,
    serve_in_turn,
    serve_ok,
    serve_then_close_idle,
    stall,
)
from tests.support.scene import Scene, assert_at_rest, scene, settle
from tests.support.server import closes_while_uploading, closes_without_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from trio.testing import MockClock

    from penstock.testing import Handler


def goes_stale(*, reset: bool = False, then: Handler | None = None) -> Handler:
    """The first connection answers once and ends when it hears a second request; further ones do `then`."""
    return serve_in_turn(closes_without_answer(reset=reset, after=1), then or serve_echo())


def all_requests(s: Scene) -> list[tuple[int, bytes]]:
    """Which connection heard what, in order."""
    return [(number, request.method) for number, peer in enumerate(s.network.peers, 1) for request in peer.requests]


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_an_idempotent_request_is_replayed_once(method: str, reset: bool, autojump_clock: MockClock) -> None:
    async with scene(goes_stale(reset=reset), latency=0.01) as s:
        await s.client.get(s.url)
        response = await s.client.request(method, s.url, content=b"" if method in ("GET", "HEAD") else b"body")
        assert response.headers["x-method"] == method
        name = method.encode()
        assert all_requests(s) == [(1, b"GET"), (1, name), (2, name)]
        assert response.connection_id == 2
        await settle()
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_request_that_may_have_been_done_is_not(method: str, autojump_clock: MockClock) -> None:
    async with scene(goes_stale(), latency=0.01) as s:
        await s.client.get(s.url)
        with pytest.raises(penstock.ReadError, match="without an answer") as caught:
            await s.client.request(method, s.url, content=b"body")
        assert (caught.value.request_sent, caught.value.attempt) == ("fully", 1)
        assert str(caught.value.origin) == s.url
        assert all_requests(s) == [(1, b"GET"), (1, method.encode())]


async def test_a_post_of_which_nothing_was_written_is_replayed(autojump_clock: MockClock) -> None:
    """The reset arrives between the look at hand-over and the first write: nothing of the request left."""
    async with scene(serve_echo()) as s:
        await s.client.get(s.url)

        class ResetsOnRewind(io.BytesIO):
            def seek(self, offset: int, whence: int = 0) -> int:
                if s.pool.statistics().active:
                    s.network.peers[0].rst()
                return super().seek(offset, whence)

        response = await s.client.post(s.url, content=ResetsOnRewind(b"body"))
        assert response.content == b"body"
        assert all_requests(s) == [(1, b"GET"), (2, b"POST")]
        counts = s.pool.statistics().counts
        assert (counts.acquires, counts.refused) == (3, 0)


async def generator(pieces: int = 3) -> AsyncIterator[bytes]:
    for _ in range(pieces):
        await trio.sleep(0.01)
        yield b"x"


def plain_generator() -> Iterator[bytes]:
    yield b"x"


@pytest.mark.parametrize("make", [generator, plain_generator])
async def test_a_body_that_cannot_be_produced_again_is_not_replayed(make: Any, autojump_clock: MockClock) -> None:
    first = serve_in_turn(answers_then(closes_while_uploading()), serve_echo())
    async with scene(first, latency=0.001) as s:
        await s.client.get(s.url)
        with pytest.raises((penstock.ReadError, penstock.WriteError)) as caught:
            await s.client.put(s.url, content=make())
        assert caught.value.attempt == 1
        assert s.network.connects == 1


def answers_then(handler: Handler) -> Handler:
    async def both(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.respond()
        await handler(peer)

    return both


@pytest.mark.parametrize("reset", [False, True])
async def test_a_fresh_connection_that_ends_is_meant(reset: bool, autojump_clock: MockClock) -> None:
    async with scene(closes_without_answer(reset=reset), latency=0.01) as s:
        with pytest.raises(penstock.ReadError) as caught:
            await s.client.get(s.url)
        assert caught.value.attempt == 1
        assert s.network.connects == 1
        # Prewarmed connections have carried nothing: they are as fresh as any.
        await s.pool.prewarm(s.url, 1)
        with pytest.raises(penstock.ReadError):
            await s.client.get(s.url)
        assert s.network.connects == 2


async def test_a_turn_without_a_request_makes_a_connection_no_older(autojump_clock: MockClock) -> None:
    async with scene(closes_without_answer(), max_requests_per_connection=1) as s:
        await s.pool.prewarm(s.url, 1)
        for _ in range(2):
            async with s.pool.acquire(s.url):
                pass
        with pytest.raises(penstock.ReadError) as caught:
            await s.client.get(s.url)
        assert caught.value.attempt == 1
        assert s.requests_per_connection == [1]


async def test_a_replay_is_not_replayed(autojump_clock: MockClock) -> None:
    async with scene(goes_stale(then=closes_without_answer()), latency=0.01) as s:
        await s.client.get(s.url)
        with pytest.raises(penstock.ReadError) as caught:
            await s.client.get(s.url)
        assert caught.value.attempt == 2
        assert s.requests_per_connection == [2, 1]


async def test_never_after_a_timeout(autojump_clock: MockClock) -> None:
    first = serve_in_turn(answers_then(stall), serve_echo())
    async with scene(first, read_timeout=3) as s:
        await s.client.get(s.url)
        with pytest.raises(penstock.ReadTimeout) as caught:
            await s.client.get(s.url)
        assert caught.value.attempt == 1
        assert s.network.connects == 1
        assert trio.current_time() == 3


@pytest.mark.parametrize("said", [b"H", b"HTTP/1.1 200 OK\r\nContent-Le", head(103)])
async def test_never_after_the_answer_has_begun(said: bytes, autojump_clock: MockClock) -> None:
    async def says(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.send(said)
        peer.fin()

    async with scene(serve_in_turn(answers_then(says), serve_echo())) as s:
        await s.client.get(s.url)
        with pytest.raises(penstock.ReadError, match="in the middle of the head"):
            await s.client.get(s.url)
        assert s.network.connects == 1


async def test_the_replay_takes_a_new_connection_although_idle_ones_are_there(autojump_clock: MockClock) -> None:
    """They are as old as the one that was dead."""

    async def ends_together(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.wait(1)
        await peer.respond()
        await peer.expect_request()
        if len(s.network.peers) < 4:
            return
        await peer.respond()

    async with scene(ends_together) as s:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(s.client.get, s.url)
        s.network.listen("api.test", 80, serve_ok())
        assert (await s.client.get(s.url)).connection_id == 4
        assert s.seen.close_reasons.count("suspect") == 2
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_what_the_look_at_hand_over_finds_costs_no_attempt(autojump_clock: MockClock) -> None:
    async def ends_at_once(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.respond()
        peer.fin()

    async with scene(serve_in_turn(ends_at_once, ends_at_once, serve_echo())) as s:
        for method in ("GET", "POST", "POST"):
            assert (await s.client.request(method, s.url)).status_code == 200
        assert s.requests_per_connection == [1, 1, 1]
        assert s.pool.statistics().counts.refused == 2


async def test_pool_timeout_holds_for_the_replay_too(autojump_clock: MockClock) -> None:
    async with scene(goes_stale(), pool_timeout=2) as s:
        await s.client.get(s.url)
        s.network.add_host("api.test", "192.0.2.1")
        s.network.route("198.18.0.1", delay=100)
        with pytest.raises(penstock.TimeoutException):
            await s.client.get(s.url)
        assert trio.current_time() == 2


@pytest.mark.parametrize("suspended", [False, True])
async def test_a_replay_is_not_forgotten_behind_others(suspended: bool, autojump_clock: MockClock) -> None:
    """Its slot was taken by a dial for somebody else, and then by the connection that came of it."""
    async with scene(goes_stale(then=serve_ok(delay=1)), max_connections=1, latency=0.05) as s:
        await s.client.get(s.url)
        async with trio.open_nursery() as nursery:
            with trio.fail_after(20):
                nursery.start_soon(s.client.get, s.url)
                await trio.sleep(0.01)
                nursery.start_soon(s.client.get, s.url)
                if suspended:
                    await trio.sleep(0.12)
                    s.pool.suspend()
                    await trio.sleep(1)
                    s.pool.resume()
        assert trio.current_time() < 5
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_dead_connections_to_two_full_servers_are_told_apart(autojump_clock: MockClock) -> None:
    """Seen at the hand-over, while the total is full: two waiters stand in two queues, each with its own place."""
    async with FakeNetwork(latency=0.001) as network:
        for host in ("a.test", "b.test"):
            network.listen(host, 80, serve_then_close_idle(0.01))
        config = penstock.PoolConfig(max_connections=2)
        async with penstock.Pool(config, network=network) as pool, penstock.Client(pool=pool) as client:
            urls = ["http://a.test", "http://b.test"]
            for url in urls:
                await client.get(url)
            await trio.sleep(0.03)
            async with trio.open_nursery() as nursery:
                for url in urls:
                    nursery.start_soon(client.get, url)
            statistics = pool.statistics()
            assert statistics.waiting == 0
            assert statistics.counts.refused == 2


async def test_a_waiter_that_was_refused_has_the_number_of_its_arrival(autojump_clock: MockClock) -> None:
    queued: list[int] = []

    class Queue:
        def event(self, event: events.Event) -> None:
            if isinstance(event, events.WaiterQueued):
                queued.append(event.waiter)

    async with FakeNetwork(latency=0.001) as network:
        network.listen("a.test", 80, serve_then_close_idle(0.01))
        async with penstock.Pool(network=network) as pool, penstock.Client(pool=pool) as client:
            await client.get("http://a.test")
            await trio.sleep(0.03)
            pool.add_instrument(Queue())
            await client.get("http://a.test")
    assert queued == [2]
