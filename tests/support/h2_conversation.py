"""One HTTP/2 connection without any I/O: requests are opened, bytes are heard, and what is said is cut into frames.

talk = Conversation()
exchange = talk.ask()
talk.hear(frames.headers(1, talk.encode([(b":status", b"200")]), end_stream=True))
assert talk.codes("RST_STREAM") == []
"""

from __future__ import annotations

import hpack
from hyperframe import frame as hf

from penstock import HTTP2Config
from penstock._http.body import make_body
from penstock._http.h2 import HTTP2Connection
from penstock._http.h2_frames import ConnectionFault
from penstock._http.h2_pings import PingPace
from penstock._http.h2_session import HTTP2Session
from penstock._http.h2_stream import HTTP2Exchange
from penstock._http.request import build_request
from penstock._types import Origin
from tests.support import h2_frames as frames
from tests.support.memory_stream import MemoryStream

MAX_HEAD_SIZE = 16384
MAX_HEAD_FIELDS = 64

OK = [(b":status", b"200")]


class Conversation:
    """Both ends of a connection: ours is real, the server's is whatever the test says.

    Attributes:
        session: ours.
        said: every frame that we sent after the preface and the first SETTINGS, in order.
        now: the time, which stands still unless the test moves it.
    """

    def __init__(self, config: HTTP2Config | None = None, *, first: bytes | None = None) -> None:
        self.now = 0.0
        self.pace = PingPace(30.0)
        self.session = HTTP2Session(
            config or HTTP2Config(),
            max_head_size=MAX_HEAD_SIZE,
            max_head_fields=MAX_HEAD_FIELDS,
            secure=False,
            pace=self.pace,
            now=self.now,
        )
        self.connection = HTTP2Connection(MemoryStream(), self.session, unhealthy_threshold=3)
        self.said: list[hf.Frame] = []
        self._encoder = hpack.Encoder()
        self.session.take_output()
        if first is None:
            first = frames.settings(max_concurrent_streams=100)
        if first:
            self.hear(first)

    def ask(
        self,
        method: str = "GET",
        *,
        headers: list[tuple[str, str]] | None = None,
        content: bytes | None = None,
    ) -> HTTP2Exchange:
        """Open a stream; content that does not fit stays unsent."""
        exchange = self.connection.open_exchange()
        origin = Origin("http", "api.test", 80)
        exchange._open(build_request(origin, method, "/", headers or [], make_body(content)))
        return exchange

    def encode(self, fields: list[tuple[bytes, bytes]]) -> bytes:
        """A header block of the server."""
        return self._encoder.encode(fields)

    def answer(self, stream: int, fields: list[tuple[bytes, bytes]] = OK, *, end_stream: bool = False) -> bytes:
        """The head of a response."""
        return frames.headers(stream, self.encode(fields), end_stream=end_stream)

    def hear(self, *pieces: bytes) -> None:
        """Take in what the server says.

        Raises:
            ConnectionFault: it ends the connection.
        """
        for piece in pieces:
            while self.session.feed(piece, self.now):
                piece = b""

    def fault(self, *pieces: bytes) -> ConnectionFault:
        """Take in what must end the connection."""
        try:
            self.hear(*pieces)
        except ConnectionFault as fault:
            return fault
        raise AssertionError("the connection goes on")

    def listen(self) -> list[hf.Frame]:
        """The frames that we have sent since the last time."""
        data = self.session.take_output()
        new = []
        while data:
            frame, length = hf.Frame.parse_frame_header(memoryview(data[:9]))
            frame.parse_body(memoryview(data[9 : 9 + length]))
            new.append(frame)
            data = data[9 + length :]
        self.said += new
        return new

    def resets(self) -> list[tuple[int, int]]:
        """The streams that we reset, with the codes."""
        self.listen()
        return [(frame.stream_id, frame.error_code) for frame in self.said if isinstance(frame, hf.RstStreamFrame)]

    def credit(self, stream: int) -> int:
        """What we have given back to a window; 0 is the connection's."""
        self.listen()
        updates = [frame for frame in self.said if isinstance(frame, hf.WindowUpdateFrame)]
        return sum(frame.window_increment for frame in updates if frame.stream_id == stream)
