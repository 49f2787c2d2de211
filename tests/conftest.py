"""Fixtures and profiles that every test may use; helpers live in `tests/support`."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# The usual run is short and finds the same things each time; `model` (`nox -s model`) looks a hundred times as long.
settings.register_profile(
    "default",
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "model", parent=settings.get_profile("default"), max_examples=10_000, derandomize=False, print_blob=True
)
settings.load_profile("default")
