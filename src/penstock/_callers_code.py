"""What the caller's own code raises while a request is sent.

A generator or a function for trailers may pass on what another exchange brings, and raise an error of ours. That error
tells nothing about the exchange that it is raised in: nobody may add to it, judge by it, or translate it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._errors import PenstockError

if TYPE_CHECKING:
    from types import TracebackType


class CallersCode:
    """Entered around the caller's code, as often as it runs; whatever that raises comes out as itself.

    Attributes:
        raised: the error of ours that it raised, if it did.
    """

    __slots__ = ("raised",)

    def __init__(self) -> None:
        self.raised: PenstockError | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, PenstockError):
            self.raised = error
