"""Runs one answer through one exchange and says what came of it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Literal, NamedTuple

from penstock._config import Timeouts
from penstock._errors import ProtocolReason, RemoteProtocolError, TransportError
from penstock._http.body import make_body
from penstock._http.h1 import HTTP1Connection
from penstock._http.request import build_request
from penstock._net.timer import PhaseTimer
from penstock._types import Origin

from .memory_stream import MemoryStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock._events import CloseReason
    from penstock._http.exchange import Outcome
    from penstock._http.request import WireRequest
    from penstock._types import HeaderList

ORIGIN = Origin("http", "example.com", 80)
End = Literal["open", "fin", "ragged", "reset"]


class Verdict(NamedTuple):
    """What an exchange made of an answer; `close` includes what a last look at the connection finds."""

    status: int | None
    body: bytes
    error: type[TransportError] | None
    reason: ProtocolReason | None
    close: CloseReason | None
    outcome: Outcome
    headers: HeaderList
    trailers: HeaderList
    message: str


def request(method: str = "GET", **options: object) -> WireRequest:
    """A small request."""
    headers = options.pop("headers", [])
    return build_request(ORIGIN, method, "/", headers, make_body(options.pop("content", None)))  # type: ignore[arg-type]


async def judge(
    segments: list[bytes],
    *,
    method: str = "GET",
    end: End = "open",
    max_head_size: int = 65536,
    max_head_fields: int = 256,
) -> Verdict:
    """Answer a request with these segments."""
    stream = MemoryStream(*segments)
    if end == "reset":
        stream.reset()
        stream._write_error = False
    elif end != "open":
        stream.feed_eof(clean=end == "fin")
    connection = HTTP1Connection(stream, max_head_size=max_head_size, max_head_fields=max_head_fields)
    exchange = connection.open_exchange()
    status: int | None = None
    headers: HeaderList = []
    body = bytearray()
    error: TransportError | None = None
    with PhaseTimer(Timeouts()) as timer:
        try:
            head = await exchange.send(request(method), timer)
            status, headers = head.status, head.headers
            while piece := await exchange.receive(timer):
                body += piece
        except TransportError as caught:
            error = caught
    assert exchange.outcome is not None
    assert (error is None) or exchange.outcome.close is not None
    return Verdict(
        status,
        bytes(body),
        None if error is None else type(error),
        error.reason if isinstance(error, RemoteProtocolError) else None,
        exchange.outcome.close or connection.look(),
        exchange.outcome,
        headers,
        exchange.trailers,
        str(error),
    )


def cut(data: bytes, seed: str) -> Iterator[tuple[str, list[bytes]]]:
    """The same bytes whole, byte by byte, and cut at random."""
    yield "whole", [data]
    yield "by byte", [data[at : at + 1] for at in range(len(data))]
    dice = random.Random(seed)
    for number in range(3):
        at, segments = 0, []
        while at < len(data):
            step = dice.randint(1, max(len(data) // 3, 1))
            segments.append(data[at : at + step])
            at += step
        yield f"random {number}", segments
