"""Which proxy leads to which origin: a pure function of the origin."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple, Self

import attrs

from ._environment import trusted_environ
from ._errors import InvalidURL
from ._proxy_config import Proxy
from ._url import to_place

if TYPE_CHECKING:
    from ._types import Origin

ProxyMapping = Mapping[str, "str | Proxy | None"]

_PATTERN = re.compile(r"(?P<scheme>all|https?)://(?P<place>[^/?#@\s]*)", re.IGNORECASE)
_EVERYWHERE = re.compile(r"\*(:[0-9]+)?")
_SEPARATORS = re.compile(r"[,\s]+")

#: What each variable is for, and its name in lower case, which wins as it does for curl.
_VARIABLES = {"http://": "http_proxy", "https://": "https_proxy", "all://": "all_proxy"}


class _Hosts(NamedTuple):
    """A set of hosts.

    Attributes:
        name: this one, None for none by name.
        suffix: every host that ends so; "" for all, None for none by its end.
        port: only on this port, None for all.
    """

    name: str | None
    suffix: str | None
    port: int | None

    def include(self, origin: Origin) -> bool:
        """Whether an origin's host is among them, on that port."""
        if self.port is not None and self.port != origin.port:
            return False
        return origin.host == self.name or (self.suffix is not None and origin.host.endswith(self.suffix))


_EVERY_HOST = _Hosts(None, "", None)


class _Addresses(NamedTuple):
    """The hosts that are written as addresses of a network; names are not looked up to compare them."""

    network: IPv4Network | IPv6Network

    def include(self, origin: Origin) -> bool:
        """Whether an origin's host is an address of the network."""
        try:
            return ip_address(origin.host) in self.network
        except ValueError:
            return False


class _Rule(NamedTuple):
    scheme: str
    hosts: _Hosts
    proxy: Proxy | None

    @property
    def rank(self) -> tuple[bool, int, bool, bool]:
        """Sorts the most specific rule first: by host, then port, then scheme."""
        hosts = self.hosts
        return (hosts.name is None, -len(hosts.suffix or ""), hosts.port is None, self.scheme == "all")


@attrs.frozen(init=False)
class ProxyRules:
    """Which proxy leads to which origin.

    The most specific pattern that fits decides: an exact host before a longer ``*.suffix`` before a shorter one before
    no host, then one with a port, then one with a scheme. An origin that no pattern fits is reached directly.

    Args:
        rules: patterns with a `Proxy`, its URL, or None for "directly". A pattern is "all://", "http://" or "https://",
            with nothing behind it for every host, or with ``host`` or ``*.suffix`` (any number of labels more), and a
            port if it holds for that port only.
        no_proxy: origins that are reached directly whatever the rules say: ``*`` for all, ``host`` or ``.host`` (with
            everything below it), ``*.host`` (only what is below it), an IP address, a network ("10.0.0.0/8"; compared
            with hosts that are written as addresses), each but the network with ":port" if it is for that port only.

    Raises:
        ValueError: a pattern, an entry or a proxy's URL cannot be used.
        TypeError: a value has the wrong type.
    """

    rules: tuple[tuple[str, Proxy | None], ...] = attrs.field(default=())
    no_proxy: tuple[str, ...] = attrs.field(default=())
    _ranked: tuple[_Rule, ...] = attrs.field(init=False, eq=False, repr=False)
    _exceptions: tuple[_Hosts | _Addresses, ...] = attrs.field(init=False, eq=False, repr=False)

    def __init__(
        self, rules: ProxyMapping | Iterable[tuple[str, str | Proxy | None]] = (), *, no_proxy: Iterable[str] = ()
    ) -> None:
        found = {pattern: _to_rule(pattern, proxy) for pattern, proxy in _to_pairs(rules)}
        if isinstance(no_proxy, str | bytes) or not isinstance(no_proxy, Iterable):
            raise TypeError(f"no_proxy must be a list of str, not {no_proxy!r}")
        self._settle(found, [(entry, _to_exception(entry)) for entry in no_proxy])

    def _settle(self, found: dict[str, _Rule], exceptions: list[tuple[str, _Hosts | _Addresses]]) -> None:
        self.__attrs_init__(
            tuple((pattern, rule.proxy) for pattern, rule in found.items()), tuple(entry for entry, _ in exceptions)
        )
        object.__setattr__(self, "_ranked", tuple(sorted(found.values(), key=lambda rule: rule.rank)))
        object.__setattr__(self, "_exceptions", tuple(exception for _, exception in exceptions))

    def find(self, origin: Origin) -> Proxy | None:
        """The proxy that leads to an origin; None if it is reached directly."""
        if any(exception.include(origin) for exception in self._exceptions):
            return None
        for rule in self._ranked:
            if rule.scheme in ("all", origin.scheme) and rule.hosts.include(origin):
                return rule.proxy
        return None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.

        Each may be written in lower case, which wins. A proxy without a scheme is an HTTP proxy. HTTP_PROXY in upper
        case is not read where there is REQUEST_METHOD: in a CGI program it is what a client sent as a Proxy header.
        Entries of NO_PROXY, separated by commas or spaces, are ignored if they cannot be used; an empty variable says
        nothing, and neither does one that no origin is left for.

        Args:
            environ: where to look instead of `os.environ`. That is read only if it can be trusted: not in a set-uid
                or set-gid process, nor where Python runs with -E or -I.

        Raises:
            ValueError: a proxy cannot be used; the message names the variable and quotes nothing of its value.
        """
        environ = trusted_environ(environ)
        rules: dict[str, _Rule] = {}
        exceptions = _read_no_proxy(environ)
        made = cls.__new__(cls)
        for pattern, lower in _VARIABLES.items():
            if len(rules) == 2 or any(exception == _EVERY_HOST for _, exception in exceptions):
                # No origin is left for it, so it need not be one that can be used.
                break
            name = lower if lower in environ else lower.upper()
            if name == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
                continue
            text = environ.get(name, "").strip()
            if text:
                rules[pattern] = _to_rule(pattern, to_proxy(name, text))
        made._settle(rules, exceptions)
        return made


def to_proxy(variable: str, text: str) -> Proxy:
    """The proxy that an environment variable names.

    Raises:
        ValueError: it cannot be used.
    """
    try:
        return Proxy(text if "://" in text else f"http://{text}")
    except ValueError as error:
        raise ValueError(f"{variable}: {error}; Client(trust_env=False) reads no variable") from None


def to_proxy_rules(value: str | Proxy | ProxyMapping | ProxyRules | None) -> ProxyRules | None:
    """What `PoolConfig.proxy` may be, in one form."""
    if value is None or isinstance(value, ProxyRules):
        return value
    if isinstance(value, str | Proxy):
        return ProxyRules({"all://": value})
    if isinstance(value, Mapping):
        return ProxyRules(value)
    raise TypeError(f"proxy must be a str, a Proxy, a mapping, a ProxyRules or None, not a {type(value).__name__}")


def _to_pairs(rules: object) -> Iterable[tuple[str, object]]:
    if isinstance(rules, str | bytes) or not isinstance(rules, Iterable):
        raise TypeError(f"proxy: rules must map patterns to proxies, not be a {type(rules).__name__}")
    pairs = list(rules.items() if isinstance(rules, Mapping) else rules)
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise TypeError("proxy: rules must map patterns to proxies, or be pairs of them")
    return pairs


def _to_rule(pattern: object, proxy: object) -> _Rule:
    if not isinstance(pattern, str):
        raise TypeError(f"proxy: a pattern must be a str, not {pattern!r}")
    match = _PATTERN.fullmatch(pattern)
    try:
        if match is None:
            raise InvalidURL("")
        scheme, place = match["scheme"].lower(), match["place"]
        if place in ("", "*"):
            hosts = _EVERY_HOST
        elif place.startswith("*."):
            hosts = _below(place)
        else:
            name, port = to_place(place)
            hosts = _Hosts(name, None, port)
    except InvalidURL:
        raise ValueError(
            f"proxy: {_shown(pattern)} is no pattern; use 'all://', 'http://' or 'https://', alone or with 'host' or "
            "'*.host' and maybe ':port'"
        ) from None
    if isinstance(proxy, str):
        proxy = Proxy(proxy)
    if proxy is not None and not isinstance(proxy, Proxy):
        raise TypeError(f"proxy: {_shown(pattern)} must lead to a str, a Proxy or None, not a {type(proxy).__name__}")
    return _Rule(scheme, hosts, proxy)


def _shown(text: str) -> str:
    """A pattern or an entry, unless it may be a proxy with credentials that stands in the wrong place."""
    return "what has an '@'" if "@" in text else repr(text)


def _read_no_proxy(environ: Mapping[str, str]) -> list[tuple[str, _Hosts | _Addresses]]:
    """The entries of NO_PROXY that can be used, with what they mean."""
    found = []
    text = environ["no_proxy"] if "no_proxy" in environ else environ.get("NO_PROXY", "")
    for entry in filter(None, _SEPARATORS.split(text)):
        with suppress(ValueError):
            found.append((entry, _to_exception(entry)))
    return found


def _to_exception(entry: object) -> _Hosts | _Addresses:
    if not isinstance(entry, str):
        raise TypeError(f"no_proxy: an entry must be a str, not {entry!r}")
    try:
        if "/" in entry:
            return _Addresses(ip_network(entry, strict=False))
        return _to_excepted_hosts(entry)
    except ValueError:
        raise ValueError(
            f"no_proxy: {_shown(entry)} is no entry; use '*', 'host', '.host', '*.host', an IP address or a network, "
            "and ':port' behind all but the network"
        ) from None


def _to_excepted_hosts(entry: str) -> _Hosts:
    everywhere = _EVERYWHERE.fullmatch(entry)
    if everywhere is not None:
        return _Hosts(None, "", to_place(f"any{everywhere[1] or ''}")[1])
    if entry.count(":") > 1 and not entry.startswith("["):
        # An IPv6 address may stand without brackets where there is no port.
        entry = f"[{entry}]"
    if entry.startswith("*."):
        return _below(entry)
    name, port = to_place(entry.removeprefix("."))
    return _Hosts(name, None if _is_address(name) else f".{name}", port)


def _below(place: str) -> _Hosts:
    """The hosts that "*.host" means."""
    name, port = to_place(place[2:])
    if _is_address(name):
        raise InvalidURL("there is nothing below an address")
    return _Hosts(None, f".{name}", port)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
