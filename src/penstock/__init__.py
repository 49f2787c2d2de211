"""The HTTP connection pool engine for trio."""

from ._client.client import Client as Client
from ._client.event_streams import EventStream as EventStream
from ._client.json_lines import JSONLineStream as JSONLineStream
from ._client.limits import TimeoutArgument as TimeoutArgument
from ._client.reconnect import Reconnect as Reconnect
from ._client.request import RequestOptions as RequestOptions
from ._client.response import Request as Request
from ._client.response import Response as Response
from ._config import PoolConfig as PoolConfig
from ._config import Timeouts as Timeouts
from ._config import Upstream as Upstream
from ._errors import AddressNotAllowed as AddressNotAllowed
from ._errors import CertificateError as CertificateError
from ._errors import CircuitOpen as CircuitOpen
from ._errors import CloseError as CloseError
from ._errors import ConnectError as ConnectError
from ._errors import ConnectTimeout as ConnectTimeout
from ._errors import ContentTypeError as ContentTypeError
from ._errors import DecodingError as DecodingError
from ._errors import HTTPStatusError as HTTPStatusError
from ._errors import InvalidURL as InvalidURL
from ._errors import LocalProtocolError as LocalProtocolError
from ._errors import NameResolutionError as NameResolutionError
from ._errors import NetworkError as NetworkError
from ._errors import PenstockError as PenstockError
from ._errors import PinMismatch as PinMismatch
from ._errors import PoolClosed as PoolClosed
from ._errors import PoolError as PoolError
from ._errors import PoolFull as PoolFull
from ._errors import PoolTimeout as PoolTimeout
from ._errors import ProtocolError as ProtocolError
from ._errors import ProtocolReason as ProtocolReason
from ._errors import ProxyError as ProxyError
from ._errors import ReadError as ReadError
from ._errors import ReadTimeout as ReadTimeout
from ._errors import RemoteProtocolError as RemoteProtocolError
from ._errors import RequestError as RequestError
from ._errors import StreamClosed as StreamClosed
from ._errors import StreamConsumed as StreamConsumed
from ._errors import StreamError as StreamError
from ._errors import TimeoutException as TimeoutException
from ._errors import TLSError as TLSError
from ._errors import TooManyRedirects as TooManyRedirects
from ._errors import TransportError as TransportError
from ._errors import UnsupportedProtocol as UnsupportedProtocol
from ._errors import WriteError as WriteError
from ._errors import WriteTimeout as WriteTimeout
from ._events import CloseReason as CloseReason
from ._events import RejectReason as RejectReason
from ._events import RetryReason as RetryReason
from ._events import RetryRefusal as RetryRefusal
from ._http.headers import Headers as Headers
from ._http.sse import ServerSentEvent as ServerSentEvent
from ._http2_config import HTTP2Config as HTTP2Config
from ._pool.instruments import Instrument as Instrument
from ._pool.lease import Lease as Lease
from ._pool.pool import Pool as Pool
from ._pool.pushing import PushedRequest as PushedRequest
from ._pool.statistics import ConnectionStatistics as ConnectionStatistics
from ._pool.statistics import Counts as Counts
from ._pool.statistics import EndpointStatistics as EndpointStatistics
from ._pool.statistics import Explanation as Explanation
from ._pool.statistics import Statistics as Statistics
from ._proxy_config import Proxy as Proxy
from ._proxy_rules import ProxyRules as ProxyRules
from ._retry_config import RetryPolicy as RetryPolicy
from ._tls_config import TLSConfig as TLSConfig
from ._types import Origin as Origin
from ._version import __version__ as __version__

# Tracebacks, `help` and pickles name what is public by the place where it is to be found.
for _name, _value in tuple(globals().items()):
    if isinstance(_value, type) and not _name.startswith("_"):
        _value.__module__ = __name__
del _name, _value
