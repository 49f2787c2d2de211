"""Our own check of every field that leaves: names, values, authorities, and the fields a caller may not set.

The parsers below us check too little of what we send (h11 lets a bad Host, Content-Length beside Transfer-Encoding and
a fragment pass; h2 checks nothing), so nothing is left to them. Nothing is repaired silently either: a value with an
edge space raises, because stripping it would send something the caller did not write.
"""

from __future__ import annotations

import re

from .._errors import LocalProtocolError, quote_peer, without_secrets
from .._grammar import TOKEN, VALUE

# RFC 9112 §3.2: visible ASCII. A fragment is never sent (RFC 9110 §7.1).
_TARGET = re.compile(rb"[\x21\x22\x24-\x7e]+")
_ORIGIN_FORM = re.compile(rb"/[\x21\x22\x24-\x7e]*")

# RFC 3986 §3.2.2 without userinfo: reg-name or IPv4, or an IP literal in brackets, and a port.
_AUTHORITY = re.compile(
    rb"(?:(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+|\[[0-9A-Fa-f:.]+\]|\[[vV][0-9A-Fa-f]+\.[A-Za-z0-9\-._~:]+\])"
    rb"(?::(?P<port>[0-9]{1,5})?)?"
)

#: Checked names, spelled as callers spell them, in lower case. Bounded, because a caller may make names up.
_NAMES: dict[str | bytes, bytes] = {}
_NAMES_KEPT = 1024

#: Fields that speak to the next hop only (RFC 9110 §7.6.1), or that ask for something this client does not do.
_REFUSED = {
    b"upgrade": "changing the protocol is not available",
    b"http2-settings": "changing the protocol is not available",
    b"keep-alive": "it is between the pool and the server",
    b"proxy-connection": "it is between the pool and the server",
    b"proxy-authorization": "the origin would see it; pass Proxy(url, username=…, password=…) to the pool",
}

_CONNECTION_OPTIONS = frozenset({b"close", b"keep-alive", b"te"})


def to_bytes(text: str | bytes, what: str) -> bytes:
    """Encode a piece of a head as latin-1.

    Raises:
        LocalProtocolError: it has characters beyond latin-1, or is neither str nor bytes.
    """
    if isinstance(text, str):
        try:
            return text.encode("latin-1")
        except UnicodeEncodeError:
            raise refused(f"{what} has characters that cannot be sent") from None
    if isinstance(text, bytes):
        return text
    raise refused(f"{what} must be str or bytes, not {type(text).__name__}")


def refused(message: str) -> LocalProtocolError:
    """An error for something that must not be sent; nothing has been."""
    return LocalProtocolError(message, phase="write")


def check_method(method: str | bytes) -> bytes:
    """Return the method as bytes; methods are case-sensitive and are not changed (RFC 9110 §9.1)."""
    raw = to_bytes(method, "the method")
    if not TOKEN.fullmatch(raw):
        raise refused(f"the method {method!r} is not a token")
    if raw == b"CONNECT":
        raise refused("CONNECT is not a request a caller can make")
    return raw


def check_target(target: str | bytes, method: bytes) -> bytes:
    """Return the request target as bytes: origin-form, absolute-form, or "*" for OPTIONS (RFC 9112 §3.2)."""
    if type(target) is bytes and _ORIGIN_FORM.fullmatch(target) is not None:
        return target
    raw = to_bytes(target, "the request target")
    if not _TARGET.fullmatch(raw):
        raise refused(f"the request target {_shown(raw)} is empty or has a character that must be percent-encoded")
    if raw[0] == 0x2F or (raw == b"*" and method == b"OPTIONS") or raw.startswith((b"http://", b"https://")):
        return raw
    raise refused(f"the request target {_shown(raw)} must begin with a slash")


def _shown(target: bytes) -> str:
    return f"'{quote_peer(without_secrets(target))}'"


def check_name(name: str | bytes) -> bytes:
    """Return a field name in lower case."""
    try:
        return _NAMES[name]
    except (KeyError, TypeError):
        pass
    raw = to_bytes(name, "a header name")
    if not TOKEN.fullmatch(raw):
        raise refused(f"the header name {raw[:64]!r} is not a token")
    lower = raw.lower()
    if lower in _REFUSED:
        raise refused(f"the header {lower.decode()} cannot be set: {_REFUSED[lower]}")
    if len(_NAMES) < _NAMES_KEPT and len(raw) <= 64:
        _NAMES[name] = lower
    return lower


def check_value(value: str | bytes, name: bytes) -> bytes:
    """Return a field value as bytes. The message of the error never shows the value: it may be a secret."""
    if type(value) is bytes:
        raw = value
    elif type(value) is str and value.isascii():
        raw = value.encode()
    else:
        raw = to_bytes(value, f"the value of the header {name.decode()}")
    if VALUE.fullmatch(raw) is None:
        only_spaces = VALUE.fullmatch(raw.strip(b" \t")) is not None
        fault = "begins or ends with white space" if only_spaces else "has a control character"
        raise refused(f"the value of the header {name.decode()} {fault}")
    return raw


def check_authority(value: bytes) -> None:
    """Refuse a Host field that is not host[:port] (RFC 9110 §7.2)."""
    match = _AUTHORITY.fullmatch(value)
    if match is None or int(match["port"] or 0) > 65535:
        raise refused(f"the header host {value[:64]!r} is not a host with an optional port")


def closes(value: bytes) -> bool:
    """Check a Connection field and tell whether it asks to close.

    Options that name other fields are refused: they would tell a proxy to drop them.
    """
    options = {option.strip().lower() for option in value.split(b",")}
    if not options <= _CONNECTION_OPTIONS:
        raise refused(f"the header connection may hold close or keep-alive, not {value[:64]!r}")
    return b"close" in options
