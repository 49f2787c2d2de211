"""The body of a request whose content somebody hands over piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from .body import Piece


class PushedBody:
    """Takes a piece when the one before it was sent; there is never more than one under way."""

    __slots__ = ("_give", "_take", "is_replayable", "length", "small")

    raised: Final = None

    def __init__(self) -> None:
        self._give, self._take = trio.open_memory_channel[bytes](0)
        self.length: int | None = None
        self.is_replayable = False
        self.small: bytes | None = None

    def restart(self) -> None:
        """A lease carries one exchange, so this comes once."""

    async def next_piece(self) -> Piece | None:
        try:
            return await self._take.receive()
        except trio.EndOfChannel:
            return None

    async def aclose(self) -> None:
        self.close()

    async def give(self, piece: bytes) -> bool:
        """Hand a piece over, as soon as it can be sent; False if nothing is sent any more."""
        try:
            await self._give.send(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    def end(self) -> None:
        """That was all."""
        self._give.close()

    def close(self) -> None:
        """Nothing is sent any more; whoever hands a piece over is told so."""
        self._take.close()
        self._give.close()
