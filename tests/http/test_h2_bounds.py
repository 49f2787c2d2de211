"""What a server can make us keep is bounded: windows, pieces, streams that have ended."""

from __future__ import annotations

import sys

import pytest

from penstock import HTTP2Config
from penstock._errors import ProtocolReason, RemoteProtocolError
from penstock._events import CloseReason
from penstock._http.exchange import GoingAway
from penstock._http.h2_frames import Code
from tests.support import h2_frames as frames
from tests.support.h2_conversation import OK, Conversation

SMALL = HTTP2Config(stream_window=65535, connection_window=65535)


def data_of(size: int, stream: int = 1) -> bytes:
    """So many bytes of content in frames as large as allowed."""
    whole, rest = divmod(size, 16384)
    return frames.data(stream, b"x" * 16384) * whole + (frames.data(stream, b"x" * rest) if rest else b"")


# ---- windows ---------------------------------------------------------------------------------------------------------


def test_as_much_content_as_the_window_of_a_stream_allows_and_one_byte_more() -> None:
    talk = Conversation(SMALL)
    exchange = talk.ask()
    talk.hear(talk.answer(1), data_of(65535))
    fault = talk.fault(frames.data(1, b"x"))

    assert (fault.code, fault.reason) == (Code.FLOW_CONTROL_ERROR, ProtocolReason.FRAMING)
    assert exchange.try_receive() == b"x" * 65535


def test_padding_counts_against_the_window() -> None:
    talk = Conversation(SMALL)
    talk.ask()
    talk.hear(talk.answer(1), data_of(65535 - 10))

    assert talk.fault(frames.data(1, b"", padding=10)).code == Code.FLOW_CONTROL_ERROR


def test_padding_is_given_back_although_nobody_reads() -> None:
    talk = Conversation(HTTP2Config(stream_window=65535, connection_window=65535, max_empty_data=10_000))
    exchange = talk.ask()
    talk.hear(talk.answer(1), *[frames.data(1, b"x", padding=250)] * 1000)

    assert talk.credit(1) > 1000 * 251 - 65535
    assert exchange.try_receive() == b"x" * 1000


def test_content_that_nobody_reads_holds_the_window_of_its_stream_and_no_other() -> None:
    talk = Conversation(SMALL)
    for _ in range(3):
        talk.ask()
    for stream in (1, 3):
        talk.hear(talk.answer(stream), data_of(65535, stream))
    reader = talk.session.streams[5]
    talk.hear(talk.answer(5))
    for _ in range(20):
        talk.hear(data_of(30_000, 5))
        assert reader.try_receive() == b"x" * 30_000

    assert (talk.credit(1), talk.credit(3)) == (0, 0)
    assert talk.credit(5) >= 600_000 - 65535


def test_more_than_the_window_of_the_connection_allows() -> None:
    """Only late frames can do that: the windows of the open streams are within the connection's."""
    talk = Conversation(SMALL)
    for stream in (1, 3, 5):
        talk.ask()
        talk.session.reset(stream, Code.CANCEL, talk.now)
    fault = talk.fault(data_of(65535, 1) + data_of(65535, 3) + data_of(65535, 5))

    assert fault.code == Code.FLOW_CONTROL_ERROR
    assert "connection" in fault.message


def test_a_stream_that_was_reset_brings_no_more_than_its_window_allowed() -> None:
    """A server that never answers a PING could go on for ever otherwise."""
    talk = Conversation(SMALL)
    talk.ask()
    talk.hear(talk.answer(1), data_of(30_000, 1))
    talk.session.reset(1, Code.CANCEL, talk.now)
    talk.hear(data_of(35_535, 1))
    fault = talk.fault(frames.data(1, b"x"))

    assert fault.code == Code.FLOW_CONTROL_ERROR
    assert "stream" in fault.message


@pytest.mark.parametrize("frame", [frames.settings(), frames.priority(1, depends_on=3), frames.frame(0xBE)])
def test_a_flood_in_one_read_is_taken_in_bit_by_bit(frame: bytes) -> None:
    """So that one connection never holds the event loop for long, whatever its server sends."""
    talk = Conversation()
    talk.session.take_output()
    flood = frame * 1000
    steps = 1
    more = talk.session.feed(flood, talk.now)
    while more:
        more = talk.session.feed(b"", talk.now)
        steps += 1

    assert steps == 8
    assert b"".join(talk.session.output) == frames.settings_ack() * (1000 if frame == frames.settings() else 0)


@pytest.mark.parametrize(("streams", "target"), [(1, 16 << 20), (15, 16 << 20), (100, 101 << 20)])
def test_the_window_of_the_connection_grows_with_its_streams(streams: int, target: int) -> None:
    talk = Conversation()
    for _ in range(streams):
        talk.ask()
    # The first update left with the preface.
    assert talk.credit(0) + (16 << 20) == target


# ---- what is kept ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 100, 1023, 1024, 16384])
def test_content_in_small_pieces_takes_little_more_room_than_in_large_ones(size: int) -> None:
    talk = Conversation(SMALL)
    exchange = talk.ask()
    talk.hear(talk.answer(1))
    content = bytes(number % 251 for number in range(60_000))
    for at in range(0, len(content), size):
        talk.hear(frames.data(1, content[at : at + size]))

    assert sum(map(sys.getsizeof, exchange._pieces)) < 1.25 * len(content)
    assert len(exchange._pieces) < 100
    assert exchange.try_receive() == content


def test_ten_thousand_streams_that_ended_leave_nothing_behind() -> None:
    talk = Conversation(HTTP2Config(reset_burst=None))
    for number in range(10_000):
        stream = 2 * number + 1
        talk.ask()
        if number % 3 == 0:
            talk.hear(talk.answer(stream, end_stream=True))
        elif number % 3 == 1:
            talk.hear(frames.rst(stream, 8))
        else:
            talk.session.reset(stream, Code.CANCEL, talk.now)
            talk.hear(frames.rst(stream, 8))
        talk.session.take_output()
        talk.session.events.clear()

    session = talk.session
    assert session.streams == {}
    assert len(session._resets) == 0
    assert session._h2.open_outbound_streams == 0
    assert len(session._h2.streams) <= 1
    assert len(session._h2._closed_streams) == 0


def test_a_late_frame_on_a_stream_long_gone_is_known_as_late() -> None:
    talk = Conversation()
    for number in range(200):
        talk.ask()
        talk.hear(talk.answer(2 * number + 1, end_stream=True))
    talk.hear(frames.data(1, b"x"), frames.rst(3, 8), frames.window_update(5, 1), talk.answer(7))

    assert talk.resets() == []
    assert talk.session.takes_more


def test_identifiers_of_streams_run_out() -> None:
    talk = Conversation()
    talk.session._h2.highest_outbound_stream_id = 2**31 - 5
    exchange = talk.ask()
    assert talk.session.events == []
    last = talk.ask()
    assert not talk.session.takes_more
    assert talk.session.events[-1] == GoingAway(CloseReason.MAX_REQUESTS)
    talk.hear(talk.answer(2**31 - 3, end_stream=True), talk.answer(2**31 - 1, end_stream=True))

    assert exchange._ended
    assert last._ended


# ---- GOAWAY and refusals ---------------------------------------------------------------------------------------------


def test_goaway_fails_what_it_does_not_name_and_leaves_the_rest() -> None:
    talk = Conversation()
    first, second, third = talk.ask(), talk.ask(), talk.ask()
    talk.hear(frames.goaway(3, 0, b"bye"), talk.answer(1, end_stream=True), talk.answer(3), frames.data(3, b"x"))

    assert first._ended
    assert second._error is None
    assert isinstance(third._error, RemoteProtocolError)
    assert (third._error.reason, third.refused) == (ProtocolReason.GOAWAY, True)
    assert talk.session.events == [GoingAway(CloseReason.GOAWAY)]
    assert talk.resets() == []


def test_a_later_goaway_may_name_fewer_streams_and_never_more() -> None:
    talk = Conversation()
    exchanges = [talk.ask() for _ in range(3)]
    talk.hear(frames.goaway(2**31 - 1))
    assert not any(exchange.refused for exchange in exchanges)
    talk.hear(frames.goaway(3))
    assert [exchange.refused for exchange in exchanges] == [False, False, True]
    talk.hear(frames.goaway(2**31 - 1), frames.goaway(1))
    assert [exchange.refused for exchange in exchanges] == [False, True, True]
    talk.hear(frames.goaway(5), talk.answer(1, end_stream=True))
    assert exchanges[0]._ended


def test_a_thousand_goaways_are_a_flood_if_the_limit_says_so() -> None:
    talk = Conversation(HTTP2Config(glitch_burst=100, glitch_rate=1.0))
    talk.ask()
    talk.hear(*[frames.goaway(1)] * 101)

    assert talk.fault(frames.goaway(1)).code == Code.ENHANCE_YOUR_CALM


def test_what_a_server_says_at_its_end_is_quoted_and_bounded() -> None:
    talk = Conversation()
    exchange = talk.ask()
    talk.hear(frames.goaway(0, 0x1234, b"\x1b[31m" + b"z" * 16_000))

    assert exchange._error is not None
    message = str(exchange._error)
    assert "\x1b" not in message
    assert "0x1234" in message
    assert len(message) < 400


def test_a_call_for_calm_slows_down_our_pings() -> None:
    for said in (frames.goaway(1, Code.ENHANCE_YOUR_CALM), frames.rst(1, Code.ENHANCE_YOUR_CALM)):
        talk = Conversation()
        talk.ask()
        talk.hear(said)
        assert (talk.pace.interval, talk.pace.gap) == (60.0, 1.0)


@pytest.mark.parametrize(("code", "refused"), [(7, True), (13, True), (0, False), (2, False), (8, False), (99, False)])
def test_which_resets_prove_that_nothing_was_processed(code: int, refused: bool) -> None:
    talk = Conversation()
    exchange, other = talk.ask(), talk.ask()
    talk.hear(frames.rst(1, code))

    assert isinstance(exchange._error, RemoteProtocolError)
    assert (exchange._error.reason, exchange.refused) == (ProtocolReason.RESET, refused)
    with pytest.raises(RemoteProtocolError):
        exchange.try_receive()
    assert exchange.outcome is not None
    assert not exchange.outcome.resetting
    assert other.outcome is None


def test_refusals_in_a_row_retire_the_connection_and_an_answer_in_between_forgives() -> None:
    talk = Conversation()
    for _ in range(4):
        talk.ask()
    talk.hear(frames.rst(1, Code.REFUSED_STREAM), talk.answer(3, OK), frames.rst(5, Code.REFUSED_STREAM))
    assert talk.session.takes_more
    talk.hear(frames.rst(7, Code.REFUSED_STREAM))

    assert talk.session.events == [GoingAway(CloseReason.REFUSED_STREAMS)]


def test_bytes_that_end_no_frame_do_not_excuse_streams_that_time_out() -> None:
    """A header block that comes a byte at a time keeps every other stream waiting."""
    talk = Conversation()
    for _ in range(3):
        talk.ask()
    block = frames.headers(1, b"x" * 100, end_headers=False)
    for at in range(3):
        talk.hear(block[at : at + 1])
        talk.session.stream_timed_out(3, talk.now)

    assert talk.session.events == [GoingAway(CloseReason.STALLED)]
