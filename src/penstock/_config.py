"""What a user may set, checked when it is made.

A wrong value raises `ValueError` or `TypeError` that names the field, the value and the range. An option whose
behaviour is not there yet raises as well: none is inert. Every default carries its reason.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Literal, Self

import attrs

from ._environment import tls_from, trusted_environ
from ._http2_config import HTTP2Config
from ._proxy_config import Proxy
from ._proxy_rules import ProxyRules, to_proxy, to_proxy_rules
from ._retry_config import RetryPolicy
from ._tls_config import TLSConfig
from ._types import HTTP1EngineChoice
from ._url import to_origin, to_server_name
from ._validators import flag, seconds, whole

if TYPE_CHECKING:
    from ._types import Origin
    from ._validators import Validator

Reuse = Literal["lifo", "round_robin", "least_loaded"]


def _one_of(*choices: str) -> Validator:
    def check(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if value not in choices:
            raise ValueError(f"{field.name} must be one of {', '.join(map(repr, choices))}, not {value!r}")

    return check


def _engine(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    _one_of("auto", "h11", "httptools")(_, field, value)
    if value == "httptools" and find_spec("httptools") is None:
        raise ValueError(f"{field.name}: 'httptools' needs the package httptools: install penstock[fast]")


def _address(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"{field.name} must be a str, not {value!r}")
    try:
        ip_address(value)
    except ValueError:
        raise ValueError(f"{field.name} must be an IP address, not {value!r}") from None


def _instance(kind: type) -> Validator:
    def check(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, kind):
            raise TypeError(f"{field.name} must be a {kind.__name__}, not {value!r}")

    return check


@attrs.frozen(kw_only=True)
class Timeouts:
    """Limits of one request, in seconds; None means no limit.

    The object is complete: a field left out has the default below, not the pool's value.

    Attributes:
        connect: name look-up, TCP and TLS together, counted from the start of the dial.
        read: between two pieces of the answer.
        write: between two pieces of the request that the peer accepts.
        pool: waiting for a connection.
        first_byte: from the request's last byte to the answer's head.
        total: everything, from the call to the body's last byte.
    """

    connect: float | None = attrs.field(default=5.0, validator=seconds())
    read: float | None = attrs.field(default=30.0, validator=seconds())
    write: float | None = attrs.field(default=30.0, validator=seconds())
    pool: float | None = attrs.field(default=30.0, validator=seconds())
    first_byte: float | None = attrs.field(default=None, validator=seconds())
    total: float | None = attrs.field(default=None, validator=seconds())


def check_timeouts(timeouts: object) -> Timeouts:
    """Return what may be a `timeouts=` argument that is not None.

    Raises:
        TypeError: it is no `Timeouts`.
    """
    if not isinstance(timeouts, Timeouts):
        raise TypeError(f"timeouts must be a Timeouts or None, not {timeouts!r}")
    return timeouts


@attrs.frozen(kw_only=True)
class PoolConfig:
    """All settings of a pool. Every field is checked when the object is made.

    Durations are seconds, sizes are counts; None means "no limit" unless said otherwise. The reference page
    "configuration" gives each field's meaning, interaction, default and reason.

    Raises:
        ValueError: a value is out of range, contradicts another, or needs a package that is not installed.
        TypeError: a value has the wrong type.
    """

    # One process rarely profits from more sockets, and httpx's users know the number.
    max_connections: int = attrs.field(default=100, validator=whole(1, 1_000_000))
    # A quarter of the total: one slow origin cannot take every slot.
    max_connections_per_host: int = attrs.field(default=25, validator=whole(1, 1_000_000))
    max_idle_connections: int | None = attrs.field(default=None, validator=whole(0, optional=True))
    min_idle: int = attrs.field(default=0, validator=whole(0))
    # Envoy's bound on pending requests.
    max_waiters: int = attrs.field(default=1024, validator=whole(1))
    # Eight at a time: enough to fill a pool in a few round trips, too few for a storm of handshakes.
    max_dials_per_host: int = attrs.field(default=8, validator=whole(1))

    connect_timeout: float | None = attrs.field(default=5.0, validator=seconds())
    read_timeout: float | None = attrs.field(default=30.0, validator=seconds())
    write_timeout: float | None = attrs.field(default=30.0, validator=seconds())
    pool_timeout: float | None = attrs.field(default=30.0, validator=seconds())
    first_byte_timeout: float | None = attrs.field(default=None, validator=seconds())
    total_timeout: float | None = attrs.field(default=None, validator=seconds())
    # What a drain waits for exchanges in flight; HikariCP's number.
    drain_timeout: float = attrs.field(default=10.0, validator=seconds(optional=False, zero=True))

    keep_alive: bool = attrs.field(default=True, validator=flag)
    # Many load balancers close at 60 s; the margin below keeps us from the very edge.
    idle_timeout: float = attrs.field(default=60.0, validator=seconds(optional=False))
    keep_alive_timeout: float = attrs.field(default=1800.0, validator=seconds(optional=False))
    max_requests_per_connection: int | None = attrs.field(default=None, validator=whole(1, optional=True))
    reuse: Reuse = attrs.field(default="lifo", validator=_one_of("lifo", "round_robin", "least_loaded"))

    health_check_interval: float | None = attrs.field(default=30.0, validator=seconds())
    unhealthy_threshold: int = attrs.field(default=3, validator=whole(1))
    # gRPC and HikariCP grow by doubling from a tenth of a second to half a minute.
    dial_backoff: float = attrs.field(default=0.1, validator=seconds(optional=False))
    dial_backoff_max: float = attrs.field(default=30.0, validator=seconds(optional=False))

    tcp_nodelay: bool = attrs.field(default=True, validator=flag)
    tcp_keepalive: bool = attrs.field(default=True, validator=flag)
    dns_ttl: float = attrs.field(default=300.0, validator=seconds(optional=False, zero=True))
    # RFC 8305 §5: 250 ms is the recommended connection attempt delay.
    happy_eyeballs_delay: float = attrs.field(default=0.25, validator=seconds(optional=False))
    local_address: str | None = attrs.field(default=None, validator=_address)

    # What curl, undici and nghttp2 allow lies between 16 and 300 KiB.
    max_head_size: int = attrs.field(default=65536, validator=whole(1024, 1 << 24))
    max_head_fields: int = attrs.field(default=256, validator=whole(16, 65536))

    http1: bool = attrs.field(default=True, validator=flag)
    # Both engines give the same verdicts, so the fast one is taken where it is there.
    http1_engine: HTTP1EngineChoice = attrs.field(default="auto", validator=_engine)
    http2: bool = attrs.field(default=True, validator=flag)
    http2_config: HTTP2Config = attrs.field(factory=HTTP2Config, validator=_instance(HTTP2Config))
    tls: TLSConfig = attrs.field(factory=TLSConfig, validator=_instance(TLSConfig))
    retry: RetryPolicy | None = attrs.field(default=None, validator=attrs.validators.optional(_instance(RetryPolicy)))
    proxy: ProxyRules | None = attrs.field(default=None, converter=to_proxy_rules)

    def __attrs_post_init__(self) -> None:
        """Check the fields against each other."""
        if not self.http1 and not self.http2:
            raise ValueError("http1 and http2 must not both be False")
        if self.min_idle > self.max_connections_per_host:
            raise ValueError(
                f"min_idle must be at most max_connections_per_host ({self.max_connections_per_host}), "
                f"not {self.min_idle}"
            )
        if self.dial_backoff_max < self.dial_backoff:
            raise ValueError(
                f"dial_backoff_max must be at least dial_backoff ({self.dial_backoff}), not {self.dial_backoff_max}"
            )
        for _, proxy in self.proxy.rules if self.proxy else ():
            if proxy is not None:
                proxy.check_tls(self.tls)

    @property
    def timeouts(self) -> Timeouts:
        """The limits of a request that brings none of its own."""
        return Timeouts(
            connect=self.connect_timeout,
            read=self.read_timeout,
            write=self.write_timeout,
            pool=self.pool_timeout,
            first_byte=self.first_byte_timeout,
            total=self.total_timeout,
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:
        """Read settings from `PENSTOCK_<FIELD>` variables, and those of proxies and TLS that other programs read too.

        Numbers are decimal, switches are `true`/`false`, `1`/`0`, `yes`/`no` or `on`/`off`, and `none` stands for
        None. `PENSTOCK_PROXY` is the URL of one proxy for everything. Fields that are no plain value (`tls`,
        `http2_config`, `retry`) cannot be set this way.

        Where `proxy` is set neither by the caller nor by `PENSTOCK_PROXY`, it is `ProxyRules.from_env`. Where the
        caller does not set `tls`, SSL_CERT_FILE and SSL_CERT_DIR say whom to trust (both, if both are there) and
        SSLKEYLOGFILE is its `keylog_file`.

        Args:
            environ: where to look instead of `os.environ`. That is read only if it can be trusted: not in a set-uid
                or set-gid process, nor where Python runs with -E or -I.
            **overrides: fields set by the caller; they win over the environment.

        Raises:
            ValueError: a variable holds a bad value, or its name is close to a field's and no field's; the message
                names the variable. Other names that begin with `PENSTOCK_` are ignored, and so are empty variables.
        """
        environ = trusted_environ(environ)
        fields = {field.name: field for field in attrs.fields(cls)}
        found: dict[str, Any] = {}
        for variable, text in environ.items():
            if not variable.startswith("PENSTOCK_"):
                continue
            name = variable.removeprefix("PENSTOCK_").lower()
            if name in _NO_PLAIN_VALUE:
                raise ValueError(f"{variable}: there is no such setting")
            if name not in fields:
                _refuse_misspelt(variable, name, fields)
                continue
            if name in overrides or not text.strip():
                continue
            if name == "proxy":
                found[name] = None if text.strip().lower() == "none" else to_proxy(variable, text.strip())
                continue
            value = found[name] = _parse_variable(variable, text.strip(), str(fields[name].type))
            check = fields[name].validator
            assert check is not None
            try:
                check(None, fields[name], value)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{variable}: {error}") from None
        if "proxy" not in overrides and "proxy" not in found:
            rules = ProxyRules.from_env(environ)
            found["proxy"] = rules if rules.rules else None
        if "tls" not in overrides and (tls := tls_from(environ)):
            found["tls"] = TLSConfig(**tls)
        try:
            return cls(**found, **overrides)
        except (TypeError, ValueError) as error:
            # Each value is right by itself, so it is to blame only where it does not go with another setting.
            said = re.findall(r"\w+", str(error))
            names = ", ".join(f"PENSTOCK_{name.upper()}" for name in found if name in said)
            if not names:
                raise
            raise ValueError(f"{names}: {error}") from None


_NO_PLAIN_VALUE = ("tls", "http2_config", "retry")

#: A typing error leaves more of a name than this; what a cluster says of a service shares less with any field.
_MISSPELT = 0.8

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _refuse_misspelt(variable: str, name: str, fields: Iterable[str]) -> None:
    """Refuse the name of no setting if it is close to one.

    Others are somebody else's: where a service of a Kubernetes namespace is called penstock, every container of it is
    given PENSTOCK_PORT, PENSTOCK_SERVICE_HOST and more.
    """
    for meant in get_close_matches(name, fields, 1, _MISSPELT):
        raise ValueError(f"{variable}: there is no such setting; PENSTOCK_{meant.upper()} is one")


def _parse_variable(variable: str, text: str, kind: str) -> object:
    if text.lower() == "none":
        return None
    if kind == "bool":
        try:
            return _WORDS[text.lower()]
        except KeyError:
            raise ValueError(f"{variable} must be true or false, not {text!r}") from None
    if "int" in kind or "float" in kind:
        try:
            return int(text) if "int" in kind else float(text)
        except ValueError:
            what = "a whole number" if "int" in kind else "a number of seconds"
            raise ValueError(f"{variable} must be {what}, not {text!r}") from None
    return text


def _to_path(value: str | os.PathLike[str] | None) -> str | None:
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if path is None:
        return None
    if not isinstance(path, str):
        raise TypeError(f"unix_socket must be a str or an os.PathLike, not {value!r}")
    if not path:
        raise ValueError("unix_socket must not be empty; leave it None to connect to the origin's host")
    return path


def _to_upstream_proxy(value: str | Proxy | None) -> Proxy | Literal["direct"] | None:
    if value is None or isinstance(value, Proxy):
        return value
    if not isinstance(value, str):
        raise TypeError(f"proxy must be a str, a Proxy or None, not a {type(value).__name__}")
    return "direct" if value == "direct" else Proxy(value)


@attrs.frozen
class Upstream:
    """An origin declared in advance, with settings of its own.

    A declared upstream keeps its floor of `min_idle` connections even while unused.

    Args:
        origin: "https://host[:port]".
        unix_socket: path of a Unix domain socket to connect to instead of the origin's host; a name that starts
            with NUL is in Linux' abstract namespace.
        min_idle: overrides the pool's floor.
        max_connections: overrides the pool's `max_connections_per_host`.
        tls: overrides the pool's TLS settings.
        proxy: overrides the pool's: a `Proxy` or its URL, or "direct" for none. A Unix domain socket has none anyway.
        server_name: the name that the server is asked for in TLS, and that its certificate must carry, instead of the
            origin's host. Pins of the host hold all the same.
        endpoints: several endpoints for one upstream; not available yet, must stay empty.

    Raises:
        ValueError: a value is out of range, or asks for behaviour that is not available yet.
        TypeError: a value has the wrong type.
        InvalidURL, UnsupportedProtocol: the origin is no origin, or the server_name no name of a host.
    """

    origin: Origin = attrs.field(converter=to_origin)
    unix_socket: str | None = attrs.field(default=None, kw_only=True, converter=_to_path)
    min_idle: int | None = attrs.field(default=None, kw_only=True, validator=whole(0, optional=True))
    max_connections: int | None = attrs.field(default=None, kw_only=True, validator=whole(1, optional=True))
    tls: TLSConfig | None = attrs.field(
        default=None, kw_only=True, validator=attrs.validators.optional(_instance(TLSConfig))
    )
    proxy: Proxy | Literal["direct"] | None = attrs.field(default=None, kw_only=True, converter=_to_upstream_proxy)
    server_name: str | None = attrs.field(
        default=None, kw_only=True, converter=attrs.converters.optional(to_server_name)
    )
    endpoints: Sequence[object] = attrs.field(default=(), kw_only=True)

    def __attrs_post_init__(self) -> None:
        """Refuse what is not there yet, and what does not go together."""
        if self.server_name is not None and not self.origin.is_secure:
            raise ValueError(f"server_name has no meaning without TLS, and {self.origin} has none; leave it None")
        if self.endpoints:
            raise ValueError("endpoints: several endpoints per upstream are not available yet; leave it empty")
        if self.unix_socket is not None and isinstance(self.proxy, Proxy):
            raise ValueError("proxy: a Unix domain socket is not reached through a proxy")
        if self.min_idle is not None and self.max_connections is not None and self.min_idle > self.max_connections:
            raise ValueError(f"min_idle must be at most max_connections ({self.max_connections}), not {self.min_idle}")
