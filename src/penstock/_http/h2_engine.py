"""h2, set up as a client whose frames pass the gate first, and with what it lets a server do to it taken away."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import DenialOfServiceError, H2Error
from h2.settings import SettingCodes, Settings

from .._errors import ProtocolReason
from .h2_encoder import CappedEncoder
from .h2_frames import LARGEST_WINDOW, Code, ConnectionFault, Frame, Kind, code_name

if TYPE_CHECKING:
    from h2.events import Event

    from .._http2_config import HTTP2Config

_SETTING: Final = Struct(">HL")
_KNOWN_SETTINGS: Final = frozenset(map(int, SettingCodes))


class Engine(H2Connection):
    """The connection as h2 keeps it. Made with its preface waiting to be sent.

    Args:
        config: windows and limits.
        max_head_size: what the server is asked to keep its field lists within.
    """

    #: Frames on streams that have ended never reach it, so it need not remember how they ended.
    MAX_CLOSED_STREAMS = 0

    def __init__(self, config: HTTP2Config, *, max_head_size: int) -> None:
        # Fields are checked before they get here, in both directions.
        super().__init__(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
            )
        )
        self.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: config.stream_window,
                SettingCodes.MAX_HEADER_LIST_SIZE: max_head_size,
            },
        )
        self.encoder = CappedEncoder(config.encoder_table)
        # The gate bounds frames and joins header blocks; a whole block may be longer than a frame.
        self.max_inbound_frame_size = (1 << 24) - 1
        self.initiate_connection()

    @property
    def open_outbound_streams(self) -> int:
        """How many streams are open; h2 would look at each of them for every request."""
        return len(self.streams)

    def forget(self, stream: int) -> None:
        """The stream has ended; nothing on it reaches the engine any more."""
        self.streams.pop(stream, None)

    @property
    def allowed_streams(self) -> int | None:
        """How many streams the server allows at once; None if it has not said."""
        return self.remote_settings.get(SettingCodes.MAX_CONCURRENT_STREAMS)

    def hear(self, frame: Frame) -> list[Event]:
        """Take in one frame.

        Raises:
            ConnectionFault: it breaks the protocol.
        """
        if frame.kind == Kind.SETTINGS:
            frame = frame._replace(payload=_without_unknown(frame.payload))
        elif frame.kind == Kind.WINDOW_UPDATE:
            # The first bit is reserved, and ignored (RFC 9113 §6.9); h2 would not.
            increment = int.from_bytes(frame.payload, "big") & LARGEST_WINDOW
            frame = frame._replace(payload=increment.to_bytes(4, "big"))
        try:
            return self.receive_data(frame.encode())
        except DenialOfServiceError as error:
            raise ConnectionFault(int(error.error_code), ProtocolReason.LIMIT, str(error)) from error
        except H2Error as error:
            code = int(getattr(error, "error_code", Code.PROTOCOL_ERROR))
            raise ConnectionFault(code, ProtocolReason.FRAMING, str(error) or code_name(code)) from error
        except Exception as error:
            # Whatever a server makes h2 stumble over costs that server's connection, and not the pool.
            raise ConnectionFault(Code.INTERNAL_ERROR, ProtocolReason.FRAMING, f"h2 failed: {error!r}") from error


def _without_unknown(settings: bytes) -> bytes:
    """The entries of a SETTINGS frame that have a meaning (RFC 9113 §6.5.2); h2 would keep the others for good."""
    return b"".join(_SETTING.pack(*entry) for entry in _SETTING.iter_unpack(settings) if entry[0] in _KNOWN_SETTINGS)
