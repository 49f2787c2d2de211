"""What a user may set for the demo."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Settings:
    """The demo's two runs in numbers.

    Attributes:
        round_trip: the emulated round trip of the unsaturated run, in seconds.
        seconds: how long each of the four measurements lasts.
        requests: ends a measurement earlier; None for no limit.
        unsaturated_concurrency: requests in flight without saturation: few enough that handshakes never queue for
            the processor.
        saturated_concurrency: requests in flight that keep the client's processor core busy all the time.
        port: where the server listens; 0 for any free port.
    """

    round_trip: float = 0.025
    seconds: float = 4.5
    requests: int | None = None
    unsaturated_concurrency: int = 8
    saturated_concurrency: int = 16
    port: int = 0
