"""Trailers over HTTP/2, in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from trio.testing import MockClock

import penstock
from tests.support.h2_peer import H2Peer, H2Script, serve
from tests.support.h2_server import H2Server, Incoming, Response
from tests.support.scene import assert_at_rest, scene, settle

SUM = {"X-Sum": "7"}


class Listening:
    """An app that keeps what it heard, and answers with trailers."""

    def __init__(self) -> None:
        self.heard: list[Incoming] = []

    async def __call__(self, request: Incoming) -> Response:
        self.heard.append(request)
        return Response(body=await request.body(), trailers=[(b"x-sum", b"42")])


def pieces() -> Iterator[bytes]:
    yield b"hel"
    yield b"lo"


@pytest.mark.parametrize("make", [lambda: None, lambda: b"hello", pieces, lambda: b"x" * 200_000])
@pytest.mark.parametrize("given", [SUM, lambda: SUM], ids=["known", "asked for"])
async def test_they_end_the_request(make: Any, given: Any, autojump_clock: MockClock) -> None:
    app = Listening()
    async with scene(H2Server(app), http1=False) as s:
        response = await s.client.post(s.url, content=make(), trailers=given)
        assert response.http_version == "HTTP/2"
        assert response.content == b"".join([make()] if isinstance(make(), bytes) else make() or [])
        assert response.trailers["X-Sum"] == "42"
        (request,) = app.heard
        assert request.trailers == [(b"x-sum", b"7")]
        assert ("trailer" in dict(response.request.headers)) is not callable(given)
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize("content", [b"", b"hello"])
async def test_they_are_kept_where_they_came_with_the_head(content: bytes, autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        await peer.request()
        async with peer.together():
            await peer.headers(1, [(b":status", b"200")])
            await peer.data(1, content)
            await peer.headers(1, [(b"x-sum", b"42")], end_stream=True)
        await serve(peer)

    async with scene(H2Script(script), http1=False) as s:
        response = await s.client.get(s.url)
        assert response.content == content
        assert response.trailers["X-Sum"] == "42"
        assert_at_rest(s.pool, s.network)


async def test_without_any_the_content_ends_it(autojump_clock: MockClock) -> None:
    app = Listening()
    async with scene(H2Server(app), http1=False) as s:
        await s.client.post(s.url, content=pieces(), trailers={})
        await s.client.post(s.url, content=pieces(), trailers=dict)
        assert [request.trailers for request in app.heard] == [None, None]
        assert_at_rest(s.pool, s.network)


async def test_bad_ones_that_were_asked_for_cost_their_stream_only(autojump_clock: MockClock) -> None:
    app = Listening()
    async with scene(H2Server(app), http1=False) as s:
        with pytest.raises(penstock.LocalProtocolError, match="the field host cannot be a trailer"):
            await s.client.post(s.url, content=b"hello", trailers=lambda: {"Host": "b"})
        with pytest.raises(KeyError):
            await s.client.post(s.url, content=b"hello", trailers=lambda: {}["mine"])
        assert (await s.client.post(s.url, content=b"hello")).content == b"hello"
        await settle()
        assert len(s.network.peers) == 1
        assert_at_rest(s.pool, s.network)
