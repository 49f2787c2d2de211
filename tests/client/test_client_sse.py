"""Server-sent events through the client; the parser has tests of its own."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from penstock._client.client import Client
from penstock._errors import (
    HTTPStatusError,
    ProtocolReason,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    StreamClosed,
    StreamConsumed,
)

from .fake_pool import Answer, FakePool

STREAM = {"content-type": "text/event-stream; charset=utf-8"}


def client_for(answer: Answer, **options: Any) -> tuple[Client, FakePool]:
    pool = FakePool(lambda sent: answer)
    return Client(pool, **options), pool  # type: ignore[arg-type]


async def test_events_arrive_one_by_one() -> None:
    pieces = [b"\xef\xbb\xbfevent: add\rda", b'ta: {"a":1}\r', b"\nid: 7\n\n: comment\n\nda", b"ta: x\ndata: y\n\n"]
    client, pool = client_for(Answer(200, STREAM, *pieces, b"data: never ended\n"))
    async with client.sse("POST", "https://h/chat", json={"q": 1}) as events:
        found = [event async for event in events]
        assert events.response.status_code == 200
    assert [(event.event, event.data, event.id) for event in found] == [
        ("add", '{"a":1}', "7"),
        ("message", "x\ny", "7"),
    ]
    assert found[0].json() == {"a": 1}
    assert pool.leases[0].ended == "finished"
    (sent,) = pool.sent
    assert sent.method == "POST"
    assert sent.headers["accept"] == "text/event-stream"
    assert sent.headers["accept-encoding"] == "identity"
    assert sent.headers["cache-control"] == "no-store"
    assert sent.headers["content-type"] == "application/json"


async def test_headers_of_the_caller_win() -> None:
    client, pool = client_for(Answer(200, STREAM), headers={"Accept": "default"})
    async with client.sse("GET", "https://h", headers={"Accept": "text/event-stream, application/json"}):
        pass
    async with client.sse("GET", "https://h"):
        pass
    assert [sent.headers["accept"] for sent in pool.sent] == [
        "text/event-stream, application/json",
        "text/event-stream",
    ]


@pytest.mark.parametrize("content_type", ["application/json", "text/html", "text/event-streamer", None])
async def test_an_answer_that_is_no_event_stream(content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    client, pool = client_for(Answer(200, headers, b'{"error": "', b'no"}'))
    with pytest.raises(RemoteProtocolError, match=r"not text/event-stream") as caught:
        async with client.sse("POST", "https://h", json={}):
            raise AssertionError
    assert caught.value.reason is ProtocolReason.CONTENT_TYPE
    assert '{"error": "no"}' in str(caught.value)
    assert str(caught.value.origin) == "https://h"
    assert pool.leases[0].ended == "finished"


async def test_a_status_that_is_no_success_carries_its_body() -> None:
    client, _ = client_for(Answer(429, {"content-type": "application/json"}, b'{"error":', b" 1}"))
    with pytest.raises(HTTPStatusError, match="429") as caught:
        async with client.sse("POST", "https://h", json={}):
            raise AssertionError
    assert caught.value.response.json() == {"error": 1}


async def test_the_body_of_an_error_is_bounded() -> None:
    client, pool = client_for(Answer(500, {}, *[b"x" * 10_000] * 100))
    with pytest.raises(HTTPStatusError) as caught:
        async with client.sse("GET", "https://h"):
            raise AssertionError
    assert len(caught.value.response.content) == 65536
    assert pool.leases[0].ended == "released"


async def test_an_error_body_that_breaks_off_releases() -> None:
    client, pool = client_for(Answer(500, {}, b"x", ReadError("reset")))
    with pytest.raises(ReadError):
        async with client.sse("GET", "https://h"):
            raise AssertionError
    assert pool.leases[0].ended == "discarded"


async def test_events_broken_off_release() -> None:
    client, pool = client_for(Answer(200, STREAM, b"data: 1\n\n", b"data: 2\n\n"))
    async with client.sse("GET", "https://h") as events:
        async for event in events:
            assert event.data == "1"
            break
        assert (await anext(events)).data == "2"
    assert pool.leases[0].ended == "released"
    with pytest.raises(StreamClosed):
        await anext(events)


async def test_a_stream_that_goes_silent_times_out(autojump_clock: trio.testing.MockClock) -> None:
    client, pool = client_for(
        Answer(200, STREAM, b"data: 1\n\n", 10.0, b": still here\n", 10.0, b": and here\n", 31.0), timeout=30
    )
    async with client.sse("GET", "https://h") as events:
        assert (await anext(events)).data == "1"
        with pytest.raises(ReadTimeout):
            await anext(events)
    assert pool.leases[0].ended == "discarded"


async def test_any_response_can_be_read_as_events() -> None:
    client, _ = client_for(Answer(200, {}, b"data: 1\n\ndata: 2\n\n"))
    response = await client.get("https://h")
    assert [event.data async for event in response.aiter_sse()] == ["1", "2"]
    async with client.stream("GET", "https://h") as response:
        assert [event.data async for event in response.aiter_sse()] == ["1", "2"]
        with pytest.raises(StreamConsumed):
            response.aiter_sse()


async def test_an_event_without_end_discards_the_connection() -> None:
    client, pool = client_for(Answer(200, STREAM, *[b"data: " + b"x" * (1 << 20)] * 40))
    async with client.sse("GET", "https://h") as events:
        with pytest.raises(RemoteProtocolError) as caught:
            await anext(events)
    assert caught.value.reason is ProtocolReason.LIMIT
    assert str(caught.value.origin) == "https://h"
    assert pool.leases[0].ended == "discarded"
