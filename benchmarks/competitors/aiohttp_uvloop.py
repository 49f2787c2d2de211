"""aiohttp, on the faster event loop that many run it on."""

from __future__ import annotations

import uvloop  # noqa: F401 - the process runs on it

from .aiohttp_client import open_client, open_fetchers

__all__ = ["LIBRARIES", "LOOP", "open_client", "open_fetchers"]

LIBRARIES = ("aiohttp", "uvloop")
LOOP = "uvloop"
