"""A server that did not process a request says so, and the request goes elsewhere: any method, a few times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

import penstock
from tests.support.h2_peer import H2Peer, H2Script, serve
from tests.support.h2_server import REFUSED_STREAM, H2Server, Incoming, Reset, Response
from tests.support.scene import assert_at_rest, at_once, scene, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock


def refuses(count: int, code: int = REFUSED_STREAM) -> H2Server:
    """Refuses so many streams that are not for "/warm", then answers with the body."""
    left = count

    async def app(request: Incoming) -> Response:
        nonlocal left
        if request.path != b"/warm" and left:
            left -= 1
            raise Reset(code)
        return Response(body=await request.body())

    return H2Server(app)


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
async def test_a_refused_request_is_sent_again(method: str, autojump_clock: MockClock) -> None:
    server = refuses(1)
    async with scene(server, http1=False) as s:
        response = await s.client.request(method, s.url, content=b"" if method == "GET" else b"body")
        assert response.content == (b"" if method == "GET" else b"body")
        assert [stream.status for stream in server.streams] == [None, 200]
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_it_is_sent_three_times_at_most(autojump_clock: MockClock) -> None:
    server = refuses(1000)
    async with scene(server, http1=False) as s:
        await s.client.get(f"{s.url}/warm")
        with pytest.raises(penstock.RemoteProtocolError, match="REFUSED_STREAM") as caught:
            await s.client.post(s.url, content=b"body")
        assert caught.value.attempt == len(server.streams) - 1 <= 3
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_a_connection_that_refuses_again_and_again_is_replaced(autojump_clock: MockClock) -> None:
    async def stubborn(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request.stream)
        while True:
            request = await peer.request()
            await peer.rst(request.stream, REFUSED_STREAM)

    async def good(peer: H2Peer) -> None:
        while True:
            request = await peer.request()
            await peer.respond(request.stream, body=b"ok")

    async with scene(H2Script(stubborn, good), http1=False, max_connections_per_host=1) as s:
        await s.client.get(s.url)
        assert (await s.client.post(s.url)).content == b"ok"
        assert s.seen.close_reasons == ["refused_streams"]


async def test_a_server_that_has_done_nothing_but_refuse_means_it(autojump_clock: MockClock) -> None:
    server = refuses(1000)
    async with scene(server, http1=False) as s:
        with pytest.raises(penstock.RemoteProtocolError, match="REFUSED_STREAM") as caught:
            await s.client.post(s.url, content=b"body")
        assert caught.value.attempt == len(server.streams) == 2


async def test_a_few_refusals_among_many_requests_cost_no_connection(autojump_clock: MockClock) -> None:
    numbers = iter(range(1_000_000))

    async def app(_: Incoming) -> Response:
        if next(numbers) % 10 == 0:
            raise Reset(REFUSED_STREAM)
        return Response(body=b"ok")

    server = H2Server(app)
    async with scene(server, http1=False, max_connections_per_host=1) as s:
        for _ in range(100):
            assert (await s.client.post(s.url, content=b"body")).content == b"ok"
        assert server.connections == 1
        assert sum(stream.status == 200 for stream in server.streams) == 100


async def test_a_limit_below_what_was_sent_at_once_is_no_error(autojump_clock: MockClock) -> None:
    """The server refuses what came before its lower limit was known."""

    async def script(peer: H2Peer) -> None:
        first = [await peer.request() for _ in range(20)]
        await peer.settings(max_concurrent_streams=5)
        for request in first[5:]:
            await peer.rst(request.stream, REFUSED_STREAM)
        for request in first[:5]:
            await peer.respond(request.stream, body=b"ok")
        await serve(peer)

    server = H2Script(script, serve)
    async with scene(server, http1=False, latency=0.01) as s:
        responses = await at_once(20, lambda: s.client.post(s.url, content=b"body"))
        assert [response.content for response in responses] == [b"ok"] * 20  # type: ignore[attr-defined]


@pytest.mark.parametrize("code", [0x2, 0x8, 0xB])
async def test_any_other_reset_may_have_been_processed(code: int, autojump_clock: MockClock) -> None:
    server = refuses(1, code)
    async with scene(server, http1=False) as s:
        await s.client.get(f"{s.url}/warm")
        with pytest.raises(penstock.RemoteProtocolError) as caught:
            await s.client.get(s.url)
        assert caught.value.reason is penstock.ProtocolReason.RESET
        assert len(server.streams) == 2


async def test_a_body_that_cannot_be_produced_again_is_not_refused_twice(autojump_clock: MockClock) -> None:
    async def once() -> AsyncIterator[bytes]:
        yield b"only once"

    server = refuses(1)
    async with scene(server, http1=False) as s:
        with pytest.raises(penstock.RemoteProtocolError, match="REFUSED_STREAM"):
            await s.client.post(s.url, content=once())
        assert len(server.streams) == 1


async def test_a_misdirected_request_goes_to_a_fresh_connection_once(autojump_clock: MockClock) -> None:
    misdirected = 1

    async def app(request: Incoming) -> Response:
        return Response(421 if request.peer.number < misdirected else 200, body=await request.body())

    server = H2Server(app)
    async with scene(server, http1=False) as s:
        response = await s.client.post(s.url, content=b"body")
        assert (response.status_code, response.content) == (200, b"body")
        assert server.streams_per_connection == [1, 1]
        assert s.seen.close_reasons == ["misdirected"]
        # Who sends 421 for ever is believed.
        misdirected = 1000
        response = await s.client.post(s.url, content=b"body")
        assert response.status_code == 421
        assert len(server.streams) == 4


async def test_a_misdirected_request_leaves_the_others_on_its_connection_alone(autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        requests = {request.path: request for request in [await peer.request() for _ in range(2)]}
        await peer.respond(requests[b"/wrong"].stream, 421)
        await peer.wait(1)
        await peer.respond(requests[b"/right"].stream, body=b"1st")
        await peer.wait_closed()

    async def others(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request.stream, body=b"2nd")
        await peer.wait_closed()

    async with scene(H2Script(script, others), http1=False) as s:
        paths = iter(["/wrong", "/right"])
        responses = await at_once(2, lambda: s.client.get(s.url + next(paths)))
        assert [response.content for response in responses] == [b"2nd", b"1st"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("body", [b"", b"not here"])
async def test_a_connection_that_is_the_wrong_one_takes_nothing_more(body: bytes, autojump_clock: MockClock) -> None:
    """Also where the answer has no content, so that its lease was given back with the head."""

    def answers(status: int) -> Any:
        async def script(peer: H2Peer) -> None:
            while True:
                request = await peer.request()
                if request.path != b"/held":
                    await peer.respond(request.stream, status, body=body)

        return script

    async with scene(H2Script(answers(421), answers(200)), http1=False) as s, trio.open_nursery() as nursery:
        nursery.start_soon(s.client.get, s.url + "/held")
        await trio.sleep(0.1)
        found = [(await s.client.get(s.url)).connection_id for _ in range(4)]
        nursery.cancel_scope.cancel()
    assert found == [2, 2, 2, 2]
    assert len(s.network.peers) == 2
