"""h2 for both ends of a test, with what it says of GOAWAY corrected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h2.connection
import h2.events

if TYPE_CHECKING:
    from hyperframe.frame import Frame, GoAwayFrame


class Engine(h2.connection.H2Connection):
    """An h2 connection that goes on with its streams after the peer's GOAWAY, as RFC 9113 §6.8 has it."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[h2.events.Event]]:
        event = h2.events.ConnectionTerminated()
        event.error_code, event.last_stream_id = frame.error_code, frame.last_stream_id
        event.additional_data = frame.additional_data or None
        return [], [event]
