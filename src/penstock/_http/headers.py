"""Header fields as a caller sees them, and as a caller may pass them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .._secrets import is_secret
from .fields import check_name, check_value

if TYPE_CHECKING:
    from .._types import HeaderList

HeaderArgument = Mapping[str, str] | Iterable[tuple[str, str]] | Mapping[bytes, bytes] | Iterable[tuple[bytes, bytes]]


class Headers(Mapping[str, str]):
    """Header fields by name, in any case; a name that was sent more than once has its values joined by ", ".

    Values are decoded as latin-1, which keeps every byte (RFC 9110 §5.5). Set-Cookie must not be joined: ask for it
    with `get_list`. As a mapping it has each name once; `multi_items` gives every field as it was sent.

    Args:
        fields: in wire form; the list is kept, not copied.
    """

    __slots__ = ("_index", "_raw")

    def __init__(self, fields: HeaderList) -> None:
        self._raw = fields
        self._index: dict[bytes, list[bytes]] | None = None

    @property
    def raw(self) -> HeaderList:
        """The fields in wire form: lower-case names, in order. The list is the caller's own."""
        return list(self._raw)

    def _values(self, name: str) -> list[bytes] | None:
        index = self._index
        if index is None:
            index = self._index = {}
            for field, value in self._raw:
                index.setdefault(field, []).append(value)
        try:
            return index.get(name.lower().encode("latin-1"))
        except UnicodeEncodeError:
            return None

    def __getitem__(self, name: str) -> str:
        values = self._values(name)
        if values is None:
            raise KeyError(name)
        return (values[0] if len(values) == 1 else b", ".join(values)).decode("latin-1")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._values(name) is not None

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in dict(self._raw))

    def __len__(self) -> int:
        return len(dict(self._raw))

    def get_list(self, name: str) -> list[str]:
        """Each value that was sent under this name, in order; empty if there is none."""
        return [value.decode("latin-1") for value in self._values(name) or ()]

    def multi_items(self) -> list[tuple[str, str]]:
        """Every field as it was sent, in order."""
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._raw]

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name.decode('latin-1')!r}: {'<hidden>' if is_secret(name) else repr(value.decode('latin-1'))}"
            for name, value in self._raw
        )
        return f"Headers({{{shown}}})"


def to_fields(given: object, what: str = "headers") -> HeaderList:
    """Check the fields a caller passed, a `HeaderArgument` or None, and bring them into wire form.

    Args:
        given: what was passed.
        what: what it was passed as.

    Raises:
        LocalProtocolError: a name or value must not be sent.
        TypeError: they are neither a mapping nor pairs.
    """
    if given is None:
        return []
    fields: HeaderList = []
    for pair in _to_pairs(given, what):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"{what} must be pairs of a name and a value, not {type(pair).__name__}")
        raw_name, raw_value = pair
        name = check_name(raw_name)
        fields.append((name, check_value(raw_value, name)))
    return fields


def _to_pairs(given: object, what: str) -> Iterable[Any]:
    if isinstance(given, dict):
        return given.items()
    if isinstance(given, (list, tuple)):
        return given
    if isinstance(given, Headers):
        return given.raw
    if isinstance(given, Mapping):
        return given.items()
    if isinstance(given, Iterable) and not isinstance(given, str | bytes):
        return given
    raise TypeError(f"{what} must be a mapping or pairs, not {type(given).__name__}")
