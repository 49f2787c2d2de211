"""A request in wire form: complete, checked, and framed exactly one way."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from .fields import check_authority, check_method, check_name, check_target, check_value, closes, refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._types import HeaderList, Origin
    from .body import RequestBody
    from .trailers import Trailers

_LENGTH = re.compile(rb"[0-9]{1,19}")

#: Methods that say something about content even when there is none (RFC 9110 §8.6).
_EXPECT_CONTENT = frozenset({b"POST", b"PUT", b"PATCH"})


class WireRequest:
    """One request, ready to be sent; made by `build_request` only.

    Attributes:
        method: as the caller spelled it.
        target: the request target.
        headers: lower-case names, Host first, Content-Length or Transfer-Encoding included, never both.
        body: where the content comes from.
        content_length: bytes of content that were announced; None means chunked.
        trailers: fields after the content, if any.
        wants_close: whether the caller asked that the connection be closed afterwards.
    """

    __slots__ = ("body", "content_length", "headers", "method", "target", "trailers", "wants_close")

    def __init__(
        self,
        method: bytes,
        target: bytes,
        headers: HeaderList,
        body: RequestBody,
        *,
        content_length: int | None,
        wants_close: bool,
        trailers: Trailers | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.content_length = content_length
        self.wants_close = wants_close
        self.trailers = trailers

    def final_trailers(self) -> HeaderList:
        """The fields to send after the content, asked for in the moment when all of it was sent; see `Trailers.final`.

        Raises:
            LocalProtocolError: what the caller's function returned must not be sent.
            Exception: whatever it raised, as itself.
        """
        return [] if self.trailers is None else self.trailers.final()

    def __repr__(self) -> str:
        return f"<WireRequest {self.method.decode()} with {len(self.headers)} fields>"


def build_request(
    origin: Origin,
    method: str | bytes,
    target: str | bytes,
    headers: Iterable[tuple[str | bytes, str | bytes]],
    body: RequestBody,
    *,
    trailers: Trailers | None = None,
) -> WireRequest:
    """Check everything a caller passed and add Host and the framing.

    A caller may override Host with any valid authority, announce the length of an iterable with Content-Length, and
    force chunked framing with Transfer-Encoding: chunked. Trailers force it too, since only there they have a place
    (RFC 9112 §7.1.2); those that are known are announced (RFC 9110 §6.6.2), unless the caller did so.

    Raises:
        LocalProtocolError: something must not be sent; nothing was.
    """
    verb = check_method(method)
    where = check_target(target, verb)
    complete: HeaderList = [(b"host", b"")]
    once: dict[bytes, bytes] = {}
    for raw_name, raw_value in headers:
        name = check_name(raw_name)
        value = check_value(raw_value, name)
        if name not in _ONCE:
            complete.append((name, value))
        elif name in once:
            raise refused(f"there are two {name.decode()} headers")
        else:
            once[name] = value
    wants_close = False
    host = None
    if once:
        host = once.get(b"host")
        if host is not None:
            check_authority(host)
        wants_close = _take_connection(once, complete)
    complete[0] = (b"host", host if host is not None else _authority(origin))
    length = _frame(verb, complete, body.length, once, trailers)
    return WireRequest(verb, where, complete, body, content_length=length, wants_close=wants_close, trailers=trailers)


#: Fields that may be there once, and whose value is checked for what it means.
_ONCE = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"te"})


def _take_connection(once: dict[bytes, bytes], headers: HeaderList) -> bool:
    """Check the fields about this connection; tells whether the caller asked to close it."""
    wants_close = False
    if b"te" in once:
        if once[b"te"].lower() != b"trailers":
            raise refused("the header te may only be trailers")
        headers.append((b"te", once[b"te"]))
    if b"connection" in once:
        wants_close = closes(once[b"connection"])
        headers.append((b"connection", once[b"connection"]))
    return wants_close


def _frame(
    method: bytes, headers: HeaderList, length: int | None, once: dict[bytes, bytes], trailers: Trailers | None
) -> int | None:
    """Decide between Content-Length and chunked, and add the field (RFC 9112 §6)."""
    chunked = b"transfer-encoding" in once or trailers is not None
    announced = _announced(once, length)
    if method == b"TRACE" and (chunked or length != 0):
        raise refused("TRACE must not have content")
    if trailers is not None:
        if announced is not None:
            raise refused("trailers and the header content-length must not be sent together")
        _announce(trailers, headers)
    size = None if chunked else (length if length is not None else announced)
    if size is None:
        headers.append((b"transfer-encoding", b"chunked"))
    elif size or announced is not None or method in _EXPECT_CONTENT:
        headers.append((b"content-length", b"%d" % size))
    return size


def _announce(trailers: Trailers, headers: HeaderList) -> None:
    if trailers.known and not any(name == b"trailer" for name, _ in headers):
        headers.append((b"trailer", b", ".join(dict(trailers.known))))


def _announced(once: dict[bytes, bytes], length: int | None) -> int | None:
    """The caller's own Content-Length, which must agree with everything else."""
    if b"transfer-encoding" in once:
        if once[b"transfer-encoding"].lower() != b"chunked":
            raise refused("the header transfer-encoding may only be chunked")
        if b"content-length" in once:
            raise refused("content-length and transfer-encoding must not be sent together")
    value = once.get(b"content-length")
    if value is None:
        return None
    if not _LENGTH.fullmatch(value):
        raise refused(f"the header content-length {value[:64]!r} is not a number")
    announced = int(value)
    if length is not None and announced != length:
        raise refused(f"the header content-length says {announced}, but the body has {length} bytes")
    return announced


@lru_cache(maxsize=1024)
def _authority(origin: Origin) -> bytes:
    """The Host field of an origin; an origin made from a checked URL is pure ASCII."""
    value = origin.authority.encode("ascii", "backslashreplace")
    check_authority(value)
    return value


@lru_cache(maxsize=1024)
def _prefix(name: bytes) -> bytes:
    """A field name as HTTP/1.1 servers are used to see it: some still compare case-sensitively."""
    return b"\r\n" + name.title() + b": "


def encode_head(request: WireRequest) -> bytes:
    """The head in HTTP/1.1 wire form, up to and including the blank line."""
    parts = [request.method, b" ", request.target, b" HTTP/1.1"]
    for name, value in request.headers:
        parts.append(_prefix(name))
        parts.append(value)
    parts.append(b"\r\n\r\n")
    return b"".join(parts)


def encode_last_chunk(trailers: HeaderList) -> bytes:
    """What ends a chunked body in HTTP/1.1 wire form (RFC 9112 §7.1)."""
    parts = [b"0"]
    for name, value in trailers:
        parts.append(_prefix(name))
        parts.append(value)
    parts.append(b"\r\n\r\n")
    return b"".join(parts)
