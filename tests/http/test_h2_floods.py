"""Frames without use: a burst of them and a trickle are borne, a flood ends the connection (RFC 9113 §10.5)."""

from __future__ import annotations

import pytest

from penstock import HTTP2Config
from penstock._errors import ProtocolReason
from penstock._http.h2_frames import Code, ConnectionFault
from tests.support import h2_frames as frames
from tests.support.h2_conversation import Conversation

LIMIT = ProtocolReason.LIMIT

GLITCHES = {
    "PING": frames.ping(b"12345678"),
    "unasked acknowledgements of PING": frames.ping(ack=True),
    "SETTINGS": frames.settings(),
    "unasked acknowledgements of SETTINGS": frames.settings_ack(),
    "PRIORITY": frames.priority(1, depends_on=3),
    "PRIORITY of streams to come": frames.priority(99),
    "unknown kinds": frames.frame(0xBE, stream=1, payload=b"?"),
    "ALTSVC": frames.frame("ALTSVC", payload=b"\0\0"),
    "RST_STREAM on an ended stream": frames.rst(1, 8),
    "empty DATA on an ended stream": frames.data(1),
    "DATA on an ended stream": frames.data(1, b"x"),
    "WINDOW_UPDATE on an ended stream": frames.window_update(1, 1),
    "HEADERS on an ended stream": frames.headers(1, b"\x88"),
}

#: What each costs besides: WINDOW_UPDATE has an allowance of its own, and each stream may be reset once.
SLACK = 10


@pytest.mark.parametrize("name", GLITCHES)
def test_a_flood_is_allowed_a_burst_and_then_ends_the_connection(name: str) -> None:
    talk = Conversation(HTTP2Config(glitch_burst=50, glitch_rate=10.0, max_empty_data=1000))
    talk.ask()
    talk.hear(talk.answer(1, end_stream=True))
    heard = 0
    with pytest.raises(ConnectionFault, match="a flood of frames without use") as caught:
        for _ in range(100):
            talk.hear(GLITCHES[name])
            heard += 1

    assert caught.value.code == Code.ENHANCE_YOUR_CALM
    assert caught.value.reason is LIMIT
    assert 25 <= heard <= 50 + SLACK
    assert talk.resets() == [], "nothing late is answered"


@pytest.mark.parametrize("name", GLITCHES)
def test_a_trickle_goes_on_for_ever(name: str) -> None:
    talk = Conversation(HTTP2Config(glitch_burst=50, glitch_rate=20.0, max_empty_data=1000))
    talk.ask()
    talk.hear(talk.answer(1, end_stream=True))
    for _ in range(500):
        talk.now += 0.1
        talk.hear(GLITCHES[name])
        talk.session.take_output()


def test_window_updates_in_need_are_no_glitches() -> None:
    talk = Conversation(HTTP2Config(glitch_burst=1, glitch_rate=0.001))
    talk.ask("POST", content=b"x" * 100_000)
    for _ in range(4):
        talk.session.send_data(1, b"x" * 100, end_stream=False)
        talk.hear(frames.window_update(1, 100) * 10, frames.window_update(0, 100) * 10)


@pytest.mark.parametrize("frame", [frames.data(1), frames.data(1, padding=0), frames.data(1, padding=200)])
def test_data_frames_of_nothing(frame: bytes) -> None:
    talk = Conversation(HTTP2Config(max_empty_data=100))
    talk.ask()
    talk.hear(talk.answer(1), *[frame] * 100)
    talk.hear(frames.data(1, b"x"), *[frame] * 100)
    fault = talk.fault(frame)

    assert (fault.code, fault.reason) == (Code.ENHANCE_YOUR_CALM, LIMIT)
    assert "max_empty_data" in fault.message


def test_data_frames_of_nothing_on_a_stream_that_was_reset_are_counted_as_well() -> None:
    """Also from a server that never answers the PING behind the reset."""
    talk = Conversation(HTTP2Config(max_empty_data=100))
    talk.ask()
    talk.session.reset(1, Code.CANCEL, talk.now)
    talk.hear(frames.data(1) * 100)

    assert talk.fault(frames.data(1)).code == Code.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("kind", ["headers", "window_update"])
def test_other_frames_on_a_stream_that_was_reset_are_counted_too(kind: str) -> None:
    talk = Conversation(HTTP2Config(glitch_burst=50, glitch_rate=1.0))
    talk.ask()
    talk.session.reset(1, Code.CANCEL, talk.now)
    frame = frames.headers(1, b"\x88") if kind == "headers" else frames.window_update(1, 1)

    assert talk.fault(*[frame] * 100).code == Code.ENHANCE_YOUR_CALM


def test_one_reset_behind_each_response_is_what_servers_do() -> None:
    """RST_STREAM(NO_ERROR) says that the rest of a request is not wanted (RFC 9113 §8.1), also if none is left."""
    talk = Conversation(HTTP2Config(glitch_burst=5, glitch_rate=0.0))
    for stream in range(1, 201, 2):
        talk.ask()
        talk.hear(talk.answer(stream, end_stream=True), frames.rst(stream, 0), frames.window_update(stream, 1))

    with pytest.raises(ConnectionFault):
        for _ in range(10):
            talk.hear(frames.rst(1, 0))
