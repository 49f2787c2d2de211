"""What the tests of the transport share."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from tests.support.library_clients import LIBRARIES


@pytest.fixture(params=LIBRARIES)
def lib(request: pytest.FixtureRequest) -> Any:
    """Each of the libraries in turn."""
    return importlib.import_module(request.param)
