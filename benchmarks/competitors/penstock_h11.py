"""Penstock with the parser that is always there."""

from __future__ import annotations

from functools import partial

from . import penstock_client

LIBRARIES = ("penstock", "h11")
LOOP = penstock_client.LOOP

open_fetchers = partial(penstock_client.open_fetchers, http1_engine="h11")
open_client = partial(penstock_client.open_client, http1_engine="h11")
