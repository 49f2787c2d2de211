"""The public names are a contract: adding one is a decision, losing one is a break."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from types import ModuleType

import pytest

import penstock
from penstock import events

USE = {
    "Client", "EventStream", "Headers", "JSONLineStream", "Lease", "Pool", "PushedRequest", "Request", "Response",
    "ServerSentEvent",
}  # fmt: skip

#: For those who write functions around a client's.
TYPES = {"RequestOptions", "TimeoutArgument"}

SETTINGS = {
    "HTTP2Config", "Origin", "PoolConfig", "Proxy", "ProxyRules", "Reconnect", "RetryPolicy", "TLSConfig", "Timeouts",
    "Upstream",
}  # fmt: skip

OBSERVE = {"ConnectionStatistics", "Counts", "EndpointStatistics", "Explanation", "Instrument", "Statistics"}

REASONS = {"CloseReason", "ProtocolReason", "RejectReason", "RetryReason", "RetryRefusal"}

EVENTS = {
    "CapacityChanged",
    "CloseReason",
    "ConnectionClosed",
    "ConnectionClosing",
    "ConnectionOpened",
    "ConnectionRetired",
    "ConnectionReturned",
    "ConnectionTaken",
    "DialFailed",
    "DialStarted",
    "EndpointRecovered",
    "EndpointUnhealthy",
    "Event",
    "LimitCrossed",
    "RejectReason",
    "RequestRetried",
    "RetryReason",
    "RetryRefusal",
    "RetryRefused",
    "WaiterEnded",
    "WaiterQueued",
}

#: Each error with the one it is a kind of.
ERRORS = {
    "PenstockError": Exception,
    "RequestError": "PenstockError",
    "TransportError": "RequestError",
    "TimeoutException": "TransportError",
    "ConnectTimeout": "TimeoutException",
    "ReadTimeout": "TimeoutException",
    "WriteTimeout": "TimeoutException",
    "PoolTimeout": "TimeoutException",
    "NetworkError": "TransportError",
    "ConnectError": "NetworkError",
    "NameResolutionError": "ConnectError",
    "TLSError": "ConnectError",
    "CertificateError": "TLSError",
    "PinMismatch": "TLSError",
    "AddressNotAllowed": "ConnectError",
    "ReadError": "NetworkError",
    "WriteError": "NetworkError",
    "CloseError": "NetworkError",
    "ProtocolError": "TransportError",
    "LocalProtocolError": "ProtocolError",
    "RemoteProtocolError": "ProtocolError",
    "ContentTypeError": "RemoteProtocolError",
    "ProxyError": "TransportError",
    "UnsupportedProtocol": "TransportError",
    "PoolError": "TransportError",
    "PoolClosed": "PoolError",
    "PoolFull": "PoolError",
    "CircuitOpen": "PoolError",
    "DecodingError": "RequestError",
    "TooManyRedirects": "RequestError",
    "HTTPStatusError": "PenstockError",
    "InvalidURL": "PenstockError",
    "StreamError": "PenstockError",
    "StreamConsumed": "StreamError",
    "StreamClosed": "StreamError",
}

PUBLIC = USE | TYPES | SETTINGS | OBSERVE | REASONS | set(ERRORS)


def names_of(module: ModuleType) -> set[str]:
    return {name for name, value in vars(module).items() if name[0] != "_" and not isinstance(value, ModuleType)}


def test_the_public_names_are_these() -> None:
    assert names_of(penstock) == PUBLIC


def test_the_public_names_of_events_are_these() -> None:
    assert names_of(events) == EVENTS


def test_the_version_is_that_of_the_package() -> None:
    assert penstock.__version__ == version("penstock")


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_stands_where_the_tree_says(name: str) -> None:
    above = ERRORS[name]

    assert getattr(penstock, name).__bases__[0] is (getattr(penstock, above) if isinstance(above, str) else above)


def test_time_outs_are_builtin_time_outs_and_bad_urls_are_bad_values() -> None:
    assert issubclass(penstock.TimeoutException, TimeoutError)
    assert issubclass(penstock.InvalidURL, ValueError)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_thing_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(penstock, name))


@pytest.mark.parametrize("name", sorted(EVENTS - {"Event"}))
def test_an_event_says_what_happened(name: str) -> None:
    assert inspect.getdoc(getattr(events, name))


@pytest.mark.parametrize("name", ["Client", "EventStream", "JSONLineStream", "Pool", "Response", "Lease", "Headers"])
def test_a_public_method_says_what_it_does(name: str) -> None:
    kind = getattr(penstock, name)
    silent = [
        member
        for member, value in vars(kind).items()
        if not member.startswith("_")
        and (callable(value) or isinstance(value, property))
        and not inspect.getdoc(getattr(kind, member))
    ]

    assert silent == []
