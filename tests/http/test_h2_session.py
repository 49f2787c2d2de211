"""What a server says and what a connection makes of it, without any I/O."""

from __future__ import annotations

import pytest
from hyperframe import frame as hf

from penstock import HTTP2Config
from penstock._errors import LocalProtocolError, ProtocolReason
from penstock._http.exchange import CapacityChanged, GoingAway, ResetsSeen
from penstock._http.h2_frames import Code
from tests.support import h2_frames as frames
from tests.support.h2_conversation import OK, Conversation

FRAMING, LIMIT = ProtocolReason.FRAMING, ProtocolReason.LIMIT


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


def test_what_cannot_be_decoded_is_quoted_in_few_words() -> None:
    talk = Conversation()
    talk.ask()

    assert len(talk.fault(frames.headers(1, b"\xff" * 16_000)).message) < 200


# ---- settings --------------------------------------------------------------------------------------------------------

FORBIDDEN_SETTINGS = {
    "push, switched on": ({"enable_push": 1}, Code.PROTOCOL_ERROR),
    "push, neither on nor off": ({"enable_push": 2}, Code.PROTOCOL_ERROR),
    "frames of nothing": ({"max_frame_size": 0}, Code.PROTOCOL_ERROR),
    "frames too small": ({"max_frame_size": 16383}, Code.PROTOCOL_ERROR),
    "frames too large": ({"max_frame_size": 2**24}, Code.PROTOCOL_ERROR),
    "extended CONNECT, neither on nor off": ({"enable_connect_protocol": 2}, Code.PROTOCOL_ERROR),
    "a window too large": ({"initial_window_size": 2**31}, Code.FLOW_CONTROL_ERROR),
}


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize("name", FORBIDDEN_SETTINGS)
def test_forbidden_settings_end_the_connection(name: str, first: bool) -> None:
    values, code = FORBIDDEN_SETTINGS[name]
    talk = Conversation(first=b"" if first else None)
    fault = talk.fault(frames.settings(None, **values))

    assert (fault.code, fault.reason) == (code, FRAMING)


@pytest.mark.parametrize(
    "values",
    [{"max_frame_size": 16384}, {"max_frame_size": 2**24 - 1}, {"initial_window_size": 2**31 - 1}, {"enable_push": 0}],
)
def test_settings_at_the_edge_of_what_is_allowed(values: dict[str, int]) -> None:
    talk = Conversation()
    talk.hear(frames.settings(None, **values))

    assert [type(frame) for frame in talk.listen()[-1:]] == [hf.SettingsFrame]


def test_a_new_initial_window_that_overflows_an_open_stream_ends_the_connection() -> None:
    talk = Conversation()
    talk.ask("POST", content=b"x" * 100_000)
    talk.hear(frames.window_update(1, 2**30))

    assert talk.fault(frames.settings(initial_window_size=2**31 - 1)).code == Code.FLOW_CONTROL_ERROR


def test_a_lower_initial_window_makes_windows_negative_and_nothing_is_sent_until_they_open() -> None:
    talk = Conversation()
    talk.ask("POST", content=b"x" * 100_000)
    talk.session.send_data(1, b"x" * 16_384, end_stream=False)
    talk.hear(frames.settings(initial_window_size=0))
    assert talk.session.room(1) == -16_384
    assert talk.connection.room_for(1) <= 0
    talk.hear(frames.window_update(1, 16_385))

    assert talk.connection.room_for(1) == 1


def test_settings_that_nobody_knows_are_not_kept() -> None:
    talk = Conversation()
    for start in range(100, 65_000, 32):
        talk.hear(frames.settings(dict.fromkeys(range(start, start + 32), 7)))

    assert len(talk.session._h2.remote_settings) < 10


def test_the_table_that_compresses_is_never_larger_than_ours_whatever_the_server_allows() -> None:
    talk = Conversation(HTTP2Config(encoder_table=1000), first=frames.settings(header_table_size=2**32 - 1))
    for number in range(200):
        talk.ask(headers=[(f"x-{number}", f"{number}" * 200)])
        talk.hear(talk.answer(2 * number + 1, end_stream=True))
        table = talk.session._h2.encoder.header_table
        assert table.maxsize == 1000
        assert sum(len(name) + len(value) + 32 for name, value in table.dynamic_entries) <= 1000


@pytest.mark.parametrize(("asked", "size"), [(0, 0), (100, 100), (4096, 4096), (2**32 - 1, 4096)])
def test_the_table_that_compresses_is_as_small_as_the_server_asks(asked: int, size: int) -> None:
    talk = Conversation(first=frames.settings(header_table_size=asked))
    talk.ask(headers=[("x-a", "b")])

    assert talk.session._h2.encoder.header_table.maxsize == size


def test_a_table_size_that_changes_often_is_told_twice_at_most() -> None:
    """The smallest in between and the last (RFC 7541 §4.2); nothing piles up while no request is sent."""
    talk = Conversation()
    for number in range(1000):
        talk.hear(frames.settings(header_table_size=(4000, 17, 300)[number % 3]))
    talk.listen()
    talk.ask()
    (head,) = talk.listen()

    assert isinstance(head, hf.HeadersFrame)
    assert head.data.startswith(b"\x31\x3f\x81\x1f")
    assert not 0x20 <= head.data[4] < 0x40


@pytest.mark.parametrize("allowed", [0, 100])
def test_a_head_larger_than_the_server_takes_is_not_sent(allowed: int) -> None:
    talk = Conversation(first=frames.settings(max_header_list_size=allowed))
    with pytest.raises(LocalProtocolError, match=f"larger than the {allowed} bytes"):
        talk.ask()

    assert not any(isinstance(frame, hf.HeadersFrame) for frame in talk.listen())
    assert talk.session.streams == {}


def test_a_head_as_large_as_the_server_takes_is_sent() -> None:
    probe = Conversation()
    probe.ask()
    fields = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"api.test"), (b":path", b"/")]
    size = sum(len(name) + len(value) + 32 for name, value in fields)
    for allowed, sent in [(size, True), (size - 1, False)]:
        talk = Conversation(first=frames.settings(max_header_list_size=allowed))
        if sent:
            talk.ask()
            assert list(talk.session.streams) == [1]
        else:
            with pytest.raises(LocalProtocolError):
                talk.ask()


def test_acknowledgements_that_nobody_asked_for_are_ignored_and_counted() -> None:
    talk = Conversation(HTTP2Config(glitch_burst=10, glitch_rate=1.0))
    talk.hear(frames.settings_ack() * 5, frames.ping(ack=True) * 5)

    assert talk.fault(frames.ping(ack=True)).code == Code.ENHANCE_YOUR_CALM


def test_how_many_streams_are_allowed_follows_the_server_and_our_own_limit() -> None:
    talk = Conversation(HTTP2Config(max_streams=50), first=frames.settings())
    assert talk.session.capacity == 50
    talk.session.events.clear()
    told = []
    for said in (10, 0, 10, 1000):
        talk.hear(frames.settings(max_concurrent_streams=said))
        told += talk.session.events
        talk.session.events.clear()

    assert told == [CapacityChanged(10), CapacityChanged(0), CapacityChanged(10), CapacityChanged(50)]


# ---- late frames -----------------------------------------------------------------------------------------------------


def test_what_comes_late_is_not_answered_and_still_counts_for_table_and_window() -> None:
    talk = Conversation(HTTP2Config(stream_window=65535, connection_window=65535, glitch_burst=4))
    first, second = talk.ask(), talk.ask()
    talk.session.reset(1, Code.CANCEL, talk.now)
    fields = [*OK, (b"x-learned", b"from a late block")]
    talk.hear(talk.answer(1, fields), *[frames.data(1, b"x" * 16_000)] * 3)
    talk.hear(talk.answer(3, fields), frames.data(3, b"y", end_stream=True))

    assert second.trailers == []
    assert second._head is not None
    assert second._head.headers == [(b"x-learned", b"from a late block")]
    assert talk.resets() == [(1, Code.CANCEL)]
    assert talk.credit(0) >= 48_000 - 65535 // 2
    assert talk.credit(1) == 0
    assert first.trailers == []


def test_a_place_is_free_once_the_server_has_seen_the_reset() -> None:
    talk = Conversation()
    for _ in range(3):
        talk.ask()
    for stream in (1, 3, 5):
        talk.session.reset(stream, Code.CANCEL, talk.now)
    talk.session.events.clear()
    (ping,) = [frame for frame in talk.listen() if isinstance(frame, hf.PingFrame)]
    talk.hear(frames.ping(ping.opaque_data, ack=True))
    (second,) = [frame for frame in talk.listen() if isinstance(frame, hf.PingFrame)]
    talk.hear(frames.ping(second.opaque_data, ack=True))

    assert talk.session.events == [ResetsSeen(1), ResetsSeen(2)]


def test_an_old_answer_to_a_ping_proves_nothing() -> None:
    talk = Conversation()
    talk.ask()
    talk.session.reset(1, Code.CANCEL, talk.now)
    talk.session.events.clear()
    talk.hear(frames.ping(b"\0" * 8, ack=True), frames.ping(b"whatever", ack=True))

    assert talk.session.events == []
    assert talk.session.pings.waits


def test_more_resets_than_the_budget_retire_the_connection() -> None:
    talk = Conversation(HTTP2Config(reset_burst=5, reset_rate=1.0))
    for number in range(6):
        assert talk.session.takes_more
        talk.ask()
        talk.session.reset(2 * number + 1, Code.CANCEL, talk.now)

    assert not talk.session.takes_more
    assert [type(event) for event in talk.session.events].count(GoingAway) == 1
