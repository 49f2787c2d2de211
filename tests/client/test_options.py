"""What a request cannot use is refused before anything is sent, in the words of the caller."""

from __future__ import annotations

import re
from typing import Any

import pytest

from penstock._client.client import Client
from penstock._errors import InvalidURL, LocalProtocolError

from .fake_pool import Answer, FakePool


def client() -> Client:
    return Client(FakePool(lambda _: Answer(200, {}, b"")))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("auth", "pass an Authorization header"),
        ("cookies", "pass a Cookie header"),
        ("proxies", "proxies belong to the pool"),
        ("for_events", ""),
        ("anything", ""),
    ],
)
async def test_an_unknown_option_is_named(name: str, hint: str) -> None:
    options: Any = {"priority": 1, name: True}
    said = re.escape(f"has no option {name!r}{hint and f': {hint}'}")
    for verb in ("get", "head", "options", "post", "put", "patch", "delete"):
        with pytest.raises(TypeError, match=rf"Client\.{verb}\(\) {said}"):
            await getattr(client(), verb)("https://a", **options)
    with pytest.raises(TypeError, match=rf"Client\.request\(\) {said}"):
        await client().request("GET", "https://a", **options)
    with pytest.raises(TypeError, match=rf"Client\.stream\(\) {said}"):
        client().stream("GET", "https://a", **options)
    with pytest.raises(TypeError, match=rf"Client\.sse\(\) {said}"):
        client().sse("GET", "https://a", **options)


@pytest.mark.parametrize("value", [1, "yes", 0])
async def test_follow_redirects_is_a_switch(value: Any) -> None:
    with pytest.raises(TypeError, match="follow_redirects must be True, False or None"):
        await client().get("https://a", follow_redirects=value)


@pytest.mark.parametrize("method", [b"GET", None, 3, ["GET"]])
async def test_a_method_is_a_str(method: Any) -> None:
    with pytest.raises(TypeError, match="method must be a str"):
        await client().request(method, "https://a")


@pytest.mark.parametrize("method", ["get", "Post", "dELETE"])
async def test_a_method_in_the_wrong_case_is_refused(method: str) -> None:
    with pytest.raises(LocalProtocolError, match=f"did you mean '{method.upper()}'") as caught:
        await client().request(method, "https://a")
    assert caught.value.request_sent == "no"


async def test_a_method_of_its_own_is_sent_as_it_is() -> None:
    assert (await client().request("Purge", "https://a")).status_code == 200


async def test_a_relative_url_needs_a_base_url_and_a_base_url_a_scheme() -> None:
    with pytest.raises(InvalidURL, match=r"the URL '/a' has no scheme: .*, or the client needs a base_url"):
        await client().get("/a")
    with pytest.raises(InvalidURL, match=r"^base_url: the URL 'example.com' has no scheme: .*http://$"):
        Client(base_url="example.com")
