"""A client over the transport, cancelled at any step, leaves nothing behind."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest
import trio

from penstock.httpx import PenstockTransport
from penstock.testing import serve_chunked, serve_ok, serve_then_close
from tests.support.library_clients import LEFT_BEHIND
from tests.support.scene import assert_at_rest, scene, settle
from tests.support.slow_uploads import by_and_by
from tests.support.sweep import Sweep, cancel_sweep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from penstock.testing import Handler


async def get(client: Any) -> None:
    assert (await client.get("/victim")).status_code == 200


async def read_by_and_by(client: Any) -> None:
    async with client.stream("GET", "/victim") as response:
        stream = response.stream
        try:
            async for _ in response.aiter_raw():
                await trio.sleep(0.001)
        finally:
            await stream.aclose()


async def upload(client: Any) -> None:
    await client.post("/victim", content=by_and_by())


async def traced(client: Any) -> None:
    async def trace(_name: str, _info: dict[str, Any]) -> None:
        await trio.sleep(0.001)

    await client.get("/victim", extensions={"trace": trace})


SWEPT: dict[str, tuple[Handler, Callable[[Any], Awaitable[None]]]] = {
    "whole answer": (serve_ok(delay=0.01), get),
    "connections that end": (serve_then_close(1), get),
    "stream": (serve_chunked([b"x"] * 3, every=0.01), read_by_and_by),
    "upload": (serve_ok(), upload),
    "trace": (serve_chunked([b"x"] * 2, every=0.01), traced),
}


@LEFT_BEHIND
@pytest.mark.parametrize("case", SWEPT)
def test_a_cancel_at_any_step_leaves_nothing_behind(case: str) -> None:
    import httpx2

    handler, work = SWEPT[case]

    async def scenario(sweep: Sweep) -> None:
        async with (
            scene(handler, max_connections=1, max_connections_per_host=1) as s,
            httpx2.AsyncClient(transport=PenstockTransport(s.pool), base_url=s.url) as client,
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.get, "/rival")
                with sweep.victim_scope():
                    await work(client)
            gc.collect()
            await settle()
            assert_at_rest(s.pool, s.network)
            with trio.fail_after(10):
                assert (await client.get("/after")).status_code == 200

    cancel_sweep(scenario, seeds=range(1), at_most=120)
