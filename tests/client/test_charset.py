"""The charset that a server names, which may be any text."""

from __future__ import annotations

import encodings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._client.charset import find_charset


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("utf-8", "utf-8"),
        ("UTF8", "utf-8"),
        ('"utf-8"', "utf-8"),
        ("ISO-8859-1", "iso8859-1"),
        ("iso_8859-15", "iso8859-15"),
        ("windows-1252", "cp1252"),
        ("Shift_JIS", "shift_jis"),
        ("gb18030", "gb18030"),
        ("koi8-u", "koi8-u"),
        ("euc-kr", "euc_kr"),
        ("us-ascii", "ascii"),
        ("utf-16le", "utf-16-le"),
        ("big5-hkscs", "big5hkscs"),
    ],
)
def test_a_charset_is_found_by_the_names_in_use(label: str, codec: str) -> None:
    assert find_charset(f"text/plain; charset={label}") == codec


@pytest.mark.parametrize(
    "label",
    [
        "",
        "nonsense",
        "base64",
        "rot13",
        "hex",
        "idna",
        "punycode",
        "unicode_escape",
        "undefined",
        "mbcs",
        "ü",
        "a" * 50,
    ],
)
def test_what_is_no_charset_is_none(label: str) -> None:
    assert find_charset(f"text/plain; charset={label}") is None


def test_a_content_type_without_a_charset_has_none() -> None:
    assert find_charset("text/plain") is None
    assert find_charset("") is None


def test_a_server_cannot_make_pythons_memory_of_codecs_grow() -> None:
    find_charset("text/plain; charset=utf-8")
    known = len(encodings._cache)  # type: ignore[attr-defined]
    for number in range(100):
        find_charset(f"text/plain; charset=x{number}")
        find_charset(f"text/plain; charset=utf{'-' * number}8")

    assert len(encodings._cache) == known  # type: ignore[attr-defined]


@given(st.text())
def test_any_label_gives_a_codec_that_decodes_or_none(label: str) -> None:
    codec = find_charset(f"text/plain; charset={label}")
    assert codec is None or isinstance(b"a".decode(codec, "replace"), str)
