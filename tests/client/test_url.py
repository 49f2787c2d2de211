from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from enum import Enum, StrEnum
from urllib.parse import urljoin

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock._errors import InvalidURL, UnsupportedProtocol
from penstock._types import Origin
from penstock._url import MAX_URL_LENGTH, URL, _extend, _parse, extend, parse_origin, parse_url, resolve


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://Example.COM/Path", "https://example.com/Path"),
        ("http://example.com:80/", "http://example.com/"),
        ("https://example.com:443", "https://example.com/"),
        ("http://example.com:443", "http://example.com:443/"),
        ("http://example.com:/x", "http://example.com/x"),
        ("https://example.com./", "https://example.com/"),
        ("https://example.com?q=1", "https://example.com/?q=1"),
        ("https://example.com/?", "https://example.com/?"),
        ("https://example.com/a#fragment?x", "https://example.com/a"),
        ("https://example.com#@evil/", "https://example.com/"),
        ("https://under_score.example/", "https://under_score.example/"),
        ("https://r3---sn-x.example/", "https://r3---sn-x.example/"),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"),
        ("http://127.0.0.1./x", "http://127.0.0.1/x"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("http://[2001:DB8:0:0::1]/", "http://[2001:db8::1]/"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://BÜCHER。example/", "https://xn--bcher-kva.example/"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://XN--BCHER-KVA.example/", "https://xn--bcher-kva.example/"),
        ("https://faß.de/", "https://xn--fa-hia.de/"),
        ("http://１２７.0.0.1/", "http://127.0.0.1/"),
        ("https://h/ü?ü=ü", "https://h/%C3%BC?%C3%BC=%C3%BC"),
        ('https://h/"<>^`{}|', "https://h/%22%3C%3E%5E%60%7B%7D|"),
        ("https://h/?\"<>'^`{}|", "https://h/?%22%3C%3E%27^`{}|"),
        ("https://h/%20%zz%", "https://h/%20%zz%"),
        ("https://h/a/./b/../c", "https://h/a/c"),
        ("https://h/a/%2e%2E/b/%2e", "https://h/b/"),
        ("https://h/../..", "https://h/"),
        ("https://h/a/..b/.c/...", "https://h/a/..b/.c/..."),
        ("https://h//a//b", "https://h//a//b"),
        ("https://h/?a/../b", "https://h/?a/../b"),
    ],
)
def test_a_good_url_is_normalised(text: str, expected: str) -> None:
    assert str(parse_url(text)) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no scheme"),
        ("/path", "no scheme"),
        ("example.com/x", "no scheme"),
        ("https:/example.com", '"//"'),
        ("https:example.com", '"//"'),
        ("https://", "no host"),
        ("https:///path", "no host"),
        ("https://./", "no host"),
        ("https://:80/", "no host"),
        ("https://user@example.com/", "pass Authorization yourself"),
        ("https://user:secret@example.com/", "pass Authorization yourself"),
        ("https://a@b@c/", "pass Authorization yourself"),
        ("https://example.com\\@evil.example/", "position 19"),
        ("https://example.com/a b", "position 21"),
        ("https://example.com/a\tb", "position 21"),
        ("https://example.com/a\r\nHost: evil", "position 21"),
        ("https://example.com/\0", "position 20"),
        ("https://example.com/\x7f", "position 20"),
        (" https://example.com/", "position 0"),
        ("https://exa%6dple.com/", "percent sign"),
        ("https://exa<mple.com/", "no host name"),
        ("https://a..b/", "no host name"),
        ("https://.a/", "no host name"),
        ("https://" + "a" * 64 + "/", "no host name"),
        ("https://" + "a." * 127 + "a/", "no host name"),
        ("https://ex*mple/", "no host name"),
        ("https://a／b/", "international"),
        ("https://a\u200bb\u2060/\ud800", "surrogate"),
        ("https://☃.\ud800/", "international"),
        ("https://xn--abc-/", "A-label"),
        ("https://xn--/", "A-label"),
        ("https://xn--99999999999/", "A-label"),
        ("http://0177.0.0.1/", "IPv4"),
        ("http://127.1/", "IPv4"),
        ("http://2130706433/", "IPv4"),
        ("http://0x7f.0.0.1/", "IPv4"),
        ("http://1.2.3.0x7f/", "IPv4"),
        ("http://0x/", "IPv4"),
        ("http://256.0.0.1/", "IPv4"),
        ("http://1.2.3.4.5/", "IPv4"),
        ("http://example.123/", "IPv4"),
        ("http://[::1/", "brackets"),
        ("http://[::1]x/", "brackets"),
        ("http://[::1%25eth0]/", "zone"),
        ("http://[::1%eth0]/", "zone"),
        ("http://[1.2.3.4]/", "IPv6"),
        ("http://[]/", "IPv6"),
        ("http://::1/", "no host"),
        ("http://h:0/", "port"),
        ("http://h:65536/", "port"),
        ("http://h:+80/", "port"),
        ("http://h:8_0/", "port"),
        ("http://h:٨٠/", "port"),
        ("http://h:000080/", "port"),
        ("http://h:" + "9" * 5000, "port"),
        ("https://h/" + "a" * MAX_URL_LENGTH, "longer"),
        ("https://" + "ü" * 300, "longer"),
    ],
)
def test_a_bad_url_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidURL, match=reason):
        parse_url(text)


@pytest.mark.parametrize("text", ["ftp://h/", "ws://h", "file:///etc/passwd", "localhost:8000/x", "javascript:x"])
def test_an_unknown_scheme_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedProtocol, match="http or https"):
        parse_url(text)


@pytest.mark.parametrize("value", [None, b"https://h/", 7])
def test_a_url_must_be_text(value: object) -> None:
    with pytest.raises(TypeError, match="must be a str"):
        parse_url(value)  # type: ignore[arg-type]


def test_a_refusal_never_shows_secrets() -> None:
    with pytest.raises(InvalidURL) as caught:
        parse_url("https://user:hunter2@example.com/?key=hunter2")
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(parse_url("https://example.com/?key=hunter2"))


def test_an_origin_is_scheme_host_and_port() -> None:
    assert parse_origin("https://Example.com") == Origin("https", "example.com", 443)
    assert parse_origin("http://[::1]:8080/") == Origin("http", "::1", 8080)


@pytest.mark.parametrize("text", ["https://h/x", "https://h/?", "https://h/#x", "https://h?q", "https://u@h", "h:80x"])
def test_an_origin_is_nothing_more(text: str) -> None:
    with pytest.raises((InvalidURL, UnsupportedProtocol)):
        parse_origin(text)


# RFC 3986 §5.4.1 and §5.4.2, without user information and other schemes.
@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("g", "http://a/b/c/g"),
        ("./g", "http://a/b/c/g"),
        ("g/", "http://a/b/c/g/"),
        ("/g", "http://a/g"),
        ("//g", "http://g/"),
        ("?y", "http://a/b/c/d;p?y"),
        ("g?y", "http://a/b/c/g?y"),
        ("#s", "http://a/b/c/d;p?q"),
        ("g#s", "http://a/b/c/g"),
        (";x", "http://a/b/c/;x"),
        ("g;x", "http://a/b/c/g;x"),
        ("", "http://a/b/c/d;p?q"),
        (".", "http://a/b/c/"),
        ("./", "http://a/b/c/"),
        ("..", "http://a/b/"),
        ("../g", "http://a/b/g"),
        ("../..", "http://a/"),
        ("../../g", "http://a/g"),
        ("../../../g", "http://a/g"),
        ("/./g", "http://a/g"),
        ("/../g", "http://a/g"),
        ("g.", "http://a/b/c/g."),
        (".g", "http://a/b/c/.g"),
        ("..g", "http://a/b/c/..g"),
        ("./../g", "http://a/b/g"),
        ("./g/.", "http://a/b/c/g/"),
        ("g/../h", "http://a/b/c/h"),
        ("g;x=1/../y", "http://a/b/c/y"),
        ("g?y/../x", "http://a/b/c/g?y/../x"),
        ("g#s/../x", "http://a/b/c/g"),
        ("https://other:8443/x", "https://other:8443/x"),
        ("ü", "http://a/b/c/%C3%BC"),
    ],
)
def test_a_reference_is_resolved_as_the_rfc_says(reference: str, expected: str) -> None:
    assert str(resolve(parse_url("http://a/b/c/d;p?q"), reference)) == expected


@pytest.mark.parametrize("reference", ["//u@h/", "///x", "/a b", "http:g", "//h:0/", "/\\evil", "/\n"])
def test_a_bad_reference_is_refused(reference: str) -> None:
    with pytest.raises(InvalidURL):
        resolve(parse_url("http://a/b"), reference)


@pytest.mark.parametrize(
    ("base", "text", "expected"),
    [
        ("https://h/v1", "/chat", "https://h/v1/chat"),
        ("https://h/v1", "chat", "https://h/v1/chat"),
        ("https://h/v1/", "/chat?x=1", "https://h/v1/chat?x=1"),
        ("https://h", "chat", "https://h/chat"),
        ("https://h/v1", "", "https://h/v1"),
        ("https://h/v1", "?x=1", "https://h/v1?x=1"),
        ("https://h/v1", "/models/x:generate", "https://h/v1/models/x:generate"),
        ("https://h/v1", "http://other/", "http://other/"),
        ("https://h/v1", "/chat#part", "https://h/v1/chat"),
    ],
)
def test_a_path_is_put_below_the_base(base: str, text: str, expected: str) -> None:
    assert str(extend(parse_url(base), text)) == expected


def test_a_host_relative_url_is_ambiguous_below_a_base() -> None:
    with pytest.raises(InvalidURL, match="ambiguous"):
        extend(parse_url("https://h/v1"), "//other/x")


def test_a_query_is_appended() -> None:
    assert str(parse_url("https://h/x").with_query("a=1")) == "https://h/x?a=1"
    assert str(parse_url("https://h/x?b=2").with_query("a=1")) == "https://h/x?b=2&a=1"
    assert str(parse_url("https://h/x?").with_query("a=1")) == "https://h/x?a=1"
    assert parse_url("https://h/x").with_query("") == parse_url("https://h/x")


def test_equal_urls_are_equal() -> None:
    assert parse_url("https://H:443/a/../b") == parse_url("https://h/b")
    assert len({parse_url("https://H/b"), parse_url("https://h/b")}) == 1
    assert parse_url("https://h/b") != "https://h/b"
    assert parse_url("https://h/x?y=1").path == "/x"
    assert parse_url("https://h/x?y=1").query == "y=1"
    assert parse_url("https://h/x").query is None


near_urls = st.text(alphabet=st.sampled_from(list(":/?#[]@%.\\\r\n \0-_0123456789abcxhtpsü。１\ud800")), max_size=40)


def _check_parse(text: str) -> URL | None:
    try:
        url = parse_url(text)
    except (InvalidURL, UnsupportedProtocol):
        return None
    assert url.raw_target.isascii()
    assert url.target.startswith("/")
    assert not any(byte <= 0x20 or byte == 0x7F for byte in url.raw_target)
    assert "#" not in url.target
    assert 1 <= url.origin.port <= 65535
    assert url.origin.host == url.origin.host.lower()
    assert parse_url(str(url)) == url
    return url


@given(st.one_of(st.text(), near_urls))
def test_any_text_is_split_or_refused(text: str) -> None:
    _check_parse(text)


@given(near_urls)
@example("[::1]:80")
@example("xn--\u00fc")
def test_any_authority_is_split_or_refused(text: str) -> None:
    _check_parse("https://" + text)


hosts = st.sampled_from(
    ["h", "a.test", "A.test.", "127.0.0.1:80", "[::1]:8443", "u@h", "h:0", "h:", "1.2", "xn--x", "ü"]
)
usual_rests = st.text(alphabet=st.sampled_from(list("/.%2eE?&=#aZ0-_~:@!$'()*+,;[]|^`{}<>\" \\\x7f\xfc")), max_size=20)
rests = st.one_of(usual_rests, st.from_regex(r"(/[!-~]{0,8}){0,3}(\?[!-~]{0,9})?", fullmatch=True))


def _outcome(split: Callable[[], URL]) -> URL | str:
    try:
        return split()
    except (InvalidURL, UnsupportedProtocol) as error:
        return repr(error)


@given(st.sampled_from(["http", "https", "HTTP", "ftp"]), hosts, rests)
@example("https", "h", "")
@example("https", "h", "/a%2e/%2e/b")
@example("https", "h", "/a/.b?../.")
@example("https", "h", "/" + "a" * MAX_URL_LENGTH)
def test_the_short_way_of_a_usual_url_leads_where_the_long_one_does(scheme: str, host: str, rest: str) -> None:
    text = f"{scheme}://{host}{rest}"
    assert _outcome(lambda: parse_url(text)) == _outcome(lambda: _parse(text))


@given(st.one_of(st.text(), near_urls))
def test_the_short_way_of_any_text_leads_where_the_long_one_does(text: str) -> None:
    assert _outcome(lambda: parse_url(text)) == _outcome(lambda: _parse(text))


@given(st.sampled_from(["http://h", "http://h/v1", "http://h/v1/", "http://h//"]), st.one_of(rests, near_urls))
@example("http://h/v1", "//a")
@example("http://h/v1", "/")
@example("http://h/v1", "/" + "a" * MAX_URL_LENGTH)
def test_the_short_way_below_a_base_leads_where_the_long_one_does(base: str, text: str) -> None:
    url = parse_url(base)
    assert _outcome(lambda: extend(url, text)) == _outcome(lambda: _extend(url, text))


@given(near_urls)
@example(".//../..")
def test_any_reference_is_resolved_or_refused(reference: str) -> None:
    base = parse_url("http://a/b/c/d?q")
    try:
        url = resolve(base, reference)
    except (InvalidURL, UnsupportedProtocol):
        return
    assert _check_parse(str(url)) == url


@given(st.lists(st.sampled_from(["a", "b", "..", "."]), min_size=1, max_size=8), st.booleans())
def test_resolution_agrees_with_the_standard_library(segments: list[str], rooted: bool) -> None:
    reference = ("/" if rooted else "") + "/".join(segments)
    assert str(resolve(parse_url("http://h/p/q/r"), reference)) == urljoin("http://h/p/q/r", reference)


@pytest.mark.parametrize(
    "piece", ["/..", "/.", "/a/..", "%2e", ".", ":", "@", "[", "xn--", "-", "1.", "ü", "0x", "?", "#", "/%2e%2e", "{"]
)
def test_time_is_linear(piece: str) -> None:
    """The longest URL allowed takes a few milliseconds at most, whatever it repeats."""
    for prefix in ("https://", "https://h/", "https://h/?"):
        text = (prefix + piece * MAX_URL_LENGTH)[:MAX_URL_LENGTH]
        started = time.process_time()
        with contextlib.suppress(InvalidURL, UnsupportedProtocol):
            parse_url(text)
        assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("localhost:8000", "http://localhost:8000?"),
        ("localhost:8000/a?secret", "http://localhost:8000/a?"),
    ],
)
def test_a_forgotten_scheme_is_guessed(text: str, hint: str) -> None:
    with pytest.raises(UnsupportedProtocol) as caught:
        parse_url(text)
    assert str(caught.value).endswith(f"did you mean {hint}")


def test_a_url_without_scheme_is_shown_unless_it_may_hold_a_secret() -> None:
    with pytest.raises(InvalidURL, match=r"the URL 'example\.com/a' has no scheme") as caught:
        parse_url("example.com/a?secret")
    assert "secret" not in str(caught.value)
    with pytest.raises(InvalidURL, match="the URL has no scheme") as caught:
        parse_url("secret@example.com")


class Path(StrEnum):
    """Paths as programs like to keep them."""

    CHAT = "/chat"


class Masked(str):
    """Shows itself in other words."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return "HIDDEN"


class Member(str, Enum):  # noqa: UP042 - what programs for older Pythons have
    """As before Python had StrEnum: its format is its name."""

    CHAT = "/chat"


@pytest.mark.parametrize("path", [Path.CHAT, Masked("/chat"), Member.CHAT])
def test_below_a_base_the_characters_of_a_path_count_not_how_it_shows_itself(path: str) -> None:
    assert str(extend(parse_url("https://h/v1"), path)) == "https://h/v1/chat"
    assert extend(parse_url("https://h/v1"), path).raw_target == b"/v1/chat"
