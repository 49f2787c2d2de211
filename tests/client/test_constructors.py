"""What a constructor cannot use is refused at once, by the name of its argument."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from penstock._client.client import Client
from penstock._config import PoolConfig, Upstream
from penstock._errors import InvalidURL, UnsupportedProtocol
from penstock._pool.pool import Pool
from penstock._tls_config import TLSConfig
from penstock._types import Origin


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pool": PoolConfig()}, "pool must be a Pool, not a PoolConfig; pass config="),
        ({"pool": "https://a"}, "pool must be a Pool, not a str; pass base_url="),
        ({"pool": Pool}, "pool must be a Pool, not a type"),
        ({"config": {"max_connections": 5}}, "config must be a PoolConfig, not a dict"),
        ({"config": {}}, "config must be a PoolConfig, not a dict"),
        ({"json_dumps": 3}, "json_dumps must be callable, not 3"),
        ({"json_loads": "orjson"}, "json_loads must be callable, not 'orjson'"),
        ({"base_url": 3}, "base_url must be a str, not int"),
        ({"timeout": "3"}, "timeout must be"),
        ({"headers": 3}, "headers must be"),
        ({"params": 3}, "params must be"),
        ({"follow_redirects": 1}, "follow_redirects must be"),
        ({"max_redirects": "3"}, "max_redirects must be"),
        ({"max_content_size": "3"}, "max_content_size must be"),
    ],
)
def test_a_client_names_what_it_cannot_use(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        Client(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"config": {}}, "config must be a PoolConfig, not a dict"),
        ({"config": TLSConfig()}, "config must be a PoolConfig, not a TLSConfig"),
        ({"upstreams": "https://a"}, "upstreams must be a list of Upstream or str, not 'https://a'"),
        ({"upstreams": Upstream("https://a")}, "upstreams must be a list of Upstream or str"),
        ({"upstreams": None}, "upstreams must be a list of Upstream or str, not None"),
        ({"upstreams": [3]}, "upstreams must hold Upstream or str, not 3"),
        ({"network": object()}, "network must have resolve, connect"),
        ({"seed": "3"}, "seed must be an int or None, not '3'"),
        ({"seed": True}, "seed must be an int or None, not True"),
    ],
)
def test_a_pool_names_what_it_cannot_use(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        Pool(**settings)


@pytest.mark.parametrize(
    ("origin", "kind", "message"),
    [
        (3, TypeError, "origin must be a str or an Origin, not 3"),
        (b"https://a", TypeError, "origin must be a str or an Origin"),
        (Origin("https", 3, 80), TypeError, "host of an origin must be str"),  # type: ignore[arg-type]
        (Origin("https", "a", "80"), TypeError, "port of an origin must be an int, not '80'"),  # type: ignore[arg-type]
        (Origin("ftp", "a", 80), UnsupportedProtocol, "http or https, not 'ftp'"),
        (Origin("https", "a/b", 443), InvalidURL, "an origin is"),
    ],
)
def test_an_upstream_names_what_is_no_origin(origin: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Upstream(origin)


def test_the_origin_of_an_upstream_is_brought_into_one_form() -> None:
    assert Upstream(Origin("https", "EXAMPLE.com", 443)).origin == Origin("https", "example.com", 443)


def test_a_unix_socket_may_be_a_path() -> None:
    assert Upstream("http://a", unix_socket=Path("/run/a.sock")).unix_socket == "/run/a.sock"
    with pytest.raises(ValueError, match="unix_socket must not be empty"):
        Upstream("http://a", unix_socket="")
    with pytest.raises(TypeError, match="unix_socket must be a str"):
        Upstream("http://a", unix_socket=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="max_connections must be an int, not '3'"):
        Upstream("http://a", max_connections="3")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ciphers": 3}, "ciphers must be suite names, not 3"),
        ({"ciphers": [3]}, "ciphers must be suite names"),
        ({"keylog_file": 3}, "keylog_file must be a str or an os.PathLike, not 3"),
        ({"client_cert": (3, 4)}, "client_cert must hold paths"),
        ({"pins": ("a",)}, "pins must map"),
        ({"trust": 3}, "trust must be"),
    ],
)
def test_tls_settings_name_what_they_cannot_use(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        TLSConfig(**settings)
