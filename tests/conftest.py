"""Fixtures and profiles that every test may use; helpers live in `tests/support`."""

from __future__ import annotations

import os

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

# What a developer's shell says about proxies and certificates is not for clients that tests make.
for _name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
    os.environ.pop(_name, None)
    os.environ.pop(_name.upper(), None)
for _name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE", *(n for n in os.environ if n.startswith("PENSTOCK_"))):
    os.environ.pop(_name, None)
