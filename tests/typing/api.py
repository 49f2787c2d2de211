"""A program that uses the public surface; it is type-checked and never run."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any, Unpack, assert_type

import penstock
from penstock import events
from penstock.testing import FakeNetwork, serve_ok


class Log:
    """An instrument."""

    def event(self, event: events.Event) -> None:
        if isinstance(event, events.ConnectionClosed):
            assert_type(event.reason, penstock.CloseReason)


async def settings() -> None:
    penstock.PoolConfig(max_connections=10, min_idle=2, read_timeout=None, reuse="round_robin")
    assert_type(penstock.PoolConfig.from_env(), penstock.PoolConfig)
    penstock.TLSConfig(minimum_version="TLSv1.2", trust=ssl.create_default_context())
    penstock.PoolConfig(proxy="http://user:word@proxy.test:3128")
    penstock.PoolConfig(proxy={"https://": penstock.Proxy("socks5h://proxy.test", username="user"), "all://a": None})
    penstock.Upstream("https://a.test", proxy="direct")
    proxy: penstock.Proxy | None = penstock.ProxyRules.from_env().find(penstock.Origin("https", "a.test", 443))
    penstock.PoolConfig(proxy=proxy)
    penstock.TLSConfig(trust=("/etc/ssl/one.pem", "/etc/ssl/certs"))
    penstock.TLSConfig(pins={"*.example.com": ["sha256/" + "A" * 43 + "="]}, ciphers=["TLS_AES_128_GCM_SHA256"])
    penstock.Upstream("https://api.example.com", min_idle=1, unix_socket="/run/api.sock")
    penstock.Timeouts(read=120)


async def pool() -> None:
    log = Log()
    async with penstock.Pool(penstock.PoolConfig(), upstreams=["https://api.example.com"]) as pool:
        assert_type(pool, penstock.Pool)
        await pool.prewarm("https://api.example.com", count=5)
        async with pool.acquire("https://api.example.com", priority=0, tenant="acme") as lease:
            assert_type(lease, penstock.Lease)
            request = await lease.start("POST", "/v1/audio", headers={"x-a": "b"}, trailers=lambda: {"x-sum": "1"})
            assert_type(request, penstock.PushedRequest)
            assert_type(await request.send(b"x"), bool)
            await request.finish()
            assert_type(await lease.read(), bytes)
        assert_type(pool.statistics(), penstock.Statistics)
        assert_type(pool.explain(), list[penstock.Explanation])
        pool.suspend()
        pool.resume()
        pool.renew()
        pool.add_instrument(log)
        pool.remove_instrument(log)
        await pool.drain()
        await pool.aclose()


async def numbers() -> AsyncIterator[bytes]:
    yield b"1"


async def client(pool: penstock.Pool) -> None:
    async with penstock.Client(pool=pool, base_url="https://api.example.com/v1", headers={"x-key": "1"}) as client:
        assert_type(client, penstock.Client)
        response = await client.post(
            "/chat", json={"a": 1}, timeout=penstock.Timeouts(read=120), priority=0, tenant="acme"
        )
        assert_type(response, penstock.Response)
        with open("speech.wav", "rb") as speech:  # noqa: ASYNC230, PTH123
            await client.post("/a", data={"model": "m"}, files={"file": speech})
            await client.post("/a", files=[("file", ("a.wav", numbers(), "audio/wav")), ("b", b"x")])
        assert_type(response.status_code, int)
        assert_type(response.headers, penstock.Headers)
        assert_type(response.content, bytes)
        assert_type(response.text, str)
        assert_type(response.json(), Any)
        assert_type(response.raise_for_status(), penstock.Response)
        await client.put("/file", content=numbers())
        await client.post("/form", data={"a": "1"})
        await client.put("/file", content=numbers(), trailers={"x-sum": "1"})
        await client.put("/file", content=numbers(), trailers=lambda: [("x-sum", "1")])
        assert_type(response.trailers, penstock.Headers)
        async with client.stream("GET", "/file") as streamed:
            assert_type(streamed, penstock.Response)
            async for chunk in streamed.aiter_bytes():
                assert_type(chunk, bytes)
            async for line in streamed.aiter_lines():
                assert_type(line, str)
        async with client.json_lines("POST", "/generate", json={}) as values:
            assert_type(values, penstock.JSONLineStream)
            async for value in values:
                assert_type(value, Any)
        policy = penstock.Reconnect(max_attempts=3)
        async with client.sse("POST", "/chat", json={}, event_timeout=5.0, reconnect=policy) as events:
            assert_type(events.last_event_id, str)
            assert_type(events.retry, int | None)
            async for event in events:
                assert_type(event, penstock.ServerSentEvent)
                assert_type(event.data, str)


async def ask(client: penstock.Client, url: str, **options: Unpack[penstock.RequestOptions]) -> penstock.Response:
    return await client.get(url, **options)


async def ask_patiently(client: penstock.Client, url: str, patience: penstock.TimeoutArgument = None) -> None:
    assert_type(await ask(client, url, timeout=patience, tenant="acme"), penstock.Response)
    async with client.sse("GET", url, timeout=patience) as events:
        await last(events)


async def last(events: penstock.EventStream) -> str:
    return [event.data async for event in events][-1]


async def errors(client: penstock.Client) -> None:
    try:
        await client.get("https://api.example.com")
    except penstock.PoolTimeout as error:
        assert_type(error.ledger, dict[str, int])
    except penstock.TimeoutException as error:
        assert_type(error.limit, str | None)
        assert_type(error.seconds, float | None)
    except penstock.ContentTypeError as error:
        assert_type(error.content_type, str)
    except penstock.RequestError as error:
        assert_type(error.origin, penstock.Origin | None)


async def testing() -> None:
    async with FakeNetwork(latency=0.01) as network:
        network.listen("api.example.com", 80, serve_ok(b"hello"))
        async with penstock.Pool(network=network):
            pass
