"""What the pool tells its instruments: one record per transition, in order."""

from ._events import CapacityChanged as CapacityChanged
from ._events import CloseReason as CloseReason
from ._events import ConnectionClosed as ConnectionClosed
from ._events import ConnectionClosing as ConnectionClosing
from ._events import ConnectionOpened as ConnectionOpened
from ._events import ConnectionRetired as ConnectionRetired
from ._events import ConnectionReturned as ConnectionReturned
from ._events import ConnectionTaken as ConnectionTaken
from ._events import DialFailed as DialFailed
from ._events import DialStarted as DialStarted
from ._events import EndpointRecovered as EndpointRecovered
from ._events import EndpointUnhealthy as EndpointUnhealthy
from ._events import Event as Event
from ._events import LimitCrossed as LimitCrossed
from ._events import RejectReason as RejectReason
from ._events import RequestRetried as RequestRetried
from ._events import RetryReason as RetryReason
from ._events import RetryRefusal as RetryRefusal
from ._events import RetryRefused as RetryRefused
from ._events import WaiterEnded as WaiterEnded
from ._events import WaiterQueued as WaiterQueued
