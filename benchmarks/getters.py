"""The clients that somebody would choose between, each as one function that gets any URL.

The adapters in `competitors` make one request to one server in the way that suits it best. Here the settings differ,
and the servers: so a getter is opened with settings that every library has in some form.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

Get = Callable[[str], Awaitable[bytes]]


class Settings(NamedTuple):
    """What a scenario asks of a client.

    Attributes:
        limit: connections in total.
        per_host: connections to one origin, None for what the library does by itself.
        min_idle: connections to keep open; only Penstock can.
        authority: path of the certificate to trust.
        keep_alive: whether a connection may carry a second request.
        resumption: whether TLS sessions may be resumed, where that can be chosen.
        patience: seconds that a response may take.
    """

    limit: int = 100
    per_host: int | None = None
    min_idle: int = 0
    authority: str | None = None
    keep_alive: bool = True
    resumption: bool = True
    patience: float = 30.0


def open_getter(competitor: ModuleType, settings: Settings) -> AbstractAsyncContextManager[Get]:
    """The getter of a competitor's library."""
    return GETTERS[competitor.LIBRARIES[0]](settings)


@asynccontextmanager
async def _penstock(settings: Settings) -> AsyncIterator[Get]:
    import penstock

    config = penstock.PoolConfig(
        max_connections=settings.limit,
        max_connections_per_host=settings.per_host or min(settings.limit, 25),
        min_idle=settings.min_idle,
        keep_alive=settings.keep_alive,
        read_timeout=settings.patience,
        tls=penstock.TLSConfig(trust=settings.authority or "certifi", session_resumption=settings.resumption),
    )
    async with penstock.Pool(config) as pool, penstock.Client(pool=pool) as client:

        async def get(url: str) -> bytes:
            return (await client.get(url)).content

        yield get


@asynccontextmanager
async def _aiohttp(settings: Settings) -> AsyncIterator[Get]:
    import aiohttp

    connector = aiohttp.TCPConnector(
        limit=settings.limit,
        limit_per_host=settings.per_host or 0,
        force_close=not settings.keep_alive,
        ssl=_context(settings.authority) or True,
    )
    patience = aiohttp.ClientTimeout(total=None, sock_read=settings.patience)
    async with aiohttp.ClientSession(connector=connector, timeout=patience) as session:

        async def get(url: str) -> bytes:
            async with session.get(url) as response:
                body: bytes = await response.read()
                return body

        yield get


@asynccontextmanager
async def _httpx2(settings: Settings) -> AsyncIterator[Get]:
    import httpx2

    limits = httpx2.Limits(
        max_connections=settings.limit, max_keepalive_connections=settings.limit if settings.keep_alive else 0
    )
    async with httpx2.AsyncClient(
        limits=limits,
        verify=_context(settings.authority) or True,
        headers={} if settings.keep_alive else {"connection": "close"},
        timeout=httpx2.Timeout(30.0, read=settings.patience),
        trust_env=False,
    ) as client:

        async def get(url: str) -> bytes:
            body: bytes = (await client.get(url)).content
            return body

        yield get


@asynccontextmanager
async def _pyreqwest(settings: Settings) -> AsyncIterator[Get]:
    from pyreqwest.client import ClientBuilder

    builder = ClientBuilder().no_proxy().read_timeout(timedelta(seconds=settings.patience))
    builder = builder.max_connections(settings.limit)
    builder = builder.pool_max_idle_per_host(settings.limit if settings.keep_alive else 0)
    if settings.authority is not None:
        builder = builder.add_root_certificate_pem(Path(settings.authority).read_bytes())  # noqa: ASYNC240
    async with builder.build() as client:

        async def get(url: str) -> bytes:
            return bytes(await (await client.get(url).build().send()).bytes())

        yield get


GETTERS: dict[str, Callable[[Settings], AbstractAsyncContextManager[Get]]] = {
    "penstock": _penstock,
    "aiohttp": _aiohttp,
    "httpx2": _httpx2,
    "pyreqwest": _pyreqwest,
}


def _context(authority: str | None) -> ssl.SSLContext | None:
    return None if authority is None else ssl.create_default_context(cafile=authority)
