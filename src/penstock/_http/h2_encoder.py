"""HPACK as a client writes it, with the bounds that hpack leaves to its user, and a memory for blocks that come again.

- The table is never larger than we want; the server's setting is a permission (RFC 7541 §4.2), of which h2 makes full
  use.
- Requests to the same server repeat themselves. A block that left the table as it was means the same each time, until
  the table changes, so it is encoded once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hpack import Encoder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpack.table import HeaderTable

#: Blocks that are remembered, and the size above which one is not.
_BLOCKS_KEPT: Final = 16
_LARGEST_KEPT: Final = 2048

_TableState = tuple[int, tuple[bytes, bytes] | None, int]


def _state(table: HeaderTable) -> _TableState:
    """Differs whenever the table has: an entry that is added becomes the first one, and none is removed otherwise."""
    entries = table.dynamic_entries
    return len(entries), entries[0] if entries else None, table.maxsize


def _is_same(before: _TableState, after: _TableState) -> bool:
    # The first entry by identity: a second one may be equal to it.
    return before[0] == after[0] and before[1] is after[1] and before[2] == after[2]


class CappedEncoder(Encoder):
    """An HPACK encoder whose table is never larger than `limit` bytes, whatever the server would allow."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._blocks: dict[tuple[tuple[bytes, bytes], ...], bytes] = {}
        self.header_table_size = self.header_table.maxsize

    @property
    def header_table_size(self) -> int:
        """Bytes of the table."""
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        size = min(value, self._limit)
        self._blocks.clear()
        self.header_table.maxsize = size
        if self.header_table.resized or self.table_size_changes:
            # hpack forgets what it has not told yet when the same size is set twice.
            self.header_table.resized = True
            # The next block tells the smallest size in between, and the last (RFC 7541 §4.2).
            smallest = min([size, *self.table_size_changes])
            self.table_size_changes = [size] if smallest == size else [smallest, size]

    def encode(self, headers: Iterable[tuple[bytes, bytes]], huffman: bool = True) -> bytes:  # type: ignore[override]
        """Encode a field list; which fields are sensitive follows from their names, so equal lists are equal blocks."""
        fields = tuple(headers)
        known = self._blocks.get(fields)
        if known is not None:
            return known
        is_plain = not self.header_table.resized
        before = _state(self.header_table)
        block = super().encode(fields, huffman)
        if not _is_same(before, _state(self.header_table)):
            self._blocks.clear()
        elif is_plain and len(block) <= _LARGEST_KEPT:
            if len(self._blocks) >= _BLOCKS_KEPT:
                self._blocks.clear()
            self._blocks[fields] = block
        return block
