"""Where a redirect leads, and what must not go along (RFC 9110 §15.4, and the mistakes other clients made).

Credentials never reach an origin they were not meant for, and a chain that comes back does not get them back: what was
dropped stays dropped, since each hop is made from the one before. A server cannot make a body go out in clear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._errors import (
    InvalidURL,
    ProtocolReason,
    RemoteProtocolError,
    StreamConsumed,
    TooManyRedirects,
    UnsupportedProtocol,
    without_secrets,
)
from .._http.body import make_body
from .._secrets import is_secret
from .._url import resolve
from .call import Call

if TYPE_CHECKING:
    from .._http.exchange import ResponseHead
    from .._types import HeaderList
    from .._url import URL

_REDIRECTS = frozenset({301, 302, 303, 307, 308})

# Fields that speak of a body, RFC 9110 §15.4; gone with it.
_CONTENT_FIELDS = frozenset(
    {b"content-type", b"content-length", b"content-encoding", b"content-language", b"content-location", b"digest"}
    | {b"transfer-encoding", b"expect", b"trailer"}
)

# It is no credential, and losing it could make a server do the work twice.
_IDEMPOTENCY_KEY = b"idempotency-key"


def is_redirect(head: ResponseHead) -> bool:
    """Whether the answer names another place to ask."""
    return head.status in _REDIRECTS and any(name == b"location" for name, _ in head.headers)


def follow(call: Call, head: ResponseHead, *, followed: int = 0, body_begun: bool = True) -> Call:
    """The request that a redirect asks for, after `followed` others.

    A body that can be sent only once goes there as well if it was not begun yet.

    Raises:
        TooManyRedirects: the limit of the call is used up.
        RemoteProtocolError: the Location is missing, broken, or leads from https to http.
        UnsupportedProtocol: it leads to another scheme.
        StreamConsumed: the body would have to be sent again and cannot be.
    """
    if call.max_redirects == 0:
        raise TooManyRedirects(
            f"the chain of redirects is longer than max_redirects ({followed}); it ended at {call.url.shown}"
        )
    url = _to_url(call, head)
    method, fields, body, trailers = call.method, call.fields, call.body, call.trailers
    if _changes_to_get(method, head.status):
        method, body, trailers = "GET", make_body(None), None
        fields = [field for field in fields if field[0] not in _CONTENT_FIELDS]
    elif body_begun and not body.is_replayable:
        raise StreamConsumed(
            f"{call} was answered with {head.status}, which asks for the same body at {url.shown}, "
            "and this body can be sent only once; pass bytes or a file that can seek"
        )
    if url.origin != call.url.origin:
        fields = without_credentials(fields)
        trailers = trailers and trailers.keeping(without_credentials)
    return Call(
        method,
        url,
        fields,
        body,
        limits=call.limits,
        priority=call.priority,
        tenant=call.tenant,
        max_redirects=call.max_redirects - 1,
        retry=call.retry,
        trailers=trailers,
    )


def without_credentials(fields: HeaderList) -> HeaderList:
    """The fields that may go to another origin. Host is not among them, it names the old one."""
    return [field for field in fields if field[0] != b"host" and not _is_credential(field[0])]


def _changes_to_get(method: str, status: int) -> bool:
    if status in (301, 302):
        return method == "POST"
    return status == 303 and method not in ("GET", "HEAD")


def _to_url(call: Call, head: ResponseHead) -> URL:
    locations = {value for name, value in head.headers if name == b"location"}
    try:
        (location,) = locations
        if not location:
            raise InvalidURL("it is empty")
        url = resolve(call.url, location.decode("utf-8"))
    except UnsupportedProtocol as error:
        raise UnsupportedProtocol(
            f"the Location of a {head.status} cannot be followed: {error}",
            origin=call.url.origin,
            request_sent="fully",
        ) from error
    except ValueError as error:
        # InvalidURL, UnicodeDecodeError, and two locations that differ.
        reason = f"the Location of a {head.status} cannot be followed: {error}"
        raise _refuse(call, reason, b", ".join(sorted(map(without_secrets, locations)))) from error
    if call.url.origin.is_secure and not url.origin.is_secure:
        raise _refuse(call, f"a {head.status} leads from https to http, which is not followed")
    return url


def _refuse(call: Call, reason: str, said: bytes = b"") -> RemoteProtocolError:
    return RemoteProtocolError(reason, reason=ProtocolReason.REDIRECT, peer_said=said, origin=call.url.origin)


def _is_credential(name: bytes) -> bool:
    return name != _IDEMPOTENCY_KEY and is_secret(name)
