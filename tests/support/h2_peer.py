"""An HTTP/2 server played frame by frame, by a script.

It lies on a `ScriptedPeer`, so a script runs on a `FakeNetwork` and on a `ScriptServer`, with and without TLS:

    async def script(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.headers(request.stream, [(b":status", b"200")])
        await peer.data(request.stream, b"hel")
        await peer.rst(request.stream, 0x2)
        await peer.wait_closed()

    server = H2Script(script)
    network.listen("api.test", 80, server)

What the client sends is read in the background, from the start to the end of the script, whatever the script waits
for; SETTINGS and PING are acknowledged and windows kept open on the way, unless a script wants to do that by itself.
"""

from __future__ import annotations

from collections import defaultdict, deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import attrs
import hpack
import trio
from hyperframe import frame as hf

from penstock.testing import ClientGone, ScriptedPeer
from tests.support import h2_frames as frames
from tests.support.h2_frames import PREFACE, Kind, Setting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

    Fields = Iterable[tuple[bytes, bytes]]
    Script = Callable[["H2Peer"], Awaitable[object]]

_HEAD = 9
_LARGE = 1 << 24


class Seen(NamedTuple):
    """A frame of the client.

    Attributes:
        kind: the type's name in RFC 9113, with "_ACK" for an acknowledgement: "PING", "PING_ACK"; "UNKNOWN" for others.
        stream: its stream, 0 for the connection.
        flags: the flags' names.
        frame: everything else that hyperframe parsed: `.settings`, `.data`, `.error_code`, `.window_increment`…
        at: when it was read, on trio's clock.
        fields: of the header block that this frame ended, as hpack decoded them (`.indexable` is False for a field
            that must never be indexed, RFC 7541 §6.2.3); None on every other frame.
    """

    kind: str
    stream: int
    flags: frozenset[str]
    frame: hf.Frame
    at: float
    fields: list[tuple[bytes, bytes]] | None = None


@attrs.define(eq=False)
class H2Request:
    """What the client has sent on one stream so far."""

    stream: int
    fields: list[tuple[bytes, bytes]]
    body: bytearray = attrs.Factory(bytearray)
    trailers: list[tuple[bytes, bytes]] | None = None
    is_ended: bool = False
    reset_code: int | None = None

    def header(self, name: bytes) -> bytes | None:
        """The first value of a field, None if it was not sent."""
        return next((value for key, value in self.fields if key == name), None)

    @property
    def method(self) -> bytes | None:
        return self.header(b":method")

    @property
    def path(self) -> bytes | None:
        return self.header(b":path")


@attrs.frozen
class Automatic:
    """What a peer does by itself.

    Attributes:
        settings: of the SETTINGS frame that is sent first, by name or number; None sends none.
        ack_settings: whether the client's SETTINGS are acknowledged.
        ack_pings: whether the client's PINGs are.
        open_windows: whether every DATA frame is answered with the WINDOW_UPDATEs that give its room back.
    """

    settings: Mapping[str, int] | Mapping[int, int] | None = attrs.Factory(dict)
    ack_settings: bool = True
    ack_pings: bool = True
    open_windows: bool = True


class H2Peer:
    """One connection of a scripted server.

    Everything that meets a client which has left raises `ClientGone`, which ends a script quietly.

    Attributes:
        number: which connection of its `H2Script` this is, from 0.
        wire: the `ScriptedPeer` below: `fin`, `rst`, `close`, `tls`, raw `send`.
        seen: every frame of the client, in order.
        requests: what came on each stream, by its number.
        client_settings: what the client has said in SETTINGS so far, over the defaults.
        send_window: what the client still takes on the whole connection; see `window`.
        is_gone: whether the client has ended or reset the connection.
    """

    def __init__(self, wire: ScriptedPeer, number: int = 0, automatic: Automatic | None = None) -> None:
        self.wire = wire
        self.number = number
        self.automatic = automatic or Automatic()
        self.seen: list[Seen] = []
        self.requests: dict[int, H2Request] = {}
        self.client_settings: dict[int, int] = {Setting.HEADER_TABLE_SIZE: 4096, Setting.INITIAL_WINDOW_SIZE: 65535}
        self.client_settings[Setting.MAX_FRAME_SIZE] = 16384
        self.send_window = 65535
        self.is_gone = False
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder(max_header_list_size=_LARGE)
        self.decoder.max_allowed_table_size = _LARGE
        self._credit: defaultdict[int, int] = defaultdict(int)
        self._block = bytearray()
        self._block_ends_stream = False
        self._fresh: defaultdict[str, deque[Seen]] = defaultdict(deque)
        self._heads: deque[H2Request] = deque()
        self._together: bytearray | None = None
        self._news = trio.lowlevel.ParkingLot()
        self._may_read = trio.Event()
        self._may_read.set()
        self._sending = trio.Lock()

    async def run(self, script: Script) -> None:
        """Play `script` to its end, with the client's frames read beside it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            if self.automatic.settings is not None:
                await self.settings(self.automatic.settings)
            await script(self)
            nursery.cancel_scope.cancel()

    # Hearing

    async def request(self, stream: int | None = None) -> H2Request:
        """The next request, whole: once its stream has ended. With `stream`, the one on that stream."""
        request = await self.head(stream)
        await self._until(lambda: request.is_ended)
        return request

    async def head(self, stream: int | None = None) -> H2Request:
        """The next request as soon as its header section is there; its body grows in `request.body`."""
        if stream is not None:
            await self._until(lambda: stream in self.requests)
            request = self.requests[stream]
            if request in self._heads:
                self._heads.remove(request)
            return request
        await self._until(lambda: bool(self._heads))
        return self._heads.popleft()

    async def expect(self, kind: str, stream: int | None = None) -> Seen:
        """The oldest frame of this kind (`Seen.kind`), on this stream if given, that was not yet expected."""
        fresh = self._fresh[kind]
        await self._until(lambda: any(stream in (None, seen.stream) for seen in fresh))
        found = next(seen for seen in fresh if stream in (None, seen.stream))
        fresh.remove(found)
        return found

    def of(self, kind: str, stream: int | None = None) -> list[Seen]:
        """All frames of one kind so far, on one stream if given."""
        return [seen for seen in self.seen if seen.kind == kind and stream in (None, seen.stream)]

    async def wait_closed(self) -> None:
        """Wait until the client ends or resets the connection; never raises for that."""
        while not self.is_gone:
            await self._news.park()

    async def wait(self, seconds: float) -> None:
        """Say nothing for a while; the client is read and acknowledged meanwhile."""
        await trio.sleep(seconds)

    def stop_reading(self) -> None:
        """Read nothing more after the piece that is being waited for, until `go_on_reading`."""
        self._may_read = trio.Event()

    def go_on_reading(self) -> None:
        """Read again."""
        self._may_read.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self.is_gone:
                raise ClientGone("the client left first")
            await self._news.park()

    async def _read(self) -> None:
        buffer = bytearray()
        try:
            while len(buffer) < len(PREFACE):
                buffer += await self._receive()
                assert buffer[: len(PREFACE)] == PREFACE[: len(buffer)], f"no HTTP/2: {bytes(buffer[:100])!r}"
            del buffer[: len(PREFACE)]
            while True:
                while len(buffer) >= _HEAD:
                    frame, length = hf.Frame.parse_frame_header(memoryview(bytes(buffer[:_HEAD])))
                    if len(buffer) < _HEAD + length:
                        break
                    frame.parse_body(memoryview(bytes(buffer[_HEAD : _HEAD + length])))
                    del buffer[: _HEAD + length]
                    await self._take(frame)
                buffer += await self._receive()
        except ClientGone:
            self.is_gone = True
            self._news.unpark_all()

    async def _receive(self) -> bytes:
        await self._may_read.wait()
        data = await self.wire.receive()
        if not data:
            raise ClientGone("the client ended the connection")
        return data

    async def _take(self, frame: hf.Frame) -> None:
        seen = Seen(_kind(frame), frame.stream_id, frozenset(frame.flags), frame, trio.current_time())
        if isinstance(frame, hf.HeadersFrame | hf.ContinuationFrame):
            seen = self._take_block(seen, frame)
        self.seen.append(seen)
        self._fresh[seen.kind].append(seen)
        match frame:
            case hf.DataFrame():
                await self._take_data(frame)
            case hf.SettingsFrame() if "ACK" not in frame.flags:
                await self._take_settings(frame)
            case hf.PingFrame() if "ACK" not in frame.flags and self.automatic.ack_pings:
                await self.ping(frame.opaque_data, ack=True)
            case hf.WindowUpdateFrame(stream_id=0):
                self.send_window += frame.window_increment
            case hf.WindowUpdateFrame():
                self._credit[frame.stream_id] += frame.window_increment
            case hf.RstStreamFrame() if frame.stream_id in self.requests:
                self.requests[frame.stream_id].reset_code = frame.error_code
        self._news.unpark_all()

    def _take_block(self, seen: Seen, frame: hf.HeadersFrame | hf.ContinuationFrame) -> Seen:
        if isinstance(frame, hf.HeadersFrame):
            self._block.clear()
            self._block_ends_stream = "END_STREAM" in frame.flags
        self._block += frame.data
        if "END_HEADERS" not in frame.flags:
            return seen
        fields: list[tuple[bytes, bytes]] = list(self.decoder.decode(bytes(self._block), raw=True))
        request = self.requests.get(frame.stream_id)
        if request is None:
            request = self.requests[frame.stream_id] = H2Request(frame.stream_id, fields)
            self._heads.append(request)
        else:
            request.trailers = fields
        request.is_ended = self._block_ends_stream
        return seen._replace(fields=fields)

    async def _take_data(self, frame: hf.DataFrame) -> None:
        request = self.requests[frame.stream_id]
        request.body += frame.data
        request.is_ended = "END_STREAM" in frame.flags
        if self.automatic.open_windows and (size := frame.flow_controlled_length):
            updates = frames.window_update(0, size)
            if not request.is_ended:
                updates += frames.window_update(frame.stream_id, size)
            await self.send(updates)

    async def _take_settings(self, frame: hf.SettingsFrame) -> None:
        self.client_settings.update(frame.settings)
        if (size := frame.settings.get(Setting.HEADER_TABLE_SIZE)) is not None:
            self.encoder.header_table_size = min(size, 4096)
        if self.automatic.ack_settings:
            await self.settings_ack()

    # Speaking

    async def send(self, data: bytes) -> None:
        """Send bytes as they are, right or wrong: what `tests.support.h2_frames` makes, or anything."""
        if self._together is not None:
            self._together += data
            return
        async with self._sending:
            await self.wire.send(data)

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """Send what is said in the block as one piece at its end."""
        self._together = bytearray()
        yield
        data, self._together = self._together, None
        await self.send(bytes(data))

    def encode(self, fields: Fields) -> bytes:
        """Make a header block. Each block must be sent in the order of making: HPACK has a memory."""
        return self.encoder.encode(list(fields))

    async def frame(
        self,
        kind: Kind | int | str,
        *,
        stream: int = 0,
        payload: bytes = b"",
        flags: int = 0,
        length: int | None = None,
    ) -> None:
        """Send any frame; see `h2_frames.frame`."""
        await self.send(frames.frame(kind, stream=stream, payload=payload, flags=flags, length=length))

    async def settings(self, values: Mapping[str, int] | Mapping[int, int] | None = None, **named: int) -> None:
        """Send SETTINGS: by number, or by name in lower case."""
        numbered = {key: value for key, value in (values or {}).items() if not isinstance(key, str)}
        named.update({key: value for key, value in (values or {}).items() if isinstance(key, str)})
        await self.send(frames.settings(numbered, **named))

    async def settings_ack(self) -> None:
        await self.send(frames.settings_ack())

    async def headers(
        self,
        stream: int,
        fields: Fields | bytes,
        *,
        end_stream: bool = False,
        end_headers: bool = True,
        padding: int | None = None,
    ) -> None:
        """Send HEADERS: a response, trailers, anything. Bytes are a block, or a part of one, that `encode` made."""
        block = fields if isinstance(fields, bytes) else self.encode(fields)
        await self.send(frames.headers(stream, block, end_stream=end_stream, end_headers=end_headers, padding=padding))

    async def continuation(self, stream: int, block: bytes, *, end_headers: bool = True) -> None:
        await self.send(frames.continuation(stream, block, end_headers=end_headers))

    async def data(
        self, stream: int, content: bytes = b"", *, end_stream: bool = False, padding: int | None = None
    ) -> None:
        """Send DATA, whether the client's windows have room for it or not; they are charged all the same."""
        size = len(content) + (0 if padding is None else 1 + padding)
        self.send_window -= size
        self._credit[stream] -= size
        await self.send(frames.data(stream, content, end_stream=end_stream, padding=padding))

    async def rst(self, stream: int, code: int = 0) -> None:
        await self.send(frames.rst(stream, code))

    async def goaway(self, last: int = 0, code: int = 0, debug: bytes = b"") -> None:
        await self.send(frames.goaway(last, code, debug))

    async def ping(self, content: bytes = b"\0" * 8, *, ack: bool = False) -> None:
        await self.send(frames.ping(content, ack=ack))

    async def window_update(self, stream: int, increment: int) -> None:
        await self.send(frames.window_update(stream, increment))

    async def push_promise(self, stream: int, promised: int, fields: Fields | bytes) -> None:
        block = fields if isinstance(fields, bytes) else self.encode(fields)
        await self.send(frames.push_promise(stream, promised, block))

    async def priority(self, stream: int, *, depends_on: int = 0, weight: int = 16, exclusive: bool = False) -> None:
        await self.send(frames.priority(stream, depends_on=depends_on, weight=weight, exclusive=exclusive))

    # Answering

    def window(self, stream: int) -> int:
        """How many bytes of DATA the client takes on this stream now."""
        own = self.client_settings[Setting.INITIAL_WINDOW_SIZE] + self._credit[stream]
        return min(own, self.send_window)

    async def body(self, stream: int, content: bytes, *, end_stream: bool = True) -> None:
        """Send DATA frames as the client's windows and frame size allow."""
        rest = memoryview(content)
        while rest:
            await self._until(lambda: self.window(stream) > 0)
            size = min(len(rest), self.window(stream), self.client_settings[Setting.MAX_FRAME_SIZE])
            await self.data(stream, bytes(rest[:size]), end_stream=end_stream and size == len(rest))
            rest = rest[size:]
        if end_stream and not content:
            await self.data(stream, end_stream=True)

    async def respond(
        self, stream: int, status: int = 200, fields: Fields = (), body: bytes = b"", trailers: Fields | None = None
    ) -> None:
        """Answer in good order."""
        ends = not body and trailers is None
        await self.headers(stream, [(b":status", b"%d" % status), *fields], end_stream=ends)
        if body:
            await self.body(stream, body, end_stream=trailers is None)
        if trailers is not None:
            await self.headers(stream, trailers, end_stream=True)


class H2Script:
    """A handler for `FakeNetwork.listen` and `ScriptServer`: each connection is played by a script.

    Args:
        *scripts: the first connection gets the first one, the second the second; the last one takes all further ones.
        **automatic: what the peers do by themselves; see `Automatic`.

    Attributes:
        peers: one for each connection, in order.
        finished: the numbers of the connections whose script ran to its end.
    """

    def __init__(
        self,
        *scripts: Script,
        settings: Mapping[str, int] | Mapping[int, int] | None = {},
        ack_settings: bool = True,
        ack_pings: bool = True,
        open_windows: bool = True,
    ) -> None:
        self._scripts = scripts
        self._automatic = Automatic(settings, ack_settings, ack_pings, open_windows)
        self.peers: list[H2Peer] = []
        self.finished: list[int] = []

    @property
    def connections(self) -> int:
        """How many connections were accepted."""
        return len(self.peers)

    async def __call__(self, wire: ScriptedPeer) -> None:
        """Play one connection."""
        number = len(self.peers)
        peer = H2Peer(wire, number, self._automatic)
        self.peers.append(peer)
        try:
            await peer.run(self._scripts[min(number, len(self._scripts) - 1)])
            self.finished.append(number)
        except* ClientGone:
            pass


async def serve(peer: H2Peer) -> None:
    """A script that answers every request with 200 and "ok" until the client leaves."""
    while True:
        request = await peer.request()
        await peer.respond(request.stream, body=b"ok")


def _kind(frame: hf.Frame) -> str:
    if frame.type not in set(Kind):
        return "UNKNOWN"
    return Kind(frame.type).name + ("_ACK" if "ACK" in frame.flags else "")
