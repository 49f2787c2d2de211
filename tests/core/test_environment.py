"""What the environment says, and when it is believed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock import Client, Pool, PoolConfig, Proxy, ProxyRules, TLSConfig
from penstock._url import parse_origin

HTTP, HTTPS = parse_origin("http://a.test"), parse_origin("https://a.test")
P, Q, R = (Proxy(f"http://{name}.test") for name in "pqr")


@pytest.fixture
def pem(tmp_path: Path) -> str:
    path = tmp_path / "some.pem"
    path.write_text("")
    return str(path)


@pytest.mark.parametrize(
    ("environ", "http", "https"),
    [
        ({}, None, None),
        ({"HTTP_PROXY": "http://p.test"}, P, None),
        ({"http_proxy": "http://p.test"}, P, None),
        ({"HTTPS_PROXY": "http://p.test"}, None, P),
        ({"https_proxy": "p.test:80"}, None, P),
        ({"ALL_PROXY": "http://p.test"}, P, P),
        ({"all_proxy": "http://p.test", "HTTPS_PROXY": "http://q.test"}, P, Q),
        ({"HTTP_PROXY": "http://p.test", "http_proxy": "http://q.test"}, Q, None),
        ({"HTTP_PROXY": "http://p.test", "http_proxy": ""}, None, None),
        ({"HTTPS_PROXY": "  ", "ALL_PROXY": " http://p.test "}, P, P),
        ({"HTTP_PROXY": "http://p.test", "REQUEST_METHOD": "GET"}, None, None),
        ({"http_proxy": "http://p.test", "REQUEST_METHOD": "GET"}, P, None),
        ({"HTTP_PROXY": "http://p.test", "ALL_PROXY": "http://q.test", "REQUEST_METHOD": "GET"}, Q, Q),
        ({"ALL_PROXY": "http://p.test", "NO_PROXY": "a.test"}, None, None),
        ({"ALL_PROXY": "http://p.test", "NO_PROXY": "a.test", "no_proxy": ""}, P, P),
        ({"ALL_PROXY": "http://p.test", "NO_PROXY": "b.test", "no_proxy": "a.test"}, None, None),
        ({"ALL_PROXY": "http://p.test", "NO_PROXY": " b.test\ta.test "}, None, None),
    ],
)
def test_proxies(environ: dict[str, str], http: Proxy | None, https: Proxy | None) -> None:
    rules = ProxyRules.from_env(environ)
    assert (rules.find(HTTP), rules.find(HTTPS)) == (http, https)
    config = PoolConfig.from_env(environ)
    assert config.proxy == (rules if rules.rules else None)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY", "PENSTOCK_PROXY"])
@pytest.mark.parametrize("value", ["http://u:hidden", "u:hidden@", "ftp://u:hidden@p.test", "http://u:hid/den@p.test"])
def test_a_proxy_that_cannot_be_used_names_its_variable_and_quotes_nothing(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: proxy: ") as caught:
        PoolConfig.from_env({name: value})
    assert "hid" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_is_nearer_wins() -> None:
    environ = {"ALL_PROXY": "http://p.test"}
    assert PoolConfig.from_env({**environ, "PENSTOCK_PROXY": "http://q.test"}).proxy == ProxyRules({"all://": Q})
    assert PoolConfig.from_env({**environ, "PENSTOCK_PROXY": "none"}).proxy is None
    assert PoolConfig.from_env({**environ, "PENSTOCK_PROXY": "http://q.test"}, proxy=R).proxy == ProxyRules(
        {"all://": R}
    )
    assert PoolConfig.from_env(environ, proxy=None).proxy is None
    # What is not read cannot be wrong.
    assert PoolConfig.from_env({"ALL_PROXY": "::"}, proxy=None).proxy is None


def test_trust_and_key_log(tmp_path: Path, pem: str) -> None:
    directory, log = str(tmp_path), str(tmp_path / "keys")
    several = os.pathsep.join(["/nowhere", directory, ""])
    assert PoolConfig.from_env({}).tls == TLSConfig()
    assert PoolConfig.from_env({"SSL_CERT_FILE": ""}).tls == TLSConfig()
    assert PoolConfig.from_env({"SSL_CERT_FILE": pem}).tls.trust == (pem,)
    assert PoolConfig.from_env({"SSL_CERT_DIR": directory}).tls.trust == (directory,)
    assert PoolConfig.from_env({"SSL_CERT_FILE": pem, "SSL_CERT_DIR": several}).tls.trust == (pem, directory)
    assert PoolConfig.from_env({"SSLKEYLOGFILE": log}).tls == TLSConfig(keylog_file=log)
    everything = {"SSL_CERT_FILE": "/nowhere", "SSL_CERT_DIR": "/nowhere", "SSLKEYLOGFILE": log}
    assert PoolConfig.from_env(everything, tls=TLSConfig()).tls == TLSConfig()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SSL_CERT_FILE", "/nowhere/x.pem", "there is no file '/nowhere/x.pem'"),
        ("SSL_CERT_FILE", "/", "there is no file"),
        ("SSL_CERT_DIR", "/nowhere:/elsewhere", "there is no directory '/nowhere:/elsewhere'"),
    ],
)
def test_certificates_that_are_missing_name_their_variable(name: str, value: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: {words}"):
        PoolConfig.from_env({name: value})


VARIABLES = {"ALL_PROXY": "http://p.test", "PENSTOCK_MAX_WAITERS": "7"}


def test_a_client_believes_the_environment_unless_it_is_told_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    believed = Client()._config
    assert believed.max_waiters == 7
    assert believed.proxy == ProxyRules({"all://": P})
    assert Client(trust_env=False)._config == PoolConfig()
    assert Client(config=PoolConfig())._config == PoolConfig()
    assert Pool().config == PoolConfig()
    with pytest.raises(TypeError, match="trust_env must be True or False"):
        Client(trust_env=1)  # type: ignore[arg-type]
    monkeypatch.setenv("PENSTOCK_MAX_WAITERS", "x")
    with pytest.raises(ValueError, match="PENSTOCK_MAX_WAITERS"):
        Client()
    # Neither looks.
    Client(Pool())
    Client(config=PoolConfig())


def test_the_environment_of_a_process_with_borrowed_rights_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    assert PoolConfig.from_env() != PoolConfig()
    for name in ("getuid", "getgid"):
        with monkeypatch.context() as changed:
            changed.setattr(os, name, lambda: 12345)
            assert PoolConfig.from_env() == PoolConfig()
            assert ProxyRules.from_env() == ProxyRules()
            # Somebody passes it, and so vouches for it.
            assert PoolConfig.from_env(VARIABLES) != PoolConfig()


PROGRAM = """
import sys
sys.path[:0] = {path!r}
import penstock
print(penstock.PoolConfig.from_env() == penstock.PoolConfig())
"""


@pytest.mark.parametrize(("options", "ignored"), [((), "False"), (("-E",), "True"), (("-I",), "True")])
def test_a_python_that_ignores_its_environment_ignores_it_here_too(options: tuple[str, ...], ignored: str) -> None:
    program = PROGRAM.format(path=sys.path)
    environ = {**os.environ, **VARIABLES}
    found = subprocess.run(
        [sys.executable, *options, "-c", program], capture_output=True, text=True, check=True, env=environ
    )
    assert found.stdout.strip() == ignored


def test_what_a_cluster_says_of_a_service_named_like_us_is_no_setting() -> None:
    environ = {
        "PENSTOCK_SERVICE_HOST": "10.0.0.1",
        "PENSTOCK_SERVICE_PORT": "80",
        "PENSTOCK_PORT": "tcp://10.0.0.1:80",
        "PENSTOCK_PORT_80_TCP": "tcp://10.0.0.1:80",
        "PENSTOCK_PORT_80_TCP_PROTO": "tcp",
        "PENSTOCK_GATEWAY_SERVICE_HOST": "10.0.0.1",
        "PENSTOCK_PROXY_PORT": "tcp://10.0.0.1:80",
    }
    assert PoolConfig.from_env(environ) == PoolConfig()


def test_an_empty_variable_says_nothing() -> None:
    names = ("PROXY", "MAX_CONNECTIONS", "READ_TIMEOUT", "HTTP2", "LOCAL_ADDRESS")
    assert PoolConfig.from_env({f"PENSTOCK_{name}": " " for name in names}) == PoolConfig()
    assert PoolConfig.from_env({"PENSTOCK_PROXY": "", "ALL_PROXY": "http://p.test"}).proxy == ProxyRules({"all://": P})


def test_what_a_desktop_sets_is_understood() -> None:
    rules = ProxyRules.from_env({"ALL_PROXY": "socks://127.0.0.1:1080/"})
    assert rules.find(HTTP) == Proxy("socks5h://127.0.0.1:1080")


def test_a_proxy_that_no_rule_can_reach_is_not_made() -> None:
    both = {"HTTP_PROXY": "http://p.test", "HTTPS_PROXY": "http://q.test", "ALL_PROXY": "ftp://nothing"}
    assert ProxyRules.from_env(both) == ProxyRules({"http://": P, "https://": Q})
    for entries in ("*", "a.test, *"):
        assert PoolConfig.from_env({"ALL_PROXY": "ftp://nothing", "NO_PROXY": entries}).proxy is None


@pytest.mark.parametrize("name", ["ALL_PROXY", "PENSTOCK_PROXY"])
def test_a_proxy_that_cannot_be_used_says_how_to_do_without(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: .*trust_env=False"):
        PoolConfig.from_env({name: "ftp://p.test"})


def test_a_key_log_that_cannot_be_written_names_its_variable(tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "keys", tmp_path):
        with pytest.raises(ValueError, match=r"^SSLKEYLOGFILE: .* cannot be written"):
            PoolConfig.from_env({"SSLKEYLOGFILE": str(path)})
    assert not list(tmp_path.iterdir())
