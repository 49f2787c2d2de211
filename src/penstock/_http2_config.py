"""What a user may set about HTTP/2, checked when it is made."""

from __future__ import annotations

import attrs

from ._validators import rate, seconds, whole


@attrs.frozen(kw_only=True)
class HTTP2Config:
    """HTTP/2 settings of a pool. Every limit has its reason beside it; None means "no limit" where it is allowed.

    Attributes:
        max_streams: exchanges on one connection at once, whatever more the server would allow. A server that says
            nothing about it is taken to allow 100.
        soft_streams: connections are filled oldest first up to this many exchanges each, so that surplus ones become
            idle and expire; beyond it the load is spread evenly.
        stream_window: bytes of one response that may wait for a reader who does not read.
        connection_window: bytes of all responses that may be on their way at once; grows with the number of streams.
        ping_idle: a connection that was idle for this many seconds is asked for a sign of life before a request is
            sent on it.
        ping_interval: a connection with streams that has been silent for this many seconds is asked for a sign of
            life. Doubled, for the origin, whenever a server calls for calm.
        ping_timeout: seconds within which the answer has to come.
        reset_burst: streams that may be cancelled on one connection in a burst; a connection that exceeds it is not
            used for new requests any more, before the server takes it for an attack.
        reset_rate: cancelled streams per second that a connection may go on with after the burst.
        barred_timeout: seconds a connection is kept whose server allows no stream at all.
        max_header_block: bytes of one compressed header block.
        max_continuations: CONTINUATION frames in one header block.
        max_settings: entries in one SETTINGS frame.
        max_empty_data: DATA frames in a row that hold nothing and end nothing.
        max_unsent_replies: bytes of answers to PING and SETTINGS that may wait for a server that does not read; until
            they have left, nothing more is read.
        glitch_burst: frames without use (unknown types, late frames, PING, SETTINGS, WINDOW_UPDATE beyond need) in a
            burst.
        glitch_rate: such frames per second after the burst.
        encoder_table: bytes of the table that compresses request fields, whatever more the server would allow.

    Raises:
        ValueError: a value is out of range, or contradicts another.
        TypeError: a value has the wrong type.
    """

    max_streams: int = attrs.field(default=256, validator=whole(1, 1 << 20))
    # Half of what servers usually allow (100 to 256).
    soft_streams: int = attrs.field(default=64, validator=whole(1, 1 << 20))
    stream_window: int = attrs.field(default=1 << 20, validator=whole(65535, (1 << 31) - 1))
    connection_window: int = attrs.field(default=16 << 20, validator=whole(65535, (1 << 31) - 1))
    # Most NATs and load balancers forget a silent connection after one minute or more.
    ping_idle: float | None = attrs.field(default=30.0, validator=seconds())
    ping_interval: float | None = attrs.field(default=30.0, validator=seconds())
    ping_timeout: float = attrs.field(default=5.0, validator=seconds(optional=False))
    # Below what Envoy (500) and nghttp2 (1,000 and 33 a second) take for an attack.
    reset_burst: int | None = attrs.field(default=400, validator=whole(1, optional=True))
    reset_rate: float = attrs.field(default=30.0, validator=rate())
    barred_timeout: float = attrs.field(default=30.0, validator=seconds(optional=False))
    max_header_block: int = attrs.field(default=65536, validator=whole(1024, 1 << 24))
    max_continuations: int = attrs.field(default=16, validator=whole(1, 1024))
    # nghttp2's number.
    max_settings: int = attrs.field(default=32, validator=whole(8, 4096))
    max_empty_data: int = attrs.field(default=100, validator=whole(1, 1 << 20))
    max_unsent_replies: int = attrs.field(default=65536, validator=whole(1024, 1 << 24))
    # nghttp2's numbers.
    glitch_burst: int = attrs.field(default=10_000, validator=whole(1, 1 << 30))
    glitch_rate: float = attrs.field(default=330.0, validator=rate())
    # The protocol's own default, and h2's.
    encoder_table: int = attrs.field(default=4096, validator=whole(0, 65536))

    def __attrs_post_init__(self) -> None:
        """Check the fields against each other."""
        if self.connection_window < self.stream_window:
            raise ValueError(
                f"connection_window must be at least stream_window ({self.stream_window}), not {self.connection_window}"
            )
