"""Fields that follow the body of a request (RFC 9110 §6.5): known from the start, or asked for once it was sent."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from .._callers_code import CallersCode
from .fields import refused
from .headers import HeaderArgument, to_fields

if TYPE_CHECKING:
    from .._errors import PenstockError
    from .._types import HeaderList

TrailerArgument = HeaderArgument | Callable[[], HeaderArgument]

#: What a server has to know before it takes the content (RFC 9110 §6.5.1): framing, routing, request modifiers,
#: credentials and the form of the content. Fields about the connection are no caller's to set at all.
_BELONG_INTO_THE_HEAD = (
    frozenset({b"connection", b"content-length", b"te", b"trailer", b"transfer-encoding"})
    | {b"expect", b"host", b"max-forwards"}
    | {b"cache-control", b"if-match", b"if-modified-since", b"if-none-match", b"if-range", b"if-unmodified-since"}
    | {b"pragma", b"range"}
    | {b"authorization", b"cookie", b"proxy-authorization"}
    | {b"content-disposition", b"content-encoding", b"content-language", b"content-location", b"content-range"}
    | {b"content-type"}
)


class Trailers:
    """The trailers of one request, which may be sent more than once.

    Attributes:
        known: the fields, where they do not depend on what was sent; None where they are asked for.
    """

    __slots__ = ("_ask", "_code", "_keep", "known")

    def __init__(
        self,
        known: HeaderList | None,
        ask: Callable[[], object],
        keep: Callable[[HeaderList], HeaderList] | None = None,
    ) -> None:
        self.known = known
        self._ask = ask
        self._keep = keep
        self._code = CallersCode()

    @property
    def raised(self) -> PenstockError | None:
        """The error of ours that the caller's function raised, if it did."""
        return self._code.raised

    def final(self) -> HeaderList:
        """The fields to send, once the body is on its way; whoever has to be asked is asked each time.

        Raises:
            LocalProtocolError: what was answered must not be sent.
            Exception: whatever the caller's function raised, as itself.
        """
        if self.known is not None:
            return self.known
        with self._code:
            answer = self._ask()
        try:
            fields = _check(answer)
        except TypeError as error:
            raise refused(str(error)) from None
        return fields if self._keep is None else self._keep(fields)

    def keeping(self, keep: Callable[[HeaderList], HeaderList]) -> Trailers | None:
        """Those that `keep` leaves of them; None if it is sure that there are none."""
        if self.known is None:
            earlier = self._keep
            return Trailers(None, self._ask, keep if earlier is None else lambda fields: keep(earlier(fields)))
        return make_trailers(keep(self.known))

    def __repr__(self) -> str:
        return "<Trailers to be asked for>" if self.known is None else f"<Trailers of {len(self.known)} fields>"


def make_trailers(given: TrailerArgument | None) -> Trailers | None:
    """Wrap what a caller passed as trailers; None where that holds no field.

    Args:
        given: a mapping or pairs, or a function without arguments that returns such. It is called when the body has
            been sent, for each time that it is sent.

    Raises:
        LocalProtocolError: a field must not be sent, or not as a trailer.
        TypeError: it is none of these.
    """
    if given is None:
        return None
    if callable(given):
        if inspect.iscoroutinefunction(given):
            raise TypeError("trailers must be a plain function, not an async one")
        return Trailers(None, given)
    fields = _check(given)
    return Trailers(fields, list) if fields else None


def _check(given: object) -> HeaderList:
    fields = to_fields(given, "trailers")
    for name, _ in fields:
        if name in _BELONG_INTO_THE_HEAD:
            raise refused(f"the field {name.decode()} cannot be a trailer: it has to come before the content")
    return fields
