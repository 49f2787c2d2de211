"""Who competes. Each module has `LIBRARY`, `LOOP` and `open_fetchers`.

`open_fetchers(port, count)` is an async context manager that yields `count` functions; each call of one makes one
GET request over a kept connection and returns the body.
"""

from __future__ import annotations

from typing import NamedTuple


class Competitor(NamedTuple):
    """One row of the table."""

    name: str
    module: str
    note: str


COMPETITORS = (
    Competitor("penstock", "penstock_client", "penstock.Client.get"),
    Competitor("bare socket", "bare_socket", "canned request on a trio socket, the answer read by content-length"),
    Competitor("bare h11", "bare_h11", "h11.Connection on a trio socket; no pool, no deadline, no checks"),
    Competitor("aiohttp", "aiohttp_client", "aiohttp.ClientSession.get on asyncio"),
    Competitor("httpx2", "httpx2_client", "httpx2.AsyncClient.get on trio"),
    Competitor("httpx", "httpx_client", "httpx.AsyncClient.get on trio"),
)
