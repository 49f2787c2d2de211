"""HPACK with the bounds that hpack leaves to its user, and a memory for blocks that come again.

- The encoder's table is never larger than we want; the server's setting is a permission (RFC 7541 §4.2), of which h2
  makes full use.
- The decoder keeps the fields to itself, and shows h2 whether a response is interim, which is all that h2 needs.
- Requests and responses to the same server repeat themselves. A block that left the table as it was means the same
  each time, until the table changes, so it is worked out once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hpack import Decoder, Encoder, HPACKError, OversizedHeaderListError

from .._errors import PEER_SAID_LIMIT, ProtocolReason
from .h2_frames import Code, ConnectionFault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpack import HeaderTuple
    from hpack.table import HeaderTable

    from .._types import HeaderList

#: Blocks that are remembered, and the size above which one is not.
_BLOCKS_KEPT: Final = 16
_LARGEST_KEPT: Final = 2048
#: A block of two kilobytes may mean two thousand fields.
_MOST_FIELDS_KEPT: Final = 64

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


class DiscreetDecoder(Decoder):
    """An HPACK decoder that keeps the fields to itself, and shows h2 no more than an interim status.

    Attributes:
        fields: what was decoded last; the list is the owner's.
        may_be_interim: whether the block may be the head of an interim response; set by the owner before each block.
    """

    def __init__(self, max_header_list_size: int) -> None:
        super().__init__(max_header_list_size)
        self._blocks: dict[bytes, HeaderList] = {}
        self.fields: HeaderList = []
        self.may_be_interim = False

    def decode(self, data: bytes, raw: bool = False) -> Iterable[HeaderTuple]:  # noqa: ARG002 - the base class asks
        """Decode a block.

        Raises:
            ConnectionFault: it cannot be decoded, or is too large; the table is of no use any more (RFC 9113 §4.3).
        """
        known = self._blocks.get(data)
        self.fields = fields = list(self._decode(data) if known is None else known)
        if self.may_be_interim and fields and is_interim(fields[0]):
            return fields[:1]  # type: ignore[return-value]
        return []

    def _decode(self, data: bytes) -> HeaderList:
        before = _state(self.header_table)
        try:
            fields: HeaderList = list(super().decode(data, raw=True))
        except OversizedHeaderListError as error:
            raise ConnectionFault(
                Code.ENHANCE_YOUR_CALM, ProtocolReason.LIMIT, str(error), limit="max_head_size"
            ) from error
        except HPACKError as error:
            raise ConnectionFault(
                Code.COMPRESSION_ERROR,
                ProtocolReason.FRAMING,
                # hpack quotes the whole block.
                f"a header block cannot be decoded: {str(error)[:PEER_SAID_LIMIT]}",
            ) from error
        if not _is_same(before, _state(self.header_table)):
            self._blocks.clear()
        elif len(data) <= _LARGEST_KEPT and len(fields) <= _MOST_FIELDS_KEPT:
            if len(self._blocks) >= _BLOCKS_KEPT:
                self._blocks.clear()
            self._blocks[data] = fields
        return fields


def is_interim(field: tuple[bytes, bytes]) -> bool:
    """Whether a field says that a response is interim (RFC 9110 §15.2)."""
    return field[0] == b":status" and len(field[1]) == 3 and field[1][:1] == b"1"
