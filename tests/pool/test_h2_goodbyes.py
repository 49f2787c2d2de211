"""Servers that leave: in two steps, under load, after a few requests, in anger, for good."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock import events
from penstock.testing import serve_echo
from tests.support.h2_alpn import alpn_context, serve_by_alpn
from tests.support.h2_frames import MAX_WINDOW
from tests.support.h2_peer import H2Peer, H2Script
from tests.support.h2_server import H2Server, Incoming, Response, answer, echo
from tests.support.scene import Scene, assert_at_rest, at_once, scene, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trio.testing import MockClock

NO_ERROR, ENHANCE_YOUR_CALM, HTTP_1_1_REQUIRED = 0x0, 0xB, 0xD


async def test_a_server_that_says_goodbye_in_two_steps_loses_nothing(autojump_clock: MockClock) -> None:
    """First "open no more streams", then, a round trip later, which was the last."""
    server = H2Server(answer(delay=0.05))
    async with scene(server, http1=False, latency=0.01) as s:

        async def leave_again_and_again() -> None:
            while True:
                await trio.sleep(0.333)
                peers = [peer for peer in server.peers if not peer.is_over]
                for peer in peers:
                    peer.announce_goaway()
                await trio.sleep(0.05)
                for peer in peers:
                    peer.goaway()

        await under_load(s, server, leave_again_and_again)
        assert len(server.streams) == 300


@pytest.mark.parametrize("last", ["none", "middle", "last"])
async def test_a_server_that_says_goodbye_at_once_loses_nothing(last: str, autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=0.05))
    async with scene(server, http1=False, latency=0.01) as s:

        async def leave_again_and_again() -> None:
            while True:
                await trio.sleep(0.333)
                for peer in [peer for peer in server.peers if not peer.is_over]:
                    streams = sorted(peer.open)
                    middle = streams[len(streams) // 2] if streams else None
                    peer.goaway(last={"none": 0, "middle": middle}.get(last))

        await under_load(s, server, leave_again_and_again)


async def under_load(s: Scene, server: H2Server, disturb: Callable[[], Awaitable[object]]) -> None:
    """Three hundred POSTs, some always in flight; each is processed once."""
    numbers = iter(range(300))

    async def work() -> None:
        for number in numbers:
            assert (await s.client.post(f"{s.url}/{number}", content=b"x")).content == b"ok"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(disturb)
        await at_once(10, work)
        nursery.cancel_scope.cancel()
    processed = Counter(stream.path for stream in server.streams if stream.status == 200)
    assert processed == Counter(b"/%d" % number for number in range(300))
    assert server.connections > 2
    await settle()
    assert_at_rest(s.pool, s.network)


def leaves_after(each: int) -> H2Server:
    """Answers the first request of a connection, says goodbye, and answers the rest of those that it takes."""

    async def app(request: Incoming) -> Response:
        if request.stream == 3:
            await trio.sleep(0.005)
            request.peer.goaway(last=2 * each - 1)
        if request.stream > 1:
            await trio.sleep(0.01)
        return Response(body=b"ok")

    return H2Server(app)


@pytest.mark.parametrize("each", [5, 10])
async def test_a_server_that_takes_a_few_requests_on_each_connection_serves_them_all(
    each: int, autojump_clock: MockClock
) -> None:
    """More are sent to each connection than it takes, so the last ones are refused by one after the other."""

    server = leaves_after(each)
    async with scene(server, http1=False, latency=0.001) as s:
        numbers = iter(range(40))
        await at_once(40, lambda: s.client.post(f"{s.url}/{next(numbers)}", content=b"body"))
        processed = Counter(stream.path for stream in server.streams if stream.status == 200)
        assert processed == Counter(b"/%d" % number for number in range(40))
        assert server.connections == 40 // each


async def test_a_server_that_takes_hardly_any_is_not_asked_for_ever(autojump_clock: MockClock) -> None:
    server = leaves_after(1)
    async with scene(server, http1=False, latency=0.001) as s:
        outcomes: Counter[str] = Counter()
        attempts: list[int | None] = []

        async def ask() -> None:
            try:
                await s.client.post(s.url, content=b"body")
                outcomes["answered"] += 1
            except penstock.RemoteProtocolError as error:
                outcomes["refused"] += 1
                attempts.append(error.attempt)

        await at_once(60, ask)
        assert outcomes == {"answered": 50, "refused": 10}
        assert set(attempts) == {50}
        assert server.connections == 50


async def test_streams_finish_long_after_the_goodbye(autojump_clock: MockClock) -> None:
    """Also uploads, and windows and PINGs go on as before."""

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(20):
            await trio.sleep(1)
            yield bytes(50_000)

    server = H2Server(echo)
    async with scene(server, http1=False, latency=0.01) as s:
        async with trio.open_nursery() as nursery:

            async def upload() -> None:
                assert len((await s.client.post(s.url, content=slowly())).content) == 1_000_000

            for _ in range(3):
                nursery.start_soon(upload)
            await trio.sleep(5.5)
            server.goaway()
            await trio.sleep(0.1)
            assert [entry.state for entry in s.only_endpoint.connections] == ["draining"]
            await s.client.get(s.url)
        assert server.streams_per_connection == [3, 1]
        assert server.resets == []
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_a_later_goodbye_may_take_back_streams(autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        for _ in range(3):
            await peer.request()
        for last in (MAX_WINDOW, 5, 3, 1, 5):
            await peer.goaway(last)
            await peer.wait(1)
        await peer.respond(1, body=b"1st")
        await peer.wait_closed()

    async def others(peer: H2Peer) -> None:
        while True:
            request = await peer.request()
            await peer.respond(request.stream, body=b"2nd")

    async with scene(H2Script(script, others), http1=False) as s:
        responses = await at_once(3, lambda: s.client.post(s.url))
        assert [response.content for response in responses] == [b"2nd", b"2nd", b"1st"]  # type: ignore[attr-defined]


async def test_a_server_that_says_goodbye_with_its_first_words_is_not_dialled_without_end(
    autojump_clock: MockClock,
) -> None:
    async def leave(peer: H2Peer) -> None:
        async with peer.together():
            await peer.settings()
            await peer.goaway(0, NO_ERROR)
        await peer.wait_closed()

    server = H2Script(*[leave] * 10_000, settings=None)
    async with scene(server, http1=False, pool_timeout=30.0) as s:
        with pytest.raises(penstock.PoolTimeout):
            await s.client.get(s.url)
        assert server.connections < 20


async def test_a_body_that_cannot_be_produced_again_is_not_sent_again(autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        await peer.request()
        await peer.goaway(0)
        await peer.wait_closed()

    async def once() -> AsyncIterator[bytes]:
        yield b"only once"

    async with scene(H2Script(script), http1=False) as s:
        with pytest.raises(penstock.RemoteProtocolError, match="without processing") as caught:
            await s.client.post(s.url, content=once())
        assert (caught.value.reason, caught.value.request_sent) == (penstock.ProtocolReason.GOAWAY, "fully")
        assert s.network.connects == 1


async def test_a_server_that_refuses_everything_with_an_error_is_not_asked_for_ever(autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        await peer.request()
        await peer.goaway(0, ENHANCE_YOUR_CALM, b"too_many_requests")
        await peer.wait_closed()

    server = H2Script(script)
    async with scene(server, http1=False) as s:
        with pytest.raises(penstock.RemoteProtocolError, match="too_many_requests"):
            await s.client.get(s.url)
        assert server.connections == 1


@pytest.mark.parametrize("code", [NO_ERROR, HTTP_1_1_REQUIRED])
async def test_nor_is_one_that_refuses_everything_politely(code: int, autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        await peer.request()
        await peer.goaway(0, code)
        await peer.wait_closed()

    server = H2Script(script)
    async with scene(server, http1=False) as s:
        with pytest.raises(penstock.RemoteProtocolError, match="without processing"):
            await s.client.get(s.url)
        assert server.connections == 2


@pytest.mark.parametrize("way", ["goaway", "reset"])
async def test_a_server_that_wants_http_1_1_gets_it_from_then_on(way: str, autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        request = await peer.request()
        if way == "goaway":
            await peer.goaway(0, HTTP_1_1_REQUIRED)
        else:
            await peer.rst(request.stream, HTTP_1_1_REQUIRED)
        await peer.wait_closed()

    handler = serve_by_alpn({"h2": H2Script(script), "http/1.1": serve_echo()})
    async with scene(handler, tls=alpn_context("h2", "http/1.1")) as s:
        for _ in range(3):
            response = await s.client.post(s.url, content=b"body")
            assert (response.content, response.http_version) == (b"body", "HTTP/1.1")
        assert s.network.connects == 2
        assert [event.reason for event in s.seen.of(events.ConnectionClosed)] == [events.CloseReason.HTTP1_REQUIRED]


@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_what_the_server_complained_of_is_told_to_streams_it_did_not_refuse(
    end: str, autojump_clock: MockClock
) -> None:
    async def script(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.goaway(request.stream, 1, b"no such thing")
        await peer.wait(1)
        getattr(peer.wire, end)()

    async with scene(H2Script(script), http1=False) as s:
        with pytest.raises(penstock.ReadError, match="PROTOCOL_ERROR: no such thing"):
            await s.client.get(s.url)
