"""Redirects: where they lead, what goes along, where they end."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._client.client import Client
from penstock._client.redirects import without_credentials
from penstock._errors import (
    ConnectError,
    InvalidURL,
    PoolTimeout,
    ProtocolReason,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    RequestError,
    StreamClosed,
    StreamConsumed,
    TooManyRedirects,
    UnsupportedProtocol,
)

from .fake_pool import Answer, FakePool, Sent


def to(location: str, status: int = 302) -> Answer:
    return Answer(status, {"location": location}, b"moved")


def route(table: dict[str, Answer]) -> Callable[[Sent], Answer]:
    return lambda sent: table.get(sent.url, Answer(200, {}, b"here"))


def client_for(handler: Callable[[Sent], Answer], **options: Any) -> tuple[Client, FakePool]:
    pool = FakePool(handler)
    return Client(pool, **options), pool  # type: ignore[arg-type]


async def test_redirects_are_off_by_default() -> None:
    client, pool = client_for(route({"https://a/": to("/b")}))
    response = await client.get("https://a/")
    assert (response.status_code, response.content) == (302, b"moved")
    assert response.is_redirect
    assert len(pool.sent) == 1


async def test_a_request_may_follow_and_may_not() -> None:
    client, pool = client_for(route({"https://a/": to("/b")}))
    assert (await client.get("https://a/", follow_redirects=True)).content == b"here"
    client, pool = client_for(route({"https://a/": to("/b")}), follow_redirects=True)
    assert (await client.get("https://a/", follow_redirects=False)).status_code == 302
    assert len(pool.sent) == 1


@pytest.mark.parametrize(
    ("status", "method", "expected"),
    [
        (301, "GET", "GET"),
        (301, "HEAD", "HEAD"),
        (301, "POST", "GET"),
        (301, "PUT", "PUT"),
        (302, "GET", "GET"),
        (302, "POST", "GET"),
        (302, "DELETE", "DELETE"),
        (303, "GET", "GET"),
        (303, "HEAD", "HEAD"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (307, "POST", "POST"),
        (307, "GET", "GET"),
        (308, "PATCH", "PATCH"),
    ],
)
async def test_method_and_body_after_a_redirect(status: int, method: str, expected: str) -> None:
    client, pool = client_for(route({"https://a/": to("/b", status)}), follow_redirects=True)
    content = None if method in ("GET", "HEAD") else b"body"
    headers = {"Content-Type": "text/plain", "Content-Language": "en", "X-Other": "kept"}
    response = await client.request(method, "https://a/", content=content, headers=headers)
    assert response.status_code == 200
    first, second = pool.sent
    assert (second.method, second.url) == (expected, "https://a/b")
    assert second.headers["x-other"] == "kept"
    keeps_body = expected == method
    assert second.body == (first.body if keeps_body else b"")
    assert ("content-type" in second.headers) == keeps_body
    assert ("content-language" in second.headers) == keeps_body
    if not keeps_body:
        assert "content-length" not in second.headers


@pytest.mark.parametrize("status", [200, 201, 300, 304, 305, 306, 399, 404])
async def test_other_statuses_with_a_location_are_answers(status: int) -> None:
    client, _ = client_for(route({"https://a/": to("/b", status)}), follow_redirects=True)
    assert (await client.get("https://a/")).status_code == status


async def test_a_redirect_without_location_is_an_answer() -> None:
    client, _ = client_for(lambda sent: Answer(302, {}, b"where?"), follow_redirects=True)
    assert (await client.get("https://a/")).content == b"where?"


async def test_history_keeps_the_hops() -> None:
    table = {"http://a/": to("https://a/x", 301), "https://a/x": to("//b/y?q=1")}
    client, pool = client_for(route(table), follow_redirects=True)
    response = await client.get("http://a/#fragment")
    assert response.url == "https://b/y?q=1"
    assert [(hop.status_code, hop.url) for hop in response.history] == [(301, "http://a/"), (302, "https://a/x")]
    assert [lease.ended for lease in pool.leases] == ["released", "released", "finished"]
    with pytest.raises(StreamClosed):
        response.history[0].text  # noqa: B018


CREDENTIALS = {
    "Authorization": "Bearer x",
    "Cookie": "a=b",
    "X-Api-Key": "x",
    "Api_Key": "x",
    "X-Auth-Token": "x",
    "X-Amz-Security-Token": "x",
    "X-Client-Secret": "x",
}
HARMLESS = {"X-Trace": "1", "Accept-Language": "en", "Idempotency-Key": "7"}


@pytest.mark.parametrize(
    "location", ["https://b/", "https://a:8443/", "http://a:443/", "https://a.b/", "https://127.0.0.1/"]
)
async def test_credentials_stay_with_their_origin(location: str) -> None:
    start = location.replace("https", "http") if location.startswith("http://") else "https://a/"
    start = "http://a/" if location.startswith("http://") else start
    client, pool = client_for(route({start: to(location)}), follow_redirects=True, headers={"Authorization": "default"})
    await client.get(start, headers={**CREDENTIALS, **HARMLESS, "Host": "virtual.example"})
    first, second = pool.sent
    assert {name.lower() for name in CREDENTIALS} <= set(first.headers)
    assert not {name.lower() for name in CREDENTIALS} & set(second.headers)
    assert {name.lower() for name in HARMLESS} <= set(second.headers)
    assert second.headers["host"] == second.origin.authority


async def test_a_step_up_to_https_is_another_origin() -> None:
    client, pool = client_for(route({"http://a/": to("https://a/")}), follow_redirects=True)
    await client.get("http://a/", headers=CREDENTIALS)
    assert "authorization" not in pool.sent[1].headers


async def test_credentials_go_along_within_one_origin() -> None:
    client, pool = client_for(route({"https://a/": to("https://A:443/b")}), follow_redirects=True)
    await client.get("https://a/", headers=CREDENTIALS)
    assert {name.lower() for name in CREDENTIALS} <= set(pool.sent[1].headers)


async def test_a_chain_that_comes_back_does_not_restore_credentials() -> None:
    table = {"https://a/": to("https://b/"), "https://b/": to("https://a/again")}
    client, pool = client_for(route(table), follow_redirects=True, headers={"Authorization": "default"})
    await client.get("https://a/", headers=CREDENTIALS)
    assert [sent.url for sent in pool.sent] == ["https://a/", "https://b/", "https://a/again"]
    assert not {name.lower() for name in CREDENTIALS} & set(pool.sent[2].headers)


@given(st.sampled_from(sorted(CREDENTIALS)), st.booleans())
def test_credential_names_are_known_in_any_case(name: str, upper: bool) -> None:
    wire = (name.upper() if upper else name).lower().encode()
    assert without_credentials([(wire, b"x"), (b"accept", b"*/*")]) == [(b"accept", b"*/*")]


async def test_https_never_leads_to_http() -> None:
    client, pool = client_for(route({"https://a/": to("http://a/")}), follow_redirects=True)
    with pytest.raises(RemoteProtocolError, match="from https to http") as caught:
        await client.get("https://a/")
    assert caught.value.reason is ProtocolReason.REDIRECT
    assert len(pool.sent) == 1
    assert pool.leases[0].ended == "released"


@pytest.mark.parametrize(
    "location",
    [
        "",
        "https://u:p@b/",
        "https:///x",
        "//b:0/",
        "/a b",
        "/\x00",
        "https://0177.0.0.1/",
        "\\\\b\\",
        "/\xff",
        "h" * 70000,
    ],
)
async def test_a_broken_location_is_refused(location: str) -> None:
    client, pool = client_for(route({"https://a/": to(location)}), follow_redirects=True)
    with pytest.raises(RemoteProtocolError) as caught:
        await client.get("https://a/")
    assert caught.value.reason is ProtocolReason.REDIRECT
    assert isinstance(caught.value.__cause__, InvalidURL | UnicodeDecodeError)
    assert len(str(caught.value)) < 1000
    assert str(caught.value.origin) == "https://a"
    assert len(pool.sent) == 1


@pytest.mark.parametrize("location", ["/a b?token=secret", "https://user:secret@b/", "ftp://h/#secret"])
async def test_what_is_secret_in_a_location_is_not_said(location: str) -> None:
    client, _ = client_for(route({"https://a/": to(location)}), follow_redirects=True)
    with pytest.raises(RequestError) as caught:
        await client.get("https://a/")
    assert "secret" not in str(caught.value)


async def test_two_different_locations_are_refused() -> None:
    answer = Answer(302, [("location", "/x"), ("location", "/y")])
    client, _ = client_for(route({"https://a/": answer}), follow_redirects=True)
    with pytest.raises(RemoteProtocolError, match="cannot be followed"):
        await client.get("https://a/")


async def test_a_location_in_utf8_is_encoded() -> None:
    location = "/ü".encode().decode("latin-1")
    client, pool = client_for(route({"https://a/": to(location)}), follow_redirects=True)
    await client.get("https://a/")
    assert pool.sent[1].url == "https://a/%C3%BC"


async def test_another_scheme_is_refused() -> None:
    client, _ = client_for(route({"https://a/": to("ftp://a/")}), follow_redirects=True)
    with pytest.raises(UnsupportedProtocol):
        await client.get("https://a/")


async def test_a_circle_ends() -> None:
    client, pool = client_for(lambda sent: to("/again"), follow_redirects=True)
    with pytest.raises(TooManyRedirects, match=r"\[https://a\]"):
        await client.get("https://a/")
    assert len(pool.sent) == 21
    assert {lease.ended for lease in pool.leases} == {"released"}


@pytest.mark.parametrize("limit", [0, 3])
async def test_the_limit_can_be_set(limit: int) -> None:
    def handler(sent: Sent) -> Answer:
        return to(f"/{len(pool.sent)}") if len(pool.sent) <= limit else Answer(200)

    client, pool = client_for(handler, follow_redirects=True, max_redirects=limit)
    assert (await client.get("https://a/")).status_code == 200
    client, pool = client_for(lambda sent: to("/x"), follow_redirects=True, max_redirects=limit)
    with pytest.raises(TooManyRedirects):
        await client.get("https://a/")
    assert len(pool.sent) == limit + 1


def _once() -> Iterator[bytes]:
    yield b"body"


async def test_a_body_that_can_be_sent_once_stops_the_chain() -> None:
    client, pool = client_for(route({"https://a/": to("/b", 307)}), follow_redirects=True)
    with pytest.raises(StreamConsumed, match="sent only once"):
        await client.post("https://a/", content=_once())
    assert len(pool.sent) == 1
    assert pool.leases[0].ended == "released"


async def test_a_body_that_can_be_sent_once_may_be_dropped() -> None:
    client, pool = client_for(route({"https://a/": to("/b", 303)}), follow_redirects=True)
    await client.post("https://a/", content=_once())
    assert pool.sent[1].body == b""


async def test_a_file_is_sent_again_from_its_start() -> None:
    client, pool = client_for(route({"https://a/": to("/b", 308)}), follow_redirects=True)
    file = io.BytesIO(b"skipped,body")
    file.seek(8)
    await client.post("https://a/", content=file)
    assert [sent.body for sent in pool.sent] == [b"body", b"body"]


async def test_a_stream_follows_too() -> None:
    client, pool = client_for(route({"https://a/": to("/b")}))
    async with client.stream("GET", "https://a/", follow_redirects=True) as response:
        assert await response.aread() == b"here"
        assert len(response.history) == 1
    assert [lease.ended for lease in pool.leases] == ["released", "finished"]


async def test_one_total_limit_holds_over_all_hops(autojump_clock: object) -> None:
    from penstock._config import Timeouts

    def handler(sent: Sent) -> Answer:
        answer = to("https://b/again")
        answer.delay = 1
        return answer

    client, pool = client_for(handler, follow_redirects=True)
    with pytest.raises(ReadTimeout, match="total_timeout") as caught:
        await client.get("https://a/", timeout=Timeouts(total=3.5))
    assert len(pool.sent) == 4
    assert str(caught.value.origin) == "https://b"


@pytest.mark.parametrize("error", [PoolTimeout("no connection"), ConnectError("refused"), ReadError("broke")])
@pytest.mark.parametrize("streams", [False, True])
async def test_behind_a_redirect_the_request_was_sent(error: RequestError, streams: bool) -> None:
    def answer(sent: Sent) -> Answer | RequestError:
        return to("https://b/") if sent.url == "https://a/" else error

    client = Client(FakePool(answer), follow_redirects=True)  # type: ignore[arg-type]
    with pytest.raises(type(error), match=r"\[https://b\]") as caught:
        if streams:
            async with client.stream("POST", "https://a/"):
                pass
        else:
            await client.post("https://a/")
    assert caught.value.request_sent == "fully"


async def test_a_redirect_to_another_scheme_says_that_it_was_one() -> None:
    client, _ = client_for(route({"https://a/": to("ftp://b/?secret")}), follow_redirects=True)
    with pytest.raises(UnsupportedProtocol, match=r"Location of a 302.*'ftp' \[https://a\]") as caught:
        await client.get("https://a/")
    assert caught.value.request_sent == "fully"
    assert "secret" not in str(caught.value)


async def test_too_many_redirects_name_the_limit() -> None:
    client, _ = client_for(lambda _: to("/b"), follow_redirects=True, max_redirects=3)
    with pytest.raises(TooManyRedirects, match=r"longer than max_redirects \(3\)"):
        await client.get("https://a/")
