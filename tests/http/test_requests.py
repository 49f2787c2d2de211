"""What a caller may not inject, and that what passes says on the wire exactly what was meant."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock._errors import LocalProtocolError
from penstock._http import fields
from penstock._http.body import make_body
from penstock._http.request import WireRequest, build_request
from penstock._types import Origin
from tests.support.h11_peer import Received, parse_request

ORIGIN = Origin("https", "example.com", 8443)

Fields = list[tuple[str | bytes, str | bytes]]


def build(
    method: str | bytes = "GET", target: str | bytes = "/", headers: Fields | None = None, content: bytes | None = None
) -> WireRequest:
    return build_request(ORIGIN, method, target, headers or [], make_body(content))


def sent(request: WireRequest) -> Received:
    assert request.body.small is not None
    body = request.body.small
    if request.content_length is None:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    return parse_request(request.head + body)


@pytest.mark.parametrize(
    "method", ["", "GE T", "GET\r\n", "GET\0", "G\u00cbT", "GET\u0100", b"G\x80", "G:T", "CONNECT", 5]
)
def test_bad_methods(method: str | bytes) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        build(method)

    assert caught.value.request_sent == "no"


@pytest.mark.parametrize(
    "target",
    [
        "",
        "/a b",
        "/a\r\nX: y",
        "/\0",
        "/\u00e9",
        "/\u0100",
        "/a#b",
        "a",
        "*",
        "//x\ty",
        "ftp://x/",
        "?a",
        "\x7f/",
        "/\x80",
    ],
)
def test_bad_targets(target: str) -> None:
    with pytest.raises(LocalProtocolError):
        build(target=target)


@pytest.mark.parametrize("target", ["/a?token=secret\0", "a?token=secret", "/a#secret", "https://user:secret@h/\0"])
def test_a_bad_target_is_shown_without_what_may_be_secret(target: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        build(target=target)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("target", ["/", "/a?b=c&d", "//a", "/%00", "/a|b{}", "http://example.com/x"])
def test_good_targets(target: str) -> None:
    assert sent(build(target=target)).target == target.encode()


def test_an_asterisk_is_for_options() -> None:
    assert sent(build("OPTIONS", "*")).target == b"*"


@pytest.mark.parametrize(
    "name", ["", "a:", "a b", " a", "a ", "a\r\nb", "a\0", "\u00e9", "\u0100", ":path", '"a"', b"a\xff", 7]
)
def test_bad_names(name: str | bytes) -> None:
    with pytest.raises(LocalProtocolError):
        build(headers=[(name, "x")])


@pytest.mark.parametrize(
    "value",
    [
        "a\r\nb",
        "a\nb",
        "a\rb",
        "a\0b",
        " a",
        "a ",
        "\ta",
        "a\t",
        "\u0100",
        "a\x01b",
        "a\x7fb",
        "a\x0bb",
        " ",
        b"\xff\n",
        7,
    ],
)
def test_bad_values(value: str | bytes) -> None:
    with pytest.raises(LocalProtocolError):
        build(headers=[("x-a", value)])


@given(st.one_of(st.binary(max_size=12), st.lists(st.sampled_from([b" ", b"\t", b"a", b"\xff", b"\n"])).map(b"".join)))
def test_a_value_is_what_the_rfc_allows_without_edge_space(value: bytes) -> None:
    has_control = any((byte < 0x20 and byte != 0x09) or byte == 0x7F for byte in value)
    if has_control or value.strip(b" \t") != value:
        with pytest.raises(LocalProtocolError, match="control" if has_control else "white space"):
            fields.check_value(value, b"x-a")
    else:
        assert fields.check_value(value, b"x-a") == value
        assert fields.check_value(value.decode("latin-1"), b"x-a") == value


def test_errors_do_not_show_values() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        build(headers=[("authorization", "Bearer hunter2\n")])

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", ["", "a", "a b\tc", "\u00e9", b"\x80\xff", "x" * 10_000])
def test_good_values(value: str | bytes) -> None:
    wire = value if isinstance(value, bytes) else value.encode("latin-1")

    assert (b"x-a", wire) in sent(build(headers=[("X-A", value)])).headers


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a/b",
        "a b",
        "u@h",
        "h:x",
        "h:1:2",
        "h:65536",
        "[::1",
        "::1",
        "h,i",
        "h?x",
        "h#x",
        "h\\i",
        "[g::]",
        "%zz",
        "h:-1",
    ],
)
def test_bad_hosts(host: str) -> None:
    # A comma is legal in a reg-name (RFC 3986 §3.2.2), however odd.
    if host == "h,i":
        build(headers=[("Host", host)])
        return
    with pytest.raises(LocalProtocolError):
        build(headers=[("Host", host)])


@pytest.mark.parametrize(
    "host", ["other.example", "h:1", "h:", "127.0.0.1:80", "[::1]:443", "[v1.x:y]", "a%20b", "under_score"]
)
def test_a_caller_may_override_host(host: str) -> None:
    received = sent(build(headers=[("HOST", host), ("a", "b")]))

    assert received.headers[0] == (b"host", host.encode())
    assert [name for name, _ in received.headers].count(b"host") == 1


def test_host_comes_from_the_origin_and_comes_first() -> None:
    assert sent(build(headers=[("a", "b")])).headers == [(b"host", b"example.com:8443"), (b"a", b"b")]


@pytest.mark.parametrize(
    "headers",
    [
        [("Host", "a"), ("host", "a")],
        [("Content-Length", "5"), ("content-length", "5")],
        [("Content-Length", "4")],
        [("Content-Length", "+5")],
        [("Content-Length", "5, 5")],
        [("Content-Length", "")],
        [("Content-Length", "9" * 5000)],
        [("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
        [("Transfer-Encoding", "gzip")],
        [("Transfer-Encoding", "gzip, chunked")],
        [("Transfer-Encoding", "chunked"), ("transfer-encoding", "chunked")],
        [("Expect", "200-ok")],
        [("Expect", "100-continue"), ("expect", "100-continue")],
        [("Upgrade", "websocket")],
        [("Connection", "upgrade")],
        [("Connection", "close, authorization")],
        [("Connection", "close"), ("Connection", "close")],
        [("Connection", "")],
        [("Keep-Alive", "timeout=5")],
        [("Proxy-Connection", "close")],
        [("HTTP2-Settings", "x")],
        [("TE", "gzip")],
    ],
)
def test_fields_that_contradict_or_belong_to_the_connection(headers: Fields) -> None:
    with pytest.raises(LocalProtocolError):
        build("POST", headers=headers, content=b"hello")


@pytest.mark.parametrize(
    ("method", "content", "headers", "wanted"),
    [
        ("GET", None, [], None),
        ("DELETE", None, [], None),
        ("POST", None, [], b"0"),
        ("PUT", b"", [], b"0"),
        ("GET", b"hello", [], b"5"),
        ("POST", b"hello", [("Content-Length", "5")], b"5"),
        ("GET", None, [("Content-Length", "0")], b"0"),
    ],
)
def test_content_length(method: str, content: bytes | None, headers: Fields, wanted: bytes | None) -> None:
    received = sent(build(method, headers=headers, content=content))

    assert dict(received.headers).get(b"content-length") == wanted
    assert received.body == (content or b"")


def test_trace_has_no_content() -> None:
    with pytest.raises(LocalProtocolError):
        build("TRACE", content=b"x")
    assert sent(build("TRACE")).method == b"TRACE"


@pytest.mark.parametrize(
    ("value", "wants_close"), [("close", True), ("Keep-Alive", False), ("keep-alive, CLOSE", True)]
)
def test_a_caller_may_ask_to_close(value: str, wants_close: bool) -> None:
    request = build(headers=[("Connection", value)])

    assert request.wants_close is wants_close
    assert (b"connection", value.encode()) in sent(request).headers


def test_trailers_may_be_asked_for() -> None:
    assert (b"te", b"trailers") in sent(build(headers=[("TE", "trailers")])).headers


def test_made_up_names_and_methods_are_not_kept_for_ever() -> None:
    for number in range(3000):
        build(headers=[(f"x-{number}", "y")])

    assert len(fields._NAMES) <= fields._NAMES_KEPT


def test_a_name_that_was_refused_once_is_refused_again() -> None:
    for _ in range(2):
        with pytest.raises(LocalProtocolError):
            build(headers=[("Upgrade", "websocket")])


def test_an_expectation_needs_content() -> None:
    expecting = [("Expect", "100-Continue")]
    for method, content in (("GET", None), ("POST", b""), ("POST", None)):
        with pytest.raises(LocalProtocolError, match="expect must not be sent without content"):
            build(method, headers=expecting, content=content)
    with pytest.raises(LocalProtocolError, match="expect must not be sent without content"):
        build("POST", headers=[*expecting, ("Transfer-Encoding", "chunked")], content=b"")
    request = build("POST", headers=expecting, content=b"hello")
    assert request.expects_continue
    assert request.whole is None
    assert (b"expect", b"100-Continue") in sent(request).headers
    assert not build("POST", content=b"hello").expects_continue


def test_representations_show_no_values() -> None:
    request = build("POST", "/?key=hunter2", [("Authorization", "hunter2")])

    assert "hunter2" not in repr(request)


# A wide alphabet, in which the dangerous characters are frequent.
ODD = st.sampled_from(list("aZ09-_.~!#$%&'*+^`|:/?@[](){}<>,;=\\\" \t\r\n\0\x01\x7f\x80\u00e9\u0100")) | st.characters()
TOKENISH = st.text(st.sampled_from("abcXYZ-_09"), min_size=1, max_size=8)
NAMES = (
    TOKENISH
    | st.text(ODD, max_size=6)
    | st.sampled_from(
        ["Host", "host", "Content-Length", "Transfer-Encoding", "Connection", "TE", "Expect", "Upgrade", "Cookie"]
    )
)
VALUES = (
    st.text(st.sampled_from("abc 09,;=\t"), max_size=10)
    | st.text(ODD, max_size=6)
    | st.binary(max_size=6)
    | st.sampled_from(["5", "0", "chunked", "close", "keep-alive", "example.com", "trailers"])
)
REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS"]) | st.text(ODD, max_size=4),
        st.text(ODD, max_size=6).map(lambda path: "/" + path) | st.just("/") | st.just("*"),
        st.lists(st.tuples(NAMES, VALUES), max_size=4),
        st.sampled_from([None, b"", b"hello"]),
    ),
    min_size=40,
    max_size=40,
)


@settings(max_examples=250, deadline=None)
@given(requests=REQUESTS)
@example(requests=[("POST", "/", [("content-length", "5"), ("Transfer-Encoding", "chunked")], b"hello")])
def test_whatever_passes_is_read_by_a_server_as_it_was_meant(
    requests: list[tuple[str, str, Fields, bytes | None]],
) -> None:
    for method, target, headers, content in requests:
        try:
            request = build(method, target, headers, content)
        except LocalProtocolError:
            continue
        received = sent(request)
        assert received.method == method.encode()
        assert received.target == target.encode()
        assert received.body == (content or b"")
        meant = sorted((to_wire(name).lower(), to_wire(value)) for name, value in headers)
        got = list(received.headers)
        for name in (b"host", b"content-length", b"transfer-encoding"):
            if name not in {to_wire(given).lower() for given, _ in headers}:
                got = [field for field in got if field[0] != name]
        assert sorted((name, lower_coding(name, value)) for name, value in got) == [
            (name, lower_coding(name, value)) for name, value in meant
        ]
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", request.head)


def to_wire(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def lower_coding(name: bytes, value: bytes) -> bytes:
    # h11's server lower-cases this one.
    return value.lower() if name == b"transfer-encoding" else value
