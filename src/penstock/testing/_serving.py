"""Where handlers run: one nursery for the servers of a test, which shows their mistakes and none of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TypeVarTuple

import trio

from ._peer import ClientGone

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from ._peer import Handler, ScriptedPeer

Args = TypeVarTuple("Args")


class PeerNursery:
    """Runs handlers, each with its peer, from `async with` to its end, where those still running are cancelled.

    A handler whose client goes away ends quietly. Any other exception of a handler leaves the `async with` block; a
    single exception, of a handler or of the block's body, leaves as itself and not in a group.
    """

    def __init__(self) -> None:
        self._manager: AbstractAsyncContextManager[trio.Nursery, bool | None] | None = None
        self._nursery: trio.Nursery | None = None

    @property
    def is_open(self) -> bool:
        """Whether handlers can be started."""
        return self._nursery is not None

    def start(self, handler: Handler, peer: ScriptedPeer, tls: ssl.SSLContext | None = None) -> None:
        """Run `handler(peer)`, after a TLS handshake if `tls` is given, and close the peer when it ends.

        Raises:
            RuntimeError: the nursery is not open.
        """
        self.run(_play, handler, peer, tls)

    def run(self, task: Callable[[*Args], Awaitable[object]], *args: *Args) -> None:
        """Run a task of the server's own, such as one that accepts connections.

        Raises:
            RuntimeError: the nursery is not open.
        """
        if self._nursery is None:
            raise RuntimeError("no server runs outside of its `async with`")
        self._nursery.start_soon(task, *args)

    async def __aenter__(self) -> Self:
        """Open the nursery."""
        # Made here: a network may be put together before there is a trio run.
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Cancel the handlers that still run, and wait until they are gone."""
        assert self._nursery is not None
        assert self._manager is not None
        self._nursery.cancel_scope.cancel()
        self._nursery = None
        try:
            return bool(await self._manager.__aexit__(kind, error, trace))  # noqa: ASYNC102 - all are cancelled
        except BaseExceptionGroup as group:
            only = _only_error(group)
        if only is error:
            return False
        raise only


async def _play(handler: Handler, peer: ScriptedPeer, tls: ssl.SSLContext | None) -> None:
    try:
        if tls is not None:
            await peer.start_tls(tls)
        await handler(peer)
    except ClientGone:
        pass
    finally:
        peer.close()


def _only_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What is in the group if that is one exception, else the group."""
    while len(group.exceptions) == 1:
        inner = group.exceptions[0]
        if not isinstance(inner, BaseExceptionGroup):
            return inner
        group = inner
    return group
