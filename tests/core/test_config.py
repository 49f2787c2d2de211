"""Settings are checked when they are made: a wrong one is named with its value and its range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from penstock import _config
from penstock._config import PoolConfig, Timeouts, Upstream
from penstock._http2_config import HTTP2Config
from penstock._tls_config import TLSConfig
from penstock._types import Origin

NAN, INF = float("nan"), float("inf")

FIELDS = {field.name for field in attrs.fields(PoolConfig)}

#: Whole numbers: the least that is allowed, the most, and whether None is.
WHOLE: dict[str, tuple[int, int | None, bool]] = {
    "max_connections": (1, 1_000_000, False),
    "max_connections_per_host": (1, 1_000_000, False),
    "max_idle_connections": (0, None, True),
    "min_idle": (0, None, False),
    "max_waiters": (1, None, False),
    "max_dials_per_host": (1, None, False),
    "max_requests_per_connection": (1, None, True),
    "unhealthy_threshold": (1, None, False),
    "max_head_size": (1024, 1 << 24, False),
    "max_head_fields": (16, 65536, False),
}

#: Durations: whether zero is allowed, and whether None is.
SECONDS: dict[str, tuple[bool, bool]] = {
    "connect_timeout": (False, True),
    "read_timeout": (False, True),
    "write_timeout": (False, True),
    "pool_timeout": (False, True),
    "first_byte_timeout": (False, True),
    "total_timeout": (False, True),
    "drain_timeout": (True, False),
    "idle_timeout": (False, False),
    "keep_alive_timeout": (False, False),
    "health_check_interval": (False, True),
    "dial_backoff": (False, False),
    "dial_backoff_max": (False, False),
    "dns_ttl": (True, False),
    "happy_eyeballs_delay": (False, False),
}

SWITCHES = {"keep_alive", "tcp_nodelay", "tcp_keepalive", "http1", "http2"}
OTHERS = {"reuse", "local_address", "http1_engine", "http2_config", "proxy", "retry", "tls"}


def message(kind: type[Exception], settings: Mapping[str, Any]) -> str:
    with pytest.raises(kind) as caught:
        PoolConfig(**settings)
    return str(caught.value)


def test_no_field_is_left_out_here() -> None:
    assert set(WHOLE) | set(SECONDS) | SWITCHES | OTHERS == FIELDS


def test_the_defaults_are_valid() -> None:
    config = PoolConfig()

    assert config.max_connections == 100
    assert config.max_connections_per_host == 25
    assert config.reuse == "lifo"
    assert (config.http1, config.http2) == (True, True)
    assert config.http2_config == HTTP2Config()
    assert config.tls == TLSConfig()


# ---- each field by itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_have_a_range(name: str) -> None:
    low, high, optional = WHOLE[name]
    span = f"at least {low}" if high is None else f"from {low} to {high}"
    assert message(ValueError, {name: low - 1}) == f"{name} must be {span}, not {low - 1}"
    if high is not None:
        assert message(ValueError, {name: high + 1}) == f"{name} must be {span}, not {high + 1}"
    assert getattr(PoolConfig(**{name: low}), name) == low
    if optional:
        assert getattr(PoolConfig(**{name: None}), name) is None
    else:
        assert message(TypeError, {name: None}) == f"{name} must be an int, not None"


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("value", [True, 1.0, "1"])
def test_whole_numbers_are_ints(name: str, value: object) -> None:
    assert message(TypeError, {name: value}) == f"{name} must be an int, not {value!r}"


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [-1, -0.001, NAN, INF])
def test_durations_are_finite_and_not_negative(name: str, value: float) -> None:
    zero, optional = SECONDS[name]
    least = "0 or more" if zero else "more than 0"
    none = " (None for no limit)" if optional else ""

    assert message(ValueError, {name: value}) == f"{name} must be {least} and finite{none}, not {value!r}"


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [True, "5", b"5"])
def test_durations_are_numbers(name: str, value: object) -> None:
    assert message(TypeError, {name: value}) == f"{name} must be a number of seconds, not {value!r}"


@pytest.mark.parametrize("name", SECONDS)
def test_zero_and_none_are_allowed_where_they_mean_something(name: str) -> None:
    zero, optional = SECONDS[name]
    if zero:
        assert getattr(PoolConfig(**{name: 0}), name) == 0
    else:
        assert message(ValueError, {name: 0}).startswith(f"{name} must be more than 0")
    if optional:
        assert getattr(PoolConfig(**{name: None}), name) is None
    else:
        assert message(TypeError, {name: None}) == f"{name} must be a number of seconds, not None"


@pytest.mark.parametrize("name", sorted(SWITCHES))
@pytest.mark.parametrize("value", [1, None, "yes"])
def test_switches_are_true_or_false(name: str, value: object) -> None:
    assert message(TypeError, {name: value}) == f"{name} must be True or False, not {value!r}"
    assert getattr(PoolConfig(**{name: False}), name) is False


def test_the_engines_are_named() -> None:
    expected = "http1_engine must be one of 'auto', 'h11', 'httptools', not 'llhttp'"
    assert message(ValueError, {"http1_engine": "llhttp"}) == expected
    assert PoolConfig().http1_engine == "auto"
    assert PoolConfig.from_env({"PENSTOCK_HTTP1_ENGINE": "h11"}).http1_engine == "h11"


def test_an_engine_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_config, "find_spec", lambda _: None)

    expected = "http1_engine: 'httptools' needs the package httptools: install penstock[fast]"
    assert message(ValueError, {"http1_engine": "httptools"}) == expected
    with pytest.raises(ValueError, match="PENSTOCK_HTTP1_ENGINE: http1_engine: 'httptools' needs the package"):
        PoolConfig.from_env({"PENSTOCK_HTTP1_ENGINE": "httptools"})
    assert PoolConfig(http1_engine="auto") == PoolConfig()


def test_the_orders_of_reuse_are_named() -> None:
    expected = "reuse must be one of 'lifo', 'round_robin', 'least_loaded', not 'fifo'"
    assert message(ValueError, {"reuse": "fifo"}) == expected


def test_the_rest_is_checked_by_type() -> None:
    assert message(TypeError, {"http2_config": {}}) == "http2_config must be a HTTP2Config, not {}"
    assert message(TypeError, {"tls": {"trust": "system"}}) == "tls must be a TLSConfig, not {'trust': 'system'}"
    assert "local_address" in message(TypeError, {"local_address": 7})


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", None])
def test_a_local_address_is_an_ip_address(address: str | None) -> None:
    assert PoolConfig(local_address=address).local_address == address


@pytest.mark.parametrize("address", ["localhost", "", "127.0.0.1:80", "[::1]", "127.1"])
def test_what_is_no_ip_address_is_no_local_address(address: str) -> None:
    assert message(ValueError, {"local_address": address}) == f"local_address must be an IP address, not {address!r}"


def test_an_unknown_field_is_refused() -> None:
    assert "max_conections" in message(TypeError, {"max_conections": 5})


# ---- fields against each other ---------------------------------------------------------------------------------------


def test_a_floor_may_not_exceed_the_limit_of_its_endpoint() -> None:
    text = message(ValueError, {"min_idle": 5, "max_connections_per_host": 4})

    assert text == "min_idle must be at most max_connections_per_host (4), not 5"


def test_the_longest_backoff_may_not_be_shorter_than_the_first() -> None:
    text = message(ValueError, {"dial_backoff": 2.0, "dial_backoff_max": 1.0})

    assert text == "dial_backoff_max must be at least dial_backoff (2.0), not 1.0"


def test_one_protocol_at_least_is_spoken() -> None:
    assert message(ValueError, {"http1": False, "http2": False}) == "http1 and http2 must not both be False"


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        PoolConfig().max_connections = 5  # type: ignore[misc]


# ---- timeouts --------------------------------------------------------------------------------------------------------


def test_the_pools_timeouts_are_those_of_a_request_that_brings_none() -> None:
    config = PoolConfig(
        connect_timeout=1.0,
        read_timeout=2.0,
        write_timeout=3.0,
        pool_timeout=None,
        first_byte_timeout=5.0,
        total_timeout=6.0,
    )

    assert config.timeouts == Timeouts(connect=1.0, read=2.0, write=3.0, pool=None, first_byte=5.0, total=6.0)


@pytest.mark.parametrize("name", ["connect", "read", "write", "pool", "first_byte", "total"])
def test_timeouts_are_checked_like_the_pools(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be more than 0 and finite \(None for no limit\), not 0$"):
        Timeouts(**{name: 0})
    with pytest.raises(TypeError, match=rf"^{name} must be a number of seconds, not 'soon'$"):
        Timeouts(**{name: "soon"})
    assert getattr(Timeouts(**{name: None}), name) is None


# ---- the environment -------------------------------------------------------------------------------------------------


def test_settings_come_from_the_environment() -> None:
    environ = {
        "PENSTOCK_MAX_CONNECTIONS": "7",
        "PENSTOCK_MAX_CONNECTIONS_PER_HOST": " 3 ",
        "PENSTOCK_MIN_IDLE": "2",
        "PENSTOCK_IDLE_TIMEOUT": "2.5",
        "PENSTOCK_POOL_TIMEOUT": "none",
        "PENSTOCK_KEEP_ALIVE": "No",
        "PENSTOCK_REUSE": "round_robin",
        "PENSTOCK_LOCAL_ADDRESS": "127.0.0.1",
        "PENSTOCK_DIAL_BACKOFF": "40",
        "PENSTOCK_DIAL_BACKOFF_MAX": "50",
        "PATH": "/bin",
    }

    assert PoolConfig.from_env(environ) == PoolConfig(
        max_connections=7,
        max_connections_per_host=3,
        min_idle=2,
        idle_timeout=2.5,
        pool_timeout=None,
        keep_alive=False,
        reuse="round_robin",
        local_address="127.0.0.1",
        dial_backoff=40.0,
        dial_backoff_max=50.0,
    )


def test_without_variables_the_defaults_hold() -> None:
    assert PoolConfig.from_env({}) == PoolConfig()


def test_the_process_environment_is_the_usual_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_MAX_WAITERS", "9")

    assert PoolConfig.from_env().max_waiters == 9


def test_what_the_caller_sets_wins() -> None:
    environ = {"PENSTOCK_MAX_CONNECTIONS": "nonsense", "PENSTOCK_MAX_WAITERS": "9"}

    config = PoolConfig.from_env(environ, max_connections=5)

    assert (config.max_connections, config.max_waiters) == (5, 9)


@pytest.mark.parametrize("text", ["true", "TRUE", "yes", "on", "1", "false", "no", "off", "0"])
def test_switches_have_several_spellings(text: str) -> None:
    expected = text.lower() in ("true", "yes", "on", "1")

    assert PoolConfig.from_env({"PENSTOCK_TCP_NODELAY": text}).tcp_nodelay is expected


UNREAD = "; Client(trust_env=False) reads no variable"


@pytest.mark.parametrize(
    ("variable", "text", "rest"),
    [
        ("MAX_CONNECTIONS", "many", " must be a whole number, not 'many'"),
        ("MAX_CONNECTIONS", "1.5", " must be a whole number, not '1.5'"),
        ("MAX_IDLE_CONNECTIONS", "few", " must be a whole number, not 'few'"),
        ("MAX_CONNECTIONS", "0", ": max_connections must be from 1 to 1000000, not 0"),
        ("MAX_CONNECTIONS", "none", ": max_connections must be an int, not None"),
        ("IDLE_TIMEOUT", "soon", " must be a number of seconds, not 'soon'"),
        ("IDLE_TIMEOUT", "inf", ": idle_timeout must be more than 0 and finite, not inf"),
        ("READ_TIMEOUT", "-1", ": read_timeout must be more than 0 and finite (None for no limit), not -1.0"),
        ("KEEP_ALIVE", "maybe", " must be true or false, not 'maybe'"),
        ("REUSE", "fifo", ": reuse must be one of 'lifo', 'round_robin', 'least_loaded', not 'fifo'"),
        ("HTTP2", "maybe", " must be true or false, not 'maybe'"),
        (
            "PROXY",
            "ftp://p",
            ": proxy: the scheme of the url must be one of http, https, socks5, socks5h, socks" + UNREAD,
        ),
        ("MAX_CONECTIONS", "5", ": there is no such setting; PENSTOCK_MAX_CONNECTIONS is one"),
        ("TLS", "1", ": there is no such setting"),
        ("HTTP2_CONFIG", "1", ": there is no such setting"),
        ("MIN_IDLE", "-1", ": min_idle must be at least 0, not -1"),
        ("MIN_IDLE", "26", ": min_idle must be at most max_connections_per_host (25), not 26"),
        ("DIAL_BACKOFF", "31", ": dial_backoff_max must be at least dial_backoff (31.0), not 30.0"),
    ],
)
def test_a_bad_value_names_its_variable(variable: str, text: str, rest: str) -> None:
    with pytest.raises(ValueError, match="PENSTOCK_") as caught:
        PoolConfig.from_env({f"PENSTOCK_{variable}": text})

    assert str(caught.value) == f"PENSTOCK_{variable}{rest}"


@pytest.mark.parametrize(("variable", "text"), [("MIN_IDLE", "-1"), ("DIAL_BACKOFF", "0"), ("LOCAL_ADDRESS", "here")])
def test_a_bad_value_blames_no_other_variable(variable: str, text: str) -> None:
    others = {
        "PENSTOCK_MAX_CONNECTIONS_PER_HOST": "3",
        "PENSTOCK_DIAL_BACKOFF_MAX": "5",
        "PENSTOCK_IDLE_TIMEOUT": "5",
        f"PENSTOCK_{variable}": text,
    }
    with pytest.raises(ValueError, match=f"^PENSTOCK_{variable}: {variable.lower()} must"):
        PoolConfig.from_env(others)


def test_variables_that_do_not_go_together_are_all_named() -> None:
    with pytest.raises(ValueError, match="PENSTOCK_") as caught:
        PoolConfig.from_env({"PENSTOCK_MIN_IDLE": "5", "PENSTOCK_MAX_CONNECTIONS_PER_HOST": "4"})

    assert str(caught.value) == (
        "PENSTOCK_MIN_IDLE, PENSTOCK_MAX_CONNECTIONS_PER_HOST: "
        "min_idle must be at most max_connections_per_host (4), not 5"
    )


def test_a_mistake_of_the_caller_blames_no_variable() -> None:
    with pytest.raises(ValueError, match=r"^max_waiters must be at least 1, not -1$"):
        PoolConfig.from_env({}, max_waiters=-1)
    with pytest.raises(ValueError, match=r"^max_waiters must be at least 1, not -1$"):
        PoolConfig.from_env({"PENSTOCK_MAX_CONNECTIONS": "5"}, max_waiters=-1)
    with pytest.raises(TypeError, match="max_waters"):
        PoolConfig.from_env({}, max_waters=3)


# ---- upstreams -------------------------------------------------------------------------------------------------------


def test_an_upstream_is_an_origin_with_settings_of_its_own() -> None:
    upstream = Upstream("https://Api.Example.com", min_idle=2, max_connections=4, unix_socket="/run/api")

    assert upstream.origin == Origin("https", "api.example.com", 443)
    assert (upstream.min_idle, upstream.max_connections, upstream.unix_socket) == (2, 4, "/run/api")
    assert Upstream(upstream.origin) == Upstream("https://api.example.com")


@pytest.mark.parametrize(
    ("settings", "kind", "text"),
    [
        ({"min_idle": -1}, ValueError, "min_idle must be at least 0, not -1"),
        ({"max_connections": 0}, ValueError, "max_connections must be at least 1, not 0"),
        ({"max_connections": True}, TypeError, "max_connections must be an int, not True"),
        ({"unix_socket": b"/run/api"}, TypeError, "unix_socket"),
        ({"tls": "system"}, TypeError, "tls must be a TLSConfig, not 'system'"),
        ({"endpoints": ["a"]}, ValueError, "endpoints: several endpoints per upstream are not available yet"),
    ],
)
def test_an_upstreams_settings_are_checked(settings: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        Upstream("https://a", **settings)

    assert text in str(caught.value)


def test_a_floor_above_the_upstreams_own_limit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^min_idle must be at most max_connections \(2\), not 3$"):
        Upstream("https://a", min_idle=3, max_connections=2)
