"""Which proxy leads where, as tables and as properties; and what the environment may say."""

from __future__ import annotations

import base64
import copy
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import InvalidURL, Origin, PoolConfig, Proxy, ProxyRules, TLSConfig, Upstream
from penstock._url import parse_origin

A, B, C, D = (Proxy(f"http://{name}.test") for name in "abcd")


# ---- one proxy -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "clean", "host", "port"),
    [
        ("http://p.test", "http://p.test:80", "p.test", 80),
        ("HTTPS://P.Test/", "https://p.test:443", "p.test", 443),
        ("socks5://p.test", "socks5://p.test:1080", "p.test", 1080),
        ("socks5h://192.0.2.1:9", "socks5h://192.0.2.1:9", "192.0.2.1", 9),
        ("http://[2001:DB8::1]", "http://[2001:db8::1]:80", "2001:db8::1", 80),
        ("http://[::1]:3128", "http://[::1]:3128", "::1", 3128),
        ("http://bücher.example:1", "http://xn--bcher-kva.example:1", "xn--bcher-kva.example", 1),
        ("http://user:p%40ss@p.test:3128", "http://p.test:3128", "p.test", 3128),
    ],
)
def test_a_proxy_is_a_scheme_a_host_and_a_port(url: str, clean: str, host: str, port: int) -> None:
    proxy = Proxy(url)
    assert (proxy.url, proxy.host, proxy.port) == (clean, host, port)
    assert proxy.address == clean.partition("//")[2]
    assert Proxy(clean).url == clean


@pytest.mark.parametrize(
    ("url", "username", "password"),
    [
        ("http://p.test", None, None),
        ("http://u@p.test", "u", ""),
        ("http://u:@p.test", "u", ""),
        ("http://u:p:q@p.test", "u", "p:q"),
        ("http://u%3a:%2F%40@p.test", "u:", "/@"),
        ("http://:p@p.test", "", "p"),
        ("http://u:p@ss@p.test", "u", "p@ss"),
        ("http://%C3%BC:%E2%82%AC@p.test", "ü", "€"),
        ("http://ü:€@p.test", "ü", "€"),
    ],
)
def test_credentials_may_stand_in_the_url(url: str, username: str | None, password: str | None) -> None:
    if username == "u:":
        with pytest.raises(ValueError, match="no colon"):
            Proxy(url)
        url = url.replace("http:", "socks5:")
    proxy = Proxy(url)
    assert (proxy.username, proxy.password) == (username, password)
    assert proxy == Proxy(proxy.url, username=username, password=password)
    assert hash(proxy) == hash(Proxy(proxy.url, username=username, password=password))


SECRET = "hidden"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": f"u:{SECRET}@p.test"}, "the url is not scheme://"),
        ({"url": f"http://u:{SECRET}/x@p.test"}, "the url is not scheme://"),
        ({"url": f"http://u:{SECRET}@p.test/path"}, "the url is not scheme://"),
        ({"url": f"http://u:{SECRET}@p.test?q"}, "the url is not scheme://"),
        ({"url": f"http://u:{SECRET}"}, "the host or the port in the url cannot be used"),
        ({"url": f"http://u:{SECRET}@p.test:0"}, "the host or the port"),
        ({"url": f"http://u:{SECRET}@p.test:65536"}, "the host or the port"),
        ({"url": f"http://u:{SECRET}@1.2.3"}, "the host or the port"),
        ({"url": f"http://u:{SECRET}@"}, "the url is not scheme://"),
        ({"url": f"socks4://u:{SECRET}@p.test"}, "the scheme of the url must be one of"),
        ({"url": f"http://u:{SECRET}%FF@p.test"}, "not percent-encoded UTF-8"),
        ({"url": f"http://u:{SECRET}%0D%0A@p.test"}, "the password has a control character"),
        ({"url": "http://p.test", "password": SECRET}, "a password without a username"),
        ({"url": f"http://u:{SECRET}@p.test", "username": "v"}, "in the url and beside it"),
        ({"url": "http://p.test", "username": f"{SECRET}:", "password": SECRET}, "no colon"),
        ({"url": "http://p.test", "username": "u\n", "password": SECRET}, "the username has a control character"),
        ({"url": "http://p.test", "username": "\ud800", "password": SECRET}, "lone surrogate"),
        ({"url": "socks5://p.test", "username": "", "password": SECRET}, "must not be empty"),
        ({"url": "socks5://p.test", "username": SECRET * 50}, "must be at most 255 bytes long, not 300"),
        ({"url": "socks5://p.test", "username": "u", "password": SECRET * 50}, "must be at most 255 bytes long"),
        ({"url": "socks5://p.test", "headers": {"x": SECRET}}, "SOCKS knows no headers"),
        ({"url": "http://p.test", "tls": TLSConfig()}, "tls is for proxies that are spoken to over TLS"),
        ({"url": "http://p.test", "headers": {"Host": SECRET}}, "the header host cannot be set"),
        ({"url": "http://p.test", "headers": {"x": f"{SECRET}\r\n"}}, "the value of the header x has"),
        ({"url": "http://p.test", "headers": {"x": f" {SECRET}"}}, "the value of the header x has"),
        ({"url": "http://p.test", "headers": {f"{SECRET}\r\n": "x"}}, "the name of a header is not a token"),
        ({"url": "http://p.test", "headers": {"x": f"{SECRET}€"}}, "characters that cannot be sent"),
        (
            {"url": "http://u@p.test", "headers": {"Proxy-Authorization": SECRET}},
            "credentials and a Proxy-Authorization header",
        ),
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_and_quotes_no_secret(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Proxy(**arguments)
    assert str(caught.value).startswith("proxy: ")
    assert SECRET not in str(caught.value)
    assert not isinstance(caught.value, InvalidURL)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": 5},
        {"url": b"http://p"},
        {"url": "http://p", "username": b"u"},
        {"url": "http://p", "username": "u", "password": 5},
        {"url": "http://p", "headers": "x: y"},
        {"url": "http://p", "headers": 5},
        {"url": "http://p", "headers": [("x",)]},
        {"url": "http://p", "headers": {"x": 5}},
        {"url": "https://p", "tls": "certifi"},
    ],
)
def test_a_proxy_of_the_wrong_type_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="proxy: "):
        Proxy(**arguments)


def test_socks_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock._proxy_config.find_spec", lambda name: None)
    Proxy("http://p.test")
    with pytest.raises(ValueError, match=r"install penstock\[socks\]"):
        Proxy("socks5://p.test")
    with pytest.raises(ValueError, match=r"^ALL_PROXY: proxy: SOCKS needs"):
        PoolConfig.from_env({"ALL_PROXY": "socks5://p.test"})


def test_a_proxy_shows_no_secret_and_can_be_copied() -> None:
    proxy = Proxy(f"https://u-{SECRET}:p-{SECRET}@p.test", headers={"X-Key": SECRET}, tls=TLSConfig())
    rules = ProxyRules({"all://": proxy})
    for thing in (proxy, rules, PoolConfig(proxy=rules), Upstream("http://a", proxy=proxy)):
        assert SECRET not in repr(thing)
        assert SECRET not in str(thing)
    assert repr(proxy).startswith(
        "Proxy('https://p.test:443', username=…, password=…, headers=['x-key'], tls=TLSConfig("
    )
    for twin in (copy.copy(proxy), pickle.loads(pickle.dumps(proxy)), attrs.evolve(proxy)):
        assert twin == proxy
        assert hash(twin) == hash(proxy)
    assert attrs.evolve(proxy, password="other") != proxy
    assert pickle.loads(pickle.dumps(rules)) == rules
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        proxy.url = "http://other"  # type: ignore[misc]


def test_a_header_may_bring_another_kind_of_credentials() -> None:
    proxy = Proxy("http://p.test", headers=[("Proxy-Authorization", f"Bearer {SECRET}"), (b"X", b"y")])
    assert proxy.authorization == b"Bearer hidden"
    assert proxy.connect_fields == [(b"proxy-authorization", b"Bearer hidden"), (b"x", b"y")]
    assert Proxy("http://p.test").authorization is None


@given(st.text("abcü:/@% ", max_size=8), st.text("abcü:/@% ", max_size=8))
def test_whatever_the_credentials_are_they_come_back_out_of_the_url(name: str, password: str) -> None:
    from urllib.parse import quote

    proxy = Proxy(f"socks5h://x{quote(name, safe='')}:{quote(password, safe='')}@p.test")
    assert (proxy.username, proxy.password) == (f"x{name}", password)


@given(st.text(max_size=60))
def test_any_text_is_a_proxy_or_a_refusal_that_does_not_quote_it(text: str) -> None:
    url = f"http://user:{SECRET}{text}"
    try:
        proxy = Proxy(url)
    except ValueError as error:
        assert SECRET not in str(error)  # noqa: PT017 - both ends are right
    else:
        assert SECRET not in repr(proxy)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_what_a_proxy_says_is_never_what_it_was_told(around: bytes, cut: int) -> None:
    proxy = Proxy("http://proxy-user:proxy-word@p.test", headers={"X-Key": "another-secret"})
    said = (around + b"Basic cHJveHktdXNlcjpwcm94eS13b3Jk proxy-word another-secret")[:cut]
    shown = proxy.without_secrets(said)
    for secret in (b"cHJveHktdXNlcjpwcm94eS13b3Jk", b"proxy-word", b"another-secret"):
        assert secret not in shown
        assert not shown.endswith(secret[:8])


# ---- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "found"),
    [
        ("https://x.test", A),
        ("http://x.test", B),
        ("https://api.test", C),
        ("https://api.test:444", C),
        ("http://api.test", B),
        ("http://api.test:8443", D),
        ("https://api.test:8443", D),
        ("https://v1.api.test", None),
        ("http://a.v1.api.test:8443", None),
        ("https://a.deep.api.test", C),
        ("https://deep.api.test", None),
        ("https://notapi.test", A),
        ("https://[::1]", D),
        ("http://[::1]", B),
        ("https://192.0.2.1", D),
        ("https://localhost", None),
        ("https://a.localhost", None),
    ],
)
def test_the_most_specific_rule_decides(origin: str, found: Proxy | None) -> None:
    table: dict[str, Proxy | str | None] = {
        "all://": A,
        "http://": B,
        "https://api.test": C,
        "all://api.test:8443": D,
        "all://*.API.test": None,
        "all://*.deep.api.test": C,
        "https://[0::1]": D,
        "ALL://192.0.2.1": "http://d.test",
    }
    for pairs in (table.items(), reversed(table.items())):
        assert ProxyRules(pairs, no_proxy=["localhost"]).find(parse_origin(origin)) == found


def test_without_a_rule_that_fits_the_way_is_direct() -> None:
    assert ProxyRules().find(parse_origin("http://a.test")) is None
    assert ProxyRules({"https://": A}).find(parse_origin("http://a.test")) is None
    assert ProxyRules({"all://*": A}).find(parse_origin("http://a.test")) == A


NO_PROXY = [
    ("*", "http://any.test", True),
    ("*:8080", "http://any.test:8080", True),
    ("*:8080", "http://any.test", False),
    ("a.test", "http://a.test", True),
    ("A.Test.", "https://a.test:1", True),
    ("a.test", "http://x.y.a.test", True),
    ("a.test", "http://ba.test", False),
    (".a.test", "http://a.test", True),
    (".a.test", "http://x.a.test", True),
    ("*.a.test", "http://a.test", False),
    ("*.a.test", "http://x.y.a.test", True),
    ("a.test:8080", "http://a.test:8080", True),
    ("a.test:8080", "http://x.a.test:8080", True),
    ("a.test:8080", "http://a.test", False),
    ("a.test:80", "http://a.test", True),
    ("a.test:80", "https://a.test", False),
    ("localhost", "http://localhost:3000", True),
    ("localhost", "http://127.0.0.1", False),
    ("127.0.0.1", "http://127.0.0.1:3000", True),
    ("127.0.0.1", "http://x.127.0.0.1.test", False),
    ("127.0.0.1:3000", "http://127.0.0.1:3000", True),
    ("127.0.0.1:3000", "http://127.0.0.1", False),
    ("10.0.0.0/8", "https://10.255.0.1", True),
    ("10.1.2.3/8", "https://10.255.0.1", True),
    ("10.0.0.0/8", "https://11.0.0.1", False),
    ("10.0.0.0/8", "https://ten.test", False),
    ("10.0.0.0/8", "https://[::1]", False),
    ("fd00::/8", "https://[fd12::1]", True),
    ("::1", "http://[::1]:3", True),
    ("[::1]", "http://[::1]:3", True),
    ("[0:0::1]:8080", "http://[::1]:8080", True),
    ("[::1]:8080", "http://[::1]", False),
    ("bücher.example", "http://xn--bcher-kva.example", True),
]


@pytest.mark.parametrize(("entry", "origin", "direct"), NO_PROXY)
def test_no_proxy(entry: str, origin: str, direct: bool) -> None:
    expected = None if direct else A
    assert ProxyRules({"all://": A}, no_proxy=[entry]).find(parse_origin(origin)) == expected
    environ = {"ALL_PROXY": "http://a.test", "NO_PROXY": f"other.test, {entry}"}
    assert ProxyRules.from_env(environ).find(parse_origin(origin)) == expected


BAD_ENTRIES = [
    "", "a b", "http://a.test", "10.0.0.0/33", "a.test:0", "a.test:x", "[::1", "*.", ".", "a*", "1.2", "::g",
    "*.10.0.0.1", "*.[::1]",
]  # fmt: skip


@pytest.mark.parametrize("entry", BAD_ENTRIES)
def test_an_entry_that_cannot_be_used_is_refused_in_settings_and_ignored_in_the_environment(entry: str) -> None:
    with pytest.raises(ValueError, match="is no entry"):
        ProxyRules({"all://": A}, no_proxy=[entry])
    environ = {"ALL_PROXY": "http://a.test", "NO_PROXY": f"{entry},b.test"}
    rules = ProxyRules.from_env(environ)
    assert rules.find(parse_origin("http://b.test")) is None
    assert rules.find(parse_origin("http://c.test")) == A


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "a.test",
        "all",
        "all:",
        "ftp://",
        "http://a.test/",
        "http://u@a.test",
        "http://a*",
        "http://*.",
        "all://a:0",
        "all://*.1.2.3.4",
    ],
)
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="is no pattern"):
        ProxyRules({pattern: A})


@pytest.mark.parametrize(
    ("rules", "no_proxy"),
    [
        ("http://p", []),
        (5, []),
        ([5], []),
        ([("all://",)], []),
        ({5: A}, []),
        ({"all://": 5}, []),
        ({}, "a"),
        ({}, 5),
        ({}, [5]),
    ],
)
def test_rules_of_the_wrong_type_are_refused(rules: Any, no_proxy: Any) -> None:
    with pytest.raises(TypeError, match="prox"):
        ProxyRules(rules, no_proxy=no_proxy)


HOSTS = st.sampled_from(["a.test", "b.a.test", "c.b.a.test", "other", "10.0.0.1", "::1"])
ORIGINS = st.builds(Origin, st.sampled_from(["http", "https"]), HOSTS, st.sampled_from([80, 443, 8080]))
PLACES = st.sampled_from(
    ["", "*", "*.a.test", "a.test", "*.b.a.test", "c.b.a.test", "10.0.0.1", "[::1]", "a.test:8080"]
)
PATTERNS = st.builds("{}://{}".format, st.sampled_from(["all", "http", "https"]), PLACES)


@given(st.dictionaries(PATTERNS, st.sampled_from([A, B, None])), st.permutations(range(9)), ORIGINS)
def test_the_order_of_rules_means_nothing(table: dict[str, Proxy | None], order: list[int], origin: Origin) -> None:
    # "all://" and "all://*" say the same: then the order may decide.
    pairs = [(pattern, proxy) for pattern, proxy in table.items() if not pattern.endswith("*")]
    shuffled = [pairs[index] for index in order if index < len(pairs)] + pairs[9:]
    assert ProxyRules(pairs).find(origin) == ProxyRules(shuffled).find(origin)


@given(st.dictionaries(PATTERNS, st.sampled_from([A, B, None])), ORIGINS)
def test_an_exception_is_stronger_than_every_rule(table: dict[str, Proxy | None], origin: Origin) -> None:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    for entry in ("*", host, f"{host}:{origin.port}"):
        assert ProxyRules(table, no_proxy=[entry]).find(origin) is None


@given(st.dictionaries(st.sampled_from(["NO_PROXY", "no_proxy"]), st.text(max_size=80)), ORIGINS)
def test_no_text_in_no_proxy_raises(environ: dict[str, str], origin: Origin) -> None:
    ProxyRules.from_env({"ALL_PROXY": "p.test"} | environ).find(origin)


# ---- where they are set ----------------------------------------------------------------------------------------------


def test_a_pool_takes_one_proxy_or_rules() -> None:
    everywhere = ProxyRules({"all://": A})
    for value in ("http://a.test", A, {"all://": "http://a.test"}, everywhere):
        assert PoolConfig(proxy=value).proxy == everywhere
    assert PoolConfig(proxy=None).proxy is None
    with pytest.raises(TypeError, match="proxy must be a str, a Proxy, a mapping"):
        PoolConfig(proxy=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="proxy: the url is not"):
        PoolConfig(proxy="a.test")


def test_an_upstream_has_a_proxy_of_its_own_or_none() -> None:
    assert Upstream("http://a").proxy is None
    assert Upstream("http://a", proxy="direct").proxy == "direct"
    assert Upstream("http://a", proxy="http://a.test").proxy == A
    assert Upstream("http://a", proxy="direct", unix_socket="/x").proxy == "direct"
    with pytest.raises(ValueError, match="not reached through a proxy"):
        Upstream("http://a", proxy=A, unix_socket="/x")
    with pytest.raises(TypeError, match="proxy must be"):
        Upstream("http://a", proxy=5)  # type: ignore[arg-type]


# ---- what is not said ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rules", [{"http://user:hidden@p.test": "all://"}, {"http://user:hidden@p.test": None}, {"all://u:hidden@a": 3}]
)
def test_a_mapping_the_wrong_way_round_is_not_quoted(rules: dict[str, str | None]) -> None:
    with pytest.raises(ValueError, match="is no pattern") as caught:
        ProxyRules(rules)
    assert SECRET not in str(caught.value)
    with pytest.raises(ValueError, match="is no entry") as caught:
        ProxyRules(no_proxy=["u:hidden@p.test"])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        b'a&b"c<d>',
        b"a&amp;b&quot;c&lt;d&gt;",
        b'a&amp;b"c&lt;d&gt;',
        b"a&amp;b&#34;c&lt;d&gt;",
        b"A%26B%22c%3cd%3e",
        base64.b64encode(b'me:a&b"c<d>'),
        base64.b64encode(b'a&b"c<d>').rstrip(b"="),
        base64.urlsafe_b64encode(b'a&b"c<d>'),
    ],
)
def test_secrets_are_known_however_they_are_written(said: bytes) -> None:
    proxy = Proxy("http://p.test", username="someone", password='a&b"c<d>')
    named = Proxy("http://p.test", username="me", password='a&b"c<d>')
    assert said not in named.without_secrets(b"<p>" + said + b"</p>")
    if b"bWU6" not in said:
        assert proxy.without_secrets(b"<p>" + said + b"</p>") == b"<p>***</p>"


def test_a_short_secret_is_not_shown_by_its_absence() -> None:
    proxy = Proxy("http://a:b@p.test")
    assert proxy.without_secrets(b"Bad Gateway: backend unavailable") == b""
    assert proxy.without_secrets(b"N0") == b"N0"
    assert Proxy("http://u:pass-word@p.test", headers={"X-N": "1"}).without_secrets(b"error 1101") == b"error 1101"
