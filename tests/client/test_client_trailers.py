"""Trailers of a client's requests: how they are passed, what happens to them on the way, and those of answers."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from trio.testing import MockClock

import penstock
from penstock._client.client import Client
from penstock._errors import LocalProtocolError
from penstock.testing import serve_chunked, serve_echo, serve_in_turn
from tests.support.scene import assert_at_rest, scene, settle
from tests.support.server import ScriptServer, closes_without_answer

from .fake_pool import Answer, FakePool

SUM = {"X-Sum": "7"}


def client_for(**answers: Answer) -> tuple[Client, FakePool]:
    pool = FakePool(lambda sent: answers.get(sent.origin.host, Answer(200, {}, b"here")))
    return Client(pool, follow_redirects=True), pool  # type: ignore[arg-type]


def trailers_of(pool: FakePool) -> list[list[tuple[bytes, bytes]]]:
    return [sent.wire.final_trailers() for sent in pool.sent]


@pytest.mark.parametrize("verb", ["get", "head", "options", "post", "put", "patch", "delete"])
async def test_every_method_takes_them(verb: str) -> None:
    client, pool = client_for()
    await getattr(client, verb)("https://a/", trailers=SUM)
    async with client.stream("POST", "https://a/", content=b"x", trailers=lambda: SUM):
        pass
    assert trailers_of(pool) == [[(b"x-sum", b"7")]] * 2
    assert pool.sent[0].headers["trailer"] == "x-sum"
    assert "trailer" not in pool.sent[1].headers


async def test_a_request_with_trailers_is_no_pattern_for_others() -> None:
    client, pool = client_for()
    for trailers in (None, SUM, None):
        await client.get("https://a/", trailers=trailers)
    assert trailers_of(pool) == [[], [(b"x-sum", b"7")], []]
    assert "transfer-encoding" not in pool.sent[2].headers


async def test_bad_ones_are_refused_before_anything_is_sent() -> None:
    client, pool = client_for()
    with pytest.raises(LocalProtocolError, match="the field host cannot be a trailer"):
        await client.post("https://a/", trailers={"Host": "b"})
    with pytest.raises(TypeError, match="trailers must be a mapping or pairs, not int"):
        await client.post("https://a/", trailers=7)  # type: ignore[arg-type]
    assert pool.sent == []


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_redirect_that_drops_the_body_drops_them(status: int) -> None:
    client, pool = client_for(a=Answer(status, {"location": "https://b/"}))
    await client.post("https://a/", content=b"x", trailers=SUM)
    assert trailers_of(pool) == [[(b"x-sum", b"7")], []]
    assert {"trailer", "transfer-encoding"}.isdisjoint(pool.sent[1].headers)


@pytest.mark.parametrize("given", [SUM, lambda: SUM])
async def test_a_redirect_that_repeats_the_body_repeats_them(given: Any) -> None:
    client, pool = client_for(a=Answer(307, {"location": "https://b/"}))
    await client.post("https://a/", content=b"x", trailers=given)
    assert trailers_of(pool) == [[(b"x-sum", b"7")]] * 2
    assert [sent.body for sent in pool.sent] == [b"x", b"x"]


@pytest.mark.parametrize("is_known", [True, False])
async def test_credentials_among_them_stay_at_their_origin(is_known: bool) -> None:
    fields = {"X-Api-Key": "1", **SUM}
    given: Any = fields if is_known else lambda: fields
    client, pool = client_for(a=Answer(307, {"location": "https://b/"}), b=Answer(307, {"location": "https://c/"}))
    await client.post("https://a/", content=b"x", trailers=given)
    both, rest = [(b"x-api-key", b"1"), (b"x-sum", b"7")], [(b"x-sum", b"7")]
    assert trailers_of(pool) == [both, rest, rest]
    assert pool.sent[1].headers.get("trailer") == ("x-sum" if is_known else None)


async def test_where_only_credentials_were_there_is_nothing_left() -> None:
    client, pool = client_for(a=Answer(307, {"location": "https://b/"}))
    await client.post("https://a/", content=b"x", trailers={"X-Api-Key": "1"})
    assert pool.sent[1].wire.trailers is None
    assert pool.sent[1].headers["content-length"] == "1"


async def test_a_response_whose_request_had_a_function_can_be_pickled() -> None:
    client, _ = client_for()
    response = await client.post("https://a/", content=b"x", trailers=lambda: SUM)
    assert pickle.loads(pickle.dumps(response)).request.method == "POST"


# On the wire


async def test_a_checksum_of_a_streamed_upload() -> None:
    digest = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        for number in range(3):
            piece = b"%d" % number * 1000
            digest.update(piece)
            yield piece

    def ask() -> list[tuple[str, str]]:
        return [("X-Checksum", digest.hexdigest())]

    async with ScriptServer(serve_echo()) as server, penstock.Client() as client:
        for _ in range(2):
            assert len((await client.post(server.url, content=pieces(), trailers=ask)).content) == 3000
            assert server.peers[0].received.endswith(b"0\r\nX-Checksum: %s\r\n\r\n" % digest.hexdigest().encode())
    assert server.requests_per_connection == [2]


async def test_a_replay_asks_again(autojump_clock: MockClock) -> None:
    asked = 0

    def ask() -> dict[str, str]:
        nonlocal asked
        asked += 1
        return {"X-Time": str(asked)}

    goes_stale = serve_in_turn(closes_without_answer(reset=False, after=1), serve_echo())
    async with scene(goes_stale, latency=0.01) as s:
        await s.client.get(s.url)
        assert (await s.client.put(s.url, content=b"body", trailers=ask)).content == b"body"
        first, second = s.network.peers
        assert first.received.endswith(b"0\r\nX-Time: 1\r\n\r\n")
        assert second.received.endswith(b"0\r\nX-Time: 2\r\n\r\n")
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_what_the_callers_function_raises_leaves_as_itself(autojump_clock: MockClock) -> None:
    def fails() -> dict[str, str]:
        raise KeyError("mine")

    async with scene(serve_echo()) as s:
        with pytest.raises(KeyError, match="mine"):
            await s.client.post(s.url, content=b"x", trailers=fails)
        await settle()
        assert s.seen.close_reasons == ["discarded"]
        assert s.only_endpoint.failures == 0
        assert_at_rest(s.pool, s.network)


async def test_trailers_of_an_answer_are_there_when_its_body_has_ended(autojump_clock: MockClock) -> None:
    async with scene(serve_chunked([b"one", b"two"], trailers=[(b"x-sum", b"42")])) as s:
        response = await s.client.get(s.url)
        assert response.trailers["X-Sum"] == "42"
        assert "x-sum" not in response.headers
        async with s.client.stream("GET", s.url) as response:
            assert len(response.trailers) == 0
            await response.aread()
            assert response.trailers["X-Sum"] == "42"
