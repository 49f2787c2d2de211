"""Penstock with the fast parser, the extra `fast`."""

from __future__ import annotations

from functools import partial

import httptools  # noqa: F401 - without it there is no such engine

from . import penstock_client

LIBRARIES = ("penstock", "httptools")
LOOP = penstock_client.LOOP

open_fetchers = partial(penstock_client.open_fetchers, http1_engine="httptools")
open_client = partial(penstock_client.open_client, http1_engine="httptools")
