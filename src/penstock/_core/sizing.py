"""How many dials now.

    need = waiters without a dial, by what one connection has room for, plus what the floor or a prewarm lacks

capped by the endpoint's limit, the total limit, the dials that may run at once, and the health of the endpoint. A
waiter comes before the floor, and the floor never closes anybody's idle connection.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .endpoint import Endpoint


class Hindrance(Enum):
    """Why no dial may start at this moment."""

    ENDPOINT_LIMIT = "max_connections_per_host is reached"
    DIAL_LIMIT = "max_dials_per_host dials are running"
    PAUSED = "the endpoint failed and is left alone for a while"
    TOTAL_LIMIT = "max_connections is reached"
    BARRED = "the server accepted a connection and allows no request on it"
    SUSPENDED = "the pool is suspended"


def hindrance(endpoint: Endpoint, now: float, *, max_dials: int, total_free: int) -> Hindrance | None:
    """What forbids one more dial to the endpoint; None if nothing does. The total limit is named last."""
    if endpoint.slots >= endpoint.max_connections:
        return Hindrance.ENDPOINT_LIMIT
    dials = len(endpoint.dials)
    if dials >= max_dials:
        return Hindrance.DIAL_LIMIT
    if not endpoint.health.allows_dial(now, dials):
        return Hindrance.PAUSED
    return Hindrance.TOTAL_LIMIT if total_free <= 0 else None


def floor_deficit(endpoint: Endpoint, now: float, idle_timeout: float) -> int:
    """Connections missing from the floor, or from what a prewarm asked for.

    Dials in flight count as there; so do connections that are being closed, until their slots are free.
    """
    wanted = max(endpoint.floor(now, idle_timeout), endpoint.target)
    return wanted - endpoint.live - len(endpoint.dials) - endpoint.closing if wanted else 0
