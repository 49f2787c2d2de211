"""HPACK's Huffman code (RFC 7541 §5.2), a byte at a time; by half bytes, as hpack goes, takes three times as long.

What a byte means depends on where in the code's tree the byte before it left off. That is worked out when it first
comes up, and remembered.
"""

from __future__ import annotations

from typing import Final

from hpack import HPACKDecodingError
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

_END_OF_STRING: Final = 256

#: Bounded, because a server may choose rare characters; text uses a fraction of it.
_STEPS_KEPT: Final = 8192

#: Inner node → what a 0 leads to and what a 1 does: another node, or a leaf as ~symbol.
_Tree = list[list[int]]


def _grow() -> _Tree:
    tree: _Tree = [[0, 0]]
    for symbol, (code, length) in enumerate(zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)):
        node = 0
        for place in range(length - 1, 0, -1):
            bit = code >> place & 1
            if not tree[node][bit]:
                tree[node][bit] = len(tree)
                tree.append([0, 0])
            node = tree[node][bit]
        tree[node][code & 1] = ~symbol
    return tree


_tree: Final = _grow()


def _ends() -> frozenset[int]:
    nodes = [0]
    for _ in range(7):
        nodes.append(_tree[nodes[-1]][1])
    return frozenset(node << 8 for node in nodes)


#: Where a string may end: less than a byte of ones is padding. Nodes as in `_steps`.
_ENDS: Final = _ends()

#: Node × 256 + byte → the next node × 256, and the characters that are complete.
_steps: dict[int, tuple[int, bytes]] = {}


def _step(at: int) -> tuple[int, bytes]:
    node, byte = divmod(at, 256)
    text = bytearray()
    for place in range(7, -1, -1):
        node = _tree[node][byte >> place & 1]
        if node < 0:
            if ~node == _END_OF_STRING:
                raise HPACKDecodingError("a string with the symbol for its end")
            text.append(~node)
            node = 0
    step = node << 8, bytes(text)
    if len(_steps) >= _STEPS_KEPT:
        _steps.clear()
    _steps[at] = step
    return step


def decode_huffman(data: bytes) -> bytes:
    """Decode a string.

    Raises:
        HPACKDecodingError: it is not padded as it must be, or holds the symbol for its end.
    """
    node = 0
    parts: list[bytes] = []
    known = _steps.get
    for byte in data:
        node, text = known(node | byte) or _step(node | byte)
        parts.append(text)
    if node not in _ENDS:
        raise HPACKDecodingError("a string with wrong padding")
    return b"".join(parts)
