"""What every error knows and says, and that it survives being copied."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from penstock import _errors
from penstock._errors import (
    CertificateError,
    ContentTypeError,
    HTTPStatusError,
    LocalProtocolError,
    PenstockError,
    PinMismatch,
    PoolTimeout,
    ProtocolReason,
    ReadError,
    RemoteProtocolError,
    RequestError,
)
from penstock._types import Origin

ORIGIN = Origin("https", "a.test", 443)

MORE: dict[type[PenstockError], dict[str, Any]] = {
    PoolTimeout: {"ledger": {"total": 3}, "last_dial_error": ReadError("refused")},
    CertificateError: {"verify_code": 18, "verify_message": "self-signed"},
    PinMismatch: {"presented": ["sha256/a"], "configured": ["sha256/b"]},
    RemoteProtocolError: {"reason": ProtocolReason.FRAMING, "peer_said": b"ni\xff"},
    ContentTypeError: {"content_type": "text/html", "response": "a response"},
    HTTPStatusError: {"response": "a response"},
}


def kinds(root: type[PenstockError] = PenstockError) -> Iterator[type[PenstockError]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


KINDS = list(kinds())


def make(kind: type[PenstockError]) -> PenstockError:
    error = kind("what happened", **MORE.get(kind, {}))
    if isinstance(error, RequestError):
        error.annotate(origin=ORIGIN, phase="read", attempt=2, request_sent="partly")
    return error


def facts(error: BaseException) -> dict[str, Any]:
    return {name: repr(value) for name, value in vars(error).items()}


def test_every_error_of_the_module_is_tested() -> None:
    assert set(KINDS) == {value for value in vars(_errors).values() if isinstance(value, type) and value in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_copy_is_the_same_error(kind: type[PenstockError], copied: Callable[[PenstockError], PenstockError]) -> None:
    error = make(kind)
    error.add_note("seen in the test")
    other = copied(error)

    assert type(other) is kind
    assert other is not error
    assert (str(other), repr(other), other.args) == (str(error), repr(error), error.args)
    assert facts(other) == facts(error)
    assert other.__notes__ == ["seen in the test"]


UNSENT = {
    "ConnectTimeout", "PoolTimeout", "ConnectError", "NameResolutionError", "TLSError", "CertificateError",
    "PinMismatch", "AddressNotAllowed", "LocalProtocolError", "UnsupportedProtocol", "PoolError", "PoolClosed",
    "PoolFull", "CircuitOpen", "InvalidURL", "ProxyError",
}  # fmt: skip
ANSWERED = {"ContentTypeError", "RemoteProtocolError", "DecodingError", "TooManyRedirects"}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if hasattr(kind, "request_sent")])
def test_an_error_claims_no_more_about_the_request_than_its_kind_proves(kind: type[RequestError]) -> None:
    name = kind.__name__
    expected = "no" if name in UNSENT else "fully" if name in ANSWERED else "unknown"

    assert kind("what happened", **MORE.get(kind, {})).request_sent == expected


def test_every_error_about_a_request_says_how_much_was_sent() -> None:
    assert all(hasattr(kind, "request_sent") for kind in KINDS if issubclass(kind, RequestError))


def test_what_is_known_by_whoever_saw_it_holds() -> None:
    assert ReadError("x", request_sent="partly").request_sent == "partly"
    assert LocalProtocolError("x").annotate(request_sent="partly").request_sent == "partly"
    assert LocalProtocolError("x").annotate(request_sent="unknown").request_sent == "no"


def test_what_the_peer_said_is_shown_and_is_not_the_message() -> None:
    error = RemoteProtocolError("it broke", reason=ProtocolReason.FRAMING, peer_said=b"ni\xff", origin=ORIGIN)

    assert error.message == "it broke"
    assert error.args == ("it broke",)
    assert str(error) == f"it broke; the peer said: {error.peer_said} [https://a.test]"
    assert str(RemoteProtocolError("it broke", reason=ProtocolReason.LIMIT)) == "it broke"
