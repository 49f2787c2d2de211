"""Mutations of a good server's bytes: nothing but Penstock's own errors, and nothing kept beyond its bounds."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from penstock import HTTP2Config
from penstock._errors import ReadError, TransportError
from penstock._events import CloseReason
from penstock._http.h2_frames import MAX_FRAME_SIZE, Code, ConnectionFault
from tests.support import h2_frames as frames
from tests.support.h2_conversation import OK, Conversation
from tests.support.h2_peer import H2Peer, H2Script, serve
from tests.support.scene import assert_at_rest, scene, settle

if TYPE_CHECKING:
    from penstock._http.h2_stream import HTTP2Exchange

CONFIG = HTTP2Config(
    stream_window=65535, connection_window=65535, max_header_block=4096, glitch_burst=200, max_empty_data=20
)
REQUESTS = ("GET", "POST", "HEAD", "GET")


def recorded() -> list[bytes]:
    """A good server's frames for four requests, from its first SETTINGS on."""
    talk = Conversation(first=b"")
    hints = talk.encode([(b":status", b"103"), (b"link", b"</a>")])
    head = talk.encode([*OK, (b"content-length", b"10"), (b"x-long", b"v" * 300)])
    return [
        frames.settings(max_concurrent_streams=10, header_table_size=2048, initial_window_size=100_000),
        frames.settings_ack(),
        frames.ping(b"12345678"),
        frames.headers(1, hints),
        frames.headers(1, head[:50], end_headers=False),
        frames.continuation(1, head[50:]),
        frames.window_update(3, 1000),
        frames.data(1, b"hello"),
        talk.answer(3, [(b":status", b"413"), (b"x-a", b"b")], end_stream=True),
        frames.data(1, b"world", end_stream=True, padding=3),
        talk.answer(5, [*OK, (b"content-length", b"99")], end_stream=True),
        frames.window_update(0, 5000),
        frames.ping((1).to_bytes(8, "big"), ack=True),
        talk.answer(7),
        frames.frame(0xBE, stream=7, payload=b"unknown"),
        frames.goaway(7, 0, b"bye"),
        frames.data(7, b"x" * 5000),
        talk.answer(7, [(b"x-sum", b"1")], end_stream=True),
    ]


RECORDED = recorded()
WHOLE = b"".join(RECORDED)

kinds = st.integers(0, 12)
frame = st.builds(
    lambda kind, flags, stream, payload, lie: frames.frame(
        kind, flags=flags, stream=stream, payload=payload, length=max(0, len(payload) + lie)
    ),
    kinds,
    st.integers(0, 255),
    st.one_of(st.integers(0, 12), st.integers(0, 2**32 - 1)),
    st.one_of(st.binary(max_size=30), st.sampled_from([b"\0" * 4, b"\0" * 8, b"\xff" * 4, b"\x88", b"x" * 20_000])),
    st.sampled_from([0] * 8 + [1, -1, 100, 1 << 20]),
)
place = st.integers(0, len(RECORDED) - 1)
frame_mutation = st.one_of(
    st.tuples(st.just("drop"), place, st.none()),
    st.tuples(st.just("double"), place, st.integers(1, 30)),
    st.tuples(st.just("swap"), place, place),
    st.tuples(st.just("insert"), place, frame),
    st.tuples(st.just("move"), place, st.integers(0, 12)),
)
byte_mutation = st.tuples(
    st.sampled_from(["flip", "cut", "splice"]), st.integers(0, len(WHOLE) - 1), st.integers(1, 255)
)


def mutated(whole: list[bytes], changes: list[tuple[str, int, object]], bytewise: list[tuple[str, int, int]]) -> bytes:
    parts = list(whole)
    for what, at, how in changes:
        at = min(at, len(parts) - 1)
        match what, how:
            case "drop", _ if len(parts) > 1:
                del parts[at]
            case "double", int():
                parts[at] *= how
            case "swap", int():
                other = min(how, len(parts) - 1)
                parts[at], parts[other] = parts[other], parts[at]
            case "insert", bytes():
                parts.insert(at, how)
            case "move", int():
                # To another stream.
                parts[at] = parts[at][:5] + how.to_bytes(4, "big") + parts[at][9:]
    data = bytearray(b"".join(parts))
    for what, at, value in bytewise:
        if at < len(data):
            match what:
                case "flip":
                    data[at] ^= value
                case "cut":
                    del data[at : at + value]
                case "splice":
                    data[at:at] = WHOLE[value : value + 40]
    return bytes(data)


def check_bounds(talk: Conversation, exchanges: list[HTTP2Exchange], heard: int) -> None:
    session = talk.session
    gate = session._gate
    assert len(gate._rest) <= MAX_FRAME_SIZE + 9
    assert len(gate._block) <= CONFIG.max_header_block
    for exchange in exchanges:
        assert sum(map(len, exchange._pieces)) <= CONFIG.stream_window
    # What we say is never much more than what we are told: no amplification.
    assert session.queued <= 1000 + 2 * heard
    assert len(session._h2.remote_settings) < 10
    table = session._decoder.header_table
    assert sum(len(name) + len(value) + 32 for name, value in table.dynamic_entries) <= 4096
    assert len(session._resets) <= len(REQUESTS)


def goes_on(talk: Conversation, data: bytes) -> bool:
    """Whether the connection goes on after these bytes; if not, it says why, and in few words."""
    fault = None
    try:
        talk.hear(data)
    except ConnectionFault as error:
        fault = error
    if fault is not None:
        # Not that h2 has stumbled over something.
        assert fault.code in set(Code) - {Code.INTERNAL_ERROR}
        assert len(fault.message) < 400
    return fault is None


def read_to_the_end(exchange: HTTP2Exchange) -> None:
    """Take out what there is; what comes instead is an error of Penstock's, and the exchange has ended."""
    try:
        while exchange.try_receive():
            pass
    except TransportError:
        pass
    assert exchange.outcome is not None


@given(
    changes=st.lists(frame_mutation, max_size=4),
    bytewise=st.lists(byte_mutation, max_size=3),
    step=st.sampled_from([1, 7, 100, 1 << 16]),
    cancelled=st.sampled_from([0, 0, 1, 3, 5]),
)
def test_whatever_a_server_says_the_connection_ends_well(
    changes: list[tuple[str, int, object]], bytewise: list[tuple[str, int, int]], step: int, cancelled: int
) -> None:
    talk = Conversation(CONFIG, first=RECORDED[0])
    exchanges = [talk.ask(method, content=b"x" * 200_000 if method == "POST" else None) for method in REQUESTS]
    if cancelled:
        del exchanges[cancelled // 2]
        talk.session.reset(cancelled, Code.CANCEL, talk.now)
    data = mutated(RECORDED[1:], changes, bytewise)
    heard = len(RECORDED[0])
    for at in range(0, len(data), step):
        heard += len(data[at : at + step])
        if not goes_on(talk, data[at : at + step]):
            break
        check_bounds(talk, exchanges, heard)
    talk.connection._break(ReadError("the server closed the connection"), CloseReason.PEER_CLOSED)
    for exchange in exchanges:
        read_to_the_end(exchange)
    assert talk.session.streams == {}


@given(changes=st.lists(frame_mutation, max_size=4), bytewise=st.lists(byte_mutation, max_size=3))
def test_a_mutated_beginning(changes: list[tuple[str, int, object]], bytewise: list[tuple[str, int, int]]) -> None:
    talk = Conversation(CONFIG, first=b"")
    if goes_on(talk, mutated(RECORDED[:4], changes, bytewise)):
        check_bounds(talk, [], len(WHOLE))


@given(data=st.binary(max_size=3000))
def test_junk(data: bytes) -> None:
    talk = Conversation(CONFIG)
    exchange = talk.ask()
    goes_on(talk, data)
    check_bounds(talk, [exchange], len(data))


def test_the_recording_itself_is_good() -> None:
    talk = Conversation(CONFIG, first=RECORDED[0])
    exchanges = [talk.ask(method, content=b"x" * 200_000 if method == "POST" else None) for method in REQUESTS]
    talk.hear(*RECORDED[1:])

    assert [exchange._error for exchange in exchanges] == [None] * 4
    assert exchanges[0].try_receive() == b"helloworld"
    assert len(exchanges[3].try_receive() or b"") == 5000


# ---- the same through a pool -----------------------------------------------------------------------------------------


async def through_a_pool(data: bytes, step: int, cancel_at: float) -> None:
    async def hostile(peer: H2Peer) -> None:
        for _ in range(3):
            await peer.head()
        await peer.wait(1)
        for at in range(0, len(data), step):
            await peer.send(data[at : at + step])
        await peer.wait(100)

    async with scene(H2Script(hostile, serve, ack_settings=False), http1=False, http2_config=CONFIG) as s:

        async def ask(method: str) -> None:
            with suppress(TransportError):
                await s.client.request(method, s.url, content=b"x" * 200_000 if method == "POST" else None)

        with trio.fail_after(300):
            async with trio.open_nursery() as nursery:
                for method in REQUESTS[:3]:
                    nursery.start_soon(ask, method)
                    await trio.sleep(0.1)
                with trio.move_on_after(cancel_at):
                    await ask("GET")
            await settle(200)
            assert (await s.client.get(s.url)).content == b"ok"
            await settle()
            assert_at_rest(s.pool, s.network)


@given(
    changes=st.lists(frame_mutation, max_size=4),
    bytewise=st.lists(byte_mutation, max_size=3),
    step=st.sampled_from([7, 100, 1 << 16]),
    cancel_at=st.sampled_from([0.5, 1.0, 1000.0]),
)
def test_whatever_a_server_says_every_request_ends_and_the_pool_is_as_before(
    changes: list[tuple[str, int, object]], bytewise: list[tuple[str, int, int]], step: int, cancel_at: float
) -> None:
    data = mutated(RECORDED[1:], changes, bytewise)
    trio.run(through_a_pool, data, step, cancel_at, clock=MockClock(autojump_threshold=0))
