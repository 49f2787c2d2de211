"""The body of a response, as an object that the calling library takes for one of its own streams.

Plain objects, no generators: one that is broken off, cancelled or forgotten leaves nothing behind that would want to
run on. The connection is given up in the first step of `aclose`, before anything waits, because SDKs call it in scopes
that are cancelled already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from .. import PenstockError

if TYPE_CHECKING:
    from .. import Lease
    from ._trace import Trace


class ResponseStream:
    """One body, read once.

    Args:
        lease: where it comes from.
        content: all of it, if it has come already.
        request: whose answer it is.

    Attributes:
        translate: makes the library's errors of ours; the classes that are used have one.
    """

    __slots__ = ("_content", "_lease", "_request")

    translate: ClassVar[staticmethod[[PenstockError, object], Exception]]

    def __init__(self, lease: Lease, content: bytes | None, request: Any) -> None:
        self._lease = lease
        self._content = content
        self._request = request

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = self._content
        if piece is None:
            try:
                piece = await self._lease.read()
            except PenstockError as error:
                raise self.translate(error, self._request) from error
        else:
            self._content = b""
        if not piece:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Give up what is left of the body, and wait a moment for its end where only that is missing."""
        await self._lease.aclose()


class TracedStream(ResponseStream):
    """The same for a request that is traced; set `trace` before it is used."""

    __slots__ = ("_has_begun", "trace")

    def __init__(self, lease: Lease, content: bytes | None, request: Any) -> None:
        super().__init__(lease, content, request)
        self.trace: Trace
        self._has_begun = False

    async def __anext__(self) -> bytes:
        if not self._has_begun:
            self._has_begun = True
            await self.trace("receive_response_body.started", request=self._request)
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            await self.trace("receive_response_body.complete", return_value=None)  # noqa: ASYNC120 - a cancellation is worth more
            raise
        except Exception as error:
            await self.trace("receive_response_body.failed", exception=error)  # noqa: ASYNC120 - a cancellation is worth more
            raise

    async def aclose(self) -> None:
        await super().aclose()
        await self.trace("response_closed.started")
        await self.trace("response_closed.complete", return_value=None)
