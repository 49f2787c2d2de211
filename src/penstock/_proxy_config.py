"""A proxy, checked when it is made. Nothing here ever shows its credentials: not in a repr, not in an error."""

from __future__ import annotations

import re
import ssl
from base64 import b64encode
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

import attrs

from ._errors import InvalidURL, ProxyError
from ._grammar import TOKEN, VALUE
from ._secrets import hide_secrets, is_secret
from ._tls_config import TLSConfig
from ._types import HeaderList
from ._url import to_place

#: The kinds of proxies with the ports that they have unless the URL says otherwise, as curl has them.
PROXY_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}

#: What desktops write into ALL_PROXY.
_ALIASES: Final = {"socks": "socks5h"}

#: RFC 1929 §2: the length is one byte.
_LONGEST_FOR_SOCKS: Final = 255

_URL = re.compile(r"(?P<scheme>[A-Za-z0-9]+)://(?:(?P<user>[^/?#\s]*)@)?(?P<place>[^/?#@\s]+)/?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

#: Fields that say where the tunnel leads, how long a message is, or what becomes of the connection.
_OURS: Final = frozenset({
    b"connection", b"content-length", b"expect", b"host", b"keep-alive", b"proxy-connection", b"te", b"trailer",
    b"transfer-encoding", b"upgrade",
})  # fmt: skip

if TYPE_CHECKING:
    from ._errors import Phase
    from ._types import Origin

HeaderPairs = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]


@attrs.frozen(init=False, repr=False)
class Proxy:
    """A proxy: where it is, and what it is told. Hashable; equal proxies are one proxy.

    Args:
        url: "http://", "https://" (TLS to the proxy itself), "socks5://" (names are looked up here) or "socks5h://"
            (names are looked up by the proxy; so is "socks://"), then host and port. Without a port it is 80, 443, 1080
            and 1080. Credentials may stand in it, percent-encoded: "http://user:password@host:3128".
        username: for Basic authentication (RFC 7617) or that of SOCKS5 (RFC 1929).
        password: likewise; empty if there is only a name.
        headers: more fields of CONNECT requests. They go to the proxy only, so requests that an HTTP proxy passes on
            (those to http:// origins) carry none of them but Proxy-Authorization.
        tls: settings of TLS to an https:// proxy, its own trust and pins among them. None for the pool's, without its
            client certificate; needed where the pool's `trust` is an `ssl.SSLContext`, which is for origins.

    Attributes:
        url: scheme, host and port; without credentials.

    Raises:
        ValueError: a value cannot be used, or contradicts another; no message quotes the URL or the credentials.
        TypeError: a value has the wrong type.
    """

    url: str = attrs.field()
    username: str | None = attrs.field(default=None)
    password: str | None = attrs.field(default=None)
    headers: tuple[tuple[bytes, bytes], ...] = attrs.field(default=())
    tls: TLSConfig | None = attrs.field(default=None)

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        headers: HeaderPairs = (),
        tls: TLSConfig | None = None,
    ) -> None:
        clean, found = _split(url)
        if found is not None:
            if username is not None or password is not None:
                raise ValueError("proxy: credentials stand in the url and beside it; pass them once")
            name, colon, secret = found.partition(":")
            username, password = _decode(name), _decode(secret) if colon else None
        _check_credentials(clean, username, password)
        if tls is not None and not isinstance(tls, TLSConfig):
            raise TypeError(f"proxy: tls must be a TLSConfig or None, not a {type(tls).__name__}")
        if tls is not None and not clean.startswith("https:"):
            raise ValueError("proxy: tls is for proxies that are spoken to over TLS (https://)")
        fields = _to_fields(headers)
        if fields and clean.startswith("socks"):
            raise ValueError("proxy: SOCKS knows no headers")
        if username is not None and any(name == b"proxy-authorization" for name, _ in fields):
            raise ValueError("proxy: there are credentials and a Proxy-Authorization header; pass one of them")
        if clean.startswith("socks") and find_spec("socksio") is None:
            raise ValueError("proxy: SOCKS needs the package socksio: install penstock[socks]")
        password = "" if username is not None and password is None else password
        self.__attrs_init__(clean, username, password, fields, tls)

    def __repr__(self) -> str:
        parts = [repr(self.url)]
        if self.username is not None:
            parts.append("username=…, password=…")
        if self.headers:
            parts.append(f"headers={[name.decode() for name, _ in self.headers]}")
        if self.tls is not None:
            parts.append(f"tls={self.tls!r}")
        return f"Proxy({', '.join(parts)})"

    @property
    def scheme(self) -> str:
        """What kind of proxy it is."""
        return self.url.partition(":")[0]

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS5."""
        return self.scheme.startswith("socks")

    @property
    def address(self) -> str:
        """Host and port, as errors and statistics show them."""
        return self.url.partition("//")[2]

    @property
    def host(self) -> str:
        """An A-label, an IPv4 address, or an IPv6 address without brackets."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """1 to 65535."""
        return int(self.address.rpartition(":")[2])

    @property
    def authorization(self) -> bytes | None:
        """The value of Proxy-Authorization for an HTTP proxy, None if there is none."""
        if self.username is None:
            return dict(self.headers).get(b"proxy-authorization")
        return b"Basic " + b64encode(f"{self.username}:{self.password}".encode())

    @property
    def connect_fields(self) -> HeaderList:
        """The fields of a CONNECT request besides Host."""
        own = [] if self.username is None else [(b"proxy-authorization", self.authorization or b"")]
        return own + list(self.headers)

    def forwards(self, origin: Origin) -> bool:
        """Whether it reads the requests to an origin, and passes them on; to others there is a tunnel."""
        return not origin.is_secure and not self.is_socks

    def check_tls(self, pools: TLSConfig) -> None:
        """Refuse to show a proxy what is for origins.

        Raises:
            ValueError: the pool's own context would be used for TLS to the proxy.
        """
        if self.tls is None and self.scheme == "https" and isinstance(pools.trust, ssl.SSLContext):
            raise ValueError(
                f"proxy: Proxy({self.url!r}) needs Proxy(tls=…), because the pool's trust is an SSLContext, and its "
                "client certificate and its protocols are for origins"
            )

    def failure(
        self, what: str, *, phase: Phase | None = "proxy", status: int | None = None, said: bytes = b""
    ) -> ProxyError:
        """An error that says what this proxy did, quoting of what it said nothing that it was told."""
        return ProxyError(
            f"the proxy {self.address} {what}",
            proxy=self.address,
            phase=phase,
            status=status,
            peer_said=self.without_secrets(said),
        )

    def without_secrets(self, said: bytes) -> bytes:
        """What the proxy said, without what it was told: proxies echo requests in their error pages."""
        secrets = [value for name, value in self.connect_fields if is_secret(name)]
        secrets += [value.partition(b" ")[2] for value in secrets]
        secrets += [part.encode() for part in (self.username, self.password) if part]
        return hide_secrets(said, secrets)


def _split(url: object) -> tuple[str, str | None]:
    """The URL without credentials and with its port, and the credentials as they stood in it."""
    if not isinstance(url, str):
        raise TypeError(f"proxy: a proxy's url must be a str, not a {type(url).__name__}")
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError(
            "proxy: the url is not scheme://[user:password@]host[:port]; percent-encode what is special in credentials"
        )
    scheme = match["scheme"].lower()
    scheme = _ALIASES.get(scheme, scheme)
    if scheme not in PROXY_PORTS:
        raise ValueError(f"proxy: the scheme of the url must be one of {', '.join([*PROXY_PORTS, *_ALIASES])}")
    try:
        host, port = to_place(match["place"])
    except InvalidURL:
        # Without its words: a password that was not encoded may be what it found in the place of a port.
        raise ValueError("proxy: the host or the port in the url cannot be used") from None
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{PROXY_PORTS[scheme] if port is None else port}", match["user"]


def _decode(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError:
        raise ValueError("proxy: the credentials in the url are not percent-encoded UTF-8") from None


def _check_credentials(url: str, username: str | None, password: str | None) -> None:
    for name, value in (("username", username), ("password", password)):
        if value is None:
            continue
        if not isinstance(value, str):
            raise TypeError(f"proxy: {name} must be a str or None, not a {type(value).__name__}")
        if _CONTROL.search(value):
            raise ValueError(f"proxy: the {name} has a control character")
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise ValueError(f"proxy: the {name} holds a lone surrogate") from None
        if url.startswith("socks") and size > _LONGEST_FOR_SOCKS:
            raise ValueError(f"proxy: for SOCKS the {name} must be at most {_LONGEST_FOR_SOCKS} bytes long, not {size}")
    if username is None and password is not None:
        raise ValueError("proxy: there is a password without a username")
    if not username and url.startswith("socks") and username is not None:
        raise ValueError("proxy: for SOCKS the username must not be empty")
    # RFC 7617 §2: the first colon ends the name.
    if username is not None and ":" in username and not url.startswith("socks"):
        raise ValueError("proxy: a username for Basic authentication has no colon")


def _to_fields(headers: object) -> tuple[tuple[bytes, bytes], ...]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    if isinstance(pairs, str | bytes) or not isinstance(pairs, Iterable):
        raise TypeError(f"proxy: headers must be a mapping or pairs, not a {type(headers).__name__}")
    fields = []
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(part, str | bytes) for part in pair):
            raise TypeError("proxy: headers must be a mapping or pairs of str or bytes")
        try:
            name, value = (part if isinstance(part, bytes) else part.encode("latin-1") for part in pair)
        except UnicodeEncodeError:
            raise ValueError("proxy: a header has characters that cannot be sent") from None
        if not TOKEN.fullmatch(name):
            raise ValueError("proxy: the name of a header is not a token")
        if name.lower() in _OURS:
            raise ValueError(f"proxy: the header {name.lower().decode()} cannot be set")
        if not VALUE.fullmatch(value):
            where = name.lower().decode()
            raise ValueError(
                f"proxy: the value of the header {where} has a control character or an edge of white space"
            )
        fields.append((name.lower(), value))
    return tuple(fields)
