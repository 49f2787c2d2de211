"""Answers over HTTP/1.1, mostly good and often nearly good, for tests that compare who reads them."""

from __future__ import annotations

from hypothesis import strategies as st

_STATUS_LINES = [
    *[b"HTTP/1.1 200 OK"] * 8, b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified",
    b"HTTP/1.1 205 Reset", b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.1 200  two  words \t",
    b"HTTP/1.1 999 \xe9\xff", b"HTTP/1.1 404 a:b", b"HTTP/1.1 101 Switching", b"HTTP/1.1 099 X", b"HTTP/1.1 1000 X",
    b"HTTP/1.1 20 X", b"HTTP/1.1 200OK", b"HTTP/1.1 2 0 X", b"HTTP/1.1 +20 X", b"HTTP/1.2 200 OK", b"HTTP/2.0 200 OK",
    b"HTTP/0.9 200 OK", b"HTTP/1.1  200 OK", b"http/1.1 200 OK", b"RTSP/1.0 200 OK", b"ICE/1.0 200 OK", b"ICY 200 OK",
    b"HTTP/1.1 200 O\rK", b"HTTP/1.1 199 X",
]  # fmt: skip

_INTERIM = [
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n",
    b"HTTP/1.1 102 X\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 110 X\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"HTTP/1.0 100 X\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 100 X\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 100 X\r\nContent-Length: +1\r\n\r\n",
]

_FIELDS = [
    b"Server: nginx", b"Date: Sat, 21 Nov 2026 16:30:00 GMT", b"ETag: \"x\"", b"Set-Cookie: a=b", b"Set-Cookie: c=d",
    b"Connection: close", b"Connection: keep-alive", b"Connection: upgrade", b"Upgrade: h2c",
    b"Connection: a, CLOSE ,", b"Connection: \xff,close", b"Proxy-Connection: close", b"Keep-Alive: timeout=5, max=0",
    b"Keep-Alive: timeout=7", b"A:", b"A: ", b"A:b", b"A:\tb \t", b"A: \xe9\x80\xff", b"A: b\r\n c", b"A: b \r\n\t",
    b"!#$%&'*+-.^_`|~: x", b"A : b", b"A", b": b", b"A B: c", b" A: b", b"A\xe9: b", b"A(: b", b"\"A\": b",
    b"A: b\x00", b"A: \x01", b"A: \x7f", b"A: b\rc", b"A: b\nC: d", b"A: b\r", b"\r", b"Trailer: x", b"TE: trailers",
    b"Expect: 100-continue",
]  # fmt: skip

_LENGTHS = [
    *[b"Content-Length: 5"] * 4, b"content-length:5", b"Content-Length: 5 ", b"Content-Length:\t5",
    b"Content-Length: 0", b"Content-Length: 6", b"Content-Length: 05", b"Content-Length: +5", b"Content-Length: -5",
    b"Content-Length: 5_0", b"Content-Length: 0x5", b"Content-Length: 5, 5", b"Content-Length: 5,6",
    b"Content-Length:", b"Content-Length: 5 5", b"Content-Length: 5\r\n 0", b"Content-Length: 5\r\n ",
    b"Content-Length: 5;", b"Content-Length: \xb2", b"Content-Length: 18446744073709551615",
    b"Content-Length: 18446744073709551616", b"Content-Length: 99999999999999999999",
    b"Content-Length: 000000000000000000005", b"Content-Length : 5", b"Content_Length: 5",
]  # fmt: skip

_CODINGS = [
    *[b"Transfer-Encoding: chunked"] * 8, b"transfer-encoding:CHUNKED ", b"Transfer-Encoding: identity",
    b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, gzip", b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: gzip", b"Transfer-Encoding:", b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked;q=1", b"Transfer-Encoding: chunked\r\n , gzip", b"Transfer-Encoding: \"chunked\"",
    b"Transfer-Encoding: ,chunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding: chunked\r\n ",
    b"Transfer-Encoding:\x0bchunked",
]  # fmt: skip

_CHUNKS = [
    *[b"5\r\nhello\r\n"] * 4, b"1\r\nx\r\n", b"00A\r\n0123456789\r\n", b"a;n=v\r\n0123456789\r\n",
    b"5;n\r\nhello\r\n", b"5;n=\"a;b\"\r\nhello\r\n", b"5;n=\"\\\"\"\r\nhello\r\n", b"5 \r\nhello\r\n",
    b" 5\r\nhello\r\n", b"5;\r\nhello\r\n", b"5; n\r\nhello\r\n", b"5;n=\r\nhello\r\n", b"5;=v\r\nhello\r\n",
    b"5;n=\"a\r\nhello\r\n", b"5\nhello\r\n", b"5\r\nhello\n", b"5\r\nhelloX\r\n", b"6\r\nhello\r\n",
    b"4\r\nhello\r\n", b"+5\r\nhello\r\n", b"0x5\r\nhello\r\n", b"-5\r\nhello\r\n", b"\r\nhello\r\n",
    b"5\r\r\nhello\r\n", b"5;a\nb\r\nhello\r\n", b"5;n=\"\x01\"\r\nhello\r\n", b"5;\xff\r\nhello\r\n",
    b"0000000000000005\r\nhello\r\n", b"00000000000000005\r\nhello\r\n", b"FFFFFFFFFFFFFFFF\r\nhello\r\n",
    b"10000000000000005\r\nhello\r\n", b"5;" + b"n" * 5000 + b"\r\nhello\r\n", b"2\r\n\r\n\r\n", b"2\r\n0\r\r\n",
    b"1;" + b"n" * 3000 + b"\r\nx\r\n",
]  # fmt: skip

_LAST_CHUNKS = [*[b"0\r\n"] * 6, b"000\r\n", b"0;n=v\r\n", b"0 \r\n", b"0\n", b"0;\r\n", b""]

_TRAILERS = [
    *[b""] * 8, b"X-Sum: 1\r\n", b"X-Sum: 1\r\nx-sum: 2 \r\n", b"X: a\r\n b\r\n", b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"A : b\r\n", b"A\r\n", b": b\r\n", b" A: b\r\n", b"A: b\n", b"A: \x01\r\n",
    b"A: b\rc\r\n", b"Connection: close\r\n", b"X: " + b"y" * 600 + b"\r\n", b"a: b\r\n" * 40,
]  # fmt: skip

_AFTER = [*[b""] * 6, b"\r\n", b"\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\0", b"x" * 30]

#: What mutations put in.
_BYTES = [
    b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"\0", b"\x0b", b"0", b"5", b";", b",", b"\x80", b"a", b"\r\n\r\n",
    b"HTTP/",
]  # fmt: skip


#: How many of each list, from its beginning, are beyond reproach.
_GOOD = {
    id(_STATUS_LINES): 15,
    id(_INTERIM): 3,
    id(_FIELDS): 22,
    id(_LENGTHS): 7,
    id(_CODINGS): 9,
    id(_CHUNKS): 10,
    id(_LAST_CHUNKS): 8,
    id(_TRAILERS): 11,
    id(_AFTER): 6,
}


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """One answer, with what follows it; odd in one place at most, before a few bytes are changed."""
    odd = draw(st.sampled_from([None, None, _STATUS_LINES, _INTERIM, _FIELDS, _LENGTHS, _CODINGS, _CHUNKS, _TRAILERS]))

    def choose(choices: list[bytes]) -> bytes:
        is_odd = choices is odd or (odd is _TRAILERS and choices in (_LAST_CHUNKS, _AFTER))
        return choices[draw(st.integers(0, (len(choices) if is_odd else _GOOD[id(choices)]) - 1))]

    def some(choices: list[bytes], most: int) -> list[bytes]:
        return [choose(choices) for _ in range(draw(st.integers(0, most)))]

    interim = b"".join(some(_INTERIM, 2)) if odd is _INTERIM else b""
    is_chunked = odd in (_CODINGS, _CHUNKS, _TRAILERS) or draw(st.booleans())
    framing = [choose(_CODINGS if is_chunked else _LENGTHS)]
    if odd in (_LENGTHS, _CODINGS):
        framing += some(odd, 1) + some(_LENGTHS, 1)
    elif not is_chunked and draw(st.integers(0, 3)) == 0:
        framing = []
    lines = [choose(_STATUS_LINES), *draw(st.permutations([*some(_FIELDS, 4), *framing]))]
    body = b"hello"
    if is_chunked:
        body = b"".join(some(_CHUNKS, 4)) + choose(_LAST_CHUNKS) + choose(_TRAILERS) + b"\r\n"
    return _change(draw, interim + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body + choose(_AFTER))


def _change(draw: st.DrawFn, wire: bytes) -> bytes:
    """Delete, insert or replace a few bytes, mostly none."""
    for _ in range(max(0, draw(st.integers(-3, 2)))):
        at = draw(st.integers(0, len(wire)))
        end = at + draw(st.integers(0, 2))
        wire = wire[:at] + (draw(st.sampled_from(_BYTES)) if draw(st.booleans()) else b"") + wire[end:]
    return wire
