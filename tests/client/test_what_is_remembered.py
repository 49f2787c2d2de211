"""A client settles what comes again once: nothing of one request may show in another, and little may stay."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

import penstock
from penstock import LocalProtocolError
from penstock._client.client import Client
from penstock.testing import FakeNetwork, serve_echo, serve_ok

from .fake_pool import Answer, FakePool, Sent

URL = "https://api.test/items"


def echo(sent: Sent) -> Answer:
    return Answer(200, {}, b"")


async def ask(client: Client, method: str = "GET", url: Any = URL, **options: Any) -> Sent:
    await client.request(method, url, **options)
    pool: Any = client._given
    sent: Sent = pool.sent[-1]
    return sent


async def test_the_same_request_is_settled_once_and_is_the_same_again() -> None:
    async with Client(FakePool(echo), headers={"x-key": "k"}) as client:  # type: ignore[arg-type]
        first, second = await ask(client), await ask(client)
        assert first.wire is second.wire
        assert first.headers == second.headers
        assert first.headers["x-key"] == "k"


async def test_what_one_request_adds_does_not_stay() -> None:
    async with Client(FakePool(echo), headers={"x-key": "k"}) as client:  # type: ignore[arg-type]
        plain = (await ask(client)).headers
        for options in (
            {"headers": {"authorization": "Bearer one"}},
            {"headers": {"connection": "close"}},
            {"params": {"q": "1"}},
            {"json": {"a": 1}},
            {"content": b"x", "trailers": {"x-sum": "1"}},
        ):
            await ask(client, "POST", **options)
            again = await ask(client)
            assert again.headers == plain
            assert again.url == URL
            assert not again.wire.wants_close


async def test_fields_that_come_again_go_with_each_content() -> None:
    async with Client(FakePool(echo)) as client:  # type: ignore[arg-type]
        headers = {"authorization": "Bearer one"}
        for content in (b"a", b"bcd", b""):
            sent = await ask(client, "POST", headers=headers, content=content)
            assert sent.headers["content-length"] == str(len(content))
            assert sent.wire.head.count(b"\r\n\r\n") == 1
        other = await ask(client, "POST", "https://other.test/items", headers=headers, content=b"a")
        assert other.headers["host"] == "other.test"


@pytest.mark.parametrize(
    ("method", "url", "error"),
    [
        ("get", URL, LocalProtocolError),
        (["GET"], URL, TypeError),
        ("GET", [URL], TypeError),
        ("GET", None, TypeError),
        ("GET", "/items", penstock.InvalidURL),
    ],
)
async def test_what_is_wrong_is_wrong_each_time(method: Any, url: Any, error: type[Exception]) -> None:
    async with Client(FakePool(echo)) as client:  # type: ignore[arg-type]
        for _ in range(2):
            with pytest.raises(error):
                await ask(client, method, url)


async def test_what_is_remembered_is_bounded_and_goes_with_the_client() -> None:
    client = Client(FakePool(echo))  # type: ignore[arg-type]
    composer = client._composer
    async with client:
        for number in range(1000):
            await ask(client, url=f"{URL}?n={number}")
            await ask(client, headers={"cookie": f"{number}" + "x" * 5000})
            assert len(composer._known) <= 256
        assert composer._check_fields.cache_info().currsize < 10
        await ask(client, headers={"authorization": "Bearer one"})
    assert not composer._known
    assert composer._check_fields.cache_info().currsize == 0


async def test_a_body_that_comes_with_its_head_meets_the_same_limits(autojump_clock: MockClock) -> None:
    async with FakeNetwork() as network:
        network.listen("a.test", 80, serve_ok(b"x" * 100))
        async with (
            penstock.Pool(network=network) as pool,
            penstock.Client(pool=pool, max_content_size=99) as small,
            penstock.Client(pool=pool, max_content_size=100) as large,
        ):
            with pytest.raises(penstock.RemoteProtocolError, match="larger than max_content_size"):
                await small.get("http://a.test")
            assert (await large.get("http://a.test")).content == b"x" * 100
            assert pool.statistics().active == 0


async def test_many_requests_leave_one_record_in_the_watchdog(autojump_clock: MockClock) -> None:
    async with FakeNetwork() as network:
        network.listen("a.test", 80, serve_echo())
        async with penstock.Pool(network=network) as pool, penstock.Client(pool=pool) as client:
            for _ in range(200):
                await client.get("http://a.test")
            running = pool._running
            assert running is not None
            assert len(running.watchdog._timers._heap) == 1
            assert len(running.watchdog.idle_guards) == 1
            await trio.sleep(100)
            assert len(running.watchdog._timers._heap) == 0
