"""A request in wire form: complete, checked, and framed exactly one way."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from .body import BytesBody
from .fields import check_authority, check_method, check_name, check_target, check_value, closes, refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._types import HeaderList, Origin
    from .body import RequestBody
    from .trailers import Trailers

_LENGTH = re.compile(rb"[0-9]{1,19}")

#: Methods that say something about content even when there is none (RFC 9110 §8.6).
_EXPECT_CONTENT = frozenset({b"POST", b"PUT", b"PATCH"})


class HeaderSet:
    """The fields of a request that do not depend on its content: checked and serialised once, sent many times.

    Made by `make_header_set`. Nobody changes it.

    Attributes:
        headers: lower-case names, Host first.
        wants_close: whether the caller asked that the connection be closed afterwards.
        expects_continue: whether the content waits until the server asks for it (RFC 9110 §10.1.1).
    """

    __slots__ = ("_framing", "_wire", "expects_continue", "headers", "wants_close")

    def __init__(
        self, headers: HeaderList, framing: dict[bytes, bytes], *, wants_close: bool, expects_continue: bool = False
    ) -> None:
        self.headers = headers
        self.wants_close = wants_close
        self.expects_continue = expects_continue
        # What the caller said about the content: Content-Length or Transfer-Encoding.
        self._framing = framing
        self._wire = b""

    @property
    def wire(self) -> bytes:
        """The fields in HTTP/1.1 wire form, each behind a line end."""
        self._wire = wire = self._wire or encode_fields(self.headers)
        return wire

    def frame(self, method: bytes, target: bytes, body: RequestBody, trailers: Trailers | None = None) -> WireRequest:
        """Make a request of these fields; decides between Content-Length and chunked (RFC 9112 §6).

        Raises:
            LocalProtocolError: the fields, the body and the trailers do not go together.
        """
        size = body.length
        announced = None
        if self._framing:
            announced = self._announced(size)
            if b"transfer-encoding" in self._framing:
                size = None
            elif size is None:
                size = announced
        fields: HeaderList = []
        if trailers is not None:
            if announced is not None:
                raise refused("trailers and the header content-length must not be sent together")
            if trailers.known and not any(name == b"trailer" for name, _ in self.headers):
                fields.append((b"trailer", b", ".join(dict(trailers.known))))
            size = None
        if method == b"TRACE" and (size is None or body.length != 0):
            raise refused("TRACE must not have content")
        if self.expects_continue and (size == 0 or body.length == 0):
            raise refused("the header expect must not be sent without content")
        if size is None:
            fields.append((b"transfer-encoding", b"chunked"))
        elif size or announced is not None or method in _EXPECT_CONTENT:
            fields.append((b"content-length", b"%d" % size))
        return WireRequest(method, target, self, fields, body, content_length=size, trailers=trailers)

    def _announced(self, length: int | None) -> int | None:
        """The caller's own Content-Length, which must agree with everything else."""
        if b"transfer-encoding" in self._framing:
            if self._framing[b"transfer-encoding"].lower() != b"chunked":
                raise refused("the header transfer-encoding may only be chunked")
            if b"content-length" in self._framing:
                raise refused("content-length and transfer-encoding must not be sent together")
            return None
        value = self._framing[b"content-length"]
        if not _LENGTH.fullmatch(value):
            raise refused(f"the header content-length {value[:64]!r} is not a number")
        announced = int(value)
        if length is not None and announced != length:
            raise refused(f"the header content-length says {announced}, but the body has {length} bytes")
        return announced


class WireRequest:
    """One request, ready to be sent; made by `HeaderSet.frame` only.

    Attributes:
        method: as the caller spelled it.
        target: the request target.
        header_set: the fields that do not depend on the content.
        framing: those that do: Content-Length or Transfer-Encoding, never both, and what announces trailers.
        body: where the content comes from.
        content_length: bytes of content that were announced; None means chunked.
        trailers: fields after the content, if any.
    """

    __slots__ = ("_head", "body", "content_length", "framing", "header_set", "method", "target", "trailers")

    def __init__(
        self,
        method: bytes,
        target: bytes,
        header_set: HeaderSet,
        framing: HeaderList,
        body: RequestBody,
        *,
        content_length: int | None,
        trailers: Trailers | None,
    ) -> None:
        self.method = method
        self.target = target
        self.header_set = header_set
        self.framing = framing
        self.body = body
        self.content_length = content_length
        self.trailers = trailers
        self._head = b""

    @property
    def head(self) -> bytes:
        """The head in HTTP/1.1 wire form, up to and including the blank line."""
        if not self._head:
            framing = encode_fields(self.framing) if self.framing else b""
            self._head = b"%b %b HTTP/1.1%b%b\r\n\r\n" % (self.method, self.target, self.header_set.wire, framing)
        return self._head

    @property
    def whole(self) -> bytes | None:
        """The request in HTTP/1.1 wire form, if it goes in one write; None if its content is sent piece by piece."""
        small = self.body.small
        if small is None or self.content_length is None or self.header_set.expects_continue:
            return None
        return self.head + small if small else self.head

    @property
    def headers(self) -> HeaderList:
        """All fields of the head, in order."""
        return self.header_set.headers + self.framing

    @property
    def expects_continue(self) -> bool:
        """Whether the content waits until the server asks for it."""
        return self.header_set.expects_continue

    @property
    def wants_close(self) -> bool:
        """Whether the caller asked that the connection be closed afterwards."""
        return self.header_set.wants_close

    def without_content(self) -> WireRequest:
        """The same head, with no content behind it: what can be told of a request that was sent."""
        return WireRequest(
            self.method,
            self.target,
            self.header_set,
            self.framing,
            BytesBody(b""),
            content_length=self.content_length,
            trailers=None,
        )

    def for_proxy(self, target: bytes, fields: HeaderList) -> WireRequest:
        """The same request for the next hop: with another target, and fields that are for that hop only."""
        own = self.header_set
        return WireRequest(
            self.method,
            target,
            HeaderSet([*own.headers, *fields], {}, wants_close=own.wants_close, expects_continue=own.expects_continue),
            self.framing,
            self.body,
            content_length=self.content_length,
            trailers=self.trailers,
        )

    def is_source_of(self, error: BaseException) -> bool:
        """Whether an error of ours came out of the caller's own content or trailers.

        Then it tells of another exchange: it leaves as it is, and says nothing about the one that this request is in.
        """
        return self.body.raised is error or (self.trailers is not None and self.trailers.raised is error)

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
    fields = [(name := check_name(raw_name), check_value(value, name)) for raw_name, value in headers]
    return make_header_set(origin, fields).frame(verb, where, body, trailers)


def make_header_set(origin: Origin, fields: HeaderList) -> HeaderSet:
    """Check what the fields of a request to an origin mean together, and add Host.

    Args:
        origin: where they go.
        fields: with names and values that were checked, as `to_fields` does.

    Raises:
        LocalProtocolError: something must not be sent.
    """
    if _ONCE.isdisjoint(dict(fields)):
        return HeaderSet([(b"host", _authority(origin)), *fields], {}, wants_close=False)
    complete: HeaderList = [(b"host", b"")]
    once: dict[bytes, bytes] = {}
    for field in fields:
        name, value = field
        if name not in _ONCE:
            complete.append(field)
        elif name in once:
            raise refused(f"there are two {name.decode()} headers")
        else:
            once[name] = value
    expectation = once.pop(b"expect", None)
    if expectation is not None:
        if expectation.lower() != b"100-continue":
            raise refused("the header expect may only be 100-continue")
        complete.append((b"expect", expectation))
    host = once.pop(b"host", None)
    if host is not None:
        check_authority(host)
    wants_close = _take_connection(once, complete) if once else False
    complete[0] = (b"host", host if host is not None else _authority(origin))
    return HeaderSet(complete, once, wants_close=wants_close, expects_continue=expectation is not None)


#: Fields that may be there once, and whose value is checked for what it means.
_ONCE = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"te", b"expect"})


def _take_connection(once: dict[bytes, bytes], headers: HeaderList) -> bool:
    """Check the fields about this connection; tells whether the caller asked to close it."""
    te = once.pop(b"te", None)
    if te is not None:
        if te.lower() != b"trailers":
            raise refused("the header te may only be trailers")
        headers.append((b"te", te))
    connection = once.pop(b"connection", None)
    if connection is None:
        return False
    wants_close = closes(connection)
    headers.append((b"connection", connection))
    return wants_close


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


def encode_fields(fields: HeaderList) -> bytes:
    """Fields in HTTP/1.1 wire form, each behind a line end."""
    return b"".join([_prefix(name) + value for name, value in fields])


def encode_last_chunk(trailers: HeaderList) -> bytes:
    """What ends a chunked body in HTTP/1.1 wire form (RFC 9112 §7.1)."""
    return b"0%b\r\n\r\n" % encode_fields(trailers)
