"""What happened, as records: the only way anything observable leaves the core.

Events are plain slotted tuples, built only while somebody listens. Times are on trio's clock, in seconds.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from ._types import Origin


class CloseReason(Enum):
    """Why a connection was closed; the first reason seen is the one reported."""

    IDLE_EXPIRED = "idle_expired"
    KEEPALIVE_HINT = "keepalive_hint"
    MAX_AGE = "max_age"
    MAX_REQUESTS = "max_requests"
    PEER_CLOSED = "peer_closed"
    UNSOLICITED_DATA = "unsolicited_data"
    PROTOCOL_ERROR = "protocol_error"
    IO_ERROR = "io_error"
    TIMED_OUT = "timed_out"
    PROBE_FAILED = "probe_failed"
    UNHEALTHY_ENDPOINT = "unhealthy_endpoint"
    SUSPECT = "suspect"
    GENERATION = "generation"
    SURPLUS = "surplus"
    STALLED_GROUP = "stalled_group"
    CANCELLED_MID_EXCHANGE = "cancelled_mid_exchange"
    EARLY_BODY_CLOSE = "early_body_close"
    CONNECTION_CLOSE_HEADER = "connection_close_header"
    KEEP_ALIVE_OFF = "keep_alive_off"
    LEAKED = "leaked"
    UPGRADED = "upgraded"
    DISCARDED = "discarded"
    DRAINING = "draining"
    POOL_CLOSED = "pool_closed"
    DIAL_FAILED = "dial_failed"
    RESOURCE_EXHAUSTED = "resource_exhausted"
    GOAWAY = "goaway"
    PING_TIMEOUT = "ping_timeout"
    STALLED = "stalled"
    TOO_MANY_RESETS = "too_many_resets"
    REFUSED_STREAMS = "refused_streams"
    BARRED = "barred"
    HTTP1_REQUIRED = "http1_required"
    MISDIRECTED = "misdirected"


class RejectReason(Enum):
    """Why a waiter got no connection."""

    POOL_CLOSED = "pool_closed"
    POOL_FULL = "pool_full"
    POOL_TIMEOUT = "pool_timeout"
    DIAL_FAILED = "dial_failed"
    CANCELLED = "cancelled"


class RetryReason(Enum):
    """Why a request was sent again. The first three are replays that are always made; the others are a policy's."""

    STALE_CONNECTION = "stale_connection"
    REFUSED = "refused"
    MISDIRECTED = "misdirected"
    STATUS = "status"
    SERVER_ASKED = "server_asked"
    CONNECT_FAILED = "connect_failed"
    CONNECTION_LOST = "connection_lost"
    TIMED_OUT = "timed_out"


class RetryRefusal(Enum):
    """Why a request was not sent again although its policy speaks of what it ended with."""

    ATTEMPTS_USED = "attempts_used"
    BUDGET_SPENT = "budget_spent"
    BODY_CONSUMED = "body_consumed"
    NOT_IDEMPOTENT = "not_idempotent"
    METHOD = "method"
    SERVER_FORBADE = "server_forbade"
    RETRY_AFTER_TOO_LONG = "retry_after_too_long"
    NO_TIME_LEFT = "no_time_left"


class DialStarted(NamedTuple):
    """A dial was started for a waiter, for the floor or for a prewarm."""

    at: float
    origin: Origin
    connection: int


class DialFailed(NamedTuple):
    """A dial ended without a connection."""

    at: float
    origin: Origin
    connection: int
    error: BaseException


class ConnectionOpened(NamedTuple):
    """A dial ended with a usable connection."""

    at: float
    origin: Origin
    connection: int


class ConnectionTaken(NamedTuple):
    """A connection was handed to an acquirer; `waited` is its time in the queue in seconds."""

    at: float
    origin: Origin
    connection: int
    waited: float


class ConnectionReturned(NamedTuple):
    """An exchange gave its connection back in a reusable state."""

    at: float
    origin: Origin
    connection: int


class CapacityChanged(NamedTuple):
    """The server allows another number of exchanges at once; maybe fewer than the connection carries, maybe none."""

    at: float
    origin: Origin
    connection: int
    capacity: int


class ConnectionRetired(NamedTuple):
    """A connection takes no further exchange; it is closed when those that it carries have ended."""

    at: float
    origin: Origin
    connection: int
    reason: CloseReason


class ConnectionClosing(NamedTuple):
    """A connection is being closed; it holds its slot until `ConnectionClosed`."""

    at: float
    origin: Origin
    connection: int
    reason: CloseReason


class ConnectionClosed(NamedTuple):
    """The socket is closed and the slot is free."""

    at: float
    origin: Origin
    connection: int
    reason: CloseReason


class LimitCrossed(NamedTuple):
    """A server crossed a limit, named as its setting is, and lost a stream or the connection by it."""

    at: float
    origin: Origin
    connection: int
    limit: str


class WaiterQueued(NamedTuple):
    """An acquirer found no connection and waits."""

    at: float
    origin: Origin
    waiter: int


class WaiterEnded(NamedTuple):
    """A waiter left the queue without a connection."""

    at: float
    origin: Origin
    waiter: int
    reason: RejectReason


class EndpointUnhealthy(NamedTuple):
    """An endpoint failed `unhealthy_threshold` times in a row; no dial before `until`."""

    at: float
    origin: Origin
    failures: int
    until: float


class EndpointRecovered(NamedTuple):
    """An endpoint that was unhealthy answered again."""

    at: float
    origin: Origin


class RequestRetried(NamedTuple):
    """A request is sent again.

    Attributes:
        at: when its last try had ended.
        origin: which it asked.
        attempt: the number of that try, from 1.
        reason: why it is sent again.
        status: of the answer to that try, None if there was none.
        error: what the try ended with instead, in words; "" if it was answered.
        delay: seconds until it is sent again.
    """

    at: float
    origin: Origin
    attempt: int
    reason: RetryReason
    status: int | None
    error: str
    delay: float


class RetryRefused(NamedTuple):
    """A request ends with what its last try, number `attempt`, brought, although its policy speaks of that."""

    at: float
    origin: Origin
    attempt: int
    refusal: RetryRefusal


Event = (
    DialStarted
    | DialFailed
    | ConnectionOpened
    | ConnectionTaken
    | ConnectionReturned
    | CapacityChanged
    | ConnectionRetired
    | LimitCrossed
    | ConnectionClosing
    | ConnectionClosed
    | WaiterQueued
    | WaiterEnded
    | EndpointUnhealthy
    | EndpointRecovered
    | RequestRetried
    | RetryRefused
)
