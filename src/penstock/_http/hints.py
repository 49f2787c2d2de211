"""What a server says about how long it keeps an idle connection (RFC 9112 Appendix C.2.2)."""

from __future__ import annotations

import re
from typing import NamedTuple

_PARAMETER = re.compile(rb'(?i)(?:^|[,;\s])(timeout|max)[ \t]*=[ \t]*"?(-?)([0-9]+)"?[ \t]*(?=$|[,;])')

#: Nobody keeps an idle connection for longer than thirty years; the bound keeps the arithmetic finite.
_LONGEST = 1_000_000_000


class KeepAliveHint(NamedTuple):
    """`timeout` in seconds and `max` in further requests, None where the field did not say."""

    timeout: float | None
    max: int | None


def parse_keep_alive(value: bytes) -> KeepAliveHint:
    """Read a Keep-Alive field; what is not a decimal number is taken as not said, less than 0 as 0."""
    found: dict[bytes, int] = {}
    for name, sign, digits in _PARAMETER.findall(value[:256]):
        number = 0 if sign else (int(digits) if len(digits) < 10 else _LONGEST)
        found.setdefault(name.lower(), number)
    timeout = found.get(b"timeout")
    return KeepAliveHint(None if timeout is None else float(timeout), found.get(b"max"))
