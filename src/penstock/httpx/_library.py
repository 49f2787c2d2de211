"""What the library that calls wants to get back: its own responses, streams and errors.

httpx, httpx2 and httpxyz have one interface under three names. Each insists on its own classes, so they are taken
from the one that made the request; it is loaded, since it calls.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .. import PoolFull
from ._content import RequestStream, is_replayable_form
from ._stream import ResponseStream, TracedStream

if TYPE_CHECKING:
    from types import ModuleType

    from .. import PenstockError

#: What a library must have to be served.
_NEEDED = ("AsyncByteStream", "LocalProtocolError", "RequestError", "RequestNotRead", "Response")


class Library:
    """One of the libraries.

    Args:
        module: what its users import.

    Attributes:
        not_read: what it raises where the content of a request is not in memory.
        response: its class of responses.
        stream: our stream, as one of its streams.
        traced_stream: the same for requests that are traced.
    """

    __slots__ = ("_form", "_kinds", "_module", "not_read", "response", "stream", "traced_stream")

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        # To those who wait, a queue that is full is one that takes too long; SDKs try again later.
        self._kinds: dict[type, Any] = {PoolFull: module.PoolTimeout}
        self.not_read: type[Exception] = module.RequestNotRead
        self.response: Any = module.Response
        told = {"translate": staticmethod(self.translate)}
        self.stream: Any = type("ResponseStream", (ResponseStream, module.AsyncByteStream), told)
        self.traced_stream: Any = type("TracedStream", (TracedStream, module.AsyncByteStream), told)
        # Its class of forms with files, None where it is not found: it has no public name.
        self._form = getattr(sys.modules.get(f"{module.__name__}._multipart"), "MultipartStream", None)

    def take_stream(self, request: Any) -> RequestStream:
        """The content of a request, where that is not in memory."""
        stream = request.stream
        return RequestStream(stream, is_replayable=type(stream) is self._form and is_replayable_form(stream))

    def translate(self, error: PenstockError, request: object) -> Exception:
        """The library's own error for one of ours, to be raised `from` it."""
        kind = self._kinds.get(type(error))
        if kind is None:
            kind = self._kinds[type(error)] = self._find_kind(type(error))
        translated: Exception = kind(str(error), request=request)
        return translated

    def _find_kind(self, ours: type[PenstockError]) -> type:
        """The class of the same name, or else that of what `ours` is a kind of."""
        module = self._module
        for cls in ours.__mro__:
            kind = getattr(module, cls.__name__, None)
            # Its other errors have no request, and SDKs do not expect them from a transport.
            if isinstance(kind, type) and issubclass(kind, module.RequestError):
                return kind
        local: type = module.LocalProtocolError
        return local


_libraries: dict[type, Library] = {}


def find_library(kind: type) -> Library:
    """The library that requests of this type come from.

    Raises:
        TypeError: it is none of those that are served.
    """
    library = _libraries.get(kind)
    if library is None:
        library = _libraries[kind] = _load(kind)
    return library


def _load(kind: type) -> Library:
    for cls in kind.__mro__:
        module = sys.modules.get(cls.__module__.partition(".")[0])
        if module is not None and all(hasattr(module, name) for name in _NEEDED):
            return Library(module)
    raise TypeError(f"the request must be one of httpx, httpx2 or httpxyz, not a {kind.__module__}.{kind.__qualname__}")
