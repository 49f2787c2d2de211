"""URLs as a request needs them: an origin and a target, split strictly and in linear time.

Not a general URL library. What an HTTP client must never guess about is refused with its reason (RFC 3986, and the URL
standard where browsers fixed what the RFC left open): control characters, spaces and backslashes anywhere, user
information, IPv6 zones, IPv4 addresses in octal, hex or one number, a `%` in the host. Names are A-labels.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from ._errors import InvalidURL, UnsupportedProtocol
from ._types import DEFAULT_PORTS, Origin

#: No server takes more; a bound on what one URL may cost.
MAX_URL_LENGTH = 65536

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_PORT_FOLLOWS = re.compile(r"[0-9]{1,5}(?:[/?#]|$)")
_AUTHORITY = re.compile(r"//([^/?#]*)")
_HOST_NAME = re.compile(r"[a-z0-9_\-]{1,63}(?:\.[a-z0-9_\-]{1,63})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_WRITTEN_PORT = re.compile(r":[0-9]+\Z")
# The URL standard's path and special-query percent-encode sets, complemented; what is left of them after _FORBIDDEN.
_UNSAFE_IN_PATH = re.compile(r'["#<>?^`{}]|[^\x21-\x7e]')
_UNSAFE_IN_QUERY = re.compile(r"""["#<>']|[^\x21-\x7e]""")
_ENCODED_DOT = re.compile(r"%2e", re.IGNORECASE)
# What nearly every path and query is: visible ASCII with nothing in it to be encoded, dropped or removed. Nothing in
# here goes back over what it has read.
_USUAL_TARGET = r"(?:/(?!\.|%2)[!$-.0-;=@-\[\]_a-z|~]*+)++(?:\?[!$-&(-;=?-\[\]-~]*+)?"
_USUAL_URL = re.compile(rf"(https?)://([!-\"$-.0->@-\[\]-~]++)({_USUAL_TARGET})?")
_USUAL_BELOW = re.compile(rf"(?!//){_USUAL_TARGET}")


class URL:
    """An absolute http or https URL without user information and fragment.

    Attributes:
        origin: scheme, host and port.
        target: path and query as they go on the wire (RFC 9112 §3.2.1), ASCII.
        raw_target: the same as bytes.
    """

    __slots__ = ("origin", "raw_target", "target")

    def __init__(self, origin: Origin, target: str) -> None:
        self.origin = origin
        self.target = target
        self.raw_target = target.encode("ascii")

    @property
    def path(self) -> str:
        """The path, percent-encoded; never empty."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str | None:
        """What follows the question mark, percent-encoded; None where there is none."""
        _, mark, query = self.target.partition("?")
        return query if mark else None

    @property
    def shown(self) -> str:
        """The URL as messages show it: a query may hold secrets, so it is left out."""
        path, mark, _ = self.target.partition("?")
        return f"{self.origin}{path}{mark and '?…'}"

    def with_query(self, more: str) -> URL:
        """The same URL with `more`, already encoded, appended to its query."""
        if not more:
            return self
        joint = "?" if "?" not in self.target else "" if self.target.endswith(("?", "&")) else "&"
        return URL(self.origin, f"{self.target}{joint}{more}")

    def __str__(self) -> str:
        return f"{self.origin}{self.target}"

    def __repr__(self) -> str:
        return f"URL({self.shown!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, URL) and self.origin == other.origin and self.target == other.target

    def __hash__(self) -> int:
        return hash((self.origin, self.target))


def parse_url(text: str) -> URL:
    """Split an absolute URL; its fragment is dropped.

    Raises:
        InvalidURL: the text is no usable absolute URL; the message says why and quotes no query.
        UnsupportedProtocol: the scheme is neither http nor https.
        TypeError: `text` is no str.
    """
    if isinstance(text, str) and len(text) <= MAX_URL_LENGTH:
        usual = _USUAL_URL.fullmatch(text)
        if usual is not None:
            scheme, authority, target = usual.groups()
            return URL(_to_origin(scheme, authority), target or "/")
    return _parse(text)


def parse_origin(text: str) -> Origin:
    """Split "scheme://host[:port]", with at most a single "/" behind it.

    Raises:
        InvalidURL: the text is no origin; the message says why.
        UnsupportedProtocol: the scheme is neither http nor https.
        TypeError: `text` is no str.
    """
    url = parse_url(text)
    if url.target != "/" or "#" in text:
        raise InvalidURL(f"an origin is scheme://host[:port] and nothing more, not {url.shown}")
    return url.origin


def to_origin(origin: str | Origin) -> Origin:
    """An origin whose every part was checked, wherever it comes from.

    Raises:
        InvalidURL: it is no origin.
        UnsupportedProtocol: the scheme is neither http nor https.
        TypeError: it is neither a str nor an `Origin`, or a part of it has the wrong type.
    """
    if isinstance(origin, str):
        return parse_origin(origin)
    if not isinstance(origin, Origin):
        raise TypeError(f"origin must be a str or an Origin, not {origin!r}")
    scheme, host, port = origin
    if not isinstance(scheme, str) or not isinstance(host, str):
        raise TypeError(f"scheme and host of an origin must be str, not {scheme!r} and {host!r}")
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"the port of an origin must be an int, not {port!r}")
    if scheme not in DEFAULT_PORTS:
        raise UnsupportedProtocol(f"the scheme must be http or https, not {scheme[:64]!r}")
    return parse_origin(str(origin))


def to_place(text: str) -> tuple[str, int | None]:
    """A host as origins have it, and the port if one is written: "host", "host:port", an IPv6 address in brackets.

    Raises:
        InvalidURL: it is neither.
    """
    origin = parse_origin(f"http://{text}")
    return origin.host, origin.port if _WRITTEN_PORT.search(text) else None


def to_server_name(name: str) -> str:
    """The name of a server as TLS uses it: A-labels in lower case, or an IP address, IPv6 without brackets.

    Raises:
        InvalidURL: it is no name of a host.
        TypeError: it is no str.
    """
    if not isinstance(name, str):
        raise TypeError(f"server_name must be a str, not {name!r}")
    if not name:
        raise InvalidURL("server_name must not be empty")
    return _to_ipv6(name) if ":" in name else _to_host(name)


def resolve(base: URL, reference: str) -> URL:
    """What `reference` means where `base` is the current URL (RFC 3986 §5.2); fragments are dropped.

    Raises:
        InvalidURL: the reference cannot be used.
        UnsupportedProtocol: it leads to a scheme that is neither http nor https.
    """
    _check_characters(reference)
    if _SCHEME.match(reference):
        return parse_url(reference)
    if reference.startswith("//"):
        return parse_url(f"{base.origin.scheme}:{reference}")
    reference = reference.partition("#")[0]
    if not reference:
        return base
    if reference.startswith("?"):
        reference = base.path + reference
    elif not reference.startswith("/"):
        reference = base.path[: base.path.rindex("/") + 1] + reference
    return URL(base.origin, _to_target(reference))


def extend(base: URL, text: str) -> URL:
    """What a client with a `base_url` asks for: `text` as it is if it is absolute, else below the base's path.

    Unlike `resolve` a leading slash does not leave the base: "/chat" under "https://host/v1" is "https://host/v1/chat".

    Raises:
        InvalidURL: the text cannot be used.
        UnsupportedProtocol: it has a scheme that is neither http nor https.
    """
    # What is formatted must be what was looked at: a member of an enumeration may show itself in other words.
    if type(text) is str and len(text) <= MAX_URL_LENGTH and _USUAL_BELOW.fullmatch(text):
        return URL(base.origin, f"{base.path.rstrip('/')}{text}")
    return _extend(base, text)


def _extend(base: URL, text: str) -> URL:
    _check_characters(text)
    if _SCHEME.match(text):
        return parse_url(text)
    if text.startswith("//"):
        raise InvalidURL('a URL that starts with "//" is ambiguous under a base_url; write its scheme')
    text = text.partition("#")[0]
    path, mark, query = text.partition("?")
    if path:
        path = f"{base.path.rstrip('/')}/{path.lstrip('/')}"
    return URL(base.origin, _to_target(f"{path or base.path}{mark}{query}"))


def _parse(text: str) -> URL:
    _check_characters(text)
    scheme_match = _SCHEME.match(text)
    if scheme_match is None:
        raise InvalidURL(f"{_quote(text)} has no scheme: it must start with https:// or http://")
    scheme = scheme_match[1].lower()
    if scheme not in DEFAULT_PORTS:
        hint = ""
        if _PORT_FOLLOWS.match(text, scheme_match.end()) and "@" not in text:
            hint = f"; did you mean http://{_without_query(text)[:64]}?"
        raise UnsupportedProtocol(f"the scheme must be http or https, not {scheme[:64]!r}{hint}")
    authority = _AUTHORITY.match(text, scheme_match.end())
    if authority is None:
        raise InvalidURL(f'the URL needs "//" after {scheme_match[0]!r}')
    origin = _to_origin(scheme, authority[1])
    rest = text[authority.end() :].partition("#")[0]
    return URL(origin, _to_target(rest))


def _without_query(text: str) -> str:
    return re.split(r"[?#]", text, maxsplit=1)[0]


def _quote(text: str) -> str:
    """What was given, where it can hold no secret."""
    shown = _without_query(text)
    return "the URL" if "@" in shown or not shown else f"the URL {shown[:64]!r}"


def _check_characters(text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"a URL must be a str, not {type(text).__name__}")
    if len(text) > MAX_URL_LENGTH:
        raise InvalidURL(f"the URL is longer than {MAX_URL_LENGTH} characters")
    if found := _FORBIDDEN.search(text):
        raise InvalidURL(f"the URL holds {found[0]!r} at position {found.start()}; percent-encode it")


# A server has many URLs. What is refused is not remembered, so neither is user information.
@lru_cache(maxsize=512)
def _to_origin(scheme: str, authority: str) -> Origin:
    if "@" in authority:
        raise InvalidURL("the URL holds user information; pass Authorization yourself")
    if authority.startswith("["):
        inside, bracket, after = authority[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise InvalidURL("the brackets around the IPv6 address do not match")
        return Origin(scheme, _to_ipv6(inside), _to_port(after[1:], scheme))
    host, _, port = authority.partition(":")
    return Origin(scheme, _to_host(host), _to_port(port, scheme))


def _to_port(text: str, scheme: str) -> int:
    if not text:
        return DEFAULT_PORTS[scheme]
    if text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535:
        return int(text)
    raise InvalidURL(f"the port must be a number from 1 to 65535, not {text[:64]!r}")


def _to_ipv6(text: str) -> str:
    if "%" in text:
        raise InvalidURL("an IPv6 zone has no meaning in a URL that is sent to a server; leave it out")
    try:
        return str(IPv6Address(text))
    except ValueError:
        raise InvalidURL(f"{text[:64]!r} is no IPv6 address") from None


def _to_host(text: str) -> str:
    host = text.lower() if text.isascii() else _to_a_labels(text)
    host = host.removesuffix(".")
    if not host:
        raise InvalidURL("the URL has no host")
    if "%" in host:
        raise InvalidURL("a percent sign in the host is not decoded; write the name itself")
    if len(host) > 253 or not _HOST_NAME.fullmatch(host):
        raise InvalidURL(f"{host[:64]!r} is no host name (letters, digits, hyphens; labels of 1 to 63, 253 in all)")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        # The URL standard reads such a host as IPv4, in forms that others read differently: only the plain one is safe.
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise InvalidURL(f"{host[:64]!r} is no IPv4 address of four plain decimal numbers") from None
    if "xn--" in host:
        _check_a_labels(host)
    return host


def _to_a_labels(text: str) -> str:
    if len(text) > 253:
        raise InvalidURL("the host is longer than 253 characters")
    # Most hosts are ASCII; the tables behind this import are not small.
    import idna

    try:
        # The URL standard processes without transitional mapping; what comes out is checked like any ASCII host.
        return idna.encode(text, uts46=True, transitional=False).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError) as error:
        raise InvalidURL(f"{text[:64]!r} is no international host name: {error}") from None


def _check_a_labels(host: str) -> None:
    """Refuse "xn--" labels that stand for no international label: two spellings of one name confuse."""
    for label in host.split("."):
        if label.startswith("xn--"):
            try:
                decoded = label[4:].encode("ascii").decode("punycode")
                is_honest = not decoded.isascii() and decoded.encode("punycode").decode("ascii") == label[4:]
            except UnicodeError:
                is_honest = False
            if not is_honest:
                raise InvalidURL(f"{label!r} is no valid A-label")


def _to_target(text: str) -> str:
    """Encode and normalise what follows the authority; `text` starts with "/", "?" or is empty."""
    path, mark, query = text.partition("?")
    try:
        path = _UNSAFE_IN_PATH.sub(_percent_encode, path)
        query = _UNSAFE_IN_QUERY.sub(_percent_encode, query)
    except UnicodeEncodeError:
        raise InvalidURL("the URL holds a lone surrogate, which has no UTF-8 form") from None
    if "/." in path or "/%2" in path:
        path = _remove_dot_segments(path)
    return f"{path or '/'}{mark}{query}"


def _percent_encode(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())


def _remove_dot_segments(path: str) -> str:
    """RFC 3986 §5.2.4, with "%2e" read as a dot as the URL standard does."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        plain = _ENCODED_DOT.sub(".", segment) if len(segment) <= 6 else segment
        if plain == "..":
            del kept[-1:]
        elif plain != ".":
            kept.append(segment)
    if plain in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
