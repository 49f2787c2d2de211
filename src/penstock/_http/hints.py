"""What a server says about how long it keeps an idle connection, and when a request may come again."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .._types import HeaderList

_PARAMETER = re.compile(rb'(?i)(?:^|[,;\s])(timeout|max)[ \t]*=[ \t]*"?(-?)([0-9]+)"?[ \t]*(?=$|[,;])')

#: Nobody keeps an idle connection for longer than thirty years; the bound keeps the arithmetic finite.
_LONGEST = 1_000_000_000


class KeepAliveHint(NamedTuple):
    """`timeout` in seconds and `max` in further requests, None where the field did not say."""

    timeout: float | None
    max: int | None


def parse_keep_alive(value: bytes) -> KeepAliveHint:
    """Read a Keep-Alive field (RFC 9112 Appendix C.2.2); what is no decimal number is taken as not said.

    Less than 0 counts as 0.
    """
    found: dict[bytes, int] = {}
    for name, sign, digits in _PARAMETER.findall(value[:256]):
        number = 0 if sign else (int(digits) if len(digits) < 10 else _LONGEST)
        found.setdefault(name.lower(), number)
    timeout = found.get(b"timeout")
    return KeepAliveHint(None if timeout is None else float(timeout), found.get(b"max"))


class RetryHint(NamedTuple):
    """What an answer says about trying again: seconds to wait, and whether to; None where it does not say."""

    after: float | None
    should_retry: bool | None


_DECIMAL = re.compile(rb"[0-9]{1,15}(?:\.[0-9]{1,9})?")
_YES_NO = {b"true": True, b"false": False}


def parse_retry_hint(headers: HeaderList, wall_clock: float) -> RetryHint:
    """Read the fields `retry-after-ms`, `Retry-After` (RFC 9110 §10.2.3) and `x-should-retry` of an answer.

    What cannot be read counts as not said, a date that has passed as "now". A date is counted from the server's own
    `Date`, so that a clock that is wrong there or here does no harm.

    Args:
        headers: of the answer.
        wall_clock: seconds since 1970, where the server sends no `Date`.
    """
    fields = dict(headers)
    after = None
    if _DECIMAL.fullmatch(milliseconds := fields.get(b"retry-after-ms", b"")):
        after = float(milliseconds) / 1000
    elif value := fields.get(b"retry-after"):
        after = float(value) if _DECIMAL.fullmatch(value) else _until(value, fields.get(b"date", b""), wall_clock)
    return RetryHint(after, _YES_NO.get(fields.get(b"x-should-retry", b"").lower()))


def _until(value: bytes, date: bytes, wall_clock: float) -> float | None:
    at = _to_time(value)
    if at is None:
        return None
    now = _to_time(date)
    return max(0.0, at - (wall_clock if now is None else now))


def _to_time(value: bytes) -> float | None:
    """Seconds since 1970 of an HTTP-date (RFC 9110 §5.6.7)."""
    try:
        at = parsedate_to_datetime(value[:64].decode("ascii"))
        # The oldest form, that of asctime, names no zone and means UTC.
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
