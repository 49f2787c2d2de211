"""Server-sent events through the client; the parser has tests of its own."""

from __future__ import annotations

import pickle
import zlib
from typing import Any

import pytest
import trio

from penstock._client.client import Client
from penstock._config import Timeouts
from penstock._errors import (
    ContentTypeError,
    DecodingError,
    HTTPStatusError,
    ProtocolReason,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    StreamClosed,
    StreamConsumed,
)

from .fake_pool import Answer, FakePool, client_for

STREAM = {"content-type": "text/event-stream; charset=utf-8"}


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
    with pytest.raises(ContentTypeError, match=r"not text/event-stream") as caught:
        async with client.sse("POST", "https://h", json={}):
            raise AssertionError
    assert isinstance(caught.value, RemoteProtocolError)
    assert caught.value.reason is ProtocolReason.CONTENT_TYPE
    assert caught.value.content_type == (content_type or "")
    assert caught.value.response.json() == {"error": "no"}
    copied = pickle.loads(pickle.dumps(caught.value))
    assert copied.response.content == b'{"error": "no"}'
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


async def test_the_body_of_another_type_is_bounded() -> None:
    client, pool = client_for(Answer(200, {"content-type": "text/plain"}, *[b"x" * 10_000] * 100))
    with pytest.raises(ContentTypeError) as caught:
        async with client.sse("GET", "https://h"):
            raise AssertionError
    assert len(caught.value.response.content) == 65536
    assert len(caught.value.peer_said) < 100
    assert pool.leases[0].ended == "released"


async def test_an_error_that_never_ends_is_not_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    client, pool = client_for(Answer(200, {"content-type": "text/plain"}, *[b"x", 1.1] * 1000))
    with pytest.raises(ContentTypeError) as caught:
        async with client.sse("GET", "https://h"):
            raise AssertionError
    assert trio.current_time() == 5
    assert caught.value.response.content == b"xxxxx"
    assert pool.leases[0].ended == "discarded"


async def test_an_error_body_that_breaks_off_releases() -> None:
    client, pool = client_for(Answer(500, {}, b"x", ReadError("reset")))
    with pytest.raises(HTTPStatusError):
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


async def test_what_providers_send_beside_their_events() -> None:
    """Anthropic's pings and its errors in the stream, OpenAI's error objects and its end: all of them are events."""
    pieces = [
        b'event: message_start\ndata: {"type":"message_start"}\n\nevent: ping\ndata: {"type": "ping"}\n\n',
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n',
        b'data: {"error":{"code":500}}\n\ndata: [DONE]\n\n',
    ]
    client, _ = client_for(Answer(200, STREAM, *pieces))
    async with client.sse("POST", "https://h", json={}) as events:
        found = [event async for event in events]
    assert [event.event for event in found] == ["message_start", "ping", "error", "message", "message"]
    assert found[2].json()["error"]["type"] == "overloaded_error"
    assert found[4].data == "[DONE]"


async def test_a_stream_that_ends_within_an_event_drops_it() -> None:
    client, pool = client_for(Answer(200, STREAM, b"data: 1\n\ndata: [DONE]\n"))
    async with client.sse("GET", "https://h") as events:
        assert [event.data async for event in events] == ["1"]
        assert [event async for event in events] == []
    assert pool.leases[0].ended == "finished"


async def test_a_stream_that_is_cut_short_says_so_after_its_events() -> None:
    cut = RemoteProtocolError("the body of the response was cut short", reason=ProtocolReason.TRUNCATED)
    client, pool = client_for(Answer(200, STREAM, b"data: 1\n\ndata: 2\n\ndata: 3", cut))
    async with client.sse("GET", "https://h") as events:
        assert (await anext(events)).data == "1"
        assert (await anext(events)).data == "2"
        with pytest.raises(RemoteProtocolError, match="cut short"):
            await anext(events)
    assert pool.leases[0].ended == "discarded"


async def test_events_of_a_server_that_compresses_anyway_arrive_one_by_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    coder = zlib.compressobj(wbits=31)
    pieces: list[bytes | float] = []
    for number in range(3):
        pieces += [coder.compress(b"data: %d\n\n" % number) + coder.flush(zlib.Z_SYNC_FLUSH), 5.0]
    client, pool = client_for(Answer(200, {**STREAM, "content-encoding": "gzip"}, *pieces, coder.flush()))
    async with client.sse("GET", "https://h") as events:
        assert [(event.data, trio.current_time()) async for event in events] == [("0", 0), ("1", 5), ("2", 10)]
    assert pool.leases[0].ended == "finished"


async def test_the_place_in_the_stream_is_that_of_the_event_given_out_last() -> None:
    pieces = [b"retry: 1500\nid: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\n\n", b"retry: x\n\n"]
    client, _ = client_for(Answer(200, STREAM, *pieces))
    async with client.sse("GET", "https://h") as events:
        assert (events.last_event_id, events.retry) == ("", None)
        assert (await anext(events)).data == "a"
        assert (events.last_event_id, events.retry) == ("1", 1500)
        assert (await anext(events)).data == "b"
        # The block after it has no data, so that it is no event, but it moves the place.
        assert events.last_event_id == "3"
        with pytest.raises(StopAsyncIteration):
            await anext(events)
        assert (events.last_event_id, events.retry) == ("3", 1500)


# ---- the time between two events -------------------------------------------------------------------------------------


async def test_signs_of_life_are_no_events(autojump_clock: trio.testing.MockClock) -> None:
    pieces = [b"data: 1\n\n", *[10.0, b": still here\n\n"] * 10]
    client, pool = client_for(Answer(200, STREAM, *pieces), timeout=30)
    async with client.sse("GET", "https://h", event_timeout=45) as events:
        assert (await anext(events)).data == "1"
        with pytest.raises(
            ReadTimeout, match="event_timeout of 45 s passed while waiting for the next event"
        ) as caught:
            await anext(events)
    assert trio.current_time() == 45
    assert (caught.value.limit, caught.value.seconds, caught.value.phase) == ("event_timeout", 45, "read")
    assert str(caught.value.origin) == "https://h"
    assert pool.leases[0].ended == "discarded"


@pytest.mark.parametrize(
    ("limits", "limit", "at"),
    [
        (Timeouts(read=5), "read_timeout", 10),
        (Timeouts(read=30), "event_timeout", 15),
        (Timeouts(read=30, total=12), "total_timeout", 12),
    ],
)
async def test_the_earliest_limit_is_the_one_that_ends_it(
    limits: Timeouts, limit: str, at: float, autojump_clock: trio.testing.MockClock
) -> None:
    client, _ = client_for(Answer(200, STREAM, 4.0, b"data: 1\n\n", 1.0, b":\n", 100.0), timeout=limits)
    async with client.sse("GET", "https://h", event_timeout=11) as events:
        await anext(events)
        with pytest.raises(ReadTimeout) as caught:
            await anext(events)
    assert caught.value.limit == limit
    assert trio.current_time() == at


async def test_the_clock_stands_while_the_consumer_holds_an_event(autojump_clock: trio.testing.MockClock) -> None:
    client, pool = client_for(Answer(200, STREAM, b"data: 1\n\ndata: 2\n\n", b"data: 3\n\n", 4.0, b"data: 4\n\n"))
    async with client.sse("GET", "https://h", event_timeout=5) as events:
        async for _ in events:
            await trio.sleep(100)
    assert trio.current_time() == 404
    assert pool.leases[0].ended == "finished"


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf")])
async def test_an_event_timeout_has_a_range(wrong: float) -> None:
    client, _ = client_for(Answer())
    with pytest.raises(ValueError, match="event_timeout must be more than 0"):
        client.sse("GET", "https://h", event_timeout=wrong)


@pytest.mark.parametrize("wrong", ["1", True, Timeouts()])
async def test_an_event_timeout_is_a_number(wrong: Any) -> None:
    client, _ = client_for(Answer())
    with pytest.raises(TypeError, match="event_timeout must be a number"):
        client.sse("GET", "https://h", event_timeout=wrong)


@pytest.mark.parametrize(("ask", "kind"), [(Client.sse, "text/event-stream"), (Client.json_lines, "application/jsonl")])
async def test_a_context_is_entered_once(ask: Any, kind: str) -> None:
    client, pool = client_for(Answer(200, {"content-type": kind}))
    context = ask(client, "GET", "https://h")
    async with context:
        pass
    with pytest.raises(RuntimeError, match="opened before"):
        async with context:
            raise AssertionError
    assert len(pool.sent) == 1


@pytest.mark.parametrize(
    ("pieces", "limits", "content", "cause"),
    [
        ([b"bu", ReadError("reset")], None, b"bu", ReadError),
        ([b"bu", 4.0], Timeouts(read=1), b"bu", ReadTimeout),
        ([b"bu", 4.0], Timeouts(total=1), b"bu", ReadTimeout),
        ([b"not gzip"], None, b"", DecodingError),
    ],
)
@pytest.mark.parametrize("status", [429, 200])
async def test_what_happens_to_a_refusal_does_not_hide_it(  # noqa: PLR0917 - parametrized
    status: int,
    pieces: list[Any],
    limits: Timeouts | None,
    content: bytes,
    cause: type[Exception],
    autojump_clock: trio.testing.MockClock,
) -> None:
    headers = {"retry-after": "3"} | ({"content-encoding": "gzip"} if cause is DecodingError else {})
    pool = FakePool(lambda sent: Answer(status, headers, *pieces))
    client = Client(pool, timeout=limits)  # type: ignore[arg-type]
    for ask in (client.sse, client.json_lines):
        with pytest.raises(HTTPStatusError if status == 429 else ContentTypeError) as caught:
            async with ask("GET", "https://h"):
                raise AssertionError
        assert caught.value.response.content == content  # type: ignore[attr-defined]
        assert caught.value.response.headers["retry-after"] == "3"  # type: ignore[attr-defined]
        assert isinstance(caught.value.__cause__, cause)
    assert all(lease.ended for lease in pool.leases)


async def test_events_of_a_response_are_limited_as_well(autojump_clock: trio.testing.MockClock) -> None:
    pool = FakePool(lambda sent: Answer(200, {}, *[b":\n\n", 4.0] * 10))
    async with Client(pool).stream("GET", "https://h") as response:  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="event_timeout"):
            response.aiter_sse(event_timeout=0)
        with pytest.raises(ReadTimeout) as caught:
            await anext(response.aiter_sse(event_timeout=10))
    assert (caught.value.limit, trio.current_time()) == ("event_timeout", 10)
    response = await Client(FakePool(lambda sent: Answer(200, {}, b"data: {}\n\n"))).get("https://h")  # type: ignore[arg-type]
    (event,) = [event async for event in response.aiter_sse(event_timeout=1)]
    assert event.json(loads=lambda text: [text]) == ["{}"]
