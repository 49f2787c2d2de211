"""Who competes: one small module each, with the names of its libraries, its loop, and what it can do.

`LIBRARIES` are the packages whose versions are reported; `LOOP` is "trio", "asyncio", "uvloop" or "threads".

`open_fetchers(server, ask, count)` is an async context manager that yields `count` functions; each call of one makes
the small request `ask` over a kept connection and returns the body. They are coroutine functions, or plain ones
where the loop is "threads".

`open_client(server)`, where the library does more, is an async context manager that yields an object with some of these
coroutine methods:

download(path)
    reads the answer piece by piece and returns how many bytes it had;

upload(path, body)
    sends `body`, bytes or an async iterator of bytes, with PUT and returns the body of the answer;

events(path)
    reads server-sent events to their end and returns how many there were.

A module that cannot run here raises `ModuleNotFoundError` when it is imported.
"""

from __future__ import annotations

from typing import NamedTuple


class Competitor(NamedTuple):
    """One row of the table."""

    name: str
    module: str
    note: str


PENSTOCK = Competitor("penstock", "penstock_client", "penstock.Client on trio")
PENSTOCK_HTTPTOOLS = Competitor(
    "penstock, httptools", "penstock_httptools", 'penstock.Client on trio, http1_engine="httptools"'
)
PENSTOCK_H11 = Competitor("penstock, h11", "penstock_h11", 'penstock.Client on trio, http1_engine="h11"')
BARE_SOCKET = Competitor("bare socket", "bare_socket", "canned request, the answer read by content-length; on trio")
BARE_HTTPTOOLS = Competitor(
    "bare httptools", "bare_httptools", "httptools on non-blocking sockets and trio; no pool, no deadline, no checks"
)
BARE_H11 = Competitor("bare h11", "bare_h11", "h11.Connection on a trio socket; no pool, no deadline, no checks")
BARE_H2 = Competitor(
    "bare h2", "bare_h2", "h2.H2Connection on non-blocking sockets and trio; no pool, no deadline, no checks"
)
PYREQWEST = Competitor("pyreqwest", "pyreqwest_client", "pyreqwest.Client on asyncio; reqwest, written in Rust")
AIOHTTP_UVLOOP = Competitor("aiohttp, uvloop", "aiohttp_uvloop", "aiohttp.ClientSession on uvloop")
AIOHTTP = Competitor("aiohttp", "aiohttp_client", "aiohttp.ClientSession on asyncio")
URLLIB3 = Competitor("urllib3, threads", "urllib3_threads", "urllib3.HTTPConnectionPool, a thread for each in flight")
HTTPCORE2 = Competitor("httpcore2", "httpcore2_client", "httpcore2.AsyncConnectionPool on trio")
HTTPX2 = Competitor("httpx2", "httpx2_client", "httpx2.AsyncClient on trio")
HTTPX2_OVER_PENSTOCK = Competitor(
    "httpx2 over penstock", "httpx2_over_penstock", "httpx2.AsyncClient on trio with penstock.httpx.PenstockTransport"
)
HTTPX = Competitor("httpx", "httpx_client", "httpx.AsyncClient on trio")

#: The clients that somebody would choose between, over HTTP/1.1.
CLIENTS = (
    PENSTOCK_HTTPTOOLS,
    PENSTOCK_H11,
    PYREQWEST,
    AIOHTTP_UVLOOP,
    AIOHTTP,
    URLLIB3,
    HTTPCORE2,
    HTTPX2,
    HTTPX,
)

#: These, and what the least that could be done by hand costs.
HTTP1 = (BARE_SOCKET, BARE_HTTPTOOLS, BARE_H11, *CLIENTS)

#: The clients of HTTP/2.
HTTP2_CLIENTS = (PENSTOCK, PYREQWEST, HTTPX2, HTTPX)

#: These, and the loop by hand.
HTTP2 = (BARE_H2, *HTTP2_CLIENTS)
