"""Whoever reads the heads, and however the bytes are cut: the same events, or the same refusal."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock._errors import ProtocolReason, RemoteProtocolError
from penstock._http.h1_body import BodyParser
from penstock._http.h1_guards import check_framing_fields, read_lines
from penstock._http.h1_head import HeadParser
from penstock._http.h1_judges import Judge, Refusal, make_judge
from penstock._http.h1_lines import HTTP1Engine, make_engine
from penstock._http.h1_usual import WholeBody, read_at_once
from tests.support.h1_answers import answers

if TYPE_CHECKING:
    from penstock._http.exchange import ResponseHead
    from penstock._types import HeaderList, HTTP1EngineChoice

httptools: Any = pytest.importorskip("httptools")

#: Engines that have read all the answers before: what they keep must not matter.
WARM = [make_engine("h11"), make_engine("httptools")]
METHODS = [*[b"GET"] * 4, b"HEAD"]


class Seen(NamedTuple):
    """What came of an answer."""

    head: tuple[int, bytes, HeaderList, str] | None
    body: bytes
    trailers: HeaderList
    informational: int
    idle_hint: float | None
    is_reusable: bool
    refusal: ProtocolReason | None
    ended: bool


def read(engine: HTTP1Engine, segments: list[bytes], method: bytes) -> Seen:
    """Read an answer whose connection ends after it."""
    heads = HeadParser(engine, 600, 12)
    head: ResponseHead | None = None
    body: BodyParser | WholeBody | None = None
    content, refusal = b"", None
    todo = iter(segments)
    try:
        for at, data in enumerate(todo):
            if at == 0 and (at_once := read_at_once(data, method, engine, 600, 12, close=False)) is not None:
                head, body = at_once
                break
            found = heads.feed(data)
            if found is not None:
                head, body = found.head, BodyParser(found, method, close=False, engine=engine)
                break
        while body is not None and not body.ended:
            piece = body.next_piece()
            if piece is not None:
                content += piece
                continue
            assert isinstance(body, BodyParser)
            if data := next(todo, b""):
                body.feed(data)
            else:
                body.feed_eof(clean=True)
    except RemoteProtocolError as error:
        refusal = error.reason
    if head is None or body is None:
        return Seen(None, content, [], heads.informational, None, False, refusal, False)
    seen = (head.status, head.reason, head.headers, head.http_version)
    is_reusable = body.ended and refusal is None and body.close is None and next(todo, None) is None
    trailers = body.trailers
    return Seen(seen, content, trailers, heads.informational, body.idle_hint, is_reusable, refusal, body.ended)


def cut(wire: bytes, marks: list[int]) -> list[bytes]:
    """The same bytes in segments."""
    ends = sorted({mark % (len(wire) + 1) for mark in marks} | {len(wire)})
    return [piece for begin, end in zip([0, *ends], ends, strict=False) if (piece := wire[begin:end])]


@given(answers(), st.sampled_from(METHODS), st.lists(st.integers(0, 2000), max_size=6))
@settings(max_examples=400)
def test_engines_and_cuts_agree(wire: bytes, method: bytes, marks: list[int]) -> None:
    whole = read(WARM[0], [wire] if wire else [], method)

    for engine in (WARM[1], make_engine("h11"), make_engine("httptools")):
        assert read(engine, [wire] if wire else [], method) == whole
    for engine in WARM:
        assert read(engine, cut(wire, marks), method) == whole
        assert read(engine, [wire[at : at + 1] for at in range(len(wire))], method) == whole
    if whole.head is not None and whole.ended:
        assert h11_alone(wire, method) == plain(whole)
        if not any(odd in wire for odd in (b"\r\n ", b"\r\n\t", b"\t\r\n")):
            # It refuses folds, and takes a tab after "chunked" for a part of it: RFC 9112 §5.1 and §5.2 forbid both.
            assert llhttp_alone(wire, method) == plain(whole)


# What the libraries say by themselves: they may take more than we do, and never less.

Plain = tuple[int, bytes, "HeaderList", bytes, "HeaderList"]


def plain(seen: Seen) -> Plain:
    assert seen.head is not None
    status, reason, headers, _ = seen.head
    lower = [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in headers]
    return status, reason, lower, seen.body, seen.trailers


def h11_alone(wire: bytes, method: bytes) -> Plain | None:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "-")]))
    connection.receive_data(wire)
    connection.receive_data(b"")
    body, response = b"", None
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            body += event.data
    assert response is not None
    return response.status_code, bytes(response.reason), lowered(response), body, lowered(event)


def lowered(event: h11.Response | h11.EndOfMessage) -> HeaderList:
    return [(bytes(name).lower(), bytes(value)) for name, value in event.headers.raw_items()]


class Collector:
    """What llhttp finds; the answer after the interim ones is the one that counts."""

    def __init__(self) -> None:
        self.on_message_begin()
        self.parser = httptools.HttpResponseParser(self)
        self.done: Plain | None = None

    def on_message_begin(self) -> None:
        self.reason, self.headers, self.trailers, self.body = b"", [], [], b""
        self.in_trailers = False

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        value = value.rstrip(b" \t")
        name = name.lower()
        if name == b"transfer-encoding":
            value = value.lower()
        (self.trailers if self.in_trailers else self.headers).append((name, value))

    def on_headers_complete(self) -> None:
        self.in_trailers = True

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        if self.done is None and self.parser.get_status_code() >= 200:
            self.done = self.so_far()

    def so_far(self) -> Plain:
        return self.parser.get_status_code(), self.reason, self.headers, self.body, self.trailers


def llhttp_alone(wire: bytes, method: bytes) -> Plain | None:
    """Told of nothing but the bytes: the end of the connection and the method are ours to know."""
    heads = wire.split(b"\r\n\r\n")
    collector = Collector()
    if method == b"HEAD":
        while heads[0][9:10] == b"1":
            del heads[0]
        collector.parser.feed_data(heads[0] + b"\r\n\r\n")
        return collector.so_far()
    while heads[0][9:10] == b"1":
        # An interim answer that closes stops it.
        Collector().parser.feed_data(heads.pop(0) + b"\r\n\r\n")
    try:
        collector.parser.feed_data(b"\r\n\r\n".join(heads))
    except httptools.HttpParserError:
        # In what follows the message, or it never came that far.
        assert collector.done is not None
    return collector.done or collector.so_far()


# Lines that are remembered


WHOLE_LINES = re.compile(rb"(?:[\t\x20-\x7e\x80-\xff]*\r\n)+")


def h11_in_one_piece(head: bytes) -> tuple[int, bytes, HeaderList]:
    """What h11 says of a whole head."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "-")]))
    connection.receive_data(head)
    event = connection.next_event()
    assert isinstance(event, h11.Response | h11.InformationalResponse)
    return event.status_code, bytes(event.reason), lowered(event)  # type: ignore[arg-type]


@given(answers())
@settings(max_examples=300)
def test_a_head_read_line_by_line_is_what_h11_says_of_it_in_one_piece(wire: bytes) -> None:
    head = wire.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    if not head.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")) or not WHOLE_LINES.fullmatch(head):
        return

    for engine in (*WARM, make_engine("h11"), make_engine("httptools")):
        for _ in range(2):
            try:
                status, reason, headers = read_lines(engine, head)
                check_framing_fields(headers, dict(headers))
            except Refusal:
                try:
                    _, _, all_at_once = h11_in_one_piece(head)
                except h11.RemoteProtocolError:
                    continue
                # h11 takes some lengths for one, or is beyond 64 bits, or has both framings: refused afterwards.
                assert any(name == b"content-length" for name, _ in all_at_once)
            else:
                lower = [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in headers]
                assert (status, reason, lower) == h11_in_one_piece(head)


@pytest.mark.parametrize("choice", ["h11", "httptools"])
def test_what_is_remembered_is_bounded_and_never_a_cookie(choice: HTTP1EngineChoice) -> None:
    engine = make_engine(choice)
    for number in range(2000):
        fields = b"Server: x\r\nSet-Cookie: %d=1\r\nX-Id: %d\r\nX-Long: %d%s\r\n" % (number, number, number, b"x" * 300)
        _, _, headers = engine.read_head(b"HTTP/1.1 200 %d\r\n%s\r\n" % (number, fields))
        assert headers[:3] == [(b"server", b"x"), (b"set-cookie", b"%d=1" % number), (b"x-id", b"%d" % number)]

    kept = list(engine._fields)
    assert len(kept) <= 512
    assert b"Server: x" in kept
    assert not [line for line in kept if line.startswith(b"Set-Cookie") or len(line) > 256]
    assert len(engine._statuses) <= 512


SECRETS = [
    b"X-Api-Key: k",
    b"X-Auth-Token: t",
    b"X-Auth: a",
    b"X-Session-Id: s",
    b"Location: https://app/back?code=c",
]


@pytest.mark.parametrize("choice", ["h11", "httptools"])
def test_what_is_remembered_is_no_secret_and_bounded_however_long_a_head_is(choice: HTTP1EngineChoice) -> None:
    engine = make_engine(choice)
    for count in (500, 5000):
        fields = b"".join(b"X-%d: %d\r\n" % (number, count) for number in range(count))
        engine.read_head(b"HTTP/1.1 200 OK\r\n" + b"".join(line + b"\r\n" for line in SECRETS) + fields + b"\r\n")

        assert len(engine._fields) <= 512
        assert len(engine._secret_names) <= 512
        assert len(engine._names) <= 512
        assert not engine._fields.keys() & set(SECRETS)


@pytest.mark.parametrize("choice", ["h11", "httptools"])
def test_a_name_that_was_accepted_is_a_name_and_no_more(choice: HTTP1EngineChoice) -> None:
    engine = make_engine(choice)
    start = b"HTTP/1.1 200 OK\r\n"
    engine.read_head(start + b"A: b\r\nContent-Length: 5\r\n\r\n")
    engine.read_head(start + b"Transfer-Encoding: chunked\r\n\r\n")

    assert engine.read_head(start + b"A:\tc d \r\nContent-Length: 6\r\n\r\n")[2] == [
        (b"a", b"c d"),
        (b"content-length", b"6"),
    ]
    for line in (b"A", b"A : b", b" A: b", b"A: \x01", b"A: b\rc", b"Content-Length: x"):
        for _ in range(2):
            with pytest.raises(Refusal):
                engine.read_head(start + line + b"\r\n\r\n")


class Counting:
    """A judge that counts what it is asked about."""

    def __init__(self, judge: Judge) -> None:
        self.name = judge.name
        self.read_status = judge.read_status
        self.asked: list[bytes] = []
        self._judge = judge

    def read_fields(self, lines: list[bytes]) -> HeaderList:
        self.asked += lines
        return self._judge.read_fields(lines)


@pytest.mark.parametrize("choice", ["h11", "httptools"])
def test_only_new_names_and_values_that_mean_something_are_put_to_the_judge(choice: HTTP1EngineChoice) -> None:
    judge = Counting(make_judge(choice))
    engine = HTTP1Engine(judge)
    for number in (1, 2, 2):
        fields = b"X-Request-Id: %d\r\nSet-Cookie: a=%d\r\nContent-Length: %d\r\n" % (number, number, number)
        _, _, headers = engine.read_head(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")
        assert headers == [
            (b"x-request-id", b"%d" % number),
            (b"set-cookie", b"a=%d" % number),
            (b"content-length", b"%d" % number),
        ]
        assert judge.asked == [b"X-Request-Id: 1", b"Set-Cookie: a=1", b"Content-Length: 1"]
    for line in (b"Transfer-Encoding: chunked", b"transfer-encoding: Chunked"):
        engine.read_head(b"HTTP/1.1 200 OK\r\n" + line + b"\r\n\r\n")
        assert judge.asked[-1] == line


def test_an_interrupt_within_h11_spoils_no_later_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    engine = make_engine("h11")
    engine.read_head(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n")
    with monkeypatch.context() as patch:
        patch.setattr(h11.Connection, "next_event", interrupt)
        with pytest.raises(KeyboardInterrupt):
            engine.read_head(b"HTTP/1.1 200 OK\r\nC: d\r\n\r\n")
    assert engine.read_head(b"HTTP/1.1 200 OK\r\nE: f\r\n\r\n") == (200, b"OK", [(b"e", b"f")])


def test_what_fails_while_llhttp_calls_back_leaves_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def overflow(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr("penstock._http.h1_httptools._add", overflow)
    with pytest.raises(RecursionError):
        make_engine("httptools").read_head(b"HTTP/1.1 200 OK\r\nNever-Seen-At-All: b\r\n\r\n")


def test_a_refusal_leaves_nothing_behind() -> None:
    # The last two never pass the guards.
    bad = [b"A : b", b"A: b\n\nC: d", b"A: b\nC: d"]
    for engine, field in product(WARM, bad):
        for _ in range(2):
            with pytest.raises(Refusal):
                engine.read_head(b"HTTP/1.1 200 OK\r\nServer: x\r\n" + field + b"\r\n\r\n")
            assert engine.read_head(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n") == (200, b"OK", [(b"a", b"b")])


def test_an_interrupt_while_llhttp_calls_back_is_no_fault_of_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    engine = make_engine("httptools")
    monkeypatch.setattr("penstock._http.h1_httptools._add", interrupt)
    with pytest.raises(KeyboardInterrupt):
        engine.read_head(b"HTTP/1.1 200 OK\r\nNever-Seen-Before: b\r\n\r\n")


def test_a_refusal_is_one_while_another_error_is_handled() -> None:
    for engine in WARM:
        try:
            raise OSError("a write failed, and the answer is read nevertheless")
        except OSError:
            with pytest.raises(Refusal):
                engine.read_head(b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n")
