"""What httpx, httpx2 and httpxyz ask arrives as it was asked, and the answers are theirs."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest
import trio

import penstock
from penstock.testing import ScriptedPeer, serve_echo, serve_ok
from tests.support.h2_server import H2Server, Incoming, Response
from tests.support.library_clients import client_of, keep_head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock


async def test_a_request_arrives_as_it_was_asked(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, keep_head) as (client, _):
        response = await client.get("/a%2Fb;c?q=%7e&x=a+b", headers=[("X-One", "1"), ("x-one", "2")])

    lines = response.text.split("\r\n")
    assert lines[0] == "GET /a%2Fb;c?q=%7e&x=a+b HTTP/1.1"
    assert [line for line in lines if line.startswith("X-One")] == ["X-One: 1", "X-One: 2"]
    assert [line for line in lines if line.startswith("Host")] == ["Host: api.test"]


async def test_the_answer_is_one_of_the_library(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, serve_ok(b"hello", headers=[(b"x-a", b"1"), (b"x-a", b"2")])) as (client, s):
        response = await client.get("/")

        assert isinstance(response, lib.Response)
        assert (response.status_code, response.text) == (200, "hello")
        assert (response.http_version, response.reason_phrase) == ("HTTP/1.1", "OK")
        assert response.headers.get_list("x-a") == ["1", "2"]
        assert response.extensions["penstock"] == {
            "connection_id": 1,
            "attempt": 1,
            "retries": (),
            "retry_refusal": None,
        }
        assert response.extensions["network_stream"].get_extra_info("ssl_object") is None
        assert response.extensions["network_stream"].get_extra_info("nonsense") is None
        await client.get("/")
        assert s.requests_per_connection == [2]


async def test_content_in_memory_is_announced_with_its_length(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, serve_echo()) as (client, s):
        assert (await client.post("/", json={"a": 1})).json() == {"a": 1}
        assert (await client.post("/", files={"file": b"audio"}, data={"model": "m"})).status_code == 200

    plain, form = s.network.peers[0].requests
    assert plain.header(b"content-length") == b"%d" % len(plain.body)
    assert form.header(b"content-length") == b"%d" % len(form.body)
    assert b"audio" in form.body


async def test_a_stream_is_sent_in_chunks(lib: Any, autojump_clock: MockClock) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one ", b"two"):
            await trio.sleep(1)
            yield piece

    async with client_of(lib, serve_echo()) as (client, s):
        assert (await client.post("/", content=pieces())).text == "one two"

    assert s.network.peers[0].requests[0].header(b"transfer-encoding") == b"chunked"


async def test_what_a_body_raises_leaves_as_itself(lib: Any, autojump_clock: MockClock) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"one"
        raise KeyError("mine")

    async with client_of(lib, serve_echo()) as (client, _):
        with pytest.raises(KeyError, match="mine"):
            await client.post("/", content=broken())


@pytest.mark.parametrize("http1", [True, False])
async def test_so_does_one_of_ours_that_a_body_raises(lib: Any, http1: bool, autojump_clock: MockClock) -> None:
    async def takes_all(request: Incoming) -> Response:
        await request.body()
        return Response(200, body=b"x")

    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        raise error

    class NotEvenBegun(lib.AsyncByteStream):  # type: ignore[misc]
        def __aiter__(self) -> AsyncIterator[bytes]:
            raise error

    class BadAtTheEnd(lib.AsyncByteStream):  # type: ignore[misc]
        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:
            raise StopAsyncIteration

        async def aclose(self) -> None:
            raise error

    handler: Any = serve_echo() if http1 else H2Server(takes_all)
    async with client_of(lib, handler, http1=http1, transport={"retry": penstock.RetryPolicy()}) as (client, s):
        for error in (penstock.ReadError("of another"), penstock.ReadTimeout("of another"), penstock.InvalidURL("x")):
            for options in ({"content": body()}, {"stream": NotEvenBegun()}, {"stream": BadAtTheEnd()}):
                with pytest.raises(penstock.PenstockError) as caught:
                    await client.send(lib.Request("PUT", s.url, **options))
                assert caught.value is error
                assert caught.value.__cause__ is None
        assert s.pool.statistics().counts.retries_refused == 0


async def test_redirects_and_cookies_are_the_librarys(lib: Any, autojump_clock: MockClock) -> None:
    async def redirects(peer: ScriptedPeer) -> None:
        while True:
            request = await peer.expect_request()
            if request.target == b"/there":
                await peer.respond(200, (), request.header(b"cookie") or b"none")
            else:
                await peer.respond(302, [(b"location", b"/there"), (b"set-cookie", b"a=b")])

    async with client_of(lib, redirects) as (client, s):
        assert (await client.get("/here", follow_redirects=True)).text == "a=b"
        assert s.requests_per_connection == [2]


@pytest.mark.parametrize("coding", ["gzip", "identity"])
async def test_a_coded_body_is_decoded_by_the_library(lib: Any, coding: str, autojump_clock: MockClock) -> None:
    body = gzip.compress(b"plain") if coding == "gzip" else b"plain"
    async with client_of(lib, serve_ok(body, headers=[(b"content-encoding", coding.encode())])) as (client, _):
        assert (await client.get("/")).text == "plain"


@pytest.mark.parametrize(
    ("method", "status", "body"), [("HEAD", 200, b""), ("GET", 204, b""), ("GET", 304, b""), ("GET", 200, b"")]
)
async def test_answers_without_content(
    lib: Any, method: str, status: int, body: bytes, autojump_clock: MockClock
) -> None:
    async def handler(peer: ScriptedPeer) -> None:
        while True:
            await peer.expect_request()
            await peer.respond(status, (), body)

    async with client_of(lib, handler) as (client, s):
        for _ in range(2):
            assert (await client.request(method, "/")).content == b""
        assert s.requests_per_connection == [2]
