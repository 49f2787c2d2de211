"""Server-sent events against the HTML standard, however the bytes are cut, and within bounds."""

from __future__ import annotations

import itertools
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock._errors import DecodingError, ProtocolReason, RemoteProtocolError
from penstock._http.sse import LINE_COST, MAX_RETRY, EventParser, ServerSentEvent

Event = ServerSentEvent


def parse(*pieces: bytes, max_event_size: int = 1 << 20) -> list[Event]:
    parser = EventParser(max_event_size=max_event_size)
    events = [event for piece in pieces for event in parser.feed(piece)]
    parser.finish()
    return events


def naive(stream: bytes) -> list[Event]:
    """The standard's algorithm, word for word, on the whole stream."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = re.split("\r\n|\n|\r", text)
    events: list[Event] = []
    data, kind, last_id, id_buffer, retry = "", "", "", "", None
    for line in lines[:-1]:
        if line == "":
            last_id = id_buffer
            if data != "":
                events.append(Event(kind or "message", data.removesuffix("\n"), last_id, retry))
            data, kind, retry = "", "", None
            continue
        if line.startswith(":"):
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            kind = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            id_buffer = value
        elif field == "retry" and re.fullmatch("[0-9]+", value):
            retry = min(int(value), MAX_RETRY)
    return events


PARTS = st.sampled_from(
    [
        *(
            b"data",
            b"event",
            b"id",
            b"retry",
            b":",
            b": ",
            b" ",
            b"\n",
            b"\r",
            b"\r\n",
            b"\n\n",
            b"\xef\xbb\xbf",
            b"\0",
        ),
        *("\u00e9\u2028".encode(), b"\xc3", b"\xff", b"data: a\n\n", b"data\n", b": comment\n", b"retry: 10\n"),
        *(b"\xef\xbb\xbf", b"\x0c", b"\x85", b"7", b"x"),
    ]
)


@settings(max_examples=1500, deadline=None)
@given(parts=st.lists(PARTS, max_size=30), cuts=st.lists(st.integers(0, 60), max_size=8))
def test_any_stream_reads_as_the_standard_says(parts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(parts)
    bounds = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    pieces = [stream[start:end] for start, end in itertools.pairwise(bounds)]
    expected = naive(stream)

    assert parse(*pieces) == expected
    assert parse(*[stream[at : at + 1] for at in range(len(stream))]) == expected


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [Event("message", "YHOO\n+2\n10")]),
        (
            b": test\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\n",
            [Event("message", "first", "1"), Event("message", "second", "")],
        ),
        (b"data\n\ndata\ndata\n\ndata:\n", [Event("message", ""), Event("message", "\n")]),
        (b"data:test\n\ndata: test\n\n", [Event("message", "test")] * 2),
        (b"event: add\ndata: 73\r\n\r\n", [Event("add", "73")]),
        (b"event: lost\n\ndata: x\n\n", [Event("message", "x")]),
        (b"id: 5\n\ndata: x\n\n", [Event("message", "x", "5")]),
        (b"id: 5\ndata: a\n\ndata: b\n\n", [Event("message", "a", "5"), Event("message", "b", "5")]),
        (b"id: 5\ndata: a\n\nid: 6\0\ndata: b\n\n", [Event("message", "a", "5"), Event("message", "b", "5")]),
        (b"\xef\xbb\xbfdata: x\n\n\xef\xbb\xbfdata: y\n\n", [Event("message", "x")]),
        (b"data: x\r\rdata: y\r\n\r\ndata: z\n\n", [Event("message", part) for part in "xyz"]),
        (b"retry: 3000\ndata: x\n\ndata: y\n\n", [Event("message", "x", "", 3000), Event("message", "y")]),
        (b"retry: 1e3\nretry:-1\nretry:\nretry: +5\ndata: x\n\n", [Event("message", "x")]),
        (b"retry: " + b"9" * 5000 + b"\ndata: x\n\n", [Event("message", "x", "", MAX_RETRY)]),
        ("data: \u2028\x0c\u0085é\n\n".encode(), [Event("message", "\u2028\x0c\u0085é")]),
        (b"data: \xff\n\n", [Event("message", "\ufffd")]),
        (b"DATA: x\ndata : x\n\n", []),
        (b"data: never ended", []),
        (b"", []),
    ],
)
def test_examples(stream: bytes, events: list[Event]) -> None:
    assert parse(stream) == events
    assert parse(*[stream[at : at + 1] for at in range(len(stream))]) == events


def test_an_event_comes_as_soon_as_its_blank_line_is_there() -> None:
    parser = EventParser()

    assert parser.feed(b"data: x\r\n\r") == [Event("message", "x")]
    assert parser.feed(b"\ndata: y\r\n") == []
    assert parser.feed(b"\r") == [Event("message", "y")]


def test_a_parser_knows_how_to_resume_and_that_the_server_lives() -> None:
    parser = EventParser()
    parser.feed(b": ping\n: ping\nid: 7\nretry: 50\n\n")

    assert (parser.comments, parser.last_event_id, parser.retry) == (2, "7", 50)


@pytest.mark.parametrize(
    "piece",
    [b"data: " + b"x" * 100 + b"\n", b"data:\n" * 10, b"data: xxxxxxxxxx", b"xxxxxxxxxxxxxx", b": xxxxxxxxxxxxx"],
)
def test_an_endless_event_is_refused(piece: bytes) -> None:
    parser = EventParser(max_event_size=10_000)
    with pytest.raises(RemoteProtocolError) as caught:
        for _ in range(10_000):
            parser.feed(piece)

    assert caught.value.reason is ProtocolReason.LIMIT


def test_the_size_is_counted_for_each_event() -> None:
    size = 100 + LINE_COST
    event = b"data: " + b"x" * 100 + b"\n\n"

    assert len(parse(event * 50, max_event_size=size)) == 50
    with pytest.raises(RemoteProtocolError):
        parse(event, max_event_size=size - 1)


def test_events_before_an_endless_one_are_delivered() -> None:
    parser = EventParser(max_event_size=100)

    assert parser.feed(b"data: x\n\ndata: " + b"y" * 200 + b"\n\n") == [Event("message", "x")]
    for ask in (lambda: parser.feed(b"z"), parser.finish):
        with pytest.raises(RemoteProtocolError):
            ask()


def test_the_cost_of_a_long_event_grows_with_its_length_only() -> None:
    def cost(size: int) -> float:
        parser = EventParser()
        started = time.process_time()
        for _ in range(size // 64):
            parser.feed(b"x" * 64)
        parser.feed(b"\n\n")
        return time.process_time() - started

    cost(1 << 16)
    # Four times the bytes would be sixteen times the work if each piece were joined to all before it.
    assert cost(1 << 22) < 10 * cost(1 << 20) + 0.05


def test_data_as_json() -> None:
    assert Event("message", '{"a": [1]}').json() == {"a": [1]}
    for data in ("", "[DONE]", "[" * 100_000, '"\ud800'):
        with pytest.raises(DecodingError):
            Event("message", data).json()


def test_a_stream_that_goes_on_with_another_keeps_its_place() -> None:
    parser = EventParser(last_event_id="7", retry=1000)
    assert parser.feed(b"data: a\n\nid: 8\ndata: b\n\nid\ndata: c\n\n") == [
        Event("message", "a", "7"),
        Event("message", "b", "8"),
        Event("message", "c", ""),
    ]
    assert (parser.last_event_id, parser.retry) == ("", 1000)
