"""A provider of language models: OpenAI's chat completions and responses, Anthropic's messages, plain and as events.

An ASGI application on hypercorn, in a thread with a trio run of its own, so that a test may use the same loop for
nothing but what it tests, and a program that calls `trio.run` itself may be run against it. It speaks HTTP/1.1, and
HTTP/2 over TLS where that is offered.

The name of the model says how it behaves:

- "ok": answers at once;
- "slow": one word every 20 ms, for 10 s;
- "late-end": ends its stream 30 ms after the last event;
- "429", "500", …: refuses with that status, always; "429-then-ok", …: only the first request for it;
- "stall": takes the request and says nothing; "stall-body": says nothing after the first word;
- "cut": breaks the connection after the first word.
"""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from tests.support.certificates import authority

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    Message = dict[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

WORDS = ("warm", " water", " runs")
TEXT = "".join(WORDS)


@attrs.define(eq=False)
class Asked:
    """One request as the provider saw it; times are those of `time.monotonic`.

    Attributes:
        path: of the request.
        model: what was asked.
        connection: the client's address, which tells connections apart.
        http_version: "1.1" or "2".
        headers: lower-case names.
        gone_at: when the client vanished before it had the whole answer; None if it did not.
    """

    path: str
    model: str
    connection: tuple[str, int]
    http_version: str
    headers: dict[str, str]
    gone_at: float | None = None


class FakeProvider:
    """The application, and what it saw.

    Attributes:
        url: where it listens, without a path.
        asked: every request, in order.
    """

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Asked] = []

    @property
    def connections(self) -> int:
        """On how many connections requests came."""
        return len({one.connection for one in self.asked})

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # hypercorn asks for a lifespan, and goes on without one.
            raise RuntimeError("this application has no lifespan")
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        question = json.loads(body or b"{}")
        one = Asked(
            scope["path"],
            str(question.get("model", "")),
            tuple(scope["client"]),
            scope["http_version"],
            {name.decode(): value.decode() for name, value in scope["headers"]},
        )
        self.asked.append(one)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, one, receive, nursery.cancel_scope)
            await self._answer(one, question, send)
            nursery.cancel_scope.cancel()

    async def _watch(self, one: Asked, receive: Receive, scope: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        one.gone_at = time.monotonic()
        scope.cancel()

    async def _answer(self, one: Asked, question: Message, send: Send) -> None:
        refusal = re.fullmatch(r"(\d{3})(-then-ok)?", one.model)
        asked_before = sum(other.model == one.model for other in self.asked) > 1
        if refusal and not (refusal[2] and asked_before):
            error = {"error": {"type": "refused", "message": f"refused with {refusal[1]}"}, "type": "error"}
            # So that no test has to wait for what a client would do by itself.
            await _send_whole(send, int(refusal[1]), error, [(b"retry-after-ms", b"10")])
            return
        if one.model == "stall":
            await trio.sleep_forever()
        speak = _SPEAKERS.get(one.path)
        if speak is None:
            await _send_whole(send, 404, {"error": {"message": f"nothing is at {one.path}"}}, [])
            return
        plain, before, word, after = speak(one.model)
        if not question.get("stream"):
            await _send_whole(send, 200, plain, [])
            return
        await _send_head(send, 200, b"text/event-stream", [])
        pause, count = (0.02, 500) if one.model == "slow" else (0.0, len(WORDS))
        await _send_piece(send, before)
        for index in range(count):
            await trio.sleep(pause)
            await _send_piece(send, word(WORDS[index % len(WORDS)]))
            if one.model == "stall-body":
                await trio.sleep_forever()
            if one.model == "cut":
                raise RuntimeError("the provider breaks the connection")
        await _send_piece(send, after)
        if one.model == "late-end":
            await trio.sleep(0.03)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


# ---- what the APIs say -----------------------------------------------------------------------------------------------


def _event(data: Message, name: str | None = None) -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(data).encode() + b"\n\n"


Speech = tuple["Message", bytes, "Callable[[str], bytes]", bytes]


def _chat(model: str) -> Speech:
    about = {"id": "chatcmpl-1", "created": 1, "model": model}

    def chunk(delta: Message, reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return _event({**about, "object": "chat.completion.chunk", "choices": [choice]})

    message = {"role": "assistant", "content": TEXT, "refusal": None}
    plain = {
        **about,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4},
    }
    return (
        plain,
        chunk({"role": "assistant", "content": ""}),
        lambda word: chunk({"content": word}),
        chunk({}, "stop") + b"data: [DONE]\n\n",
    )


def _responses(model: str) -> Speech:
    content = {"type": "output_text", "text": TEXT, "annotations": []}
    output = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [content]}
    plain = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": model,
        "status": "completed",
        "output": [output],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    empty = {**plain, "status": "in_progress", "output": []}

    def event(name: str, **data: Any) -> bytes:
        return _event({"type": name, "sequence_number": 0, **data}, name)

    return (
        plain,
        event("response.created", response=empty),
        lambda word: event("response.output_text.delta", item_id="msg_1", output_index=0, content_index=0, delta=word),
        event("response.completed", response=plain),
    )


def _messages(model: str) -> Speech:
    usage = {"input_tokens": 1, "output_tokens": 3}
    about = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "usage": usage}
    plain = {**about, "content": [{"type": "text", "text": TEXT}], "stop_reason": "end_turn", "stop_sequence": None}
    begun = {**about, "content": [], "stop_reason": None, "stop_sequence": None}

    def event(name: str, **data: Any) -> bytes:
        return _event({"type": name, **data}, name)

    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    return (
        plain,
        event("message_start", message=begun)
        + event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        lambda word: event("content_block_delta", index=0, delta={"type": "text_delta", "text": word}),
        event("content_block_stop", index=0)
        + event("message_delta", delta=stop, usage={"output_tokens": 3})
        + event("message_stop"),
    )


_SPEAKERS = {"/v1/chat/completions": _chat, "/v1/responses": _responses, "/v1/messages": _messages}


async def _send_head(send: Send, status: int, kind: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), *headers]})


async def _send_piece(send: Send, piece: bytes) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": True})


async def _send_whole(send: Send, status: int, value: Message, headers: list[tuple[bytes, bytes]]) -> None:
    content = json.dumps(value).encode()
    await _send_head(send, status, b"application/json", [(b"content-length", b"%d" % len(content)), *headers])
    await send({"type": "http.response.body", "body": content, "more_body": False})


# ---- running it ------------------------------------------------------------------------------------------------------


@contextmanager
def running_provider(directory: Path | None = None) -> Iterator[FakeProvider]:
    """Run a provider on a free port of 127.0.0.1, in a thread of its own.

    Args:
        directory: an empty directory for a certificate for "localhost" and 127.0.0.1; TLS is spoken then.
    """
    provider = FakeProvider()
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    config.graceful_timeout = 0.1
    if directory is not None:
        certificate = directory / "provider.pem"
        authority().issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
        config.certfile = config.keyfile = str(certificate)
    ready = threading.Event()
    stops: list[Callable[[], object]] = []

    async def main() -> None:
        token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            stops.append(lambda: token.run_sync_soon(nursery.cancel_scope.cancel))
            urls = await nursery.start(_serve, provider, config)
            provider.url = urls[0] if directory is None else urls[0].replace("127.0.0.1", "localhost")
            ready.set()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    if not ready.wait(30):
        raise RuntimeError("the provider did not come up")
    try:
        yield provider
    finally:
        stops[0]()
        thread.join()


async def _serve(  # noqa: ASYNC128 - hypercorn calls it
    provider: FakeProvider, config: Config, *, task_status: trio.TaskStatus[list[str]]
) -> None:
    await serve(provider, config, shutdown_trigger=trio.sleep_forever, task_status=task_status)  # type: ignore[arg-type]
