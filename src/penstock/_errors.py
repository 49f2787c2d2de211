"""Every error that leaves the public surface.

The tree follows httpx, so that habits carry over and the mapping to the SDK transports is one to one. Facts are
attributes, not more classes: a floor raises with what it knows, the floors above fill in what they know with
`RequestError.annotate`. `trio.Cancelled` is never wrapped, and no bare `OSError`, trio error or exception group
leaves the package.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ._events import RequestRetried, RetryRefusal
    from ._types import Origin

Phase = Literal["pool", "resolve", "connect", "proxy", "tls", "write", "first_byte", "read", "close", "total"]
RequestSent = Literal["unknown", "no", "partly", "fully"]

#: How much of what a peer said an error may quote.
PEER_SAID_LIMIT = 64


class ProtocolReason(Enum):
    """Why an answer was refused; a closed set that errors, metrics and verdict tables share."""

    FRAMING = "framing"
    LIMIT = "limit"
    TRUNCATED = "truncated"
    UNSOLICITED = "unsolicited"
    VERSION = "version"
    UPGRADE = "upgrade"
    GOAWAY = "goaway"
    RESET = "reset"
    SETTINGS = "settings"
    CONTENT_TYPE = "content_type"
    REDIRECT = "redirect"


def quote_peer(data: bytes) -> str:
    """Escape at most 64 bytes of what a peer said, safe to print and to log."""
    shown = data[:PEER_SAID_LIMIT]
    text = shown.decode("ascii", "backslashreplace").encode("unicode_escape").decode("ascii")
    return text + ("…" if len(data) > PEER_SAID_LIMIT else "")


def without_secrets(location: bytes) -> bytes:
    """A URL, its reference or a request target without what may be secret: user information, query and fragment."""
    return re.sub(rb"^([^/]*//)[^/]*@", rb"\1", re.split(rb"[?#]", location, maxsplit=1)[0])


class PenstockError(Exception):
    """Root of everything that Penstock raises on purpose.

    Its errors can be copied and pickled; a copy has the message and the attributes, not the cause.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args), self.__dict__


def _rebuild(kind: type[PenstockError], args: tuple[Any, ...]) -> PenstockError:
    """An error without what its attributes say; making it anew would ask for arguments that are attributes by now."""
    error = kind.__new__(kind)
    error.args = args
    return error


class RequestError(PenstockError):
    """A request could not be answered.

    Attributes:
        origin: the origin that was asked, where one is known.
        phase: what was being done when it failed.
        attempt: 1 for the first try, one more for each time that it was sent again.
        request_sent: how much of the request was handed to the network: "no", "partly", "fully", or "unknown". Only
            "no" proves that the server did not see it.
        retries: why it was sent again before, oldest first.
        retry_refusal: why it was not sent once more although its retry policy speaks of such an error; else None.
    """

    #: What holds where the floor that raises does not say: a class that means "never sent" or "answered" says so here.
    request_sent: RequestSent = "unknown"
    retries: tuple[RequestRetried, ...] = ()
    retry_refusal: RetryRefusal | None = None

    def __init__(
        self,
        message: str = "",
        *,
        origin: Origin | None = None,
        phase: Phase | None = None,
        attempt: int = 1,
        request_sent: RequestSent | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.origin = origin
        self.phase = phase
        self.attempt = attempt
        if request_sent is not None:
            self.request_sent = request_sent

    def __str__(self) -> str:
        text = self._describe()
        return text if self.origin is None else f"{text} [{self.origin}]"

    def _describe(self) -> str:
        return self.message

    def annotate(
        self,
        *,
        origin: Origin | None = None,
        phase: Phase | None = None,
        attempt: int | None = None,
        request_sent: RequestSent | None = None,
    ) -> Self:
        """Fill in facts that the floor which raised could not know.

        Origin and phase stay if they are known already; attempt and request_sent are replaced by what is given.
        """
        self.origin = self.origin or origin
        self.phase = self.phase or phase
        if attempt is not None:
            self.attempt = attempt
        if request_sent is not None and request_sent != "unknown":
            self.request_sent = request_sent
        return self


class TransportError(RequestError):
    """The failure lies between the caller and the server, not in the answer."""


class TimeoutException(TransportError, TimeoutError):
    """Something took longer than its limit; also a builtin `TimeoutError`.

    `phase` says what was being done when the limit passed.

    Attributes:
        limit: the name of the setting whose time was up: "pool_timeout", "connect_timeout", "write_timeout",
            "first_byte_timeout", "read_timeout", "event_timeout" or "total_timeout".
        seconds: its value.
    """

    def __init__(
        self,
        message: str = "",
        *,
        limit: str | None = None,
        seconds: float | None = None,
        origin: Origin | None = None,
        phase: Phase | None = None,
        attempt: int = 1,
        request_sent: RequestSent | None = None,
    ) -> None:
        super().__init__(message, origin=origin, phase=phase, attempt=attempt, request_sent=request_sent)
        self.limit = limit
        self.seconds = seconds


class ConnectTimeout(TimeoutException):
    """Resolving, connecting and the TLS handshake together took longer than `connect_timeout`."""

    request_sent = "no"


class ReadTimeout(TimeoutException):
    """No byte arrived for `read_timeout` seconds, no head within `first_byte_timeout`, no event for `event_timeout`."""


class WriteTimeout(TimeoutException):
    """The peer accepted no byte for `write_timeout` seconds."""


class PoolTimeout(TimeoutException):
    """No connection could be had within `pool_timeout`, or before `total_timeout` was up.

    Attributes:
        ledger: counts at that moment: total, active, idle, dialing, closing, waiting, limit.
        last_dial_error: why the latest dial to this origin failed, if one failed.
    """

    request_sent = "no"

    def __init__(
        self,
        message: str = "",
        *,
        ledger: Mapping[str, int] | None = None,
        last_dial_error: BaseException | None = None,
        limit: str | None = None,
        seconds: float | None = None,
        origin: Origin | None = None,
        phase: Phase | None = "pool",
    ) -> None:
        super().__init__(message, limit=limit, seconds=seconds, origin=origin, phase=phase)
        self.ledger: dict[str, int] = dict(ledger or {})
        self.last_dial_error = last_dial_error


class NetworkError(TransportError):
    """The network, or the way to it, failed."""


class ConnectError(NetworkError):
    """No connection could be made."""

    request_sent = "no"


class NameResolutionError(ConnectError):
    """The host name has no usable address."""


class TLSError(ConnectError):
    """The TLS handshake failed, or ended with properties that the configuration forbids.

    Attributes:
        is_local: whether a file that our own settings name cannot be used. The server is not blamed for that.
    """

    is_local: bool = False


class CertificateError(TLSError):
    """The certificate did not verify; never retried.

    Attributes:
        verify_code: OpenSSL's X509_V_ERR number, 0 if there is none.
        verify_message: OpenSSL's words for it.
    """

    def __init__(
        self,
        message: str = "",
        *,
        verify_code: int = 0,
        verify_message: str = "",
        origin: Origin | None = None,
        phase: Phase | None = "tls",
    ) -> None:
        super().__init__(message, origin=origin, phase=phase)
        self.verify_code = verify_code
        self.verify_message = verify_message


class PinMismatch(TLSError):
    """The certificate verified, but no key of its chain is pinned; never retried, no request byte was sent.

    Attributes:
        presented: the pins of the verified chain, leaf first ("sha256/…"); empty where there was no chain to check.
        configured: the pins that would have been accepted.
    """

    def __init__(
        self,
        message: str = "",
        *,
        presented: Sequence[str] = (),
        configured: Sequence[str] = (),
        origin: Origin | None = None,
        phase: Phase | None = "tls",
    ) -> None:
        super().__init__(message, origin=origin, phase=phase)
        self.presented = tuple(presented)
        self.configured = tuple(configured)


class AddressNotAllowed(ConnectError):
    """Every address of the host is refused by the access rules."""


class ReadError(NetworkError):
    """The connection broke before the answer was complete."""


class WriteError(NetworkError):
    """The connection broke while the request was written, and no answer was there to read."""


class CloseError(NetworkError):
    """The connection could not be closed in good order."""


class ProtocolError(TransportError):
    """The rules of HTTP were broken. Abstract: see `LocalProtocolError` and `RemoteProtocolError`."""


class LocalProtocolError(ProtocolError):
    """The caller asked for something HTTP does not allow.

    Nothing was sent, unless the body went wrong on its way; `request_sent` tells.
    """

    request_sent = "no"


class RemoteProtocolError(ProtocolError):
    """The server broke the rules or a limit; its connection is discarded.

    Attributes:
        reason: which kind of rule, from the closed set `ProtocolReason`.
        limit: over HTTP/2 the setting that was crossed, if one was.
        peer_said: at most 64 bytes of what the peer sent, escaped; part of `str(error)`, not of `message`.
    """

    request_sent = "fully"

    def __init__(
        self,
        message: str = "",
        *,
        reason: ProtocolReason,
        limit: str | None = None,
        peer_said: bytes = b"",
        origin: Origin | None = None,
        phase: Phase | None = "read",
        request_sent: RequestSent | None = None,
    ) -> None:
        super().__init__(message, origin=origin, phase=phase, request_sent=request_sent)
        self.reason = reason
        self.limit = limit
        self.peer_said = quote_peer(peer_said)

    def _describe(self) -> str:
        return f"{self.message}; the peer said: {self.peer_said}" if self.peer_said else self.message


class ContentTypeError(RemoteProtocolError):
    """The answer is not of the type that was asked for; its `reason` is CONTENT_TYPE.

    The exchange itself was in order: its connection is kept where the rest of the body is small.

    Attributes:
        content_type: what the server says it is, "" if it does not say.
        response: the answer; its `content` is the start of the body, at most 64 KiB.
    """

    def __init__(
        self, message: str, *, content_type: str, response: Any, peer_said: bytes = b"", origin: Origin | None = None
    ) -> None:
        super().__init__(message, reason=ProtocolReason.CONTENT_TYPE, peer_said=peer_said, origin=origin)
        self.content_type = content_type
        self.response = response


class ProxyError(TransportError):
    """There is no way through the proxy: it could not be reached, refused, or broke its protocol.

    What kept us from reaching it is the cause: a `ConnectError`, or the `TLSError` of TLS to the proxy itself. Failures
    of the origin behind it, its certificate's among them, are no proxy errors.

    Attributes:
        proxy: its host and port.
        status: of its answer to CONNECT, None if that is not what failed.
        peer_said: the start of that answer's body, at most 64 bytes, escaped and without what the proxy was told;
            part of `str(error)`, not of `message`.
    """

    request_sent = "no"

    def __init__(
        self,
        message: str = "",
        *,
        proxy: str = "",
        status: int | None = None,
        peer_said: bytes = b"",
        origin: Origin | None = None,
        phase: Phase | None = "proxy",
    ) -> None:
        super().__init__(message, origin=origin, phase=phase)
        self.proxy = proxy
        self.status = status
        self.peer_said = quote_peer(peer_said)

    def _describe(self) -> str:
        return f"{self.message}; the proxy said: {self.peer_said}" if self.peer_said else self.message


class UnsupportedProtocol(TransportError):
    """The URL's scheme is neither http nor https."""

    request_sent = "no"


class PoolError(TransportError):
    """The pool itself refused. See the subclasses."""

    request_sent = "no"


class PoolClosed(PoolError):
    """The pool is closed or draining."""


class PoolFull(PoolError):
    """`max_waiters` callers are waiting already."""


class CircuitOpen(PoolError):
    """Every endpoint of an upstream that was told to fail fast is ejected."""


class DecodingError(RequestError):
    """The body cannot be decoded: broken compression, wrong charset, no JSON.

    Attributes:
        line: which line of a body of JSON lines it is, from 1; None for anything else.
    """

    request_sent = "fully"
    line: int | None = None


class TooManyRedirects(RequestError):
    """A redirect chain was longer than the limit, or went in a circle."""

    request_sent = "fully"


class HTTPStatusError(PenstockError):
    """Raised by `Response.raise_for_status`.

    Attributes:
        response: the response that was refused.
    """

    def __init__(self, message: str, *, response: Any) -> None:
        super().__init__(message)
        self.response = response


class InvalidURL(PenstockError, ValueError):
    """The URL cannot be used; nothing was sent."""

    request_sent: RequestSent = "no"


class StreamError(PenstockError):
    """A body was used in a way it does not allow."""


class StreamConsumed(StreamError):
    """The body was read already and was not kept; or the content of a request can be sent only once, and was."""


class StreamClosed(StreamError):
    """The response was closed, or the lease given up, before its body was read, or sent, to the end."""
