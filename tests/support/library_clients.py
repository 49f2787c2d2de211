"""Clients of httpx, httpx2 and httpxyz over a pool, and what must hold when they are done."""

from __future__ import annotations

import gc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from penstock.httpx import PenstockTransport
from penstock.testing import ScriptedPeer
from tests.support.scene import Scene, assert_at_rest, scene, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from penstock.testing import Handler

LIBRARIES = ["httpx", "httpx2", "httpxyz"]

#: Where their own generators are left unfinished they leave them to the garbage collector, and trio says so.
LEFT_BEHIND = pytest.mark.filterwarnings(r"ignore:Async generator '(httpx|httpx2|httpxyz)\..*:ResourceWarning")


@asynccontextmanager
async def client_of(
    lib: Any, handler: Handler | None = None, *, transport: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[tuple[Any, Scene]]:
    """A client of the library over a pool, at the end of which nothing is in use."""
    async with scene(handler, **settings) as s:
        async with lib.AsyncClient(transport=PenstockTransport(s.pool, **transport or {}), base_url=s.url) as client:
            yield client, s
        gc.collect()
        await settle()
        assert_at_rest(s.pool, s.network)


async def keep_head(peer: ScriptedPeer) -> None:
    """Answers with the bytes of the request's head."""
    while True:
        start = len(peer.received)
        await peer.expect_request()
        await peer.respond(200, (), bytes(peer.received[start:]).partition(b"\r\n\r\n")[0])
