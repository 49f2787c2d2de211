"""Requests of httpx, httpx2 and httpxyz that are sent again, and content that can be read once."""

from __future__ import annotations

import io
import types
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.httpx import PenstockTransport
from penstock.testing import ScriptedPeer
from tests.support.library_clients import client_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trio.testing import MockClock


async def busy_once(peer: ScriptedPeer) -> None:
    """Answers 503 to the first request it hears, and says how long the others were."""
    while True:
        request = await peer.expect_request()
        if len(peer.requests) > 1:
            await peer.respond(200, (), b"%d" % len(request.body))
        else:
            await peer.respond(503, [(b"retry-after", b"1")], b"")


class NoSeek:
    """A file that can be read once."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)
        self.read = self._file.read

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0) -> int:
        raise io.UnsupportedOperation


@pytest.mark.parametrize("kind", ["bytes", "in memory", "on disk"])
async def test_a_form_with_files_is_sent_again(lib: Any, kind: str, tmp_path: Path, autojump_clock: MockClock) -> None:
    path = tmp_path / "audio"
    path.write_bytes(b"audio" * 50_000)
    file: Any = b"audio" if kind == "bytes" else io.BytesIO(path.read_bytes())
    with path.open("rb") as opened:
        await post_twice(lib, opened if kind == "on disk" else file)


async def post_twice(lib: Any, file: Any) -> None:
    async with client_of(lib, busy_once, transport={"retry": penstock.RetryPolicy()}) as (client, s):
        response = await client.post("/", files={"file": ("a.wav", file)}, data={"model": "m"})
        assert response.status_code == 200
        (record,) = response.extensions["penstock"]["retries"]
        assert (record.attempt, record.reason.value, record.status) == (1, "status", 503)
        first, second = s.network.peers[0].requests
        assert first.body == second.body
        assert len(first.body) > 200


async def test_content_that_can_be_read_once_is_not(lib: Any, autojump_clock: MockClock) -> None:
    async def generator() -> AsyncIterator[bytes]:
        yield b"a"

    async def busy(peer: ScriptedPeer) -> None:
        while True:
            await peer.expect_request()
            await peer.respond(503, (), b"")

    async with client_of(lib, busy, transport={"retry": penstock.RetryPolicy()}) as (client, _):
        for options in (
            {"content": generator()},
            {"files": {"file": NoSeek(b"a")}},
            {"files": {"file": types.SimpleNamespace(read=io.BytesIO(b"a").read)}},
        ):
            response = await client.post("/", **options)
            told = response.extensions["penstock"]
            assert (response.status_code, told["retries"]) == (503, ())
            assert told["retry_refusal"] is penstock.events.RetryRefusal.BODY_CONSUMED


async def test_a_form_of_a_library_that_hides_its_class_is_sent_once(
    lib: Any, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.delattr(f"{lib.__name__}._multipart.MultipartStream")
    monkeypatch.setattr("penstock.httpx._library._libraries", {})
    async with client_of(lib, busy_once, transport={"retry": penstock.RetryPolicy()}) as (client, _):
        assert (await client.post("/", files={"file": b"audio"})).status_code == 503


async def test_content_in_memory_is_replayed_on_a_connection_that_went_stale(
    lib: Any, autojump_clock: MockClock
) -> None:
    async def goes_stale(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.respond(200, (), b"ok")
        if len(peer.requests) == 1 and peer is s.network.peers[0]:
            await peer.expect_head()
            peer.rst()
        else:
            await peer.wait_closed()

    async with client_of(lib, goes_stale) as (client, s):
        await client.put("/", content=b"one")
        response = await client.put("/", content=b"two")

        assert response.text == "ok"
        assert response.extensions["penstock"]["attempt"] == 2


async def test_a_retry_policy_is_used_where_it_is_given(lib: Any, autojump_clock: MockClock) -> None:
    async def refuses_once(peer: ScriptedPeer) -> None:
        for status in (503, 200, 503):
            await peer.expect_request()
            await peer.respond(status, (), b"")

    async with client_of(lib, refuses_once, transport={"retry": penstock.RetryPolicy()}) as (client, _):
        response = await client.get("/")
        assert response.status_code == 200
        assert response.extensions["penstock"]["attempt"] == 2
        plain = lib.AsyncClient(transport=PenstockTransport(client._transport._pool))
        assert (await plain.get("http://api.test/")).status_code == 503
