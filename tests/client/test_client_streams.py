"""Bodies: how they are read, who may read them, and that their connections come back whatever happens."""

from __future__ import annotations

import gc
import gzip
import pickle
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from penstock._client.response import Response
from penstock._config import Timeouts
from penstock._errors import (
    DecodingError,
    HTTPStatusError,
    ProtocolReason,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    StreamClosed,
    StreamConsumed,
    StreamError,
)

from .fake_pool import Answer, client_for


async def get(answer: Answer, method: str = "GET") -> Response:
    return await client_for(answer)[0].request(method, "https://h/path?key=secret")


async def test_everything_an_answer_says() -> None:
    answer = Answer(
        201,
        [("Content-Type", "text/plain"), ("X-A", "1"), ("x-a", "2")],
        b"bo",
        b"dy",
        reason=b"Created",
        trailers=[(b"x-sum", b"7")],
    )
    response = await get(answer, "POST")
    assert response.status_code == 201
    assert response.reason_phrase == "Created"
    assert response.http_version == "HTTP/1.1"
    assert response.headers["X-a"] == "1, 2"
    assert response.headers["content-type"] == "text/plain"
    assert response.url == "https://h/path?key=secret"
    assert (response.request.method, response.request.url) == ("POST", "https://h/path?key=secret")
    assert response.request.headers["host"] == "h"
    assert response.content == b"body"
    assert response.text == "body"
    assert response.trailers["x-sum"] == "7"
    assert response.connection_id == 1
    assert response.history == ()
    assert isinstance(response.elapsed, timedelta)
    assert response.is_success
    kinds = [response.is_error, response.is_redirect, response.is_client_error, response.is_server_error]
    assert not any(kinds)
    assert response.raise_for_status() is response
    assert repr(response) == "<Response 201 for POST https://h/path?…>"
    assert "secret" not in repr(response.request)


@pytest.mark.parametrize("status", [301, 304, 400, 404, 500, 599, 999])
@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("/x", "/x"),
        ("https://user:secret@h/x?token=secret#secret", "https://h/x"),
        ("/x#access_token=secret", "/x"),
        ("//secret@h/@x?a=/?secret", "//h/@x"),
    ],
)
async def test_a_status_that_is_no_success_raises_on_request(status: int, location: str, leads_to: str) -> None:
    response = await get(Answer(status, {"location": location}, b"why", reason=b"Be\x1b[31mcause"))
    with pytest.raises(HTTPStatusError) as caught:
        response.raise_for_status()
    assert caught.value.response is response
    message = str(caught.value)
    assert (f"leads to {leads_to}" in message) == response.is_redirect
    assert message.startswith(f"{status} Be\\x1b[31mcause for GET https://h/path?…")
    assert "secret" not in message
    assert response.is_error == (400 <= status <= 599)


LARGE = [b"x" * 60, b"y" * 40]
LARGE_AND_CODED = [gzip.compress(b"x" * 100)]


@pytest.mark.parametrize(("headers", "pieces"), [({}, LARGE), ({"content-encoding": "gzip"}, LARGE_AND_CODED)])
async def test_a_body_that_is_read_whole_has_a_limit(headers: dict[str, str], pieces: list[bytes]) -> None:
    for limit in (100, None):
        client, pool = client_for(Answer(200, headers, *pieces), max_content_size=limit)
        assert len((await client.get("https://h/")).content) == 100
    client, pool = client_for(Answer(200, headers, *pieces), max_content_size=99)
    with pytest.raises(RemoteProtocolError, match=r"larger than max_content_size \(99 bytes\)") as caught:
        await client.get("https://h/")
    assert caught.value.reason is ProtocolReason.LIMIT
    assert str(caught.value.origin) == "https://h"
    async with client.stream("GET", "https://h/") as response:
        with pytest.raises(RemoteProtocolError, match="max_content_size"):
            await response.aread()
    assert [lease.ended for lease in pool.leases] == ["discarded", "discarded"]


async def test_a_body_that_is_streamed_has_no_limit() -> None:
    client, _ = client_for(Answer(200, {}, *LARGE), max_content_size=10)
    async with client.stream("GET", "https://h/") as response:
        assert len(b"".join([piece async for piece in response.aiter_bytes()])) == 100


async def test_a_bomb_does_not_go_off_by_default() -> None:
    bomb = gzip.compress(gzip.compress(bytes(200 << 20), 1))
    with pytest.raises(RemoteProtocolError, match="larger than max_content_size"):
        await get(Answer(200, {"content-encoding": "gzip, gzip"}, bomb))


async def test_a_refused_status_can_be_sent_to_another_process() -> None:
    response = await get(Answer(404, {"content-encoding": "gzip"}, gzip.compress(b"why")))
    with pytest.raises(HTTPStatusError) as caught:
        response.raise_for_status()
    copied = pickle.loads(pickle.dumps(caught.value))

    assert str(copied) == str(caught.value)
    assert (copied.response.status_code, copied.response.content) == (404, b"why")
    assert copied.response.request.headers == response.request.headers
    assert copied.response.url == response.url


async def test_a_pickled_response_has_no_connection() -> None:
    client, pool = client_for(Answer(200, {}, b"body"))
    async with client.stream("POST", "https://h/", content=iter([b"once"])) as response:
        copied = pickle.loads(pickle.dumps(response))
        assert await response.aread() == b"body"
    with pytest.raises(StreamClosed):
        await copied.aread()
    assert pool.leases[0].ended == "finished"


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain", "ü".encode(), "ü"),
        ("text/plain; charset=latin-1", b"\xfc", "ü"),
        ("text/plain", b"a\xffb", "a\ufffdb"),
        ("text/plain; charset=nonsense", "ü".encode(), "ü"),
        ("", b"", ""),
    ],
)
async def test_text_has_a_charset(content_type: str, body: bytes, text: str) -> None:
    assert (await get(Answer(200, {"content-type": content_type}, body))).text == text


async def test_json() -> None:
    assert (await get(Answer(200, {}, b'{"a": ["\xc3\xbc", 1]}'))).json() == {"a": ["ü", 1]}
    assert (await get(Answer(200, {}, "[1]".encode("utf-16")))).json() == [1]
    client, _ = client_for(Answer(200, {}, b"x"), json_loads=lambda content: content * 2)
    assert (await client.get("https://h")).json() == b"xx"


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b"\xff\xfe\xfd", b"[" * 100_000, b"1" * 10_000])
async def test_what_is_no_json_is_a_decoding_error(body: bytes) -> None:
    response = await get(Answer(200, {}, body))
    with pytest.raises(DecodingError, match="the body of GET https://h/path") as caught:
        response.json()
    assert len(str(caught.value)) < 500


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "identity": lambda data: data,
}


@pytest.mark.parametrize("coding", sorted(CODINGS))
async def test_compressed_bodies_are_decoded(coding: str) -> None:
    coded = CODINGS[coding](b"hello " * 1000)
    pieces = [coded[at : at + 7] for at in range(0, len(coded), 7)]
    answer = Answer(200, {"content-encoding": coding}, *pieces)
    assert (await get(answer)).content == b"hello " * 1000
    client, pool = client_for(answer)
    async with client.stream("GET", "https://h") as response:
        assert b"".join([piece async for piece in response.aiter_bytes()]) == b"hello " * 1000
    async with client.stream("GET", "https://h") as response:
        assert b"".join([piece async for piece in response.aiter_raw()]) == coded
    assert [lease.ended for lease in pool.leases] == ["finished", "finished"]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_a_coding_without_content_is_no_error(method: str) -> None:
    assert (await get(Answer(200, {"content-encoding": "gzip"}), method)).content == b""


@pytest.mark.parametrize(
    "body", [b"not gzip", gzip.compress(b"x" * 100)[:-4], gzip.compress(b"x" * 100)[:12], b"\x1f\x8b\x08\xff"]
)
async def test_a_broken_coding_is_a_decoding_error(body: bytes) -> None:
    client, pool = client_for(Answer(200, {"content-encoding": "gzip"}, body))
    with pytest.raises(DecodingError) as caught:
        await client.get("https://h")
    assert str(caught.value.origin) == "https://h"
    with pytest.raises(DecodingError):
        async with client.stream("GET", "https://h") as response:
            await response.aread()
    assert all(lease.ended for lease in pool.leases)


async def test_little_input_never_becomes_much_output_at_once() -> None:
    bomb = gzip.compress(b"\0" * (1 << 24))
    client, _ = client_for(Answer(200, {"content-encoding": "gzip"}, bomb))
    total = 0
    async with client.stream("GET", "https://h") as response:
        async for piece in response.aiter_bytes():
            assert len(piece) <= 1 << 16
            total += len(piece)
    assert total == 1 << 24


async def test_others_run_while_a_bomb_is_decoded() -> None:
    bomb = gzip.compress(b"\0" * (1 << 22))
    client, _ = client_for(Answer(200, {"content-encoding": "gzip"}, bomb))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await client.get("https://h")
        nursery.cancel_scope.cancel()
    assert turns >= 32


async def test_pieces_come_as_they_are_or_of_one_size() -> None:
    answer = Answer(200, {}, b"abc", b"de", b"fghij", b"k")
    client, pool = client_for(answer)
    async with client.stream("GET", "https://h") as response:
        assert [piece async for piece in response.aiter_bytes()] == [b"abc", b"de", b"fghij", b"k"]
    async with client.stream("GET", "https://h") as response:
        assert [piece async for piece in response.aiter_bytes(4)] == [b"abcd", b"efgh", b"ijk"]
    async with client.stream("GET", "https://h") as response:
        assert [piece async for piece in response.aiter_bytes(100)] == [b"abcdefghijk"]
    assert {lease.ended for lease in pool.leases} == {"finished"}


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
async def test_a_bad_size_is_refused(size: Any, error: type[Exception]) -> None:
    response = await get(Answer(200, {}, b"abc"))
    with pytest.raises(error, match="chunk_size"):
        response.aiter_bytes(size)


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=8), st.integers(1, 30))
def test_sizes_do_not_change_a_body(pieces: list[bytes], size: int) -> None:
    async def main() -> list[bytes]:
        client, _ = client_for(Answer(200, {}, *pieces))
        async with client.stream("GET", "https://h") as response:
            return [piece async for piece in response.aiter_bytes(size)]

    found = trio.run(main)
    assert b"".join(found) == b"".join(pieces)
    assert {len(piece) for piece in found[:-1]} <= {size}


async def test_lines() -> None:
    answer = Answer(200, {"content-type": "text/plain; charset=utf-8"}, b"a\r", b"\nb\xc3", b"\xbc\n\nc\xe2\x80\xa8d")
    client, _ = client_for(answer)
    async with client.stream("GET", "https://h") as response:
        assert [line async for line in response.aiter_lines()] == ["a", "bü", "", "c\u2028d"]


async def test_a_line_without_end_discards_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock._client.iterators.LineSplitter.__init__.__defaults__", (1000,))
    client, pool = client_for(Answer(200, {}, *[b"x" * 300] * 5))
    async with client.stream("GET", "https://h") as response:
        with pytest.raises(RemoteProtocolError, match="longer than 1000"):
            async for _ in response.aiter_lines():
                pass
        with pytest.raises(StreamClosed):
            await response.aread()
    assert pool.leases[0].ended == "discarded"


async def test_a_body_that_was_read_can_be_iterated_over_again() -> None:
    response = await get(Answer(200, {}, b"ab", b"c\nd"))
    for _ in range(2):
        assert [piece async for piece in response.aiter_bytes(3)] == [b"abc", b"\nd"]
        assert [line async for line in response.aiter_lines()] == ["abc", "d"]
    assert await response.aread() == b"abc\nd"
    with pytest.raises(StreamConsumed):
        response.aiter_raw()


async def test_a_body_is_read_once() -> None:
    client, pool = client_for(Answer(200, {}, b"ab", b"cd"))
    async with client.stream("GET", "https://h") as response:
        with pytest.raises(StreamError, match="aread"):
            response.text  # noqa: B018
        pieces = response.aiter_bytes()
        assert await anext(pieces) == b"ab"
        for again in (response.aiter_bytes, response.aiter_raw, response.aiter_lines, response.aiter_sse):
            with pytest.raises(StreamConsumed):
                again()
        with pytest.raises(StreamConsumed):
            await response.aread()
        with pytest.raises(StreamConsumed):
            response.content  # noqa: B018
        assert await anext(pieces) == b"cd"
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await anext(pieces)
    assert pool.leases[0].ended == "finished"


async def test_a_closed_response_is_closed() -> None:
    client, pool = client_for(Answer(200, {}, b"ab", b"cd"))
    async with client.stream("GET", "https://h") as response:
        pieces = response.aiter_bytes()
        await anext(pieces)
    assert pool.leases[0].ended == "released"
    await response.aclose()
    with pytest.raises(StreamClosed):
        await anext(pieces)
    with pytest.raises(StreamClosed):
        await response.aread()
    with pytest.raises(StreamClosed):
        response.content  # noqa: B018


async def test_aread_keeps_the_body() -> None:
    client, _ = client_for(Answer(200, {}, b'{"a":', b"1}"))
    async with client.stream("GET", "https://h") as response:
        assert await response.aread() == await response.aread() == b'{"a":1}'
    assert response.json() == {"a": 1}


async def test_a_broken_off_iteration_leaves_nothing() -> None:
    client, pool = client_for(Answer(200, {}, b"ab", b"cd"))
    async with client.stream("GET", "https://h") as response:
        async for _ in response.aiter_bytes():
            break
    assert pool.leases[0].ended == "released"
    gc.collect()


async def test_an_exception_leaves_a_stream_as_itself() -> None:
    client, pool = client_for(Answer(200, {}, b"ab", b"cd"))

    async def raise_in_a_cancelled_stream(scope: trio.CancelScope) -> None:
        async with client.stream("GET", "https://h"):
            scope.cancel()
            raise KeyError

    with trio.CancelScope() as scope, pytest.raises(KeyError):
        await raise_in_a_cancelled_stream(scope)
    assert pool.leases[0].ended == "released"


async def test_closing_in_a_cancelled_scope_releases() -> None:
    client, pool = client_for(Answer(200, {}, b"ab", 60.0, b"cd"))
    with trio.move_on_after(1) as scope:
        async with client.stream("GET", "https://h") as response:
            scope.cancel()
            await response.aclose()
            assert pool.leases[0].ended == "released"
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught


async def test_a_cancelled_read_discards(autojump_clock: trio.testing.MockClock) -> None:
    client, pool = client_for(Answer(200, {}, b"ab", 60.0, b"cd"))
    async with client.stream("GET", "https://h", timeout=None) as response:
        with trio.move_on_after(1):
            async for _ in response.aiter_bytes():
                pass
        assert pool.leases[0].ended == "discarded"
        with pytest.raises(StreamClosed):
            await response.aread()
    with trio.move_on_after(1):
        await client.get("https://h", timeout=None)
    assert pool.leases[1].ended == "discarded"


async def test_a_discarded_connection_is_not_used_again() -> None:
    client, pool = client_for(Answer(200, {}, b"ab", b"cd"))
    async with client.stream("GET", "https://h") as response:
        response.discard_connection()
        assert pool.leases[0].ended == "discarded"
        with pytest.raises(StreamClosed):
            await response.aread()


async def test_a_read_that_fails_says_where(autojump_clock: trio.testing.MockClock) -> None:
    client, pool = client_for(Answer(200, {}, b"ab", ReadError("reset")))
    with pytest.raises(ReadError, match=r"reset \[https://h\]"):
        await client.get("https://h")
    async with client.stream("GET", "https://h") as response:
        with pytest.raises(ReadError, match=r"reset \[https://h\]"):
            await response.aread()
    assert [lease.ended for lease in pool.leases] == ["discarded", "discarded"]


async def test_the_read_limit_holds_between_two_pieces(autojump_clock: trio.testing.MockClock) -> None:
    client, pool = client_for(Answer(200, {}, b"a", 4.0, b"b", 4.0, b"c", 6.0, b"d"), timeout=5)
    async with client.stream("GET", "https://h") as response:
        pieces = response.aiter_bytes()
        for expected in (b"a", b"b", b"c"):
            assert await anext(pieces) == expected
            await trio.sleep(100)
        with pytest.raises(ReadTimeout, match=r"read_timeout of 5 s.*\[https://h\]"):
            await anext(pieces)
    assert pool.leases[0].ended == "discarded"
    with pytest.raises(ReadTimeout, match=r"\[https://h\]"):
        await client.get("https://h")


async def test_the_total_limit_holds_over_the_body(autojump_clock: trio.testing.MockClock) -> None:
    client, _ = client_for(Answer(200, {}, b"a", 4.0, b"b", 4.0, b"c"), timeout=Timeouts(read=5, total=6))
    started = trio.current_time()
    with pytest.raises(ReadTimeout, match="total_timeout of 6 s"):
        await client.get("https://h")
    assert trio.current_time() - started == 6
    async with client.stream("GET", "https://h") as response:
        with pytest.raises(ReadTimeout, match="total_timeout of 6 s"):
            await response.aread()


async def test_elapsed_ends_with_the_head(autojump_clock: trio.testing.MockClock) -> None:
    client, _ = client_for(Answer(200, {}, 3.0, b"a", delay=2))
    response = await client.get("https://h")
    assert response.elapsed == timedelta(seconds=2)


async def test_a_stream_is_opened_once() -> None:
    client, _ = client_for(Answer(200, {}, b"a"))
    context = client.stream("GET", "https://h")
    async with context:
        pass
    with pytest.raises(RuntimeError, match="opened before"):
        async with context:
            pass


async def test_a_lease_knows_its_request() -> None:
    client, pool = client_for(Answer(200, {}, b"a"))
    async with client.stream("GET", "https://h/x?key=secret"):
        assert pool.leases[0].label == "GET https://h/x?…"
