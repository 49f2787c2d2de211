"""Who competes. Each module has `LIBRARY`, `LOOP` and `open_fetchers`; clients of HTTP/2 have `open_client` as well.

`open_fetchers(server, count)` is an async context manager that yields `count` functions; each call of one makes one
GET request over a kept connection and returns the body.

`open_client(server)` is an async context manager that yields an object with three coroutine methods:

download(path)
    reads the answer piece by piece and returns how many bytes it had;

upload(path, body)
    sends `body` with PUT and returns the body of the answer;

events(path)
    reads server-sent events to their end and returns how many there were.
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

HTTP2_COMPETITORS = (
    Competitor("penstock", "penstock_http2", "penstock.Client"),
    Competitor(
        "bare h2", "bare_h2", "h2.H2Connection on non-blocking sockets and trio; no pool, no deadline, no checks"
    ),
    Competitor("httpx2", "httpx2_http2", "httpx2.AsyncClient on trio"),
)

#: Those that do more than GET.
HTTP2_CLIENTS = tuple(competitor for competitor in HTTP2_COMPETITORS if competitor.name != "bare h2")
