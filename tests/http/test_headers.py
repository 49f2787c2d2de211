"""Header fields as a caller sees them."""

from __future__ import annotations

import pytest

from penstock._http.headers import Headers
from penstock._secrets import is_secret

FIELDS = [
    (b"content-type", b"text/plain"),
    (b"set-cookie", b"a=1"),
    (b"set-cookie", b"b=2"),
    (b"x-name", b"caf\xe9"),
    (b"x-api-key", b"hunter2"),
]


def test_names_are_found_in_any_case() -> None:
    headers = Headers(FIELDS)

    assert headers["Content-TYPE"] == "text/plain"
    assert "CONTENT-type" in headers
    assert headers.get("missing") is None
    assert headers.get("missing", "x") == "x"
    assert "missing" not in headers
    assert "\u0100" not in headers
    assert 5 not in headers
    with pytest.raises(KeyError):
        headers["missing"]


def test_what_is_done_to_the_wire_form_stays_outside() -> None:
    headers = Headers(list(FIELDS))
    headers.raw.append((b"x", b"a\r\nInjected: 1"))

    assert headers.raw == FIELDS


def test_repeated_names_are_joined_or_listed() -> None:
    headers = Headers(FIELDS)

    assert headers["set-cookie"] == "a=1, b=2"
    assert headers.get_list("Set-Cookie") == ["a=1", "b=2"]
    assert headers.get_list("missing") == []


def test_it_is_a_mapping_of_names_and_keeps_every_field() -> None:
    headers = Headers(FIELDS)

    assert len(headers) == 4
    assert list(headers) == ["content-type", "set-cookie", "x-name", "x-api-key"]
    assert dict(headers.items())["set-cookie"] == "a=1, b=2"
    assert headers.multi_items()[1:3] == [("set-cookie", "a=1"), ("set-cookie", "b=2")]
    assert headers.raw == FIELDS
    assert headers == dict(headers)


def test_values_are_latin_1() -> None:
    assert Headers(FIELDS)["x-name"] == "caf\u00e9"


def test_its_representation_hides_secrets() -> None:
    shown = repr(Headers(FIELDS))

    assert "hunter2" not in shown
    assert "a=1" not in shown
    assert "text/plain" in shown


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        (b"authorization", True),
        (b"proxy-authorization", True),
        (b"cookie", True),
        (b"x-amz-security-token", True),
        (b"api-key", True),
        (b"x-client-secret", True),
        (b"x-auth", True),
        (b"x-session-id", True),
        (b"x-signature", True),
        (b"accept", False),
        (b":authority", False),
        (b"www-authenticate", False),
        (b"keep-alive", False),
    ],
)
def test_what_is_secret(name: bytes, secret: bool) -> None:
    assert is_secret(name) is secret
