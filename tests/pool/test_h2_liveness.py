"""A dead connection is found before it costs a request that cannot be repeated, and a live one is left in peace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from tests.support.h2_peer import H2Peer, H2Script, serve
from tests.support.h2_server import H2Server, answer
from tests.support.scene import Scene, assert_at_rest, at_once, scene, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

ENHANCE_YOUR_CALM = 0xB

NO_LIMITS = penstock.Timeouts(read=None, total=None)


async def answers_once(peer: H2Peer) -> None:
    """Then it takes everything in, and says nothing more. NATs do that, and hosts that lost their power."""
    request = await peer.request()
    await peer.respond(request.stream, body=b"1st")
    peer.automatic = type(peer.automatic)(settings=None, ack_settings=False, ack_pings=False, open_windows=False)
    await peer.wait_closed()


def heads(server: H2Script) -> list[int]:
    """How many requests were heard on each connection."""
    return [len(peer.of("HEADERS")) for peer in server.peers]


async def test_a_connection_is_asked_before_it_is_used_after_a_long_pause(autojump_clock: MockClock) -> None:
    server = H2Script(serve)
    async with scene(server, http1=False, latency=0.01) as s:
        for pause in (29.0, 31.0):
            await s.client.post(s.url)
            await trio.sleep(pause)
        start = trio.current_time()
        await s.client.post(s.url, content=b"body")
        assert trio.current_time() - start == pytest.approx(0.04)
        kinds = [seen.kind for seen in server.peers[0].seen if seen.kind in ("PING", "HEADERS")]
        assert kinds == ["HEADERS", "HEADERS", "PING", "HEADERS"]
        assert server.connections == 1


async def test_one_ping_serves_all_who_wait_for_it(autojump_clock: MockClock) -> None:
    server = H2Script(serve)
    async with scene(server, http1=False, latency=0.01) as s:
        await s.client.get(s.url)
        await trio.sleep(40)
        await at_once(20, lambda: s.client.get(s.url))
        assert (server.connections, len(server.peers[0].of("PING"))) == (1, 1)


@pytest.mark.parametrize("kind", ["bytes", "generator"])
async def test_a_post_on_a_connection_that_died_in_its_sleep_is_sent_once_and_elsewhere(
    kind: str, autojump_clock: MockClock
) -> None:
    async def once() -> AsyncIterator[bytes]:
        yield b"body"

    server = H2Script(answers_once, serve)
    async with scene(server, http1=False) as s:
        await s.client.get(s.url)
        await trio.sleep(40)
        start = trio.current_time()
        response = await s.client.post(s.url, content=b"body" if kind == "bytes" else once())
        assert response.content == b"ok"
        assert trio.current_time() - start == pytest.approx(5)
        assert heads(server) == [1, 1]
        assert bytes(server.peers[1].requests[1].body) == b"body"
        assert s.seen.close_reasons == ["ping_timeout"]
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_waiting_for_a_sign_of_life_keeps_to_the_limits_of_the_request(autojump_clock: MockClock) -> None:
    server = H2Script(answers_once, serve)
    async with scene(server, http1=False) as s:
        await s.client.get(s.url)
        await trio.sleep(40)
        start = trio.current_time()
        with pytest.raises(penstock.TimeoutException) as caught:
            await s.client.post(s.url, timeout=penstock.Timeouts(total=2))
        assert caught.value.request_sent == "no"
        assert trio.current_time() - start == pytest.approx(2)
        await settle(10)
        assert heads(server) == [1]
        assert_at_rest(s.pool, s.network)


async def test_streams_that_wait_in_silence_are_guarded_by_pings(autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=100))
    async with scene(server, http1=False) as s:
        await at_once(5, lambda: s.client.get(s.url, timeout=NO_LIMITS))
        assert (server.connections, server.pings) == (1, 3)


async def test_without_streams_nobody_is_asked(autojump_clock: MockClock) -> None:
    server = H2Server(answer())
    async with scene(server, http1=False, idle_timeout=1000, health_check_interval=None) as s:
        await s.client.get(s.url)
        await trio.sleep(900)
        assert (server.connections, server.pings) == (1, 0)


async def test_silence_fails_the_streams_and_says_what_was_sent(autojump_clock: MockClock) -> None:
    server = H2Script(answers_once, serve)
    async with scene(server, http1=False) as s:
        await s.client.get(s.url)
        start = trio.current_time()
        outcomes: dict[str, object] = {}

        async def ask(method: str) -> None:
            try:
                outcomes[method] = (await s.client.request(method, s.url, timeout=NO_LIMITS)).content
            except penstock.ReadError as error:
                outcomes[method] = error
            assert trio.current_time() - start == pytest.approx(35)

        async with trio.open_nursery() as nursery:
            for method in ("GET", "PUT", "POST"):
                nursery.start_soon(ask, method)
        # What may be sent again was, at once; what may have been done was not.
        assert (outcomes["GET"], outcomes["PUT"]) == (b"ok", b"ok")
        error = outcomes["POST"]
        assert isinstance(error, penstock.ReadError)
        assert "no sign of life for 35 s" in str(error)
        assert error.request_sent == "fully"
        assert heads(server) == [4, 2]
        assert s.seen.close_reasons == ["ping_timeout"]


async def test_whatever_arrives_is_a_sign_of_life(autojump_clock: MockClock) -> None:
    """A server that is busy sending may answer a PING late."""

    async def script(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.headers(request.stream, [(b":status", b"200")])
        await peer.expect("PING")
        for _ in range(20):
            await peer.wait(4)
            await peer.data(request.stream, b"x")
        await peer.data(request.stream, end_stream=True)
        await peer.wait_closed()

    server = H2Script(script, ack_pings=False)
    async with scene(server, http1=False) as s:
        assert (await s.client.get(s.url, timeout=NO_LIMITS)).content == b"x" * 20


@pytest.mark.parametrize("way", ["goaway", "reset"])
async def test_a_server_that_calls_for_calm_is_asked_less_often(way: str, autojump_clock: MockClock) -> None:
    async def calls_for_calm(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.expect("PING")
        await peer.respond(request.stream)
        if way == "goaway":
            await peer.goaway(request.stream, ENHANCE_YOUR_CALM, b"too_many_pings")
        else:
            request = await peer.request()
            await peer.rst(request.stream, ENHANCE_YOUR_CALM)
            await peer.goaway(request.stream)
        await peer.wait_closed()

    pings: list[float] = []

    async def patient(peer: H2Peer) -> None:
        request = await peer.request()
        start = trio.current_time()
        for _ in range(3):
            seen = await peer.expect("PING")
            pings.append(seen.at - start)
        await peer.respond(request.stream)
        await peer.wait_closed()

    async with scene(H2Script(calls_for_calm, patient), http1=False) as s:
        await s.client.get(s.url, timeout=NO_LIMITS)
        if way == "reset":
            with pytest.raises(penstock.RemoteProtocolError, match="ENHANCE_YOUR_CALM"):
                await s.client.get(s.url)
        await s.client.get(s.url, timeout=NO_LIMITS)
        assert pings == pytest.approx([60, 120, 180])


async def time_out(s: Scene, seconds: float = 1.0) -> None:
    with pytest.raises(penstock.ReadTimeout):
        await s.client.get(s.url, timeout=penstock.Timeouts(read=seconds))


async def test_timeouts_in_a_row_with_nothing_heard_end_the_use_of_a_connection(autojump_clock: MockClock) -> None:
    server = H2Script(answers_once, serve)
    async with scene(server, http1=False, unhealthy_threshold=3) as s:
        await s.client.get(s.url)
        for _ in range(3):
            await time_out(s)
        # It is asked, and what comes next goes elsewhere without waiting for the answer.
        start = trio.current_time()
        assert (await s.client.post(s.url)).content == b"ok"
        # The endpoint itself may be left alone for a moment after as many failures.
        assert trio.current_time() < start + 1
        assert heads(server) == [4, 1]
        # The endpoint's own count of failures is the same, and may be full in the same instant.
        assert s.seen.close_reasons in (["stalled"], ["unhealthy_endpoint"])


async def test_streams_on_a_stalled_connection_fail_when_the_ping_is_not_answered(autojump_clock: MockClock) -> None:
    server = H2Script(answers_once, serve)
    async with scene(server, http1=False, unhealthy_threshold=3) as s:
        await s.client.get(s.url)
        start = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def patient() -> None:
                with pytest.raises(penstock.ReadError, match="no sign of life"):
                    await s.client.post(s.url, timeout=NO_LIMITS)
                assert trio.current_time() == pytest.approx(start + 6, abs=0.1)

            nursery.start_soon(patient)
            await at_once(3, lambda: time_out(s))
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_timeouts_beside_streams_that_are_served_are_their_own_affair(autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        while True:
            request = await peer.request()
            if request.method == b"POST":
                await peer.respond(request.stream, body=b"ok")

    server = H2Script(script)
    async with scene(server, http1=False, unhealthy_threshold=3) as s:
        for _ in range(10):
            await time_out(s)
            assert (await s.client.post(s.url)).content == b"ok"
        assert server.connections == 1


async def test_a_server_is_answered_while_the_connection_is_idle(autojump_clock: MockClock) -> None:
    heard: list[float] = []

    async def script(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request.stream)
        await peer.expect("SETTINGS_ACK")
        await peer.wait(10)
        start = trio.current_time()
        await peer.ping(b"idle? ye")
        seen = await peer.expect("PING_ACK")
        assert seen.frame.opaque_data == b"idle? ye"  # type: ignore[attr-defined]
        await peer.settings(max_concurrent_streams=7)
        await peer.expect("SETTINGS_ACK")
        heard.append(trio.current_time() - start)
        await peer.wait_closed()

    async with scene(H2Script(script), http1=False, latency=0.01) as s:
        await s.client.get(s.url)
        await trio.sleep(20)
        assert heard == pytest.approx([0.04])
        assert s.only_endpoint.connections[0].capacity == 7


@pytest.mark.parametrize("end", ["goaway and end", "goaway", "end", "reset", "garbage"])
async def test_a_connection_that_ends_while_idle_costs_the_next_request_nothing(
    end: str, autojump_clock: MockClock
) -> None:
    async def script(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request.stream)
        await peer.wait(1)
        if "goaway" in end:
            await peer.goaway(request.stream)
        if end == "garbage":
            await peer.send(b"\xff" * 9)
        if "end" in end:
            peer.wire.fin()
        if end == "reset":
            peer.wire.rst()
        await peer.wait_closed()

    server = H2Script(script, serve)
    async with scene(server, http1=False, latency=0.01) as s:
        await s.client.get(s.url)
        await trio.sleep(1.1)
        assert s.network.open_connections == 0
        assert (await s.client.post(s.url, content=b"body")).content == b"ok"
        assert heads(server) == [1, 1]
        assert s.pool.statistics().counts.refused == 0
