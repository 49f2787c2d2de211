"""Trailers of a request: what may be one, when they are asked for, and how HTTP/1.1 sends them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from penstock._config import Timeouts
from penstock._errors import LocalProtocolError
from penstock._events import CloseReason
from penstock._http.body import make_body
from penstock._http.h1 import HTTP1Connection
from penstock._http.headers import Headers
from penstock._http.request import WireRequest, build_request, encode_last_chunk
from penstock._http.trailers import make_trailers
from penstock._net.timer import PhaseTimer
from penstock._types import HeaderList, Origin
from tests.support.h11_peer import H11Peer
from tests.support.memory_stream import MemoryStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ORIGIN = Origin("https", "example.com", 443)
SUM: HeaderList = [(b"x-sum", b"7")]


def build(trailers: Any, *, method: str = "POST", content: Any = None, headers: Any = ()) -> WireRequest:
    return build_request(ORIGIN, method, "/", headers, make_body(content), trailers=make_trailers(trailers))


# What may be a trailer


@pytest.mark.parametrize(
    "given",
    [{"X-Sum": "7"}, [("X-Sum", "7")], [(b"x-sum", b"7")], Headers(SUM), iter([("X-Sum", "7")])],
    ids=["mapping", "pairs", "bytes", "headers", "iterator"],
)
def test_trailers_are_passed_as_headers_are(given: Any) -> None:
    request = build(given)
    assert request.final_trailers() == SUM
    # A replay sends them again.
    assert request.final_trailers() == SUM


@pytest.mark.parametrize(
    "name",
    [
        "Content-Length", "Transfer-Encoding", "Trailer", "TE", "Connection", "Host", "Max-Forwards", "Cache-Control",
        "Range", "If-Match", "Authorization", "Proxy-Authorization", "Cookie", "Content-Type", "Content-Encoding",
        "Content-Range", "Expect", "Upgrade", "Keep-Alive", "Proxy-Connection", ":path", "", "a b",
    ],
)  # fmt: skip
def test_fields_that_have_to_come_first_are_refused(name: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        build({name: "x"})
    assert caught.value.request_sent == "no"
    asked = build(lambda: {name: "x"})
    with pytest.raises(LocalProtocolError):
        asked.final_trailers()


@pytest.mark.parametrize("name", ["Content-Digest", "Content-MD5", "Repr-Digest", "Server-Timing", "X-Signature"])
def test_fields_that_depend_on_the_content_are_not(name: str) -> None:
    assert build({name: "x"}).final_trailers() == [(name.lower().encode(), b"x")]


@pytest.mark.parametrize("value", ["a\r\nb", "a\0", " a", "a ", "\u0100"])
def test_bad_values_are_refused(value: str) -> None:
    for trailers in ({"x-sum": value}, lambda: {"x-sum": value}):
        with pytest.raises(LocalProtocolError):
            build(trailers).final_trailers()


@pytest.mark.parametrize("given", ["x-sum: 7", b"x", 7, [7], ["ab"]])
def test_what_is_neither_a_mapping_nor_pairs_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="trailers must be "):
        build(given)
    with pytest.raises(LocalProtocolError, match="trailers must be "):
        build(lambda: given).final_trailers()


def test_an_async_function_is_refused_at_once() -> None:
    async def ask() -> dict[str, str]:
        return {}

    with pytest.raises(TypeError, match="plain function"):
        build(ask)


@pytest.mark.parametrize("nothing", [None, {}, [], ()])
def test_no_field_is_no_trailers(nothing: Any) -> None:
    request = build(nothing, content=b"hello")
    assert request.trailers is None
    assert request.final_trailers() == []
    assert request.content_length == 5


def test_representations_show_no_values() -> None:
    assert "hunter2" not in repr(build({"x-token": "hunter2"}).trailers)


# Framing


def test_trailers_make_it_chunked_and_are_announced() -> None:
    request = build([("X-Sum", "7"), ("x-more", "1"), ("X-Sum", "8")], content=b"hello")
    assert request.content_length is None
    assert request.headers == [
        (b"host", b"example.com"), (b"trailer", b"x-sum, x-more"), (b"transfer-encoding", b"chunked"),
    ]  # fmt: skip


def test_a_caller_announces_what_nobody_else_can_know() -> None:
    assert all(name != b"trailer" for name, _ in build(lambda: SUM).headers)
    for trailers in (SUM, lambda: SUM):
        announced = build(trailers, headers=[("Trailer", "X-Sum, X-Other")])
        assert [value for name, value in announced.headers if name == b"trailer"] == [b"X-Sum, X-Other"]


def test_a_length_of_the_callers_own_does_not_go_with_them() -> None:
    for content in (b"hello", [b"hello"]):
        with pytest.raises(LocalProtocolError, match="trailers and the header content-length"):
            build(SUM, content=content, headers=[("Content-Length", "5")])
    assert build(SUM, content=b"hello", headers=[("Transfer-Encoding", "chunked")]).content_length is None


def test_trace_has_none() -> None:
    with pytest.raises(LocalProtocolError, match="TRACE must not have content"):
        build(SUM, method="TRACE")


def test_the_last_chunk() -> None:
    assert encode_last_chunk([]) == b"0\r\n\r\n"
    assert encode_last_chunk([(b"x-sum", b"7"), (b"x-empty", b"")]) == b"0\r\nX-Sum: 7\r\nX-Empty: \r\n\r\n"


# On the wire


async def send(request: WireRequest, *, window: int | None = None) -> MemoryStream:
    stream = MemoryStream()
    stream.window = window
    peer = H11Peer(stream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.serve, 1)
        exchange = HTTP1Connection(stream).open_exchange()
        with PhaseTimer(Timeouts()) as timer:
            await exchange.send(request, timer)
            while await exchange.receive(timer):
                pass
    assert exchange.outcome is not None
    assert exchange.outcome.close is None
    assert exchange.request_sent == "fully"
    (received,) = peer.requests
    assert received.trailers == request.final_trailers()
    return stream


@pytest.mark.parametrize("make", [lambda: None, lambda: b"hello", lambda: [b"hel", b"lo"], lambda: iter([b"hello"])])
@pytest.mark.parametrize("trailers", [SUM, lambda: SUM])
async def test_they_follow_the_last_chunk(make: Callable[[], Any], trailers: Any) -> None:
    stream = await send(build(trailers, content=make()))
    assert stream.sent.endswith(b"\r\n0\r\nX-Sum: 7\r\n\r\n")


async def test_a_request_without_content_has_them_as_well() -> None:
    stream = await send(build(SUM, method="GET"))
    assert stream.sent.partition(b"\r\n\r\n")[2] == b"0\r\nX-Sum: 7\r\n\r\n"


async def test_they_are_asked_for_when_the_content_was_sent() -> None:
    size = 0

    def pieces() -> Iterator[bytes]:
        nonlocal size
        for _ in range(3):
            size += 5
            yield b"hello"

    stream = MemoryStream()
    heads_before: list[bytes] = []

    def ask() -> dict[str, str]:
        heads_before.append(bytes(stream.sent))
        return {"X-Size": str(size)}

    peer = H11Peer(stream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.serve, 1)
        with PhaseTimer(Timeouts()) as timer:
            await HTTP1Connection(stream).open_exchange().send(build(ask, content=pieces()), timer)
    (sent,) = heads_before
    assert sent.endswith(b"5\r\nhello\r\n" * 3)
    assert peer.requests[0].trailers == [(b"x-size", b"15")]


def fails() -> HeaderList:
    raise KeyError("mine")


@pytest.mark.parametrize(
    ("ask", "error"),
    [(fails, KeyError), (lambda: {"host": "x"}, LocalProtocolError), (lambda: 7, LocalProtocolError)],
)
async def test_what_goes_wrong_there_closes_the_connection(ask: Any, error: type[Exception]) -> None:
    stream = MemoryStream()
    exchange = HTTP1Connection(stream).open_exchange()
    with PhaseTimer(Timeouts()) as timer, pytest.raises(error) as caught:
        await exchange.send(build(ask, content=b"hello"), timer)
    if isinstance(caught.value, LocalProtocolError):
        assert caught.value.request_sent == "partly"
    assert exchange.outcome is not None
    assert (exchange.outcome.close, exchange.outcome.failed) == (CloseReason.DISCARDED, False)
    assert not stream.sent.endswith(b"0\r\n\r\n")
