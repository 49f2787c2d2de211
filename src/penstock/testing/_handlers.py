"""Servers that are ready to use: each function makes a handler for `FakeNetwork.listen`.

A handler ends when the client leaves. What a handler has no parameter for is easily written by hand:

    async def teapot(peer: ScriptedPeer) -> None:
        while True:
            await peer.expect_request()
            await peer.respond(418)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._peer import chunk, head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .._types import HeaderList
    from ._peer import Handler, Pieces, ScriptedPeer


def serve_ok(body: bytes = b"ok", *, headers: Sequence[tuple[bytes, bytes]] = (), delay: float = 0.0) -> Handler:
    """Answer every request with 200 and `body`, `delay` seconds after it came; keep the connection alive."""

    async def handler(peer: ScriptedPeer) -> None:
        while True:
            await peer.expect_request()
            if delay:
                await peer.wait(delay)
            await peer.respond(200, headers, body)

    return handler


def serve_echo() -> Handler:
    """Answer every request with its own body; its method and target are in `x-method` and `x-target`."""

    async def handler(peer: ScriptedPeer) -> None:
        while True:
            request = await peer.expect_request()
            about = [(b"x-method", request.method), (b"x-target", request.target)]
            await peer.respond(200, about, request.body)

    return handler


def serve_raw(
    response: bytes, *, pieces: Pieces = None, every: float = 0.0, then: Callable[[ScriptedPeer], object] | None = None
) -> Handler:
    """Answer every request with the bytes given, right or wrong.

    Args:
        response: what to send.
        pieces: how to cut it, as in `ScriptedPeer.send`.
        every: seconds between pieces.
        then: called after the first answer, which then was the last: `ScriptedPeer.fin`, `ScriptedPeer.rst`,
            `ScriptedPeer.close`.
    """

    async def handler(peer: ScriptedPeer) -> None:
        while True:
            await peer.expect_request()
            await peer.send(response, pieces=pieces, every=every)
            if then is not None:
                then(peer)
                await peer.wait_closed()
                return

    return handler


def serve_then_close(count: int = 1, *, body: bytes = b"ok", announce: bool = True) -> Handler:
    """Answer `count` requests, then close; with `announce`, the last answer says so in `Connection: close`."""

    async def handler(peer: ScriptedPeer) -> None:
        for left in reversed(range(count)):
            await peer.expect_request()
            last: HeaderList = [(b"connection", b"close")] if announce and not left else []
            await peer.respond(200, last, body)
        peer.fin()

    return handler


def serve_then_close_idle(seconds: float, *, count: int = 1, body: bytes = b"ok", reset: bool = False) -> Handler:
    """Answer `count` requests, then close without a word `seconds` later, while the connection is idle."""

    async def handler(peer: ScriptedPeer) -> None:
        for _ in range(count):
            await peer.expect_request()
            await peer.respond(200, (), body)
        await peer.wait(seconds)
        peer.rst() if reset else peer.fin()

    return handler


def serve_then_say(unsolicited: bytes, *, after: float | None = 0.0, body: bytes = b"ok") -> Handler:
    """Answer one request, then say something nobody asked for, and keep the connection open.

    Args:
        unsolicited: what to say.
        after: seconds after the answer; None says it in the same piece as the answer's end.
        body: of the answer.
    """

    async def handler(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        answer = head(200, [(b"content-length", b"%d" % len(body))]) + body
        if after is None:
            await peer.send(answer + unsolicited)
        else:
            await peer.send(answer)
            await peer.wait(after)
            await peer.send(unsolicited)
        await peer.wait_closed()

    return handler


def serve_chunked(
    chunks: Sequence[bytes],
    *,
    every: float = 0.0,
    headers: Sequence[tuple[bytes, bytes]] = (),
    trailers: Sequence[tuple[bytes, bytes]] = (),
) -> Handler:
    """Answer every request with a chunked body, one chunk every `every` seconds, then trailers."""

    async def handler(peer: ScriptedPeer) -> None:
        while True:
            await peer.expect_request()
            await peer.send(head(200, [*headers, (b"transfer-encoding", b"chunked")]))
            for data in chunks:
                await peer.wait(every)
                await peer.send(chunk(data))
            ending = b"".join(name + b": " + value + b"\r\n" for name, value in trailers)
            await peer.send(b"0\r\n" + ending + b"\r\n")

    return handler


def serve_events(events: Iterable[bytes], *, every: float = 0.0) -> Handler:
    """Answer every request with server-sent events: each of `events` becomes the data of one, in a chunk of its own."""
    blocks = [b"".join(b"data: " + line + b"\n" for line in event.split(b"\n")) + b"\n" for event in events]
    return serve_chunked(blocks, every=every, headers=[(b"content-type", b"text/event-stream")])


def serve_early(
    status: int = 413,
    *,
    headers: Sequence[tuple[bytes, bytes]] = (),
    then: Callable[[ScriptedPeer], object] | None = None,
) -> Handler:
    """Answer every request as soon as its head is there, before its body.

    Args:
        status: of the answer.
        headers: of the answer.
        then: what to do instead of reading the body and going on: `ScriptedPeer.fin`, `rst` or `close`.
    """

    async def handler(peer: ScriptedPeer) -> None:
        while True:
            await peer.expect_head()
            await peer.respond(status, headers)
            if then is not None:
                then(peer)
                await peer.wait_closed()
                return
            await peer.expect_body()

    return handler


def serve_in_turn(*handlers: Handler) -> Handler:
    """Give the first connection to the first handler, the second to the second; the last one takes all further ones."""
    turns = iter(handlers[:-1])

    async def handler(peer: ScriptedPeer) -> None:
        await next(turns, handlers[-1])(peer)

    return handler


async def stall(peer: ScriptedPeer) -> None:
    """A handler that accepts, reads nothing and says nothing."""
    await peer.stall()
