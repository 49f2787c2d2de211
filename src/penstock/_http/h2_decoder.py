"""HPACK as a client reads it: a header block becomes fields, and each of them is checked in the same pass.

Most fields of a response come again with the next one, and some servers send them as literals each time (nginx puts
them into the table, and never looks there). What a literal means depends on its own bytes alone, unless its name is in
the dynamic table, so it is remembered with its field. A field that is another in every response costs no more than
itself. All else is hpack's to decode, one representation at a time (RFC 7541 §6): the block is only cut here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from hpack import Decoder, HPACKDecodingError, HPACKError, OversizedHeaderListError

from .._errors import PEER_SAID_LIMIT, ProtocolReason
from .._secrets import is_secret
from .h2_fields import check_field
from .h2_frames import Code, ConnectionFault, StreamFault
from .h2_huffman import decode_huffman

if TYPE_CHECKING:
    from hpack.table import HeaderTable

    from .._types import HeaderList

#: Names that are remembered; of each, values, and bytes of those as they stand on the wire. A value that is always
#: another pushes out its own name's only.
_NAMES_KEPT: Final = 32
_LONGEST_NAME: Final = 64
_VALUES_KEPT: Final = 8
_BYTES_KEPT: Final = 2048

#: What each field counts besides its bytes (RFC 9113 §6.5.2).
_FIELD_SIZE: Final = 32

#: How a representation begins (RFC 7541 §6).
_INDEXED: Final = 0x80
_TO_BE_INDEXED: Final = 0x40
_RESIZING: Final = 0x20
_WITH_NAME: Final = 0x00

#: How a string begins that is in Huffman code (RFC 7541 §5.2).
_HUFFMAN: Final = 0x80

#: A number that fills so many bits goes on in the next byte (RFC 7541 §5.1).
_FOUR_BITS: Final = 0x0F
_FIVE_BITS: Final = 0x1F
_SIX_BITS: Final = 0x3F
_SEVEN_BITS: Final = 0x7F
#: What has a higher index is in the dynamic table (RFC 7541 §2.3.3).
_STATIC_NAMES: Final = 61
#: As many bytes as hpack reads of one.
_SHIFTS: Final = (0, 7, 14, 21, 28)


class HeaderBlock(NamedTuple):
    """A header block, decoded.

    Attributes:
        fields: in order; the list is the owner's.
        size: bytes of their names and values.
        fault: what is wrong with the first malformed field; None if there is none. Of a pseudo-field that comes first
            nothing is said.
    """

    fields: HeaderList
    size: int
    fault: StreamFault | None


class _Name:
    """A name that came in a literal, and what its values meant: as they stand on the wire → the field.

    The fields have passed the check, and the name is no secret's.
    """

    __slots__ = ("name", "values")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.values: dict[bytes, tuple[bytes, bytes]] = {}

    def remember(self, value: bytes, field: tuple[bytes, bytes]) -> None:
        """Keep a value, and forget the others where they become too many."""
        values = self.values
        if len(values) >= _VALUES_KEPT or sum(map(len, values)) + len(value) > _BYTES_KEPT:
            values.clear()
        if len(value) <= _BYTES_KEPT:
            values[value] = field


class FieldDecoder:
    """Decodes the header blocks of one connection.

    Args:
        max_size: of a field list, each field counted with 32 bytes more.
    """

    __slots__ = ("_hpack", "_max_size", "_names")

    def __init__(self, max_size: int) -> None:
        self._hpack = Decoder(max_size)
        self._max_size = max_size
        # By how it stands on the wire.
        self._names: dict[bytes, _Name] = {}

    @property
    def header_table(self) -> HeaderTable:
        """The table that the server writes to."""
        return self._hpack.header_table

    def decode(self, data: bytes) -> HeaderBlock:
        """Decode a block.

        Raises:
            ConnectionFault: it cannot be decoded, or is too large; the table is of no use any more (RFC 9113 §4.3).
        """
        try:
            return self._decode(data)
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

    def _decode(self, data: bytes) -> HeaderBlock:
        fields: HeaderList = []
        fault: StreamFault | None = None
        size = at = 0
        end = len(data)
        while at < end:
            value_at = _end_of_lasting_name(data, at)
            name = self._names.get(data[at:value_at]) if value_at else None
            if name is None:
                stop = _end(data, at)
                field = self._next(data[at:stop], is_first=not fields)
                if field is None:
                    at = stop
                    continue
                is_new = True
                if value_at:
                    name = self._meet(data[at:value_at], field[0])
            else:
                stop = _end_of_string(data, value_at)
                known = name.values.get(data[value_at:stop])
                is_new = known is None
                field = known or (name.name, _decode_string(data, value_at, stop))
                if data[at] >= _TO_BE_INDEXED:
                    self._hpack.header_table.add(*field)
            if is_new and (fields or field[0][:1] != b":"):
                try:
                    check_field(*field)
                    if name is not None:
                        name.remember(data[value_at:stop], field)
                except StreamFault as error:
                    fault = fault or error
            fields.append(field)
            size += len(field[0]) + len(field[1])
            if size + _FIELD_SIZE * len(fields) > self._max_size:
                raise OversizedHeaderListError(f"a header list of more than {self._max_size} bytes")
            at = stop
        return HeaderBlock(fields, size, fault)

    def _next(self, representation: bytes, *, is_first: bool) -> tuple[bytes, bytes] | None:
        """The field that a representation stands for; None if it only resizes the table."""
        first = representation[0]
        if first >= _INDEXED and len(representation) == 1:
            return self._hpack.header_table.get_by_index(first & _SEVEN_BITS)
        if _RESIZING <= first < _TO_BE_INDEXED and not is_first:
            raise HPACKDecodingError("the table is resized behind a field")
        fields = list(self._hpack.decode(representation, raw=True))
        if not fields:
            return None
        [field] = fields
        return field

    def _meet(self, wire: bytes, name: bytes) -> _Name | None:
        """Remember a name; None if its values must not be."""
        if is_secret(name):
            return None
        if len(self._names) >= _NAMES_KEPT:
            self._names.clear()
        self._names[wire] = known = _Name(name)
        return known


def _end_of_lasting_name(data: bytes, at: int) -> int:
    """Where the value begins of a literal that means the same whatever the dynamic table holds.

    Returns:
        0 if the representation is no such literal, or a longer name's than is remembered.
    """
    first = data[at]
    value_at = at + 1
    if first in (_WITH_NAME, _TO_BE_INDEXED):
        if value_at == len(data):
            return 0
        size = data[value_at] & _SEVEN_BITS
        if size > _LONGEST_NAME:
            return 0
        value_at += 1 + size
    elif first == _FOUR_BITS:
        if value_at == len(data) or data[value_at] > _STATIC_NAMES - _FOUR_BITS:
            return 0
        value_at += 1
    elif first > _FOUR_BITS and not _TO_BE_INDEXED < first <= _TO_BE_INDEXED + _STATIC_NAMES:
        return 0
    return value_at if value_at < len(data) else 0


def _end(data: bytes, at: int) -> int:
    """Where a representation ends; beyond the block if its last part is cut off."""
    first = data[at]
    if first >= _INDEXED:
        return _number(data, at, _SEVEN_BITS)[1]
    if _RESIZING <= first < _TO_BE_INDEXED:
        return _number(data, at, _FIVE_BITS)[1]
    name, value_at = _number(data, at, _SIX_BITS if first >= _TO_BE_INDEXED else _FOUR_BITS)
    if not name:
        value_at = _end_of_string(data, value_at)
    return _end_of_string(data, value_at)


def _end_of_string(data: bytes, at: int) -> int:
    size, start = _number(data, at, _SEVEN_BITS)
    return start + size


def _decode_string(data: bytes, at: int, stop: int) -> bytes:
    if stop > len(data):
        raise HPACKDecodingError("it ends within a value")
    text = data[_number(data, at, _SEVEN_BITS)[1] : stop]
    return decode_huffman(text) if data[at] & _HUFFMAN else text


def _number(data: bytes, at: int, mask: int) -> tuple[int, int]:
    """A number that begins with the bits of `mask` (RFC 7541 §5.1), and where it ends.

    Raises:
        HPACKDecodingError: it is cut off, or too long.
    """
    try:
        number = data[at] & mask
        at += 1
        if number < mask:
            return number, at
        for shift in _SHIFTS:
            byte = data[at]
            at += 1
            number += (byte & _SEVEN_BITS) << shift
            if byte <= _SEVEN_BITS:
                return number, at
    except IndexError:
        raise HPACKDecodingError("it ends within a number") from None
    raise HPACKDecodingError("a number is too long")
