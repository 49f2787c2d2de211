"""What goes out for what a caller passes, and what is refused before anything goes out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import version
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._client.client import Client
from penstock._client.request import Composer
from penstock._config import PoolConfig, Timeouts
from penstock._errors import (
    ConnectError,
    InvalidURL,
    LocalProtocolError,
    PenstockError,
    PoolClosed,
    UnsupportedProtocol,
)
from penstock._http.headers import Headers
from penstock._types import Origin

from .fake_pool import Answer, FakePool, Sent


def echo(sent: Sent) -> Answer:
    return Answer(200, {}, b"ok")


@pytest.fixture
def pool() -> FakePool:
    return FakePool(echo)


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "head", "options"])
async def test_each_method_sends_itself(pool: FakePool, method: str) -> None:
    client = Client(pool)  # type: ignore[arg-type]
    response = await getattr(client, method)("https://example.com/path")
    assert response.status_code == 200
    assert response.content == b"ok"
    (sent,) = pool.sent
    assert (sent.method, sent.url) == (method.upper(), "https://example.com/path")
    assert pool.leases[0].ended == "finished"


async def test_default_headers(pool: FakePool) -> None:
    await Client(pool).get("https://example.com")  # type: ignore[arg-type]
    headers = pool.sent[0].headers
    assert headers.pop("accept-encoding").startswith("gzip")
    assert headers == {"host": "example.com", "accept": "*/*", "user-agent": f"penstock/{version('penstock')}"}


async def test_headers_of_client_and_request_replace_each_other(pool: FakePool) -> None:
    client = Client(pool, headers={"User-Agent": "mine", "X-Key": "client"})  # type: ignore[arg-type]
    await client.get("https://example.com", headers={"x-KEY": "request", "X-More": "é"})
    await client.get("https://example.com", headers=[("X-Key", "1"), ("Accept", "text/plain")])
    await client.get("https://example.com", headers={b"X-Key": b"bytes"})  # type: ignore[dict-item]
    await client.get("https://example.com")
    first, second, third, last = (sent.headers for sent in pool.sent)
    assert (first["user-agent"], first["x-key"], first["x-more"]) == ("mine", "request", "é")
    assert (second["x-key"], second["accept"]) == ("1", "text/plain")
    assert third["x-key"] == "bytes"
    assert last["x-key"] == "client"
    assert "x-more" not in last


async def test_what_a_caller_does_to_the_headers_of_a_request_does_not_reach_the_next(pool: FakePool) -> None:
    client = Client(pool)  # type: ignore[arg-type]
    response = await client.get("https://h/")
    response.request.headers.raw.append((b"x", b"a\r\nInjected: 1"))
    await client.get("https://h/")
    first, second = pool.sent
    assert first.wire.headers == second.wire.headers
    assert b"x" not in dict(second.wire.headers)


async def test_a_repeated_header_stays_repeated(pool: FakePool) -> None:
    await Client(pool).get("https://h", headers=[("X-A", "1"), ("x-a", "2")])  # type: ignore[arg-type]
    await Client(pool).get("https://h", headers=Headers([(b"x-a", b"1"), (b"x-a", b"2")]))  # type: ignore[arg-type]
    for sent in pool.sent:
        assert [value for name, value in sent.wire.headers if name == b"x-a"] == [b"1", b"2"]


async def test_requests_to_many_origins_keep_their_hosts(pool: FakePool) -> None:
    client = Client(pool)  # type: ignore[arg-type]
    for number in range(300):
        await client.get(f"https://host{number}.example/{number}")
    await client.get("https://host0.example/again")
    assert [sent.headers["host"] for sent in pool.sent[:300]] == [f"host{n}.example" for n in range(300)]
    assert pool.sent[300].url == "https://host0.example/again"


async def test_base_url_and_params(pool: FakePool) -> None:
    client = Client(pool, base_url="https://api.example.com/v1", params={"version": 1})  # type: ignore[arg-type]
    await client.get("/chat", params={"q": "a b"})
    await client.get("chat?x=y")
    await client.get("https://other.example/?a=b", params=[("c", "d")])
    assert [sent.url for sent in pool.sent] == [
        "https://api.example.com/v1/chat?version=1&q=a+b",
        "https://api.example.com/v1/chat?x=y&version=1",
        "https://other.example/?a=b&version=1&c=d",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [({"a": [1, "ü"]}, '{"a":[1,"ü"]}'), ([], "[]"), ("text", '"text"'), (0, "0"), (False, "false")],
)
async def test_json_is_sent_compact(pool: FakePool, value: Any, expected: str) -> None:
    await Client(pool).post("https://h", json=value)  # type: ignore[arg-type]
    (sent,) = pool.sent
    assert sent.body.decode() == expected
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["content-length"] == str(len(expected.encode()))


async def test_a_json_encoder_of_the_callers_may_return_bytes(pool: FakePool) -> None:
    client = Client(pool, json_dumps=lambda value: json.dumps(value).encode())  # type: ignore[arg-type]
    await client.post("https://h", json={"a": 1})
    assert pool.sent[0].body == b'{"a": 1}'


@pytest.mark.parametrize("value", [float("nan"), {"a": float("inf")}])
async def test_json_has_no_nan(pool: FakePool, value: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        await Client(pool).post("https://h", json=value)  # type: ignore[arg-type]
    assert pool.sent == []


async def test_a_form_is_encoded(pool: FakePool) -> None:
    await Client(pool).post("https://h", data={"a": ["1", "2"], "b": "c d"})  # type: ignore[arg-type]
    (sent,) = pool.sent
    assert sent.body == b"a=1&a=2&b=c+d"
    assert sent.headers["content-type"] == "application/x-www-form-urlencoded"


async def test_a_content_type_of_the_callers_wins(pool: FakePool) -> None:
    await Client(pool).post("https://h", json={}, headers={"Content-Type": "application/ld+json"})  # type: ignore[arg-type]
    await Client(pool, headers={"content-type": "text/x"}).post("https://h", data={"a": "b"})  # type: ignore[arg-type]
    assert [sent.headers["content-type"] for sent in pool.sent] == ["application/ld+json", "text/x"]


def _generate() -> Iterator[bytes]:
    yield b"a"
    yield b"b"


async def _agenerate() -> AsyncIterator[bytes]:
    for piece in _generate():
        yield piece


@pytest.mark.parametrize(
    ("content", "framing"),
    [
        (b"ab", "content-length"),
        ("ab", "content-length"),
        (bytearray(b"ab"), "content-length"),
        ([b"a", b"b"], "transfer-encoding"),
        (_generate, "transfer-encoding"),
        (_agenerate, "transfer-encoding"),
    ],
)
async def test_content_is_sent_as_it_is(pool: FakePool, content: Any, framing: str) -> None:
    await Client(pool).put("https://h", content=content() if callable(content) else content)  # type: ignore[arg-type]
    (sent,) = pool.sent
    assert sent.body == b"ab"
    assert framing in sent.headers
    assert "content-type" not in sent.headers


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"json": {}, "content": b""}, ValueError, "only one of json, content and data"),
        ({"json": {}, "data": {}}, ValueError, "only one of json, content and data"),
        ({"content": b"", "data": {}}, ValueError, "only one of json, content and data"),
        ({"data": "a=b"}, TypeError, "content="),
        ({"data": b"a=b"}, TypeError, "content="),
        ({"content": 7}, TypeError, "content must be"),
        ({"json": object()}, TypeError, "JSON"),
        ({"params": "a=b"}, TypeError, "append it to the URL"),
        ({"timeout": -1}, ValueError, "timeout"),
        ({"timeout": "5"}, TypeError, "timeout"),
        ({"affinity": 7}, TypeError, "affinity"),
        ({"priority": 1.5}, TypeError, "priority"),
        ({"tenant": 7}, TypeError, "tenant"),
        ({"headers": "a: b"}, TypeError, "headers must be"),
        ({"headers": [("a",)]}, TypeError, "pairs"),
        ({"headers": ["ab"]}, TypeError, "pairs"),
        ({"headers": {"a": None}}, LocalProtocolError, "must be str or bytes"),
        ({"headers": {"a": "b\r\nc: d"}}, LocalProtocolError, "control character"),
        ({"headers": {"a": "b\0"}}, LocalProtocolError, "control character"),
        ({"headers": {"a": "€"}}, LocalProtocolError, "cannot be sent"),
        ({"headers": {"a b": "c"}}, LocalProtocolError, "token"),
        ({"headers": {"": "c"}}, LocalProtocolError, "token"),
        ({"headers": {"a\r\nb": "c"}}, LocalProtocolError, "token"),
        ({"headers": {"host": "a/b"}}, LocalProtocolError, "host"),
        ({"content": b"abc", "headers": {"content-length": "4"}}, LocalProtocolError, "content-length"),
        ({"files": {}}, ValueError, "files: a multipart body needs at least one part"),
        ({"files": b"x"}, TypeError, "files must be a mapping or pairs, not bytes"),
        ({"files": ["ab", "c"]}, TypeError, "files must be pairs of a name and a file, not str"),
        ({"files": {"a": b"x"}, "json": {}}, ValueError, "files go with data alone"),
        ({"files": {"a": b"x"}, "content": b""}, ValueError, "files go with data alone"),
        ({"files": {"a": b"x"}, "headers": {"content-type": "a/b"}}, LocalProtocolError, "name their boundary"),
        ({"files": {"a": b"x"}, "data": "a=b"}, TypeError, "content="),
    ],
)
async def test_a_mistake_is_refused_before_anything_is_sent(
    pool: FakePool, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    client = Client(pool)  # type: ignore[arg-type]
    with pytest.raises(error, match=message):
        await client.post("https://example.com", **options)
    with pytest.raises(error, match=message):
        client.stream("POST", "https://example.com", **options)
    with pytest.raises(error, match=message):
        client.sse("POST", "https://example.com", **options)
    assert pool.sent == []


@pytest.mark.parametrize("method", ["GE T", "GET\r\n", "", "GÉT", "CONNECT", "a/b"])
async def test_a_bad_method_is_refused(pool: FakePool, method: str) -> None:
    with pytest.raises(LocalProtocolError, match=r"method|CONNECT"):
        await Client(pool).request(method, "https://example.com")  # type: ignore[arg-type]
    assert pool.sent == []


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("/path", InvalidURL),
        ("https://h/\r\nX: y", InvalidURL),
        ("https://u:p@h/", InvalidURL),
        ("ftp://h/", UnsupportedProtocol),
        (b"https://h", TypeError),
        (None, TypeError),
    ],
)
async def test_a_bad_url_is_refused(pool: FakePool, url: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        await Client(pool).get(url)  # type: ignore[arg-type]
    assert pool.sent == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"base_url": "/v1"}, InvalidURL, "scheme"),
        ({"base_url": "https://h/?q"}, InvalidURL, "query"),
        ({"base_url": "ws://h"}, UnsupportedProtocol, "scheme"),
        ({"headers": {"a": "b\n"}}, LocalProtocolError, "control"),
        ({"headers": [("host", "a"), ("host", "b")]}, LocalProtocolError, "two host"),
        ({"params": "a=b"}, TypeError, "params"),
        ({"timeout": 0}, ValueError, "timeout"),
        ({"max_redirects": -1}, ValueError, "max_redirects"),
        ({"max_redirects": 1.0}, TypeError, "max_redirects"),
        ({"max_content_size": 0}, ValueError, "max_content_size"),
        ({"max_content_size": 1e9}, TypeError, "max_content_size"),
        ({"max_content_size": True}, TypeError, "max_content_size"),
        ({"follow_redirects": "no"}, TypeError, "follow_redirects"),
        ({"config": PoolConfig()}, ValueError, "config"),
    ],
)
def test_a_mistake_in_the_defaults_is_refused_at_once(
    pool: FakePool, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Client(pool, **options)  # type: ignore[arg-type]


async def test_place_in_the_queue_is_passed_on(pool: FakePool) -> None:
    client = Client(pool)  # type: ignore[arg-type]
    await client.get("https://h", priority=-3, tenant="acme", affinity="a talk")
    async with client.stream("GET", "https://h", priority=4) as response:
        await response.aread()
    assert [sent.place for sent in pool.sent] == [
        {"priority": -3, "tenant": "acme", "retry": None},
        {"priority": 4, "tenant": None, "retry": None},
    ]


async def test_timeouts_of_request_client_and_pool() -> None:
    pool = FakePool(echo, PoolConfig(read_timeout=11, total_timeout=99))
    client = Client(pool)  # type: ignore[arg-type]
    await client.get("https://h")
    await client.get("https://h", timeout=3)
    await client.get("https://h", timeout=None)
    await client.get("https://h", timeout=Timeouts(read=120))
    await Client(pool, timeout=7).get("https://h")  # type: ignore[arg-type]
    await Client(pool, timeout=None).get("https://h", timeout=8)  # type: ignore[arg-type]
    found = [(sent.limits.connect, sent.limits.read, sent.limits.total) for sent in pool.sent]
    assert found == [(5, 11, 99), (3, 3, None), (None, None, None), (5, 120, None), (7, 7, None), (8, 8, None)]


async def test_an_error_of_the_pool_names_the_origin() -> None:
    client = Client(FakePool(lambda sent: ConnectError("refused")))  # type: ignore[arg-type]
    with pytest.raises(ConnectError, match=r"refused \[https://h\]") as caught:
        await client.get("https://h/secret")
    assert caught.value.origin == Origin("https", "h", 443)
    with pytest.raises(ConnectError, match=r"refused \[https://h\]"):
        async with client.stream("GET", "https://h/secret"):
            pass


async def test_a_given_pool_is_left_open(pool: FakePool) -> None:
    async with Client(pool) as client:  # type: ignore[arg-type]
        await client.get("https://h")
    assert not pool.entered
    assert not pool.exited
    with pytest.raises(PoolClosed, match="client is closed"):
        await client.get("https://h")
    with pytest.raises(RuntimeError, match="entered once"):
        async with client:
            pass


async def test_a_client_of_its_own_pool_must_be_opened() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await Client().get("https://h")


@given(
    st.text(max_size=20),
    st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3),
    st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3),
)
def test_nothing_a_caller_passes_adds_a_field_or_a_line(
    path: str, params: dict[str, str], headers: dict[str, str]
) -> None:
    composer = Composer(
        base_url="https://h/base",
        headers=None,
        params=None,
        timeout=None,
        pool_timeouts=Timeouts(),
        retry=None,
        max_redirects=20,
        follow_redirects=False,
        json_dumps=None,
    )
    try:
        wire = composer.compose("GET", path, params=params, headers=headers).wire
    except (PenstockError, UnicodeEncodeError):
        return
    forbidden = set(b"\r\n\0")
    assert not forbidden & set(wire.target)
    assert b" " not in wire.target
    for name, value in wire.headers:
        assert not forbidden & set(name + value)
    expected = {"host", "accept", "accept-encoding", "user-agent"} | {name.lower() for name in headers}
    assert {name.decode() for name, _ in wire.headers} - {"content-length", "transfer-encoding"} <= expected
