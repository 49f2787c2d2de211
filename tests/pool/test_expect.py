"""Content that waits for 100 (Continue), RFC 9110 §10.1.1."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trio

import penstock
from penstock._http.upload import CONTINUE_WAIT
from penstock.testing import ScriptedPeer, head
from tests.support.h2_server import H2Server, Incoming, Response
from tests.support.scene import Scene, assert_at_rest, scene, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from trio.testing import MockClock

EXPECT = {"Expect": "100-continue"}


class Plan(NamedTuple):
    """What the server does when it has seen a head.

    Attributes:
        interim: interim responses, each `every` seconds after the one before.
        status: of the final response.
        refuses: whether it answers without waiting for content.
    """

    interim: tuple[int, ...] = ()
    status: int = 200
    refuses: bool = False
    every: float = 0.25


def open_scene(
    protocol: str, plan: Plan, got: list[tuple[float, int]], **settings: Any
) -> AbstractAsyncContextManager[Scene]:
    """A server that follows the plan; `got` has when a body was whole, and how long it was."""

    async def app(request: Incoming) -> Response:
        if request.method == b"GET":
            return Response(body=b"ok")
        for status in plan.interim:
            await trio.sleep(plan.every)
            assert request.received == 0 or trio.current_time() > CONTINUE_WAIT
            await request.inform(status)
        if not plan.refuses:
            body = await request.body()
            got.append((trio.current_time(), len(body)))
        return Response(plan.status, body=b"said")

    async def peer_app(peer: ScriptedPeer) -> None:
        while True:
            request = await peer.expect_head()
            if request.method != b"GET":
                assert peer.received.endswith(b"\r\n\r\n"), "the head goes out alone"
                for status in plan.interim:
                    await peer.wait(plan.every)
                    await peer.send(head(status))
            if plan.refuses and request.method != b"GET":
                await peer.respond(plan.status, body=b"said")
                await peer.expect_body()
                continue
            body = await peer.expect_body()
            got.append((trio.current_time(), len(body)))
            await peer.respond(plan.status if request.method != b"GET" else 200, body=b"said")

    if protocol == "HTTP/2":
        return scene(H2Server(app), http1=False, **settings)
    return scene(peer_app, **settings)


async def pieces() -> AsyncIterator[bytes]:
    yield b"hel"
    yield b"lo"


CONTENTS = [lambda: b"hello", lambda: io.BytesIO(b"hello"), lambda: [b"hel", b"lo"], pieces]


@pytest.mark.parametrize("make", CONTENTS)
async def test_content_follows_when_it_is_asked_for(protocol: str, make: Any, autojump_clock: MockClock) -> None:
    got: list[tuple[float, int]] = []
    async with open_scene(protocol, Plan((103, 100)), got) as s:
        for number in range(2):
            start = trio.current_time()
            response = await s.client.post(s.url, content=make(), headers=EXPECT)
            assert (response.status_code, response.content) == (200, b"said")
            assert got[number] == (pytest.approx(start + 0.5), 5)
        assert s.pool.statistics().counts.dials_started == 1
        await settle()
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize("interim", [(), (103,)])
async def test_content_does_not_wait_for_ever(
    protocol: str, interim: tuple[int, ...], autojump_clock: MockClock
) -> None:
    """Many servers never say it; and no limit on the peer passes while nobody asked it for anything."""
    got: list[tuple[float, int]] = []
    limits = penstock.Timeouts(write=0.1, read=0.1, first_byte=0.1)
    async with open_scene(protocol, Plan(interim), got) as s:
        start = trio.current_time()
        response = await s.client.post(s.url, content=b"hello", headers=EXPECT, timeout=limits)
        assert response.status_code == 200
        assert got == [(pytest.approx(start + CONTINUE_WAIT), 5)]
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_a_late_100_is_no_answer(protocol: str, autojump_clock: MockClock) -> None:
    got: list[tuple[float, int]] = []
    async with open_scene(protocol, Plan((100, 100), every=2.0), got) as s:
        assert (await s.client.post(s.url, content=pieces(), headers=EXPECT)).status_code == 200
        assert got == [(pytest.approx(4.0), 5)]
        assert (await s.client.get(s.url)).status_code == 200
        assert s.pool.statistics().counts.dials_started == 1


@pytest.mark.parametrize("status", [302, 400, 413, 417, 500])
@pytest.mark.parametrize("interim", [(), (103,)])
async def test_a_refusal_means_that_nothing_is_sent(
    protocol: str, status: int, interim: tuple[int, ...], autojump_clock: MockClock
) -> None:
    asked = []

    async def counted() -> AsyncIterator[bytes]:
        asked.append(True)
        yield b"hello"

    got: list[tuple[float, int]] = []
    async with open_scene(protocol, Plan(interim, status, refuses=True), got) as s:
        for content in (counted(), b"hello"):
            response = await s.client.post(s.url, content=content, headers=EXPECT)
            assert (response.status_code, response.content) == (status, b"said")
        assert (await s.client.get(s.url)).status_code == 200
        await settle()
        assert asked == []
        if protocol == "HTTP/1.1":
            # The server would take the next request for the content.
            assert s.seen.close_reasons == ["early_body_close"] * 2
            assert all(b"hello" not in peer.received for peer in s.network.peers)
        else:
            assert s.seen.close_reasons == []
        assert_at_rest(s.pool, s.network)
        assert s.only_endpoint.failures == 0


async def test_a_success_in_place_of_100_is_no_refusal(protocol: str, autojump_clock: MockClock) -> None:
    got: list[tuple[float, int]] = []
    async with open_scene(protocol, Plan(refuses=True), got) as s:
        response = await s.client.post(s.url, content=b"hello", headers=EXPECT)
        assert (response.status_code, response.content) == (200, b"said")
        assert trio.current_time() < CONTINUE_WAIT
        assert (await s.client.get(s.url)).status_code == 200
        assert s.pool.statistics().counts.dials_started == 1
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_interim_answers_are_bounded_as_ever(protocol: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol, Plan((103,) * 17, every=0.001), []) as s:
        with pytest.raises(penstock.RemoteProtocolError, match="more than 16 interim responses"):
            await s.client.post(s.url, content=b"hello", headers=EXPECT)
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_a_total_limit_holds_while_content_waits(protocol: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol, Plan((100,), every=10), []) as s:
        with pytest.raises(penstock.TimeoutException, match=r"total_timeout of 0\.5 s"):
            await s.client.post(s.url, content=pieces(), headers=EXPECT, timeout=penstock.Timeouts(total=0.5))
        assert trio.current_time() == pytest.approx(0.5)
        await settle()
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize("reset", [False, True])
async def test_a_server_that_leaves_instead_of_asking(reset: bool, autojump_clock: MockClock) -> None:
    async def leaves(peer: ScriptedPeer) -> None:
        await peer.expect_head()
        await peer.wait(0.1)
        if reset:
            peer.rst()
        else:
            peer.fin()

    async with scene(leaves) as s:
        with pytest.raises(penstock.ReadError) as caught:
            await s.client.post(s.url, content=b"hello", headers=EXPECT)
        assert caught.value.request_sent == "partly"
        assert trio.current_time() == pytest.approx(0.1)
        await settle()
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize("status", [303, 307])
async def test_a_redirect_that_repeats_the_content_expects_again(status: int, autojump_clock: MockClock) -> None:
    async def redirects(peer: ScriptedPeer) -> None:
        request = await peer.expect_head()
        if request.target == b"/there":
            if request.method == b"POST":
                await peer.send(head(100))
            await peer.respond(200, [(b"connection", b"close")], await peer.expect_body())
        else:
            await peer.respond(status, [(b"location", b"/there")])
        await peer.wait_closed()

    async with scene(redirects) as s:
        response = await s.client.post(s.url, content=b"hello", headers=EXPECT, follow_redirects=True)
        assert response.content == (b"hello" if status == 307 else b"")
        expected = [dict(peer.requests[0].headers).get(b"expect") for peer in s.network.peers]
        assert expected == [b"100-continue", b"100-continue" if status == 307 else None]
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_an_expectation_without_content_is_refused(autojump_clock: MockClock) -> None:
    async with scene() as s:
        for content in (None, b""):
            with pytest.raises(penstock.LocalProtocolError, match="must not be sent without content"):
                await s.client.post(s.url, content=content, headers=EXPECT)
        with pytest.raises(penstock.LocalProtocolError, match="expect may only be 100-continue"):
            await s.client.post(s.url, content=b"x", headers={"Expect": "a-miracle"})
        with pytest.raises(penstock.LocalProtocolError, match="expect cannot be a trailer"):
            await s.client.post(s.url, content=b"x", trailers=EXPECT)
        assert s.network.peers == []


@pytest.mark.parametrize("status", [503, 421])
async def test_what_was_refused_unread_can_be_sent_again(protocol: str, status: int, autojump_clock: MockClock) -> None:
    """Nothing of the generator was taken, so the next try has all of it."""
    asked = 0

    async def app(request: Incoming) -> Response:
        nonlocal asked
        asked += 1
        if asked == 1:
            return Response(status)
        await request.inform(100)
        return Response(body=await request.body())

    async def peer_app(peer: ScriptedPeer) -> None:
        nonlocal asked
        await peer.expect_head()
        asked += 1
        if asked == 1:
            await peer.respond(status)
        else:
            await peer.send(head(100))
            await peer.respond(200, body=await peer.expect_body())
        await peer.wait_closed()

    two = protocol == "HTTP/2"
    async with scene(H2Server(app) if two else peer_app, http1=not two) as s:
        policy = penstock.RetryPolicy() if status == 503 else None
        response = await s.client.post(s.url, content=pieces(), headers=EXPECT, retry=policy)
        assert (response.status_code, response.content, len(response.retries)) == (200, b"hello", 1)
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_what_was_refused_half_read_cannot(protocol: str, autojump_clock: MockClock) -> None:
    got: list[tuple[float, int]] = []
    async with open_scene(protocol, Plan((100,), 503), got) as s:
        response = await s.client.post(s.url, content=pieces(), headers=EXPECT, retry=penstock.RetryPolicy())
        assert response.retry_refusal is penstock.RetryRefusal.BODY_CONSUMED
        assert len(got) == 1


@pytest.mark.parametrize("begun", [False, True])
async def test_a_redirect_is_followed_with_what_was_not_begun(
    protocol: str, begun: bool, autojump_clock: MockClock
) -> None:
    async def app(request: Incoming) -> Response:
        if request.path == b"/there":
            await request.inform(100)
            return Response(body=await request.body())
        if begun:
            await request.inform(100)
            await request.body()
        return Response(307, [(b"location", b"/there")])

    async def peer_app(peer: ScriptedPeer) -> None:
        request = await peer.expect_head()
        if request.target == b"/there" or begun:
            await peer.send(head(100))
            body = await peer.expect_body()
        if request.target == b"/there":
            await peer.respond(200, body=body)
        else:
            await peer.respond(307, [(b"location", b"/there"), (b"connection", b"close")])
        await peer.wait_closed()

    two = protocol == "HTTP/2"
    async with scene(H2Server(app) if two else peer_app, http1=not two) as s:
        ask = s.client.post(s.url, content=pieces(), headers=EXPECT, follow_redirects=True)
        if begun:
            with pytest.raises(penstock.StreamConsumed):
                await ask
        else:
            assert (await ask).content == b"hello"
        await settle()
        assert_at_rest(s.pool, s.network)
