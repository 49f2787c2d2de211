"""What a request of httpx, httpx2 or httpxyz says in its extensions: a target, a name for TLS, its place, a trace."""

from __future__ import annotations

import errno
import gc
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from penstock.httpx import PenstockTransport
from penstock.testing import serve_chunked, serve_ok
from tests.support.library_clients import LEFT_BEHIND, client_of, keep_head
from tests.support.scene import settle

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_a_name_for_tls_must_not_be_empty(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, tls=True) as (client, _):
        with pytest.raises(lib.LocalProtocolError, match="server_name must not be empty"):
            await client.get("/", extensions={"sni_hostname": ""})


async def test_a_target_goes_out_as_it_is(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, keep_head) as (client, _):
        odd = await client.get("/x", extensions={"target": b"/a//../b?%zz"})
        every = await client.options("/", extensions={"target": b"*"})

    assert odd.text.startswith("GET /a//../b?%zz HTTP/1.1\r\n")
    assert every.text.startswith("OPTIONS * HTTP/1.1\r\n")


async def test_extensions_that_nobody_knows_are_ignored(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib) as (client, _):
        response = await client.get("/", extensions={"nobody": "knows", "sni_hostname": "without.tls.test"})

        assert response.status_code == 200


async def test_a_place_in_the_queue_is_the_transports_or_the_requests(lib: Any, autojump_clock: MockClock) -> None:
    place = {"priority": 5, "tenant": "acme", "affinity": "talk"}
    async with client_of(lib, serve_ok(delay=4), transport=place, max_connections=1) as (client, s):

        async def ask(**extensions: Any) -> None:
            await client.get("/", timeout=None, extensions=extensions)

        async with trio.open_nursery() as nursery:
            for extensions in ({}, {}, {"penstock": {"priority": -1, "tenant": "other"}}):
                nursery.start_soon(partial(ask, **extensions))
                await trio.sleep(1)
            assert [(one.priority, one.tenant) for one in s.pool.explain()] == [(-1, "other"), (5, "acme")]


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ({"priority": 101}, ValueError),
        ({"priority": "1"}, TypeError),
        ({"tenant": 1}, TypeError),
        ({"affinity": 1}, TypeError),
        ({"prioriti": 1}, TypeError),
        (["priority"], TypeError),
    ],
)
async def test_a_wrong_place_is_refused(
    lib: Any, place: Any, error: type[Exception], autojump_clock: MockClock
) -> None:
    async with client_of(lib) as (client, s):
        with pytest.raises(error, match=r"priority|tenant|affinity"):
            await client.get("/", extensions={"penstock": place})
        if isinstance(place, dict):
            with pytest.raises(error):
                PenstockTransport(s.pool, **place)


async def test_a_trace_is_told_how_it_goes(lib: Any, autojump_clock: MockClock) -> None:
    told: list[tuple[str, dict[str, Any]]] = []

    async def trace(name: str, info: dict[str, Any]) -> None:
        told.append((name, info))

    async with client_of(lib, serve_chunked([b"x"] * 3, every=1)) as (client, s):
        await client.get("/", extensions={"trace": trace})
        assert [name for name, _ in told] == [
            "penstock.exchange.started",
            "penstock.exchange.complete",
            "http11.receive_response_headers.complete",
            "http11.receive_response_body.started",
            "http11.receive_response_body.complete",
            "http11.response_closed.started",
            "http11.response_closed.complete",
        ]
        version, status, reason, headers = dict(told)["http11.receive_response_headers.complete"]["return_value"]
        assert (version, status, reason, headers) == (b"HTTP/1.1", 200, b"OK", [(b"transfer-encoding", b"chunked")])
        s.network.route("192.0.2.2", errno=errno.ECONNREFUSED)
        told.clear()
        with pytest.raises(lib.ConnectError):
            await client.get("http://nowhere.test", extensions={"trace": trace})
        assert [name for name, _ in told] == ["penstock.exchange.started", "penstock.exchange.failed"]


@LEFT_BEHIND
@pytest.mark.parametrize(
    "at", ["penstock.exchange.complete", "http11.receive_response_body.started", "http11.response_closed.started"]
)
async def test_a_trace_that_raises_leaves_nothing_behind(lib: Any, at: str, autojump_clock: MockClock) -> None:
    async def trace(name: str, _: dict[str, Any]) -> None:
        if name == at:
            raise KeyError("mine")

    async with client_of(lib, serve_chunked([b"x"] * 100, every=1)) as (client, s):
        with pytest.raises(KeyError, match="mine"):
            async with client.stream("GET", "/", extensions={"trace": trace}) as response:
                pieces = response.stream.__aiter__()
                if hasattr(pieces, "aclose"):
                    async for _ in pieces:
                        break
        gc.collect()
        await settle()
        assert s.pool.statistics().active == 0
