"""JSON lines: one value in each line of a body."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from penstock._client.iterators import JSONLineIterator
from penstock._errors import (
    ContentTypeError,
    DecodingError,
    HTTPStatusError,
    ProtocolReason,
    ReadError,
    RemoteProtocolError,
    StreamClosed,
    StreamConsumed,
)

from .fake_pool import Answer, client_for

STREAM = {"content-type": "application/x-ndjson; charset=utf-8"}


async def values_of(*pieces: bytes, **options: Any) -> list[Any]:
    client, pool = client_for(Answer(200, STREAM, *pieces), **options)
    async with client.json_lines("POST", "https://h/api/chat", json={}) as values:
        found = [value async for value in values]
    assert pool.leases[0].ended == "finished"
    return found


async def test_each_line_is_a_value() -> None:
    assert await values_of(b'{"a": 1}\n[2]\r\n"\xc3\xbc"\nnull\n4') == [{"a": 1}, [2], "ü", None, 4]
    assert await values_of() == []


async def test_lines_come_in_any_pieces() -> None:
    assert await values_of(b'{"a"', b": ", b'"\xc3', b'\xbc"}', b"\n", b'2\n3\n{"', b'b":4}') == [
        {"a": "ü"},
        2,
        3,
        {"b": 4},
    ]


async def test_what_is_no_line_end_for_json_is_none() -> None:
    assert await values_of('"\u2028\u0085"\n{"a":\r1}\n'.encode()) == ["\u2028\u0085", {"a": 1}]


async def test_empty_lines_and_a_byte_order_mark_are_skipped() -> None:
    assert await values_of(b"\xef\xbb\xbf1\n\n  \r\n\n2\n\n") == [1, 2]


async def test_values_arrive_as_their_lines_end(autojump_clock: trio.testing.MockClock) -> None:
    client, _ = client_for(Answer(200, STREAM, b"1\n2", 5.0, b"\n3", 5.0))
    async with client.json_lines("GET", "https://h") as values:
        assert [(value, trio.current_time()) async for value in values] == [(1, 0), (2, 5), (3, 10)]


async def test_what_was_sent_asks_for_json_lines() -> None:
    client, pool = client_for(Answer(200, STREAM))
    async with client.json_lines("POST", "https://h", json={"q": 1}) as values:
        assert values.response.status_code == 200
    async with client.json_lines("POST", "https://h", headers={"accept": "x/y"}):
        pass
    assert [sent.headers["accept"].partition(",")[0] for sent in pool.sent] == ["application/jsonl", "x/y"]
    assert "gzip" in pool.sent[0].headers["accept-encoding"]


@pytest.mark.parametrize("kind", ["application/jsonl", "Application/X-NDJSON", "application/json-lines ; a=b"])
async def test_the_names_of_json_lines(kind: str) -> None:
    client, _ = client_for(Answer(200, {"content-type": kind}, b"1"))
    async with client.json_lines("GET", "https://h") as values:
        assert [value async for value in values] == [1]


@pytest.mark.parametrize("kind", ["application/json", "application/json-seq", "text/event-stream", ""])
async def test_another_type_is_refused_with_its_start(kind: str) -> None:
    client, pool = client_for(Answer(200, {"content-type": kind}, b'{"error":', b" 1}"))
    with pytest.raises(ContentTypeError, match="not application/jsonl") as caught:
        async with client.json_lines("GET", "https://h"):
            raise AssertionError
    assert caught.value.content_type == kind
    assert caught.value.response.json() == {"error": 1}
    assert pool.leases[0].ended == "finished"


async def test_a_status_that_is_no_success() -> None:
    client, _ = client_for(Answer(500, STREAM, b"why"))
    with pytest.raises(HTTPStatusError) as caught:
        async with client.json_lines("GET", "https://h"):
            raise AssertionError
    assert caught.value.response.content == b"why"


@pytest.mark.parametrize("line", [b"{", b"nope", b"\xff", b"[" * 100_000, b'"' + b"\xc3" + b'"'])
async def test_a_bad_line_is_named_and_can_be_passed_over(line: bytes) -> None:
    client, pool = client_for(Answer(200, STREAM, b"1\n\n", line + b"\n4\n"))
    async with client.json_lines("GET", "https://h/x?key=secret") as values:
        assert await anext(values) == 1
        with pytest.raises(DecodingError, match=r"^line 3 of the body of GET https://h/x\?… ") as caught:
            await anext(values)
        assert await anext(values) == 4
    assert caught.value.line == 3
    assert str(caught.value.origin) == "https://h"
    assert len(str(caught.value)) < 300
    assert pool.leases[0].ended == "released"


async def test_the_clients_own_loads_reads_the_lines() -> None:
    assert await values_of(b"a\nb", json_loads=lambda line: line * 2) == [b"aa", b"bb"]


async def test_a_line_without_end_discards_the_connection() -> None:
    client, pool = client_for(Answer(200, STREAM, *[b"x" * (1 << 20)] * 40))
    async with client.json_lines("GET", "https://h") as values:
        with pytest.raises(RemoteProtocolError, match="a line longer than 16777216 bytes") as caught:
            await anext(values)
    assert caught.value.reason is ProtocolReason.LIMIT
    assert pool.leases[0].ended == "discarded"


async def test_a_body_that_breaks_off_gives_no_half_value() -> None:
    client, pool = client_for(Answer(200, STREAM, b"1\n12", ReadError("reset")))
    async with client.json_lines("GET", "https://h") as values:
        assert await anext(values) == 1
        with pytest.raises(ReadError):
            await anext(values)
    assert pool.leases[0].ended == "discarded"


async def test_lines_broken_off_release() -> None:
    client, pool = client_for(Answer(200, STREAM, b"1\n", b"2\n"))
    async with client.json_lines("GET", "https://h") as values:
        assert await anext(values) == 1
        await values.aclose()
    assert pool.leases[0].ended == "released"
    with pytest.raises(StreamClosed):
        await anext(values)


async def test_any_response_can_be_read_as_json_lines() -> None:
    client, _ = client_for(Answer(200, {"content-encoding": "gzip"}, gzip.compress(b"1\n2\n")))
    response = await client.get("https://h")
    assert [value async for value in response.aiter_json_lines()] == [1, 2]
    async with client.stream("GET", "https://h") as response:
        assert [value async for value in response.aiter_json_lines()] == [1, 2]
        with pytest.raises(StreamConsumed):
            response.aiter_json_lines()


class Pieces:
    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.failed = False

    async def next_decoded(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def fail(self, error: BaseException) -> None:
        self.failed = True


@given(st.lists(st.recursive(st.none() | st.integers() | st.text(), st.lists)), st.data())
def test_the_cuts_change_nothing(wanted: list[Any], data: st.DataObject) -> None:
    text = b"".join(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n" for value in wanted)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    async def read() -> list[Any]:
        source = Pieces(*filter(None, pieces))
        return [value async for value in JSONLineIterator(source, None, json.loads)]  # type: ignore[arg-type]

    assert trio.run(read) == wanted


@pytest.mark.parametrize("pieces", [[b"123456\n"], [b"123", b"456"], [b"1\n", b"2\n123456\n"], [b"1\n123", b"456\n"]])
async def test_the_bound_holds_for_every_line(pieces: list[bytes]) -> None:
    source = Pieces(*pieces)
    values = JSONLineIterator(source, None, json.loads, limit=5)  # type: ignore[arg-type]
    with pytest.raises(RemoteProtocolError):
        async for _ in values:
            pass
    assert source.failed
