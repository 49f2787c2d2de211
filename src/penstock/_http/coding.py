"""Content codings taken off a body, piece by piece and never more than the reader takes.

A decoder is fed what arrived and then pulled: each pull gives a bounded piece, and nothing is inflated in advance, so
a bomb costs no more memory than an honest body, and no time once its reader has stopped.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Protocol

from .._errors import DecodingError
from .inflate import DeflateLayer, GzipLayer

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._types import HeaderList

#: The most one pull gives.
PULL_SIZE: Final = 65536

#: Nobody compresses three times in good faith; curl, urllib3 and undici had to learn to count.
MAX_LAYERS: Final = 2


class Layer(Protocol):
    """One content coding being taken off."""

    def feed(self, data: bytes) -> None:
        """Take input; the caller has pulled until there was nothing left."""
        ...

    def pull(self, max_bytes: int) -> bytes:
        """At most `max_bytes` of output; b"" if more input is needed.

        Raises:
            DecodingError: the input is corrupt.
        """
        ...

    def finish(self) -> None:
        """There is no more input.

        Raises:
            DecodingError: the input was cut short.
        """
        ...


class Decoder:
    """Takes off the codings of one body.

    Feed what arrived, then pull until nothing comes before feeding again; `finish` at the end of the body.
    """

    __slots__ = ("_fed", "_layers")

    def __init__(self, layers: list[Layer]) -> None:
        self._layers = layers
        self._fed = False

    def feed(self, data: bytes) -> None:
        """Take a piece of the coded body."""
        if data:
            self._fed = True
            self._layers[0].feed(data)

    def pull(self, max_bytes: int = PULL_SIZE) -> bytes:
        """The next piece of the decoded body.

        Args:
            max_bytes: 1 to 65536.

        Returns:
            At most `max_bytes` bytes; b"" if more input is needed.

        Raises:
            DecodingError: the body is corrupt, has something after its end, or wants too large a window.
        """
        return self._pull(len(self._layers) - 1, max_bytes)

    def _pull(self, depth: int, max_bytes: int) -> bytes:
        layer = self._layers[depth]
        while not (piece := layer.pull(max_bytes)) and depth:
            data = self._pull(depth - 1, PULL_SIZE)
            if not data:
                break
            layer.feed(data)
        return piece

    def finish(self) -> None:
        """The body has ended, and everything was pulled. A body without any byte is fine: a HEAD has none.

        Raises:
            DecodingError: the body was cut short.
        """
        if self._fed:
            for layer in self._layers:
                layer.finish()


def make_decoder(headers: HeaderList) -> Decoder | None:
    """A decoder for a body with these header fields; None if it is not coded.

    Raises:
        DecodingError: a coding is unknown, or its package is not installed, or there are more than two.
    """
    names: list[str] = []
    for name, value in headers:
        if name == b"content-encoding":
            names += [part.strip().lower().decode("latin-1") for part in value[:1024].split(b",")]
    names = [name for name in names if name not in {"", "identity"}]
    if not names:
        return None
    if len(names) > MAX_LAYERS:
        raise DecodingError(
            f"the body has {len(names)} content codings, at most {MAX_LAYERS} are taken off",
            phase="read",
        )
    return Decoder([_make_layer(name) for name in reversed(names)])


@lru_cache(maxsize=1)
def accept_encoding() -> bytes:
    """What to put into Accept-Encoding: the codings that can be taken off here.

    An event stream should be asked for with "identity": a server that compresses may hold events back.
    """
    offered = [b"gzip", b"deflate"]
    if _has_brotli():
        offered.append(b"br")
    if find_spec("zstandard") is not None:
        offered.append(b"zstd")
    return b", ".join(offered)


def _has_brotli() -> bool:
    """Whether there is a brotli that can bound its output; older ones cannot."""
    try:
        from brotli import Decompressor  # type: ignore[import-untyped]
    except ImportError:
        return False
    return hasattr(Decompressor, "can_accept_more_data")


def _make_layer(name: str) -> Layer:
    make = _BUILT_IN.get(name)
    if make is not None:
        return make()
    if name in _OPTIONAL:
        package, make = _OPTIONAL[name]
        try:
            return make()
        except ImportError as error:
            raise DecodingError(
                f"the body is coded with {name}, which needs the package {package}", phase="read"
            ) from error
    raise DecodingError(f"the content coding {name[:32]!r} is not known", phase="read")


def _brotli() -> Layer:
    from .brotli_layer import BrotliLayer

    return BrotliLayer()


def _zstd() -> Layer:
    from .zstd_layer import ZstdLayer

    return ZstdLayer()


_BUILT_IN: dict[str, Callable[[], Layer]] = {"gzip": GzipLayer, "x-gzip": GzipLayer, "deflate": DeflateLayer}
_OPTIONAL: dict[str, tuple[str, Callable[[], Layer]]] = {"br": ("brotli", _brotli), "zstd": ("zstandard", _zstd)}
