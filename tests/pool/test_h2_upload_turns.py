"""Uploads leave room to each other, and nothing behind."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock._http.h2_upload import HTTP2Upload
from tests.support.h2_peer import H2Peer, H2Script, serve
from tests.support.h2_server import H2Server, echo
from tests.support.scene import scene, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

MEGABYTE = 1 << 20


async def test_no_frame_is_large_however_much_the_server_takes(autojump_clock: MockClock) -> None:
    """nginx and Cloudflare take frames of 16 MiB, which would hold everybody else up."""

    async def script(peer: H2Peer) -> None:
        await peer.window_update(0, 16 * MEGABYTE)
        await serve(peer)

    server = H2Script(script, settings={"initial_window_size": 16 * MEGABYTE, "max_frame_size": (1 << 24) - 1})
    async with scene(server, http1=False) as s:
        await s.client.get(s.url)
        await s.client.post(s.url, content=bytes(MEGABYTE))
    sizes = [len(seen.frame.data) for seen in server.peers[0].of("DATA")]
    assert sum(sizes) == MEGABYTE
    assert max(sizes) == 65536


async def test_an_upload_that_is_cancelled_as_its_turn_comes_passes_the_turn_on(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(peer: H2Peer) -> None:
        await peer.head()
        await peer.head()
        await peer.wait(0.1)
        await peer.window_update(0, 1000)
        await peer.wait_closed()

    first = trio.CancelScope()
    wake = HTTP2Upload.wake

    def wake_and_cancel(upload: HTTP2Upload) -> None:
        wake(upload)
        first.cancel()

    server = H2Script(script, open_windows=False, settings={"initial_window_size": MEGABYTE})
    async with scene(server, http1=False) as s, trio.open_nursery() as nursery:

        async def upload(scope: trio.CancelScope) -> None:
            with scope:
                await s.client.post(s.url, content=bytes(100_000))

        nursery.start_soon(upload, first)
        await settle()
        monkeypatch.setattr(HTTP2Upload, "wake", wake_and_cancel)
        nursery.start_soon(upload, trio.CancelScope())
        await settle()
        assert first.cancelled_caught
        # Whether the first one still used it is a matter of who runs first.
        assert sum(len(request.body) for request in server.peers[0].requests.values()) == 65535 + 1000
        nursery.cancel_scope.cancel()


async def test_content_is_free_as_soon_as_it_was_sent(autojump_clock: MockClock) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"body"

    async with scene(H2Server(echo), http1=False) as s:
        await s.client.get(s.url)
        body = content()
        is_there = weakref.ref(body)
        gc.disable()
        try:
            response = await s.client.post(s.url, content=body)
            del body, response
            assert is_there() is None
        finally:
            gc.enable()


async def test_a_limit_that_falls_as_requests_are_handed_over_is_nobodys_failure(autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        request = await peer.request()
        async with peer.together():
            await peer.respond(request.stream, body=b"ok")
            await peer.settings(max_concurrent_streams=100)
        await peer.settings(max_concurrent_streams=0)
        await peer.wait(0.5)
        await peer.settings(max_concurrent_streams=100)
        await serve(peer)

    server = H2Script(script, settings={"max_concurrent_streams": 1})
    async with scene(server, http1=False, latency=0.001, max_connections_per_host=1) as s:
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(s.client.post, s.url)
        assert s.seen.of(penstock.events.EndpointUnhealthy) == []
        assert server.connections == 1
