"""Header fields over HTTP/2: what is sent, and our own check of what is received.

h2 checks nothing that leaves, accepts a `:status` of "abc", and ends the whole connection where one response is
malformed. So fields are encoded as `build_request` has checked them, and what is decoded (see `h2_decoder`) is checked
here. A malformed response then costs its own stream and no other (RFC 9113 §8.1.1).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hpack import HeaderTuple, NeverIndexedHeaderTuple

from .._errors import LocalProtocolError, ProtocolReason, quote_peer
from .h2_frames import Code, StreamFault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._types import HeaderList
    from .request import WireRequest

# RFC 9113 §8.2.1: a token in lower case. Anything else could not be carried by HTTP/1.1 and may be an attack on whoever
# passes it on.
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
# RFC 9110 §5.5; control characters are refused over both protocols alike.
_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
_STATUS = re.compile(rb"[1-9][0-9][0-9]")
_LENGTH = re.compile(rb"[0-9]{1,19}")

# RFC 9113 §8.2.2.
_OF_CONNECTION: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
#: Fields of a `WireRequest` that have another form over HTTP/2, or none.
_NOT_SENT: Final = frozenset({b"host", b"connection", b"transfer-encoding"})
#: Their values stay out of the compression table (RFC 7541 §7.1.3), as do short cookies, which could be guessed.
_SENSITIVE: Final = frozenset({b"authorization", b"proxy-authorization"})
_SHORT_COOKIE: Final = 20

#: Names that have passed the check. Bounded, because a server may make names up.
_good_names: set[bytes] = set()
_NAMES_KEPT: Final = 1024


def request_fields(request: WireRequest, scheme: bytes) -> list[HeaderTuple | tuple[bytes, bytes]]:
    """A request's head as HTTP/2 sends it (RFC 9113 §8.3.1).

    Raises:
        LocalProtocolError: its target is in absolute form, which is for HTTP/1.1 proxies.
    """
    headers = request.headers
    if request.target[:1] not in (b"/", b"*"):
        raise LocalProtocolError("an absolute request target cannot be sent over HTTP/2", phase="write")
    fields: list[HeaderTuple | tuple[bytes, bytes]] = [
        (b":method", request.method),
        (b":scheme", scheme),
        # Host is the first field of a `WireRequest`.
        (b":authority", headers[0][1]),
        (b":path", request.target),
    ]
    for field in headers:
        name, value = field
        if name in _NOT_SENT:
            continue
        if name in _SENSITIVE or (name == b"cookie" and len(value) < _SHORT_COOKIE):
            field = NeverIndexedHeaderTuple(name, value)
        fields.append(field)
    return fields


def size_of(fields: Iterable[tuple[bytes, bytes]]) -> int:
    """The size of a field list as SETTINGS_MAX_HEADER_LIST_SIZE counts it (RFC 9113 §6.5.2)."""
    return sum(len(name) + len(value) + 32 for name, value in fields)


def take_status(fields: HeaderList) -> int:
    """Take `:status`, which comes first, out of the head of a response.

    Raises:
        StreamFault: there is none, or it is none that a response may have (RFC 9113 §8.3.2).
    """
    if not fields or fields[0][0] != b":status":
        raise _malformed("a response without a status")
    status = fields.pop(0)[1]
    if not _STATUS.fullmatch(status):
        raise _malformed(f"the status '{quote_peer(status)}'")
    if status == b"101":
        # RFC 9113 §8.6.
        raise StreamFault(Code.PROTOCOL_ERROR, ProtocolReason.UPGRADE, "101 (Switching Protocols) over HTTP/2")
    return int(status)


def check_field(name: bytes, value: bytes) -> None:
    """Check a field of a response that is no pseudo-field (RFC 9113 §8.2).

    Raises:
        StreamFault: it is malformed.
    """
    if name not in _good_names:
        _check_name(name)
    if _VALUE.fullmatch(value) is None:
        raise _malformed(f"the value of the field '{quote_peer(name)}' has a character that must not be there")


def _check_name(name: bytes) -> None:
    if _NAME.fullmatch(name) is None:
        what = "pseudo-field" if name[:1] == b":" else "field name"
        raise _malformed(f"the {what} '{quote_peer(name)}'")
    if name in _OF_CONNECTION:
        raise _malformed(f"the field {name.decode()}, which belongs to HTTP/1.1 connections")
    if len(_good_names) < _NAMES_KEPT and len(name) <= 64:
        _good_names.add(name)


def content_length(fields: HeaderList) -> int | None:
    """The announced length of a response's content; None if there is none.

    Raises:
        StreamFault: it is no number, or there are two that differ.
    """
    found: bytes | None = None
    for name, value in fields:
        if name == b"content-length":
            if not _LENGTH.fullmatch(value) or (found is not None and value != found):
                raise _malformed(f"the content-length '{quote_peer(value)}'")
            found = value
    return None if found is None else int(found)


def _malformed(what: str) -> StreamFault:
    return StreamFault(Code.PROTOCOL_ERROR, ProtocolReason.FRAMING, f"the response is malformed: {what}")
