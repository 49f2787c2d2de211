"""HPACK as a client writes it, with the bounds that hpack leaves to its user, and a memory for what comes again.

- The table is never larger than we want; the server's setting is a permission (RFC 7541 §4.2), of which h2 makes full
  use.
- Requests to the same server repeat themselves, all but a few fields such as the path. Those are literals that leave
  the table alone. A run of others that left it as it was is encoded once, and means the same until the table changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hpack import Encoder
from hpack.table import HeaderTable

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Runs that are remembered, and the size above which one is not.
_RUNS_KEPT: Final = 16
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
        self._runs: dict[tuple[tuple[bytes, bytes], ...], bytes] = {}
        self.header_table_size = self.header_table.maxsize

    @property
    def header_table_size(self) -> int:
        """Bytes of the table."""
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        size = min(value, self._limit)
        self._runs.clear()
        self.header_table.maxsize = size
        if self.header_table.resized or self.table_size_changes:
            # hpack forgets what it has not told yet when the same size is set twice.
            self.header_table.resized = True
            # The next block tells the smallest size in between, and the last (RFC 7541 §4.2).
            smallest = min([size, *self.table_size_changes])
            self.table_size_changes = [size] if smallest == size else [smallest, size]

    def encode(self, headers: Iterable[tuple[bytes, bytes]], huffman: bool = True) -> bytes:  # type: ignore[override]
        """Encode a field list; which fields are sensitive follows from their names, so equal lists are equal blocks."""
        # What the table has become stands before all fields.
        parts = [super().encode((), huffman)] if self.header_table.resized else []
        run: list[tuple[bytes, bytes]] = []
        for field in headers:
            name = _FLEETING.get(field[0])
            if name is None:
                run.append(field)
                continue
            if run:
                parts.append(self._encode_run(tuple(run), huffman))
                run = []
            parts += (name, _size(len(field[1])), field[1])
        if run:
            parts.append(self._encode_run(tuple(run), huffman))
        return b"".join(parts)

    def _encode_run(self, fields: tuple[tuple[bytes, bytes], ...], huffman: bool) -> bytes:
        known = self._runs.get(fields)
        if known is not None:
            return known
        before = _state(self.header_table)
        run = super().encode(fields, huffman)
        if not _is_same(before, _state(self.header_table)):
            self._runs.clear()
        elif len(run) <= _LARGEST_KEPT:
            if len(self._runs) >= _RUNS_KEPT:
                self._runs.clear()
            self._runs[fields] = run
        return run


def _size(size: int) -> bytes:
    """The length of a string that is not Huffman-coded (RFC 7541 §5)."""
    if size < 127:
        return b"%c" % size
    size -= 127
    digits = bytearray(b"\x7f")
    while size > 127:
        digits.append(size & 127 | 128)
        size >>= 7
    digits.append(size)
    return bytes(digits)


def _begin_literal(name: bytes) -> bytes:
    """The beginning of a literal that is not indexed (RFC 7541 §6.2.2), up to its value."""
    index, _ = HeaderTable.STATIC_TABLE_MAPPING.get(name, (0, None))
    if not index:
        return b"\0%b%b" % (_size(len(name)), name)
    return b"%c" % index if index < 15 else b"\x0f%c" % (index - 15)


#: Fields that are another in each request: in the table they would push out those that come again, which then would
#: have to be encoded anew each time.
_FLEETING: Final = {
    name: _begin_literal(name)
    for name in (
        b":path",
        b"content-length",
        b"idempotency-key",
        b"if-modified-since",
        b"if-none-match",
        b"range",
        b"traceparent",
        b"x-request-id",
    )
}
