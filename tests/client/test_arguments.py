"""What a caller passes: params, forms, timeouts; and how text is cut: lines, charsets."""

from __future__ import annotations

from enum import Enum
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._client.charset import find_charset
from penstock._client.fields import encode_fields
from penstock._client.limits import to_timeouts
from penstock._client.lines import LineSplitter
from penstock._config import Timeouts
from penstock._errors import RemoteProtocolError


class Word(str, Enum):  # noqa: UP042 - a StrEnum says the same either way
    """A text that says another when it is formatted."""

    A = "a b"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ""),
        ({"a": "1", "b": "2"}, "a=1&b=2"),
        ([("a", "1"), ("a", "2")], "a=1&a=2"),
        ({"a": [1, 2.5, None]}, "a=1&a=2.5"),
        ({"yes": True, "no": False, "none": None}, "yes=true&no=false"),
        ({"q": "a b+c&d=e"}, "q=a+b%2Bc%26d%3De"),
        ({"ü": "ß\r\n"}, "%C3%BC=%C3%9F%0D%0A"),
        ({"": ""}, "="),
        ({Word.A: "b"}, "a+b=b"),
        ({"-._~": "-._~"}, "-._~=-._~"),
        ({"a": 1e30}, "a=1e%2B30"),
    ],
)
def test_fields_are_encoded(fields: object, expected: str) -> None:
    assert encode_fields(fields, "params") == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("a=1", "append it to the URL"),
        (b"a=1", "append it to the URL"),
        (7, "must be a mapping"),
        ([("a",)], "pairs"),
        (["ab"], "pairs"),
        ({"a": {"b": 1}}, r"params\['a'\]"),
        ({"a": b"1"}, r"params\['a'\]"),
        ({1: "a"}, "name"),
    ],
)
def test_other_fields_are_refused(fields: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        encode_fields(fields, "params")  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.text(), st.text())))
def test_fields_come_back(pairs: list[tuple[str, str]]) -> None:
    encoded = encode_fields(pairs, "data")
    assert encoded.isascii()
    assert parse_qsl(encoded, keep_blank_values=True, max_num_fields=None) == pairs


def test_a_number_limits_every_phase() -> None:
    assert to_timeouts(7) == Timeouts(connect=7, read=7, write=7, pool=7, first_byte=None, total=None)


def test_none_lifts_every_limit() -> None:
    limits = to_timeouts(None)
    assert {limits.connect, limits.read, limits.write, limits.pool, limits.first_byte, limits.total} == {None}


def test_timeouts_are_taken_as_given() -> None:
    limits = Timeouts(read=3)
    assert to_timeouts(limits) is limits


@pytest.mark.parametrize("value", [0, -1, -0.5, float("nan"), float("inf")])
def test_a_timeout_must_be_positive(value: float) -> None:
    with pytest.raises(ValueError, match="timeout must be more than 0"):
        to_timeouts(value)


@pytest.mark.parametrize("value", ["5", True, (1, 2), {"read": 1}])
def test_a_timeout_must_be_a_number(value: object) -> None:
    with pytest.raises(TypeError, match="timeout must be a number"):
        to_timeouts(value)  # type: ignore[arg-type]


def _split(pieces: list[str]) -> list[str]:
    splitter = LineSplitter()
    return [line for piece in pieces for line in splitter.feed(piece)] + splitter.finish()


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([], []),
        (["a\nb\r\nc\rd"], ["a", "b", "c", "d"]),
        (["a\r", "\nb"], ["a", "b"]),
        (["a\r", "", "\nb"], ["a", "b"]),
        (["a\r", "b\n"], ["a", "b"]),
        (["\n\n\r\r\n"], ["", "", "", ""]),
        (["a\u2028b\x0bc\n"], ["a\u2028b\x0bc"]),
        (["ab", "cd", "\n"], ["abcd"]),
    ],
)
def test_lines_end_at_cr_lf_and_crlf(pieces: list[str], expected: list[str]) -> None:
    assert _split(pieces) == expected


@given(st.text(alphabet="a\r\n"), st.data())
def test_cuts_do_not_change_lines(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert _split(pieces) == _split([text])
    assert _split([text]) == _split(list(text))


def test_a_line_without_end_is_refused() -> None:
    splitter = LineSplitter(limit=10)
    assert splitter.feed("a" * 10 + "\n" + "b" * 10) == ["a" * 10]
    with pytest.raises(RemoteProtocolError, match="longer than 10"):
        splitter.feed("b")


def test_one_long_line_of_many_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="longer than 10"):
        LineSplitter(limit=10).feed("a\n" + "b" * 11 + "\nc")


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/plain", None),
        ("", None),
        ("text/html; charset=utf-8", "utf-8"),
        ('text/html; x=1; Charset="ISO-8859-1" ', "iso8859-1"),
        ("text/html; charset=Shift_JIS", "shift_jis"),
        ("text/html; charset=no-such-charset", None),
        ("text/html; charset=hex", None),
        ("text/html; charset=idna", None),
        ("text/html; charset=unicode_escape", None),
        ("text/html; charset=raw_unicode_escape", None),
        ("text/html; charset=undefined", None),
        ("text/html; charset=", None),
        ("text/html; charset=a\0b", None),
        ("text/html; charset=utf\u00fc", None),
    ],
)
def test_a_charset_is_a_known_text_codec(content_type: str, expected: str | None) -> None:
    assert find_charset(content_type) == expected
