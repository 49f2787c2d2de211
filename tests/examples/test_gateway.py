"""The gateway of the examples: its clients, a provider behind it, and what happens when one of them goes away."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve

import penstock
from tests.support.examples import EXAMPLES, load_example
from tests.support.fake_provider import TEXT, FakeProvider, running_provider
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytest.importorskip("starlette")


class Served(NamedTuple):
    """The gateway while it runs, and a client of it."""

    app: Any
    client: penstock.Client


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with running_provider() as provider:
        yield provider


@asynccontextmanager
async def gateway(provider_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{provider_url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "the-gateways-own")
    app = load_example("gateway").app
    config = Config()
    config.bind = ["127.0.0.1:0"]
    # Otherwise what goes wrong in the application is told nobody.
    config.errorlog = logging.getLogger("hypercorn.error")
    config.graceful_timeout = 1.0
    leave = trio.Event()
    async with trio.open_nursery() as nursery:

        async def run(*, task_status: trio.TaskStatus[list[str]]) -> None:  # noqa: ASYNC128 - hypercorn calls it
            await serve(app, config, shutdown_trigger=leave.wait, task_status=task_status)  # type: ignore[arg-type]

        (url,) = await nursery.start(run)
        async with penstock.Client(base_url=url, headers={"Authorization": "Bearer a-clients"}) as client:
            yield Served(app, client)
        leave.set()
    # The pool has ended with its application.
    assert app.state.pool.statistics().total == 0


def question(model: str, *, stream: bool = False) -> dict[str, Any]:
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": "What is a penstock?"}]}


async def test_an_answer_is_passed_on_and_the_keys_stay_apart(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway(provider.url, monkeypatch) as served:
        response = await served.client.post("/v1/chat/completions", json=question("ok"), headers={"X-Tenant": "acme"})
        assert response.json()["choices"][0]["message"]["content"] == TEXT
        assert [name for name in response.headers if len(response.headers.get_list(name)) > 1] == []
        (asked,) = provider.asked
        assert asked.headers["authorization"] == "Bearer the-gateways-own"
        assert "x-tenant" not in asked.headers
        figures = (await served.client.get("/statistics")).json()
        assert (figures["active"], figures["idle"], figures["released"]) == (0, 1, 1)


async def test_events_are_passed_on_as_they_come(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway(provider.url, monkeypatch) as served:
        for _ in range(5):
            async with served.client.sse("POST", "/v1/chat/completions", json=question("ok", stream=True)) as events:
                data = [event.data async for event in events]
            assert data[-1] == "[DONE]"
            said = [json.loads(one)["choices"][0]["delta"].get("content") or "" for one in data[:-1]]
            assert "".join(said) == TEXT
        assert provider.connections == 1


async def test_a_client_that_leaves_takes_its_request_along(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway(provider.url, monkeypatch) as served:
        with trio.CancelScope() as scope:
            async with served.client.sse("POST", "/v1/chat/completions", json=question("slow", stream=True)) as events:
                await anext(events)
                left_at = time.monotonic()
                scope.cancel()
                await trio.lowlevel.checkpoint()
        await wait_until(lambda: provider.asked[0].gone_at is not None, seconds=5)
        gone_at = provider.asked[0].gone_at
        assert gone_at is not None
        # Long before it would have ended by itself, which takes ten seconds.
        assert gone_at - left_at < 1
        await wait_until(lambda: served.app.state.pool.statistics().active == 0, seconds=5)


async def test_a_refusal_is_asked_for_again(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway(provider.url, monkeypatch) as served:
        response = await served.client.post("/v1/chat/completions", json=question("429-then-ok"))
        assert response.status_code == 200
        assert len(provider.asked) == 2


async def test_a_refusal_that_stays_is_the_clients(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway(provider.url, monkeypatch) as served:
        response = await served.client.post("/v1/chat/completions", json=question("500"))
        assert (response.status_code, response.json()["error"]["type"]) == (500, "refused")
        assert len(provider.asked) == 3


async def test_an_answer_that_breaks_off_breaks_off(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway(provider.url, monkeypatch) as served:
        with pytest.raises((penstock.ReadError, penstock.RemoteProtocolError)):
            await served.client.post("/v1/chat/completions", json=question("cut", stream=True))
        await wait_until(lambda: served.app.state.pool.statistics().active == 0, seconds=5)


async def test_a_provider_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_provider() as gone:
        url = gone.url
    async with gateway(url, monkeypatch) as served:
        response = await served.client.post("/v1/chat/completions", json=question("ok"))
        assert (response.status_code, response.json()["error"]["type"]) == (502, "ConnectError")


async def test_a_question_that_is_too_large(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway(provider.url, monkeypatch) as served:
        response = await served.client.post("/v1/chat/completions", content=bytes(11 * 1024 * 1024))
        assert response.status_code == 413
        assert provider.asked == []


async def test_a_client_that_leaves_while_it_asks(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway(provider.url, monkeypatch) as served:
        with trio.CancelScope() as scope:

            async def pieces() -> AsyncIterator[bytes]:
                yield b"{"
                # What was given out is on its way.
                scope.cancel()
                await trio.lowlevel.checkpoint()

            await served.client.post("/v1/chat/completions", content=pieces())
        assert scope.cancelled_caught
        assert (await served.client.post("/v1/chat/completions", json=question("ok"))).status_code == 200
    assert len(provider.asked) == 1
    assert caplog.records == []


async def test_it_ends_when_it_is_told_to(provider: FakeProvider) -> None:
    """The program itself, in a process of its own: what is under way is finished, and nothing is complained about."""
    environment = {
        **os.environ,
        "OPENAI_BASE_URL": f"{provider.url}/v1",
        "OPENAI_API_KEY": "the-gateways-own",
        "BIND": "127.0.0.1:0",
    }
    command = [sys.executable, str(EXAMPLES / "gateway.py")]
    process = await trio.lowlevel.open_process(command, env=environment, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = b""
    try:
        with trio.fail_after(60):
            while (running := re.search(rb"Running on (http://\S+)", said)) is None:
                piece = await process.stderr.receive_some()
                assert piece, said
                said += piece
        async with penstock.Client(base_url=running[1].decode()) as client:
            assert (await client.get("/statistics")).status_code == 200
            async with client.sse("POST", "/v1/chat/completions", json=question("late-end", stream=True)) as events:
                await anext(events)
                process.terminate()
                data = [event.data async for event in events]
            assert data[-1] == "[DONE]"
        with trio.fail_after(20):
            assert await process.wait() == 0
            async for piece in process.stderr:
                said += piece
        assert b"Traceback" not in said
    finally:
        process.kill()
        await process.stderr.aclose()
