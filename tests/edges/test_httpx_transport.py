"""The transport itself: whose it is, whom it serves, what it refuses, how it is closed."""

from __future__ import annotations

import importlib
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

import penstock
from penstock.httpx import PenstockTransport
from tests.support.library_clients import LIBRARIES, client_of
from tests.support.scene import scene

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_a_proxy_of_the_client_goes_around_the_transport(lib: Any) -> None:
    """Documented, because nothing can be done about it: the library asks this transport for nothing."""
    heard: list[bytes] = []

    async def proxy(stream: trio.SocketStream) -> None:
        heard.append(await stream.receive_some(4096))
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nproxy")
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), proxy, 0)
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with penstock.Pool() as pool:
            for options in ({"proxy": url}, {"mounts": {"all://": lib.AsyncHTTPTransport(proxy=url)}}):
                async with lib.AsyncClient(transport=PenstockTransport(pool), **options) as client:
                    response = await client.get("http://nowhere.invalid/x")
                assert response.text == "proxy"
                assert "penstock" not in response.extensions
            assert pool.statistics().counts.acquires == 0
        nursery.cancel_scope.cancel()
    assert len(heard) == 2


async def test_closing_a_client_leaves_the_pool_to_others(lib: Any, autojump_clock: MockClock) -> None:
    async with scene() as s:
        transport = PenstockTransport(s.pool)
        for _ in range(2):
            async with lib.AsyncClient(transport=transport, base_url=s.url) as client:
                assert (await client.get("/")).text == "ok"
        assert s.requests_per_connection == [2]


async def test_closing_a_client_closes_the_pool_where_that_is_wanted(lib: Any, autojump_clock: MockClock) -> None:
    async with scene() as s:
        async with lib.AsyncClient(transport=PenstockTransport(s.pool, close_pool=True), base_url=s.url) as client:
            await client.get("/")
        assert s.pool.statistics().phase == "closed"


async def test_one_transport_serves_all_libraries_at_once(autojump_clock: MockClock) -> None:
    async with scene() as s:
        transport = PenstockTransport(s.pool)
        for name in LIBRARIES:
            async with importlib.import_module(name).AsyncClient(transport=transport) as client:
                assert (await client.get(s.url)).text == "ok"
        assert s.requests_per_connection == [3]
        assert "over <Pool" in repr(transport)


async def test_subclasses_of_a_librarys_requests_are_served_and_strangers_are_not(
    lib: Any, autojump_clock: MockClock
) -> None:
    class Mine(lib.Request):  # type: ignore[misc]
        pass

    async with scene() as s:
        transport = PenstockTransport(s.pool)
        response = await transport.handle_async_request(Mine("GET", s.url))
        assert await response.aread() == b"ok"
        with pytest.raises(TypeError, match="one of httpx, httpx2 or httpxyz"):
            await transport.handle_async_request(object())


@pytest.mark.parametrize(
    "arguments", [{"pool": None}, {"pool": "http://api.test"}, {"close_pool": 1}, {"retry": 3}, {"priority": 1.5}]
)
async def test_a_wrong_argument_is_refused(arguments: dict[str, Any], autojump_clock: MockClock) -> None:
    async with scene() as s:
        with pytest.raises(TypeError, match=next(iter(arguments))):
            PenstockTransport(**{"pool": s.pool, **arguments})


async def test_over_http2(lib: Any, autojump_clock: MockClock) -> None:
    from tests.support.h2_peer import H2Peer, H2Script

    async def answers(peer: H2Peer) -> None:
        for _ in range(2):
            request = await peer.request()
            await peer.headers(request.stream, [(b":status", b"200")])
            await peer.data(request.stream, bytes(request.body) or b"none", end_stream=True)
        await peer.wait_closed()

    script = H2Script(answers)
    told: list[str] = []

    async def trace(name: str, _: dict[str, Any]) -> None:
        told.append(name)

    async with client_of(lib, script, http1=False) as (client, _):
        response = await client.get("/", extensions={"trace": trace})
        assert (response.http_version, response.text) == ("HTTP/2", "none")
        assert response.reason_phrase == "OK"
        assert (await client.post("/", json=1)).text == "1"

    assert "http2.receive_response_headers.complete" in told
    fields = dict(script.peers[0].requests[1].fields)
    assert fields[b":authority"] == b"api.test"
    assert b"connection" not in fields
