"""What a hostile or broken server may answer, and what must come of it, however the bytes are cut."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from penstock._errors import ProtocolReason, ReadError, RemoteProtocolError, TransportError
from penstock._events import CloseReason
from tests.support.h1_verdict import End, cut, judge

OK = b"HTTP/1.1 200 OK\r\n"
CLOSES = CloseReason.CONNECTION_CLOSE_HEADER
UNSOLICITED = CloseReason.UNSOLICITED_DATA
FRAMING, LIMIT, VERSION = ProtocolReason.FRAMING, ProtocolReason.LIMIT, ProtocolReason.VERSION
TRUNCATED = ProtocolReason.TRUNCATED

pytestmark = pytest.mark.usefixtures("each_engine")

#: Limits of the table, small so that feeding byte by byte stays quick.
HEAD_SIZE, HEAD_FIELDS = 8192, 64


class Case(NamedTuple):
    """One answer and the verdict on it."""

    name: str
    wire: bytes
    status: int | None = 200
    body: bytes | None = b"hello"
    close: CloseReason | None = None
    error: type[TransportError] | None = None
    reason: ProtocolReason | None = None
    method: str = "GET"
    end: End = "open"


def fine(name: str, wire: bytes, **expected: object) -> Case:
    return Case(name, wire, **expected)  # type: ignore[arg-type]


def refused(name: str, wire: bytes, reason: ProtocolReason = FRAMING, *, end: End = "open") -> Case:
    return Case(name, wire, None, None, CloseReason.PROTOCOL_ERROR, RemoteProtocolError, reason, end=end)


def head(*fields: bytes, status: bytes = OK) -> bytes:
    return status + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def sized(*fields: bytes, status: bytes = OK) -> bytes:
    return head(*fields, b"Content-Length: 5", status=status) + b"hello"


def chunked(body: bytes, *fields: bytes) -> bytes:
    return head(*fields, b"Transfer-Encoding: chunked") + body


HELLO = b"5\r\nhello\r\n0\r\n\r\n"
LONG = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 1000 + b"\r\n\r\n"

CASES = [
    refused("H1-01 both framings", chunked(HELLO, b"Content-Length: 5")),
    refused("H1-02 two lengths", sized(b"Content-Length: 6")),
    refused("H1-02 a list of lengths", head(b"Content-Length: 5, 44") + b"hello"),
    refused("H1-03 one length twice", sized(b"Content-Length: 5")),
    refused("H1-03 one length in a list", head(b"Content-Length: 5, 5") + b"hello"),
    *(
        refused(f"H1-04 length {length[:8]!r}", head(b"Content-Length: " + length) + b"hello")
        for length in (b"+5", b"-1", b"0x5", b"5_0", b"", b"5" * 4301, "٥".encode())
    ),
    fine(
        "H1-05 the largest length",
        head(b"Content-Length: %d" % ((1 << 64) - 1)) + b"hello",
        error=RemoteProtocolError,
        reason=TRUNCATED,
        close=CloseReason.PROTOCOL_ERROR,
        end="fin",
    ),
    refused("H1-05 a length beyond 64 bits", head(b"Content-Length: %d" % (1 << 64)) + b"hello"),
    *(
        refused(f"H1-06 coding {coding!r}", head(b"Transfer-Encoding: " + coding) + HELLO)
        for coding in (
            b"identity",
            b"gzip, chunked",
            b"xchunked",
            b"chunked, chunked",
            b"chunked\r\nTransfer-Encoding: chunked",
        )
    ),
    fine("H1-07 chunked in HTTP/1.0", chunked(HELLO).replace(b"/1.1", b"/1.0", 1), close=CLOSES),
    *(
        fine(
            f"H1-08 chunk size {size!r}",
            chunked(size + b"\r\nhello\r\n0\r\n\r\n"),
            body=b"",
            error=RemoteProtocolError,
            reason=FRAMING,
            close=CloseReason.PROTOCOL_ERROR,
        )
        for size in (b"0x5", b"-5", b"+5", b"", b"0" * 16 + b"5", b" 5", b"5 5", b"g", b"5 ")
    ),
    fine(
        "H1-08 the largest chunk size",
        chunked(b"F" * 16 + b"\r\nhello"),
        error=RemoteProtocolError,
        reason=TRUNCATED,
        close=CloseReason.PROTOCOL_ERROR,
        end="fin",
    ),
    *(
        fine(
            f"{name}",
            chunked(wire),
            body=body,
            error=RemoteProtocolError,
            reason=FRAMING,
            close=CloseReason.PROTOCOL_ERROR,
        )
        for name, wire, body in (
            ("H1-09 LF after the chunk size", b"5\nhello\r\n0\r\n\r\n", b""),
            ("H1-09 LF in a chunk extension", b"5;a\nb\r\nhello\r\n0\r\n\r\n", b""),
            ("H1-10 junk after the chunk", b"5\r\nhelloXX0\r\n\r\n", b"hello"),
            ("H1-10 only LF after the chunk", b"5\r\nhello\n0\r\n\r\n", b"hello"),
        )
    ),
    fine("H1-12 a chunk extension", chunked(b'5;a="b;c"\r\nhello\r\n0;last\r\n\r\n')),
    fine("H1-12 an extension of bytes that mean nothing", chunked(b'5;a="\xff\\"";b;c=d\r\nhello\r\n0\r\n\r\n')),
    *(
        fine(
            f"H1-12 no chunk extension: {extension!r}",
            chunked(b"5" + extension + b"\r\nhello\r\n0\r\n\r\n"),
            body=b"",
            error=RemoteProtocolError,
            reason=FRAMING,
            close=CloseReason.PROTOCOL_ERROR,
        )
        for extension in (
            *(b";", b"; a", b" ;a", b";a ", b";a=", b";a;", b";=b", b";\xff"),
            *(b';a="b', b';a="b"c', b';a="\0"'),
        )
    ),
    *(
        fine(
            f"H1-12 a chunk size line of {size} bytes",
            chunked(b"5;" + b"a" * (size - 2) + b"\r\nhello\r\n0\r\n\r\n"),
            **expected,
        )
        for size, expected in (
            (4096, {}),
            (
                4097,
                {"body": b"", "error": RemoteProtocolError, "reason": LIMIT, "close": CloseReason.PROTOCOL_ERROR},
            ),
        )
    ),
    fine(
        "H1-12 mostly chunk extensions",
        chunked((b"1;" + b"x" * 1000 + b"\r\na\r\n") * 30),
        body=None,
        error=RemoteProtocolError,
        reason=LIMIT,
        close=CloseReason.PROTOCOL_ERROR,
    ),
    fine("H1-13 tiny chunks", chunked(b"1\r\nx\r\n" * 500 + b"0\r\n\r\n"), body=b"x" * 500),
    fine("H1-14 trailers", chunked(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n 2\r\n\r\n")),
    *(
        fine(
            f"H1-14 {name}",
            chunked(b"5\r\nhello\r\n0\r\n" + trailer),
            error=RemoteProtocolError,
            reason=FRAMING,
            close=CloseReason.PROTOCOL_ERROR,
        )
        for name, trailer in (
            ("a length in trailers", b"Content-Length: 5\r\n\r\n"),
            ("a coding in trailers", b"Transfer-Encoding: chunked\r\n\r\n"),
            ("a bare LF in trailers", b"A: b\n\n"),
            ("CR and LF apart in trailers", b"A: b\r \nC: d\r\n\r\n"),
            ("a control character in trailers", b"A: \x01\r\n\r\n"),
            ("a fold first in trailers", b" A: b\r\n\r\n"),
            ("no field in trailers", b"A\r\n\r\n"),
            ("a space before the colon in trailers", b"A : b\r\n\r\n"),
        )
    ),
    fine(
        "H1-14 too many trailers",
        chunked(b"5\r\nhello\r\n0\r\n" + b"a: b\r\n" * HEAD_FIELDS + b"\r\n"),
        error=RemoteProtocolError,
        reason=LIMIT,
        close=CloseReason.PROTOCOL_ERROR,
    ),
    fine(
        "H1-14 trailers too long",
        chunked(b"5\r\nhello\r\n0\r\nA: " + b"x" * HEAD_SIZE + b"\r\n\r\n"),
        error=RemoteProtocolError,
        reason=LIMIT,
        close=CloseReason.PROTOCOL_ERROR,
    ),
    *(
        fine(
            f"H1-15 {name} cut short",
            wire,
            body=body,
            error=RemoteProtocolError,
            reason=TRUNCATED,
            close=CloseReason.PROTOCOL_ERROR,
            end="fin",
        )
        for name, wire, body in (
            ("length", sized()[:-1], b"hell"),
            ("chunk", chunked(b"5\r\nhel"), b"hel"),
            ("last chunk", chunked(b"5\r\nhello\r\n"), b"hello"),
            ("last line end", chunked(HELLO[:-2]), b"hello"),
        )
    ),
    fine("H1-16 ends with the connection", head() + b"hello", close=CloseReason.PEER_CLOSED, end="fin"),
    fine(
        "H1-16 ends without close_notify",
        head() + b"hello",
        error=RemoteProtocolError,
        reason=TRUNCATED,
        close=CloseReason.PROTOCOL_ERROR,
        end="ragged",
    ),
    fine(
        "H1-17 reset in the body", sized()[:-1], body=b"hell", error=ReadError, close=CloseReason.IO_ERROR, end="reset"
    ),
    fine("H1-18 head cut short", OK, status=None, body=None, error=ReadError, close=CloseReason.PEER_CLOSED, end="fin"),
    fine("H1-19 no byte", b"", status=None, body=None, error=ReadError, close=CloseReason.PEER_CLOSED, end="fin"),
    fine(
        "H1-19 reset without a byte",
        b"",
        status=None,
        body=None,
        error=ReadError,
        close=CloseReason.IO_ERROR,
        end="reset",
    ),
    *(
        fine(f"H1-21 {name} and an answer nobody asked for", wire + OK + b"\r\n", close=UNSOLICITED, **expected)
        for name, wire, expected in (
            ("length", sized(), {}),
            ("chunks", chunked(HELLO), {}),
            ("204", head(status=b"HTTP/1.1 204 No Content\r\n"), {"status": 204, "body": b""}),
            ("304", head(b"Content-Length: 5", status=b"HTTP/1.1 304 Not Modified\r\n"), {"status": 304, "body": b""}),
            ("HEAD", head(b"Content-Length: 5"), {"method": "HEAD", "body": b""}),
            ("empty", head(b"Content-Length: 0"), {"body": b""}),
        )
    ),
    fine("H1-22 a lone line end follows", sized() + b"\r\n", close=UNSOLICITED),
    fine("H1-26 204 with a body", sized(status=b"HTTP/1.1 204 No\r\n"), status=204, body=b"", close=UNSOLICITED),
    fine("H1-26 HEAD with a body", sized(), method="HEAD", body=b"", close=UNSOLICITED),
    fine("H1-26 HEAD chunked", chunked(b""), method="HEAD", body=b""),
    fine("H1-27 205 with a body", sized(status=b"HTTP/1.1 205 Reset Content\r\n"), status=205),
    fine("H1-28 sixteen interim responses", b"HTTP/1.1 102 Processing\r\n\r\n" * 16 + sized()),
    refused("H1-28 seventeen interim responses", b"HTTP/1.1 102 Processing\r\n\r\n" * 17 + sized(), LIMIT),
    refused("H1-28 long interim responses", LONG * 8 + sized(), LIMIT),
    refused(
        "H1-28 interim responses with many fields", (b"HTTP/1.1 103 E\r\n" + b"a: b\r\n" * 40 + b"\r\n") * 2, LIMIT
    ),
    refused("H1-29 interim response with a body", head(b"Content-Length: 5", status=b"HTTP/1.1 103 E\r\n") + b"hello"),
    refused("H1-30 101 unasked", head(b"Upgrade: x", status=b"HTTP/1.1 101 Switching\r\n"), ProtocolReason.UPGRADE),
    fine("H1-35 HTTP/1.0", sized(status=b"HTTP/1.0 200 OK\r\n"), close=CLOSES),
    fine("H1-35 HTTP/1.0 keep-alive", sized(b"Connection: keep-alive", status=b"HTTP/1.0 200 OK\r\n"), close=CLOSES),
    *(
        fine(f"H1-36 {b' '.join(fields).decode()}", sized(*fields), close=CLOSES)
        for fields in (
            [b"Connection: close"],
            [b"connection: CLOSE"],
            [b"Connection: foo, Close ,bar"],
            [b"Connection: keep-alive, close"],
            [b"Connection: close", b"Connection: keep-alive"],
            [b"Connection: keep-alive", b"Connection: close"],
        )
    ),
    fine("H1-36 Connection: keep-alive", sized(b"Connection: keep-alive")),
    fine("H1-36 Connection: closed", sized(b"Connection: closed")),
    *(
        refused(f"H1-37 {line!r}", sized(status=line + b" 200 OK\r\n"), reason)
        for line, reason in (
            (b"HTTP/2.0", VERSION),
            (b"HTTP/1.2", VERSION),
            (b"HTTP/1.10", VERSION),
            (b"HTTP/0.9", VERSION),
            (b"HTTP/3", VERSION),
            (b"http/1.1", FRAMING),
            (b"ICY", FRAMING),
            (b"HTTP/1.1\t", FRAMING),
        )
    ),
    refused("H1-37 an HTTP/0.9 body", b"<html>hello</html>", end="fin"),
    *(
        refused(f"H1-38 status {status!r}", sized(status=b"HTTP/1.1 " + status + b"\r\n"))
        for status in (b"099 X", b"000 X", b"1000 X", b"20 X", b" 200 OK", b"2x0 X", b"-20 X", b"")
    ),
    fine("H1-38 status 999", sized(status=b"HTTP/1.1 999 Odd\r\n"), status=999),
    fine("H1-38 no reason", sized(status=b"HTTP/1.1 200\r\n")),
    fine("H1-38 an empty reason", sized(status=b"HTTP/1.1 200 \r\n")),
    refused("H1-39 an empty line first", b"\r\n" + sized()),
    *(
        refused(f"H1-40 {bad!r} in a {where}", sized(field))
        for bad in (b"\r", b"\0")
        for where, field in (("value", b"A: x" + bad + b"y"), ("name", b"A" + bad + b"B: x"))
    ),
    *(refused(f"H1-41 {bytes([bad])!r} in a value", sized(b"A: x%cy" % bad)) for bad in (1, 8, 11, 12, 27, 31, 127)),
    refused("H1-42 bare line feeds", sized().replace(b"\r\n", b"\n")),
    refused("H1-42 one bare line feed", sized(b"A: b\nC: d")),
    *(
        refused(f"H1-42 CR and LF apart in a {where}", wire.replace(b"@", b"\r \n"))
        for where, wire in (
            ("value", sized(b"A: b@")),
            ("field", sized(b"A: b@C: d")),
            ("reason", sized(status=b"HTTP/1.1 200 OK@\r\n")),
            ("status line", b"HTTP/1.1 101 OK@A: b\r\n\r\n"),
        )
    ),
    fine("H1-43 a folded value", sized(b"A: x\r\n  y")),
    refused("H1-43 a folded length", head(b"Content-Length: 5\r\n 6") + b"hello"),
    refused("H1-43 a folded coding", head(b"Transfer-Encoding: chunked\r\n , gzip") + HELLO),
    refused("H1-43 a fold first", OK + b" A: b\r\n\r\n"),
    *(
        refused(f"H1-44 {field!r}", sized(field))
        for field in (b"A : b", b"A", b": b", b"A B: c", b"A\xe9: b", b'"A": b', b"A(: b", b"A\t: b")
    ),
    fine("H1-45 other bytes in a value", sized(b"A: \xe9\xff\x80")),
    refused("H1-46 one long line", OK + b"A: " + b"x" * 2 * HEAD_SIZE + b"\r\n\r\n", LIMIT),
    refused("H1-46 a line without end", OK + b"A: " + b"x" * 2 * HEAD_SIZE, LIMIT),
    refused("H1-46 many lines", OK + b"a: b\r\n" * 1000 + b"\r\n", LIMIT),
    refused("H1-46 one field too many", head(*[b"a: b"] * (HEAD_FIELDS + 1)), LIMIT),
    fine("H1-46 as many fields as allowed", sized(*[b"a: b"] * (HEAD_FIELDS - 1))),
    refused("H1-47 many cookies", sized(*[b"Set-Cookie: a=b"] * 500), LIMIT),
    refused("H1-48 a TLS alert", b"\x15\x03\x01\0\x02\x02\x46"),
    refused("H1-48 frames of HTTP/2", b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80"),
    refused("H1-48 a banner of SSH", b"SSH-2.0-OpenSSH_9.2\r\n"),
    refused("H1-48 random bytes", bytes(range(255, 0, -1))),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_verdict_does_not_depend_on_how_the_bytes_are_cut(case: Case) -> None:
    for how, segments in cut(case.wire, case.name):
        verdict = await judge(
            segments, method=case.method, end=case.end, max_head_size=HEAD_SIZE, max_head_fields=HEAD_FIELDS
        )
        expected = (case.status, case.error, case.reason, case.close)
        assert (verdict.status, verdict.error, verdict.reason, verdict.close) == expected, (how, verdict.message)
        if case.body is not None:
            assert verdict.body == case.body, how


async def test_a_fold_becomes_one_space() -> None:
    verdict = await judge([sized(b"A: x\r\n\t  y")])

    assert (b"a", b"x y") in verdict.headers


async def test_trailers_are_kept_apart() -> None:
    verdict = await judge([chunked(b"5\r\nhello\r\n0\r\nX-Count: 99\r\nX-Sum: 1\r\n\r\n")])

    assert verdict.trailers == [(b"x-count", b"99"), (b"x-sum", b"1")]
    assert b"x-sum" not in dict(verdict.headers)


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (sized()[:-2], "received 3 of 5 bytes"),
        (chunked(b"5\r\nhel"), "received 3 bytes, but no last chunk"),
    ],
)
async def test_a_cut_body_says_how_much_there_was(wire: bytes, message: str) -> None:
    verdict = await judge([wire], end="fin")

    assert message in verdict.message


@pytest.mark.parametrize(
    ("wire", "who"),
    [
        (b"\x15\x03\x01\0\x02\x02\x46", "the peer speaks TLS"),
        (b"\0\0\x12\x04\0\0\0\0\0", "the peer seems to speak HTTP/2"),
        (b"SSH-2.0-x\r\n", "the peer speaks SSH"),
    ],
)
async def test_a_wrong_protocol_is_named(wire: bytes, who: str) -> None:
    verdict = await judge([wire])

    assert who in verdict.message


async def test_errors_quote_little_and_escaped() -> None:
    verdict = await judge([b"\x1b[31mboo\n" * 100])

    assert len(verdict.message) < 400
    assert verdict.message.isprintable()


@pytest.mark.parametrize(
    ("value", "seconds", "close"),
    [
        (b"timeout=5", 5.0, None),
        (b"timeout=5, max=100", 5.0, None),
        (b"max=0", None, CloseReason.KEEPALIVE_HINT),
        (b"timeout=0", 0.0, None),
        (b"timeout=-1", 0.0, None),
        (b"timeout=1e99", None, None),
        (b'timeout="x"', None, None),
        (b"timeout=" + b"9" * 50, 1e9, None),
        (b"junk; timeout = 7 ;", 7.0, None),
        (b"notimeout=5", None, None),
    ],
)
async def test_keep_alive_hints(value: bytes, seconds: float | None, close: CloseReason | None) -> None:
    verdict = await judge([sized(b"Keep-Alive: " + value)])

    assert verdict.outcome.idle_hint == seconds
    assert verdict.outcome.close is close


async def test_a_head_of_the_largest_size_passes_and_one_byte_more_does_not() -> None:
    for extra, error in ((0, None), (1, RemoteProtocolError)):
        padding = 1000 - len(sized(b"A: ")) + len(b"hello") + extra
        verdict = await judge([sized(b"A: " + b"x" * padding)], max_head_size=1000)
        assert verdict.error is error
