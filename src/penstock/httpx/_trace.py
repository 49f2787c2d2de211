"""The `trace` extension: a callback that is told how a request goes on, by the names that httpcore gave its events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    #: What a caller passes: an async function of a name and what is known.
    Callback = Callable[[str, dict[str, Any]], Awaitable[object]]


class Trace:
    """The callback of one request.

    Args:
        callback: the caller's.

    Attributes:
        protocol: what the names begin with: "penstock" until it is known who answers, then "http11" or "http2".
    """

    __slots__ = ("_callback", "protocol")

    def __init__(self, callback: Callback) -> None:
        self._callback = callback
        self.protocol = "penstock"

    async def __call__(self, name: str, **info: Any) -> None:
        """Tell the caller; whatever the callback raises leaves as itself."""
        await self._callback(f"{self.protocol}.{name}", info)
