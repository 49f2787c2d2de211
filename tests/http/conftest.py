"""What tests of HTTP/1.1 share: every engine reads the same answers."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from penstock._http import h1
from penstock._http.h1_lines import make_engine

#: Skipped, not failed, where the extra is not installed.
NEEDS_HTTPTOOLS = pytest.mark.skipif(find_spec("httptools") is None, reason="httptools is not installed")


@pytest.fixture(params=["h11", pytest.param("httptools", marks=NEEDS_HTTPTOOLS)])
def each_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test once with each engine, on connections that are given none."""
    monkeypatch.setattr(h1, "make_engine", lambda: make_engine(request.param))
    return request.param
