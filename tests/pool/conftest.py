"""What several tests of the pool share."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["HTTP/1.1", "HTTP/2"])
def protocol(request: pytest.FixtureRequest) -> str:
    """What the server speaks."""
    return str(request.param)
