"""Which engine a pool reads HTTP/1.1 with, and what happens where the fast one is not there."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from penstock import Client, Pool, PoolConfig
from penstock._http.h1_lines import make_engine
from penstock.testing import FakeNetwork, serve_ok

if TYPE_CHECKING:
    from penstock._types import HTTP1EngineChoice

NEEDS_HTTPTOOLS = pytest.mark.skipif(find_spec("httptools") is None, reason="httptools is not installed")


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next choice import its engine anew."""
    monkeypatch.delitem(sys.modules, "penstock._http.h1_httptools", raising=False)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("h11", "h11"),
        pytest.param("httptools", "httptools", marks=NEEDS_HTTPTOOLS),
        pytest.param("auto", "httptools", marks=NEEDS_HTTPTOOLS),
    ],
)
async def test_a_pool_tells_what_reads_its_answers(choice: HTTP1EngineChoice, expected: str) -> None:
    async with FakeNetwork() as network:
        network.listen("api.test", 80, serve_ok())
        pool = Pool(PoolConfig(http1_engine=choice), network=network)
        assert pool.http1_engine is None
        async with pool, Client(pool) as client:
            assert pool.http1_engine == expected
            assert (await client.get("http://api.test")).text == "ok"


@pytest.mark.usefixtures("forget")
def test_auto_is_h11_where_httptools_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httptools", None)

    assert make_engine("auto").name == "h11"
    with pytest.raises(ImportError):
        make_engine("httptools")


class Lenient:
    """Takes anything."""

    def __init__(self, head: Any) -> None:
        self.head = head

    def feed_data(self, data: bytes) -> None:
        self.head.on_header(b"a", b"b")

    def get_status_code(self) -> int:
        return 200


class Strict(Lenient):
    """Takes nothing."""

    def feed_data(self, data: bytes) -> None:
        raise sys.modules["httptools"].HttpParserError("Invalid character in Content-Length")


@NEEDS_HTTPTOOLS
@pytest.mark.usefixtures("forget")
@pytest.mark.parametrize(("parser", "message"), [(Lenient, r"before 0\.6\.3"), (Strict, r"before 0\.8")])
def test_an_httptools_that_judges_otherwise_is_not_used(
    parser: type[Lenient], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("httptools.HttpResponseParser", parser)

    assert make_engine("auto").name == "h11"
    with pytest.raises(ImportError, match=r"http1_engine='httptools' needs httptools 0\.8 or later") as caught:
        make_engine("httptools")
    assert re.search(message, str(caught.value.__cause__))
