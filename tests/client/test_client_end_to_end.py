"""The client over a real pool: on real sockets of 127.0.0.1, and on a network in memory where time matters."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock.testing import (
    FakeNetwork,
    serve_chunked,
    serve_early,
    serve_echo,
    serve_events,
    serve_ok,
    serve_raw,
    stall,
)
from tests.support.server import ScriptServer

if TYPE_CHECKING:
    from penstock.testing import ScriptedPeer


async def test_requests_reuse_one_connection() -> None:
    async with ScriptServer(serve_echo()) as server, penstock.Client(base_url=server.url) as client:
        for method in ("get", "post", "put", "patch", "delete", "options"):
            response = await getattr(client, method)("/x", params={"a": "b"}, json={"n": [1, "ü"]})
            assert response.raise_for_status().json() == {"n": [1, "ü"]}
            assert response.headers["x-method"] == method.upper()
            assert response.headers["x-target"] == "/x?a=b"
        assert (await client.head("/x")).content == b""
        assert (await client.get("/x")).content == b""
    assert server.connections == 1
    assert server.requests_per_connection == [8]


async def test_a_chunked_stream_with_trailers() -> None:
    handler = serve_chunked([b"one\n", b"two\r", b"\nthree"], trailers=[(b"x-sum", b"42")])
    async with ScriptServer(handler) as server, penstock.Client() as client:
        async with client.stream("GET", server.url) as response:
            assert [line async for line in response.aiter_lines()] == ["one", "two", "three"]
            assert response.trailers["x-sum"] == "42"
        async with client.stream("GET", server.url) as response:
            assert [piece async for piece in response.aiter_bytes(4)] == [b"one\n", b"two\r", b"\nthr", b"ee"]
    assert server.connections == 1


async def test_events_broken_off_at_the_last_one_keep_the_connection() -> None:
    async with ScriptServer(serve_events([b'{"a": 1}', b"[DONE]"])) as server, penstock.Client() as client:
        for _ in range(5):
            async with client.sse("POST", server.url, json={}) as events:
                found = []
                async for event in events:
                    if event.data == "[DONE]":
                        break
                    found.append(event.json())
            assert found == [{"a": 1}]
    assert server.connections == 1


async def test_an_early_refusal_arrives_while_uploading() -> None:
    async with ScriptServer(serve_early(413)) as server, penstock.Client() as client:
        response = await client.post(server.url, content=b"x" * 10_000_000)
    assert response.status_code == 413


async def test_a_redirect_to_another_server_takes_no_credentials() -> None:
    async with ScriptServer(serve_echo()) as other:
        location = f"HTTP/1.1 307 Moved\r\nLocation: {other.url}/there\r\nContent-Length: 0\r\n\r\n".encode()
        async with ScriptServer(serve_raw(location)) as server, penstock.Client(follow_redirects=True) as client:
            response = await client.post(server.url, content=b"body", headers={"Authorization": "Bearer secret"})
            assert response.url == f"{other.url}/there"
            assert response.content == b"body"
            assert response.headers["x-method"] == "POST"
            first, second = (one.peers[0].requests[0].headers for one in (server, other))
    assert b"authorization" in dict(first)
    assert b"authorization" not in dict(second)
    assert dict(second)[b"host"] == other.url.removeprefix("http://").encode()


async def test_an_exception_leaves_the_client_as_itself() -> None:
    async def main() -> None:
        async with penstock.Client() as client, ScriptServer(serve_ok()) as server:
            await client.get(server.url)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await main()


async def test_many_clients_share_a_pool_and_leave_it_open() -> None:
    async with ScriptServer(serve_ok()) as server, penstock.Pool() as pool:
        for _ in range(3):
            async with penstock.Client(pool) as client:
                assert (await client.get(server.url)).text == "ok"
        assert server.connections == 1
        async with pool.acquire(server.url):
            pass


async def test_a_stream_closed_in_a_cancelled_scope_gives_its_slot_back() -> None:
    config = penstock.PoolConfig(max_connections=1, max_connections_per_host=1)
    handler = serve_chunked([b"x" * 1000] * 1000)
    async with ScriptServer(handler) as server, penstock.Client(config=config) as client:
        for _ in range(3):
            with trio.CancelScope() as scope:
                async with client.stream("GET", server.url) as response:
                    await anext(response.aiter_bytes())
                    scope.cancel()
        response = await client.get(server.url)
        assert len(response.content) == 1_000_000


async def test_a_forgotten_stream_warns_and_gives_its_slot_back() -> None:
    config = penstock.PoolConfig(max_connections=1, max_connections_per_host=1)
    async with ScriptServer(serve_chunked([b"x"] * 3)) as server, penstock.Client(config=config) as client:

        async def open_and_break() -> None:
            response = await client.stream("GET", f"{server.url}/leak?key=secret").__aenter__()
            async for _ in response.aiter_bytes():
                break

        async def forget() -> None:
            await open_and_break()
            gc.collect()

        with pytest.warns(ResourceWarning, match=r"GET http://127.0.0.1:\d+/leak\?… was dropped"):
            await forget()
        assert (await client.get(server.url)).content == b"xxx"


async def test_a_silent_server_times_out(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    network.add_host("api.example", "192.0.2.1")
    network.listen("192.0.2.1", 80, stall)
    async with network, penstock.Pool(network=network) as pool, penstock.Client(pool) as client:
        started = trio.current_time()
        with pytest.raises(penstock.ReadTimeout, match=r"read_timeout of 7 s .* \[http://api.example\]"):
            await client.get("http://api.example", timeout=7)
        assert trio.current_time() - started == pytest.approx(7)
        with pytest.raises(penstock.ReadTimeout, match="total_timeout of 3 s"):
            await client.get("http://api.example", timeout=penstock.Timeouts(total=3))
        with trio.move_on_after(1000) as scope:
            await client.get("http://api.example", timeout=None)
        assert scope.cancelled_caught


async def test_a_stream_that_goes_silent_times_out(autojump_clock: trio.testing.MockClock) -> None:
    async def speak_and_stop(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        for _ in range(3):
            await peer.wait(20)
            await peer.send(b": alive\n")
        await peer.stall()

    network = FakeNetwork()
    network.add_host("api.example", "192.0.2.1")
    network.listen("192.0.2.1", 80, speak_and_stop)
    async with network, penstock.Pool(network=network) as pool, penstock.Client(pool) as client:
        started = trio.current_time()
        async with client.sse("GET", "http://api.example") as events:
            assert (await anext(events)).data == "1"
            with pytest.raises(penstock.ReadTimeout, match="read_timeout of 30 s"):
                await anext(events)
        assert trio.current_time() - started == pytest.approx(90)


async def test_a_refused_connection_names_the_origin() -> None:
    async with ScriptServer(serve_ok()) as server:
        url = server.url
    async with penstock.Client() as client:
        with pytest.raises(penstock.ConnectError, match=url) as caught:
            await client.get(f"{url}/path")
    assert str(caught.value.origin) == url
