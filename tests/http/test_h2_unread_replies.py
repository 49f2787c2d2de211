"""A server that asks and does not read: what we owe it is bounded, and it is not read on until that has left."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from penstock import HTTP2Config
from penstock._http.h2 import READ_SIZE, HTTP2Connection, open_http2
from penstock._http.h2_pings import PingPace
from penstock._net.timer import Watchdog
from tests.support import h2_frames as frames
from tests.support.memory_stream import MemoryStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ASKED = {"PING": (frames.ping(b"12345678"), 17), "SETTINGS": (frames.settings(), 9)}
LIMIT = 4096


@asynccontextmanager
async def connected(stream: MemoryStream) -> AsyncIterator[HTTP2Connection]:
    connection = await open_http2(
        stream,
        config=HTTP2Config(max_unsent_replies=LIMIT, glitch_burst=1_000_000),
        max_head_size=65536,
        max_head_fields=256,
        secure=False,
        pace=PingPace(30.0),
    )
    watchdog = Watchdog()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watchdog.run)
        nursery.start_soon(connection.run, lambda _: None, watchdog)
        await wait_all_tasks_blocked()
        yield connection
        nursery.cancel_scope.cancel()


def owed(connection: HTTP2Connection) -> int:
    """Bytes that wait to be sent."""
    return connection.session.queued - connection.sent


@pytest.mark.parametrize("kind", ASKED)
async def test_answers_are_bounded_and_reading_stops_until_they_have_left(kind: str) -> None:
    frame, size = ASKED[kind]
    stream = MemoryStream(frames.settings())
    async with connected(stream) as connection:
        stream.open_window(0)
        piece = frame * (READ_SIZE // len(frame))
        for _ in range(8):
            stream.feed(piece)
        await wait_all_tasks_blocked()
        one_read = len(piece) // len(frame) * size
        assert LIMIT < owed(connection) <= LIMIT + one_read
        before = owed(connection)
        stream.feed(piece)
        await wait_all_tasks_blocked()
        assert owed(connection) == before, "nothing more is read"

        stream.open_window(None)
        await wait_all_tasks_blocked()
        assert owed(connection) == 0
        assert connection.session.replies == 0
        assert connection.reason is None


async def test_answers_just_within_the_limit_do_not_stop_the_reading() -> None:
    frame, size = ASKED["PING"]
    stream = MemoryStream(frames.settings())
    async with connected(stream) as connection:
        stream.open_window(0)
        for _ in range(LIMIT // size):
            stream.feed(frame)
        await wait_all_tasks_blocked()
        assert owed(connection) == LIMIT // size * size
        stream.feed(frame)
        stream.feed(frame)
        await wait_all_tasks_blocked()
        assert owed(connection) == (LIMIT // size + 1) * size


async def test_a_server_that_has_stopped_reading_altogether_is_still_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    frame, _ = ASKED["PING"]
    stream = MemoryStream(frames.settings())
    async with connected(stream) as connection:
        stream.open_window(0)
        stream.feed(frame * 1000)
        await wait_all_tasks_blocked()
        stream.break_writes()
        await trio.sleep(20)
        assert connection.reason is not None
        assert stream.is_closed
