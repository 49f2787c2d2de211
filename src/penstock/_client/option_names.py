"""The options a request takes, and what to do instead of those it does not take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .request import RequestOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

OPTION_NAMES = frozenset(RequestOptions.__annotations__)

_PROXY = "proxies belong to the pool, as PoolConfig(proxy=...)"
_TLS = "TLS settings belong to the pool, as PoolConfig(tls=TLSConfig(...))"
# What users of other clients try first.
_INSTEAD = {
    "auth": "pass an Authorization header",
    "cookies": "pass a Cookie header",
    "proxies": _PROXY,
    "proxy": _PROXY,
    "verify": _TLS,
    "cert": _TLS,
    "allow_redirects": "it is called follow_redirects",
}


def explain_unknown(caller: str, given: Iterable[str]) -> TypeError:
    """The error for options of which at least one does not exist."""
    name = next(name for name in given if name not in OPTION_NAMES)
    hint = f": {_INSTEAD[name]}" if name in _INSTEAD else ""
    return TypeError(f"Client.{caller}() has no option {name!r}{hint}")
