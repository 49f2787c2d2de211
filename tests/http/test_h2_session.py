"""What a server says and what a connection makes of it, without any I/O."""

from __future__ import annotations

import pytest

from penstock._errors import ProtocolReason, RemoteProtocolError
from penstock._http.h2_frames import Code
from tests.support import h2_frames as frames
from tests.support.h2_conversation import Conversation

FRAMING, LIMIT = ProtocolReason.FRAMING, ProtocolReason.LIMIT


def error_of(exchange: object) -> RemoteProtocolError:
    error = exchange._error  # type: ignore[attr-defined]
    assert isinstance(error, RemoteProtocolError)
    return error


# ---- header blocks that cannot be decoded ----------------------------------------------------------------------------

UNDECODABLE = {
    "an index beyond the tables": b"\xff\x80\x01",
    "index 0": b"\x80",
    "an integer without end": b"\xff" * 2000,
    "a string cut short": b"\x00\x05ab",
    "a table larger than allowed": b"\x3f\xe2\x1f",
    "the end of string in Huffman code": b"\x00\x84\xff\xff\xff\xff\x00",
    "a table size after a field": b"\x88\x20",
}


@pytest.mark.parametrize("name", UNDECODABLE)
@pytest.mark.parametrize("is_late", [False, True], ids=["on an open stream", "on one that was reset"])
def test_a_block_that_cannot_be_decoded_ends_the_connection(name: str, is_late: bool) -> None:
    talk = Conversation()
    talk.ask()
    if is_late:
        talk.session.reset(1, Code.CANCEL, talk.now)
    fault = talk.fault(frames.headers(1, UNDECODABLE[name]))

    assert (fault.code, fault.reason) == (Code.COMPRESSION_ERROR, FRAMING)


@pytest.mark.parametrize("is_late", [False, True], ids=["on an open stream", "on one that was reset"])
def test_a_bomb_of_references_ends_the_connection(is_late: bool) -> None:
    talk = Conversation()
    talk.ask()
    if is_late:
        talk.session.reset(1, Code.CANCEL, talk.now)
    large = b"\x40\x01x\x7f\xa1\x1e" + b"v" * 4000
    fault = talk.fault(frames.headers(1, large + b"\xbe" * 10_000))

    assert (fault.code, fault.reason) == (Code.ENHANCE_YOUR_CALM, LIMIT)
