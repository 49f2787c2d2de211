"""The ASGI application that `hypercorn_server` runs in a child process, and the child itself.

GET /small          15 bytes
GET /bytes/N        N bytes
GET /slow/SECONDS   15 bytes, after a while
GET /drip/N         N pieces of one byte, 0.01 seconds apart, without a length
GET /events/N       N server-sent events, "event 0" to "event N-1", 0.01 seconds apart
GET /status/CODE    this status, without a body
GET /about          "HTTP-VERSION SCHEME METHOD PATH"
POST /echo          the upload, piece by piece as it comes
"""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

SMALL = b"a small answer\n"
_PIECE = 65536


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    _, name, *rest = scope["path"].split("/")
    value = rest[0] if rest else ""
    match name:
        case "small":
            await _answer(send, SMALL)
        case "bytes":
            await _answer_long(send, int(value))
        case "slow":
            await trio.sleep(float(value))
            await _answer(send, SMALL)
        case "drip":
            await _pieces(send, [b"."] * int(value))
        case "events":
            events = [b"data: event %d\n\n" % number for number in range(int(value))]
            await _pieces(send, events, b"text/event-stream")
        case "status":
            await _answer(send, b"", int(value))
        case "about":
            about = f"{scope['http_version']} {scope['scheme']} {scope['method']} {scope['path']}"
            await _answer(send, about.encode())
        case "echo":
            await _echo(receive, send)
        case _:
            await _answer(send, b"", 404)


async def _start(send: Send, status: int, *fields: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(fields)})


async def _body(send: Send, body: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _answer(send: Send, body: bytes, status: int = 200) -> None:
    await _start(send, status, (b"content-length", b"%d" % len(body)))
    await _body(send, body, more=False)


async def _answer_long(send: Send, size: int) -> None:
    await _start(send, 200, (b"content-length", b"%d" % size))
    for start in range(0, size, _PIECE):
        await _body(send, b"x" * min(_PIECE, size - start), more=True)
    await _body(send, b"", more=False)


async def _pieces(send: Send, pieces: list[bytes], kind: bytes = b"text/plain") -> None:
    await _start(send, 200, (b"content-type", kind))
    for piece in pieces:
        await _body(send, piece, more=True)
        await trio.sleep(0.01)
    await _body(send, b"", more=False)


async def _echo(receive: Receive, send: Send) -> None:
    await _start(send, 200)
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
        await _body(send, message["body"], more=more)


async def _terminated() -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            return


def main(settings: str) -> None:
    """Serve until SIGTERM. `settings` is JSON, of `hypercorn.config.Config`."""
    from hypercorn.config import Config
    from hypercorn.trio import serve

    async def run() -> None:
        await serve(app, Config.from_mapping(json.loads(settings)), shutdown_trigger=_terminated, mode="asgi")  # type: ignore[arg-type]

    trio.run(run)


if __name__ == "__main__":
    main(sys.argv[1])
