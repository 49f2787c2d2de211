"""Nothing a server says early or late becomes another request's answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock.testing import ScriptedPeer, chunk, head, serve_in_turn, serve_ok, serve_then_say
from tests.support.scene import Scene, assert_at_rest, scene, settle

if TYPE_CHECKING:
    from trio.testing import MockClock

    from penstock.testing import Handler

POISON = head(200, [(b"content-length", b"6"), (b"x-poison", b"yes")]) + b"poison"

SAID = {
    "an answer": POISON,
    "one byte": b"\n",
    "half an answer": POISON[:20],
    "an interim answer": head(103),
    "a request time-out": head(408, [(b"connection", b"close"), (b"content-length", b"0")]),
    "an end of chunks": b"0\r\n\r\n",
}


async def ask_again(s: Scene, count: int = 3, pause: float = 0.0) -> None:
    """Ask more often than there are poisoned connections; every answer has to be the right one."""
    for _ in range(count):
        response = await s.client.get(s.url)
        assert (response.status_code, response.text) == (200, "ok")
        assert "x-poison" not in response.headers
        await trio.sleep(pause)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("after", [None, 0.0, 0.001, 0.2], ids=["same piece", "at once", "soon", "idle"])
@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
async def test_bytes_after_an_answer(said: bytes, after: float | None, tls: bool, autojump_clock: MockClock) -> None:
    async with scene(serve_then_say(said, after=after), tls=tls) as s:
        await ask_again(s, pause=0.0 if after is None else after + 0.001)
        assert s.requests_per_connection == [1, 1, 1]
        await settle()
        assert set(s.seen.close_reasons) == {"unsolicited_data"}
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_bytes_at_the_moment_of_hand_over(tls: bool, autojump_clock: MockClock) -> None:
    """A waiter is handed the connection in the same instant in which the poison arrives behind the answer."""
    async with scene(serve_then_say(POISON, after=0.0), tls=tls, max_connections=1) as s:
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(ask_again, s, 1)
        assert s.requests_per_connection == [1] * 8
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_bytes_before_the_first_request(autojump_clock: MockClock) -> None:
    async def speaks_first(peer: ScriptedPeer) -> None:
        await peer.send(POISON)
        await peer.wait_closed()

    async with scene(serve_in_turn(speaks_first, speaks_first, serve_ok()), latency=0.01) as s:
        await s.pool.prewarm(s.url, 2)
        await settle()
        assert s.network.open_connections == 0
        await ask_again(s)
        assert s.requests_per_connection == [0, 0, 3]


ANSWERS: dict[str, tuple[str, bytes]] = {
    "a body behind the answer to HEAD": ("HEAD", head(200, [(b"content-length", b"6")]) + b"poison"),
    "a body behind 204": ("GET", head(204) + b"poison"),
    "a body behind 304": ("GET", head(304, [(b"content-length", b"6")]) + b"poison"),
    "a longer body than announced": ("GET", head(200, [(b"content-length", b"2")]) + b"ok" + POISON),
    "more behind the last chunk": (
        "GET",
        head(200, [(b"transfer-encoding", b"chunked")]) + chunk(b"ok") + chunk(b"") + POISON,
    ),
    "two answers": ("GET", head(200, [(b"content-length", b"2")]) + b"ok" + POISON + POISON),
}


@pytest.mark.parametrize("pieces", [None, 1, 7])
@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_with_something_behind_it(name: str, pieces: int | None, autojump_clock: MockClock) -> None:
    method, answer = ANSWERS[name]

    async def bad(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        # In one step, so that all of it is there before the next request. What comes later no client can tell from
        # the next answer.
        for start in range(0, len(answer), pieces or len(answer)):
            await peer.send(answer[start : start + (pieces or len(answer))])
        await peer.wait_closed()

    async with scene(serve_in_turn(bad, serve_ok())) as s:
        response = await s.client.request(method, s.url)
        assert response.content in (b"", b"ok")
        await ask_again(s)
        assert s.requests_per_connection == [1, 3]


async def test_a_late_answer_to_a_cancelled_request(autojump_clock: MockClock) -> None:
    async def slow(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.wait(5)
        await peer.send(POISON)

    async with scene(serve_in_turn(slow, serve_ok())) as s:
        with trio.move_on_after(4.9):
            await s.client.get(s.url)
        await ask_again(s, pause=0.1)
        assert s.requests_per_connection == [1, 3]


async def test_a_late_answer_to_a_request_that_timed_out(autojump_clock: MockClock) -> None:
    async def slow(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.wait(5)
        await peer.send(POISON)

    async with scene(serve_in_turn(slow, serve_ok()), read_timeout=4.9) as s:
        with pytest.raises(penstock.ReadTimeout):
            await s.client.get(s.url)
        await ask_again(s, pause=0.1)
        assert s.requests_per_connection == [1, 3]


def refuses_early(then: bytes) -> Handler:
    """Answers 413 before it has the body, reads a little of it, and speaks again."""

    async def handler(peer: ScriptedPeer) -> None:
        await peer.expect_head()
        await peer.respond(413)
        await peer.receive()
        await peer.send(then)
        await peer.wait_closed()

    return handler


async def test_what_follows_an_early_refusal(autojump_clock: MockClock) -> None:
    """The rest of the upload is not sent, so the server would take the next request for the body of this one."""
    async with scene(serve_in_turn(refuses_early(POISON), serve_ok())) as s:
        assert (await s.client.post(s.url, content=bytes(500_000))).status_code == 413
        await ask_again(s)
        assert s.requests_per_connection == [1, 3]


async def test_a_request_cut_short_is_never_continued_by_another(autojump_clock: MockClock) -> None:
    async def reads_slowly(peer: ScriptedPeer) -> None:
        await peer.expect_head()
        await peer.wait(10)
        with pytest.raises(penstock.testing.ClientGone):
            await peer.expect_body()

    async with scene(serve_in_turn(reads_slowly, serve_ok())) as s:
        with trio.move_on_after(1):
            await s.client.post(s.url, content=b"x" * 500_000)
        await ask_again(s)
        await settle(15)
        assert set(s.network.peers[0].received.partition(b"\r\n\r\n")[2]) == set(b"x")
