"""A client settles what comes again once: nothing of one request may show in another, and little may stay."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import penstock
from penstock import LocalProtocolError, PoolClosed
from penstock._client.client import Client
from penstock._http.headers import Headers
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
            assert len(composer._settled) < 10
        for number in range(1000):
            await ask(client, "POST", f"{URL}?n={number}", headers={"x-number": f"{number}"}, json=number)
            await ask(client, "POST", f"{URL}?n={number}" + "x" * 5000, json=number)
            assert len(composer._settled) <= 256
        assert composer._find_url.cache_info().currsize <= 256
        await ask(client, "POST", f"{URL}?key=secret", headers={"authorization": "Bearer one"})
    assert not composer._known
    assert not composer._settled
    assert composer._find_url.cache_info().currsize == 0


async def test_a_closed_client_remembers_nothing_new() -> None:
    client = Client(FakePool(echo))  # type: ignore[arg-type]
    async with client:
        pass
    secret: Any = {"headers": {"authorization": "Bearer one"}}
    for attempt in (client.stream, client.sse):
        with pytest.raises(PoolClosed):
            attempt("POST", f"{URL}?key=secret", **secret)
    with pytest.raises(PoolClosed):
        await client.post(f"{URL}?key=secret", **secret)
    with pytest.raises(PoolClosed):
        await client.get(f"{URL}?key=secret")
    composer = client._composer
    assert not composer._known
    assert not composer._settled
    assert composer._find_url.cache_info().currsize == 0


async def test_the_clients_own_fields_may_be_large() -> None:
    async with Client(FakePool(echo), headers={"authorization": "x" * 5000}) as client:  # type: ignore[arg-type]
        first, second = await ask(client, "POST", json=1), await ask(client, "POST", json=2)
        assert first.wire.header_set is second.wire.header_set


def sent_fields(sent: Sent) -> list[tuple[bytes, bytes]]:
    fields: list[tuple[bytes, bytes]] = sent.wire.headers
    return fields


async def test_the_same_headers_are_checked_once_and_say_the_same_in_each_form() -> None:
    pairs = [("X-Key", "k"), ("accept", "text/plain")]
    forms: list[Any] = [
        dict(pairs),
        pairs,
        [list(pair) for pair in pairs],
        {name.encode(): value.encode() for name, value in pairs},
        MappingProxyType(dict(pairs)),
        Headers([(b"x-key", b"k"), (b"accept", b"text/plain")]),
    ]
    async with Client(FakePool(echo)) as client:  # type: ignore[arg-type]
        first = await ask(client, "POST", headers=forms[0], json=1)
        again = await ask(client, "POST", headers=dict(pairs), json=2)
        assert again.wire.header_set is first.wire.header_set
        for form in forms:
            assert sent_fields(await ask(client, "POST", headers=form, json=1)) == sent_fields(first)


async def test_headers_that_are_changed_are_sent_as_they_are_now() -> None:
    headers = {"x-number": "1"}
    async with Client(FakePool(echo)) as client:  # type: ignore[arg-type]
        assert (await ask(client, headers=headers)).headers["x-number"] == "1"
        headers["x-number"] = "2"
        assert (await ask(client, headers=headers)).headers["x-number"] == "2"


class AnyCase(str):
    """Equal to what says something else."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.lower() == other.lower()

    def __hash__(self) -> int:
        return hash(self.lower())


async def test_what_is_equal_but_of_another_type_is_looked_at_by_itself() -> None:
    async with Client(FakePool(echo)) as client:  # type: ignore[arg-type]
        await ask(client, headers={"x-key": "secret"})
        assert (await ask(client, headers={"x-key": AnyCase("SECRET")})).headers["x-key"] == "SECRET"
        assert (await ask(client, headers={"x-key": AnyCase("Secret")})).headers["x-key"] == "Secret"
        await ask(client, headers={"x-key": b"secret"})
        with pytest.raises(LocalProtocolError):
            await ask(client, headers={"x-key": memoryview(b"secret")})
        assert (await ask(client, url=AnyCase(URL))).url == URL
        assert (await ask(client, url=AnyCase(f"{URL}/A"))).url == f"{URL}/A"
        assert (await ask(client, url=AnyCase(f"{URL}/a"))).url == f"{URL}/a"


async def test_each_kind_of_content_has_its_own_fields() -> None:
    async with Client(FakePool(echo)) as client:  # type: ignore[arg-type]
        for _ in range(2):
            for options, content_type in (
                ({"json": 1}, "application/json"),
                ({"data": {"a": 1}}, "application/x-www-form-urlencoded"),
                ({"content": b"x"}, None),
                ({}, None),
                ({"json": 1, "headers": {"content-type": "text/x"}}, "text/x"),
            ):
                sent = await ask(client, "POST", **options)
                assert sent.headers.get("content-type") == content_type


@pytest.mark.parametrize(
    "headers", [{"x": "a\nb"}, {"x": " a"}, {"x y": "a"}, {"expect": "x"}, {"host": "a b"}, {"x": 1}, {"te": "x"}]
)
async def test_headers_that_must_not_be_sent_are_refused_each_time(headers: Any) -> None:
    async with Client(FakePool(echo)) as client:  # type: ignore[arg-type]
        for _ in range(2):
            with pytest.raises(LocalProtocolError):
                await ask(client, headers=headers)
        assert not client._composer._settled


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
