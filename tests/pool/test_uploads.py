"""A server may answer while the request is still on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock.testing import ScriptedPeer, chunk, head, serve_early
from tests.support.scene import assert_at_rest, scene, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock


async def answers_meanwhile(peer: ScriptedPeer) -> None:
    """Sends five chunks, one every 0.1 s, from the moment it has the head of the request."""
    while True:
        await peer.expect_head()
        await peer.send(head(200, [(b"transfer-encoding", b"chunked")]))
        for number in range(5):
            await peer.send(chunk(b"%d " % number))
            await peer.wait(0.1)
        await peer.send(chunk(b""))
        await peer.expect_body()


async def slowly(seconds: float) -> AsyncIterator[bytes]:
    for _ in range(10):
        await trio.sleep(seconds / 10)
        yield b"x" * 10


@pytest.mark.parametrize("seconds", [0.05, 0.25, 2.0])
async def test_an_answer_that_comes_meanwhile_is_whole(seconds: float, autojump_clock: MockClock) -> None:
    async with scene(answers_meanwhile) as s:
        for _ in range(2):
            response = await s.client.post(s.url, content=slowly(seconds))
            assert response.content == b"0 1 2 3 4 "
        assert s.requests_per_connection == [2]
        assert s.network.peers[0].requests[1].body == b"x" * 100
        assert_at_rest(s.pool, s.network)


async def test_neither_side_waits_for_the_other_to_be_read(autojump_clock: MockClock) -> None:
    """More than the connection holds, both ways: somebody has to read while writing."""

    async def answers_first(peer: ScriptedPeer) -> None:
        await peer.expect_head()
        await peer.respond(body=bytes(200_000), pieces=1000)
        await peer.expect_body()
        await peer.wait_closed()

    async with scene(answers_first) as s:
        response = await s.client.post(s.url, content=bytes(200_000))
        assert response.content == bytes(200_000)
        assert len(s.network.peers[0].requests[0].body) == 200_000


async def test_an_answer_that_comes_meanwhile_can_be_read_piece_by_piece(autojump_clock: MockClock) -> None:
    async with scene(answers_meanwhile) as s:
        async with s.client.stream("POST", s.url, content=slowly(2.0)) as response:
            pieces = [piece async for piece in response.aiter_raw()]
        assert b"".join(pieces) == b"0 1 2 3 4 "
        assert len(pieces) == 5
        async with s.client.stream("POST", s.url, content=slowly(2.0)) as response:
            assert await anext(response.aiter_raw()) == b"0 "
        assert s.requests_per_connection == [2]
        assert_at_rest(s.pool, s.network)


async def test_what_the_callers_body_raises_leaves_as_itself(autojump_clock: MockClock) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield b"x"
        await trio.sleep(1)
        raise KeyError("mine")

    async with scene(answers_meanwhile) as s:
        with pytest.raises(KeyError, match="mine"):
            await s.client.post(s.url, content=breaks())
        await settle()
        assert s.seen.close_reasons == ["discarded"]
        # The caller's fault is not the server's.
        assert s.only_endpoint.failures == 0
        assert_at_rest(s.pool, s.network)


async def test_a_body_of_the_wrong_kind_is_refused(autojump_clock: MockClock) -> None:
    async def words() -> AsyncIterator[str]:
        yield "x"

    async with scene(answers_meanwhile) as s:
        with pytest.raises(penstock.LocalProtocolError, match="must yield bytes, not str"):
            await s.client.post(s.url, content=words())  # type: ignore[arg-type]
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_an_early_refusal_stops_a_body_that_has_tasks_of_its_own(autojump_clock: MockClock) -> None:
    async def with_tasks() -> AsyncIterator[bytes]:
        while True:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 1)
                nursery.start_soon(trio.sleep, 2)
            yield b"x"

    async with scene(serve_early(413)) as s:
        assert (await s.client.post(s.url, content=with_tasks())).status_code == 413
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_a_lease_sends_trailers(autojump_clock: MockClock) -> None:
    async with scene() as s:
        async with s.pool.acquire(s.url) as lease:
            await lease.request("POST", "/", content=b"x", trailers={"X-Sum": "7"})
            assert await lease.read() == b"ok"
        (peer,) = s.network.peers
        assert peer.received.endswith(b"1\r\nx\r\n0\r\nX-Sum: 7\r\n\r\n")
        assert_at_rest(s.pool, s.network)
