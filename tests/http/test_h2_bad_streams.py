"""Malformed responses cost their own stream; another stream beside them lives, whatever the bytes are cut into."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from penstock._errors import ProtocolReason, RemoteProtocolError
from penstock._http.h1_head import MAX_INFORMATIONAL
from penstock._http.h2_frames import Code, ConnectionFault
from tests.support import h2_frames as frames
from tests.support.h2_conversation import MAX_HEAD_FIELDS, MAX_HEAD_SIZE, OK, Conversation

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMING, LIMIT, TRUNCATED = ProtocolReason.FRAMING, ProtocolReason.LIMIT, ProtocolReason.TRUNCATED
Fields = list[tuple[bytes, bytes]]


class Case(NamedTuple):
    """What is said on stream 1, and the verdict.

    Attributes:
        say: makes the bytes.
        reason: of the error.
        code: of our reset; None where the stream had ended on both sides.
        method: of the request.
    """

    say: Callable[[Conversation], bytes]
    reason: ProtocolReason = FRAMING
    code: int | None = Code.PROTOCOL_ERROR
    method: str = "GET"


def head(*fields: tuple[bytes, bytes], status: bytes = b"200") -> Callable[[Conversation], bytes]:
    return lambda talk: talk.answer(1, [(b":status", status), *fields])


def said(*blocks: Fields, then: bytes = b"", end_stream: bool = False) -> Callable[[Conversation], bytes]:
    """Several header blocks, the last one maybe the end, and something behind."""

    def say(talk: Conversation) -> bytes:
        last = len(blocks) - 1
        parts = [talk.answer(1, block, end_stream=end_stream and at == last) for at, block in enumerate(blocks)]
        return b"".join(parts) + then

    return say


def length(value: bytes) -> Fields:
    return [*OK, (b"content-length", value)]


HINTS: Fields = [(b":status", b"103")]
LARGE = [(b"x-%d" % number, b"v" * 1000) for number in range(MAX_HEAD_SIZE // 1000 + 1)]
MANY = [(b"x", b"y")] * MAX_HEAD_FIELDS

CASES = {
    "content before the head": Case(lambda _: frames.data(1, b"x")),
    "an end before the head": Case(lambda _: frames.data(1, b"", end_stream=True)),
    "no status": Case(lambda talk: talk.answer(1, [(b"x", b"y")])),
    "no status, at the end": Case(lambda talk: talk.answer(1, [(b"x", b"y")], end_stream=True), code=None),
    "an empty head": Case(lambda _: frames.headers(1, b"")),
    "a status of four digits": Case(head(status=b"0200")),
    "a status that is no number": Case(head(status=b"abc")),
    "an interim status that is no number": Case(head(status=b"1ab")),
    "a status below 100": Case(head(status=b"099")),
    "the status twice": Case(head((b":status", b"200"))),
    "a pseudo-field of requests": Case(head((b":path", b"/"))),
    "a pseudo-field after a field": Case(head((b"x", b"y"), (b":status", b"200"))),
    "a name in upper case": Case(head((b"X-A", b"y"))),
    "an empty name": Case(head((b"", b"y"))),
    "a line end in a value": Case(head((b"x", b"a\r\nb: c"))),
    "a space behind a value": Case(head((b"x", b"a "))),
    "a field of HTTP/1.1 connections": Case(head((b"connection", b"close"))),
    "a transfer coding": Case(head((b"transfer-encoding", b"chunked"))),
    "switching protocols": Case(head(status=b"101"), ProtocolReason.UPGRADE),
    "an interim response that ends the stream": Case(said(HINTS, end_stream=True), code=None),
    "a malformed interim response": Case(said([*HINTS, (b"X", b"y")])),
    "too many interim responses": Case(said(*[HINTS] * (MAX_INFORMATIONAL + 1)), LIMIT, Code.ENHANCE_YOUR_CALM),
    "an end after interim responses": Case(said(HINTS, then=frames.data(1, b"", end_stream=True))),
    "a head too large": Case(head(*LARGE), LIMIT, Code.ENHANCE_YOUR_CALM),
    "a head of too many fields": Case(head(*MANY), LIMIT, Code.ENHANCE_YOUR_CALM),
    "interim heads too large together": Case(said([*HINTS, *LARGE[:10]], [*OK, *LARGE[:10]]), LIMIT, 11),
    "trailers too large": Case(said(OK, LARGE, end_stream=True), LIMIT, code=None),
    "two lengths": Case(head((b"content-length", b"5"), (b"content-length", b"6"))),
    "a length that is no number": Case(head((b"content-length", b"+5"))),
    "less than announced": Case(said(length(b"5"), then=frames.data(1, b"1234", end_stream=True)), TRUNCATED, None),
    "more than announced": Case(said(length(b"5"), then=frames.data(1, b"123456"))),
    "more than announced, at the end": Case(said(length(b"5"), then=frames.data(1, b"123456", end_stream=True)),
                                            code=None),
    "a length and nothing": Case(said(length(b"5"), end_stream=True), TRUNCATED, None),
    "less than announced, and trailers": Case(said(length(b"5"), [(b"x", b"y")], end_stream=True), TRUNCATED, None),
    "content without content": Case(said([(b":status", b"204")], then=frames.data(1, b"x"))),
    "content of what has not changed": Case(said([(b":status", b"304")], then=frames.data(1, b"x"))),
    "content for HEAD": Case(said(OK, then=frames.data(1, b"x")), method="HEAD"),
    "trailers that do not end": Case(said(OK, [(b"x", b"y")])),
    "trailers with a status": Case(said(OK, OK, end_stream=True), code=None),
    "malformed trailers": Case(said(OK, [(b"x", b"a\0b")], end_stream=True), code=None),
    "an interim response behind the head": Case(said(OK, HINTS)),
    "a window update by nothing": Case(lambda _: frames.window_update(1, 0)),
    "a window too large": Case(lambda _: frames.window_update(1, 2**31 - 1), code=Code.FLOW_CONTROL_ERROR),
}  # fmt: skip


@pytest.mark.parametrize("by_byte", [False, True], ids=["whole", "by byte"])
@pytest.mark.parametrize("name", CASES)
def test_one_stream_is_lost_and_the_other_lives(name: str, by_byte: bool) -> None:
    case = CASES[name]
    talk = Conversation()
    victim = talk.ask(case.method)
    other = talk.ask()
    # The other one learns from the same table as the victim.
    wire = talk.answer(3, [*OK, (b"x-before", b"1")]) + case.say(talk)
    wire += frames.data(3, b"hello") + talk.answer(3, [(b"x-after", b"1")], end_stream=True)
    talk.hear(*([wire[at : at + 1] for at in range(len(wire))] if by_byte else [wire]))

    with pytest.raises(RemoteProtocolError):
        while victim.try_receive():
            assert victim.outcome is None, "what arrived before the end is not all there is"
    assert isinstance(victim._error, RemoteProtocolError)
    assert victim._error.reason is case.reason
    assert victim.outcome is not None
    assert victim.outcome.close is None, "the connection is kept"
    assert victim.outcome.failed
    assert victim.outcome.resetting == (case.code is not None)
    assert not victim.refused
    assert talk.resets() == ([] if case.code is None else [(1, case.code)])
    assert other.try_receive() == b"hello"
    assert other.outcome is not None
    assert other.outcome.close is None
    assert other.trailers == [(b"x-after", b"1")]
    assert talk.session.streams == {}
    # Nor has h2 a stream open that would count against what the server allows.
    assert talk.session._h2.open_outbound_streams == 0
    assert talk.session.takes_more


JUST_WITHIN = {
    "interim responses": said(*[HINTS] * MAX_INFORMATIONAL, OK, end_stream=True),
    "a head": said([*OK, (b"x", b"v" * (MAX_HEAD_SIZE - 5 - 14))], end_stream=True),
    "fields": said([*OK, *[(b"x", b"y")] * (MAX_HEAD_FIELDS - 1)], end_stream=True),
    "an announced length": said(length(b"5"), then=frames.data(1, b"12345", end_stream=True)),
    "an announced length, padded": said(length(b"5"), then=frames.data(1, b"12345", end_stream=True, padding=9)),
    "nothing announced": said(length(b"0"), end_stream=True),
    "trailers": said(OK, [(b"x", b"y")], end_stream=True),
    "trailers of nothing": said(OK, [], end_stream=True),
    "a length without content": said([(b":status", b"304"), (b"content-length", b"5")], end_stream=True),
}


@pytest.mark.parametrize("name", JUST_WITHIN)
def test_what_is_just_within_the_rules(name: str) -> None:
    talk = Conversation()
    exchange = talk.ask()
    talk.hear(JUST_WITHIN[name](talk))

    assert exchange._error is None
    assert exchange._ended
    assert talk.resets() == []


def test_the_announced_length_of_an_answer_to_head_is_not_waited_for() -> None:
    talk = Conversation()
    exchange = talk.ask("HEAD")
    talk.hear(talk.answer(1, length(b"5"), end_stream=True))

    assert exchange._error is None


#: Frames that end the connection, on a connection with stream 1 open.
FATAL = {
    "HEADERS on a stream of the server's": (frames.headers(2, b"\x88"), Code.PROTOCOL_ERROR),
    "HEADERS on a stream that was not opened": (frames.headers(5, b"\x88"), Code.PROTOCOL_ERROR),
    "DATA on a stream that was not opened": (frames.data(5, b"x"), Code.PROTOCOL_ERROR),
    "RST_STREAM on a stream that was not opened": (frames.rst(5, 8), Code.PROTOCOL_ERROR),
    "RST_STREAM on a stream of the server's": (frames.rst(2, 8), Code.PROTOCOL_ERROR),
    "WINDOW_UPDATE on a stream that was not opened": (frames.window_update(5, 1), Code.PROTOCOL_ERROR),
    "a WINDOW_UPDATE of the connection by nothing": (frames.window_update(0, 0), Code.PROTOCOL_ERROR),
    "a window of the connection too large": (frames.window_update(0, 2**31 - 1), Code.FLOW_CONTROL_ERROR),
    "DATA with impossible padding": (frames.frame("DATA", stream=1, payload=b"\x09abc", flags=8), Code.PROTOCOL_ERROR),
    "GOAWAY inside a header block": (
        frames.headers(1, b"\x88", end_headers=False) + frames.goaway(1), Code.PROTOCOL_ERROR,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FATAL)
def test_the_connection_ends(name: str) -> None:
    data, code = FATAL[name]
    talk = Conversation()
    talk.ask()
    fault = talk.fault(data)

    assert (fault.code, fault.reason) == (code, FRAMING)


def test_what_was_whole_before_a_bad_frame_is_delivered() -> None:
    talk = Conversation()
    exchange = talk.ask()
    good = talk.answer(1) + frames.data(1, b"hello", end_stream=True)
    with pytest.raises(ConnectionFault):
        talk.hear(good + frames.frame("PING", payload=b"short"))

    assert exchange.try_receive() == b"hello"
    assert exchange.outcome is not None
    assert exchange._error is None
