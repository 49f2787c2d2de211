"""From a request of httpx and its kin to an exchange of the pool, and back."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from .. import Lease, Origin, PenstockError, Pool, RetryPolicy, Timeouts, UnsupportedProtocol
from .._place import check_affinity, check_place
from .._retry_config import check_retry
from .._url import to_origin
from ._library import find_library
from ._trace import Trace

if TYPE_CHECKING:
    from types import TracebackType

    from ._content import RequestStream
    from ._library import Library

    # The clients declare what a transport is by classes of their own: to a type checker it is one of each.
    _OneOfTheirs = Any
else:
    _OneOfTheirs = object

#: What the extension "penstock" of a request may say.
_PLACE = ("priority", "tenant", "affinity")

#: What the extension "timeout" of a request says.
_LIMITS = ("connect", "read", "write", "pool")

#: Seconds. Their 0 means: unless it is there at once. Ours must be more than 0, and this passes as soon as one waits.
_AT_ONCE = 1e-9


class PenstockTransport(_OneOfTheirs):  # type: ignore[misc]
    """A transport for the async clients of httpx, httpx2 and httpxyz: `AsyncClient(transport=PenstockTransport(pool))`.

    It has no state of its own, so one may serve any number of clients at once. Limits, TLS, pins, protocols and proxies
    are those of the pool; a client with a transport ignores its own `verify`, `cert`, `http2` and `limits`.

    Never give such a client `proxy` or `mounts`: for these the library makes transports of its own, which take requests
    away from this one, with all that the pool does for them. `PoolConfig(proxy=…)` is the way.

    Every error of Penstock is raised as the calling library's error of the same name, with ours as its `__cause__`.
    A stream that is dropped without being closed warns with a `ResourceWarning` that names its request, and gives its
    connection back.

    Args:
        pool: open while requests are made.
        priority: −100 to 100, lower is served first; for requests that do not say otherwise.
        tenant: whose turn requests use up that do not say otherwise.
        affinity: requests with one key go to one endpoint of their origin. As every origin has one, they do anyway.
        retry: when requests are tried again, beside the replays that are always safe. None, whatever the pool's policy
            is: SDKs try again by themselves, and two loops multiply.
        close_pool: whether closing the transport, as closing its client does, closes the pool.

    Raises:
        ValueError: an argument is out of range.
        TypeError: an argument has the wrong type.
    """

    __slots__ = ("_close_pool", "_known_limits", "_place", "_pool", "_retry")

    def __init__(
        self,
        pool: Pool,
        *,
        priority: int = 0,
        tenant: str | None = None,
        affinity: str | None = None,
        retry: RetryPolicy | None = None,
        close_pool: bool = False,
    ) -> None:
        if not isinstance(pool, Pool):
            raise TypeError(f"pool must be a Pool, not a {type(pool).__name__}")
        check_place(priority, tenant)
        check_affinity(affinity)
        if not isinstance(close_pool, bool):
            raise TypeError(f"close_pool must be True or False, not {close_pool!r}")
        self._pool = pool
        self._place: dict[str, Any] = {"priority": priority, "tenant": tenant, "affinity": affinity}
        self._retry = check_retry(retry)
        self._close_pool = close_pool
        self._known_limits: dict[tuple[float | None, ...], Timeouts] = {}

    def __repr__(self) -> str:
        return f"<PenstockTransport over {self._pool!r}>"

    async def __aenter__(self) -> Self:
        """What an `AsyncClient` does with its transport; nothing is opened here."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self.aclose()  # noqa: ASYNC102 - it closes everything before it waits

    async def aclose(self) -> None:
        """Do nothing, or close the pool if that was wanted: other clients may be using it."""
        if self._close_pool:
            await self._pool.aclose()

    async def handle_async_request(self, request: Any) -> Any:
        """Have a request answered; returns a response of the library that made the request.

        Cancelling it leaves nothing behind.

        Raises:
            RequestError: the calling library's; see the class.
            ValueError: a timeout, or what the extension "penstock" says, is out of range.
            TypeError: the request is of no library that is served, or an extension has the wrong type.
            Exception: whatever the request's own body raised, as itself.
        """
        library = find_library(type(request))
        callback = request.extensions.get("trace")
        if callback is not None:
            return await self._answer_traced(request, library, Trace(callback))
        lease = await self._send(request, library)
        return _respond(lease, library, library.stream(lease, lease.take_whole(), request))

    async def _answer_traced(self, request: Any, library: Library, trace: Trace) -> Any:
        await trace("exchange.started", request=request)
        try:
            lease = await self._send(request, library)
        except Exception as error:
            await trace("exchange.failed", exception=error)  # noqa: ASYNC120 - a cancellation is worth more
            raise
        try:
            await trace("exchange.complete", return_value=None)
            head = lease.head
            assert head is not None
            trace.protocol = "http2" if head.http_version == "HTTP/2" else "http11"
            told: tuple[object, ...] = (head.status, head.headers)
            if trace.protocol == "http11":
                told = (head.http_version.encode(), head.status, head.reason, head.headers)
            await trace("receive_response_headers.complete", return_value=told)
        except BaseException:
            lease.discard()
            raise
        stream = library.traced_stream(lease, lease.take_whole(), request)
        stream.trace = trace
        return _respond(lease, library, stream)

    async def _send(self, request: Any, library: Library) -> Lease:
        url = request.url
        extensions = request.extensions
        place = self._place
        if "penstock" in extensions:
            place = {**place, **_check_place(extensions["penstock"])}
        timeout = extensions.get("timeout")
        stream: RequestStream | None = None
        try:
            content = request.content
        except library.not_read:
            content = stream = library.take_stream(request)
        try:
            origin = _to_origin(url.raw_scheme, url.raw_host, url.port)
            return await self._pool.exchange(
                origin,
                request.method,
                extensions.get("target") or url.raw_path,
                headers=request.headers.raw,
                content=content,
                retry=self._retry,
                timeouts=None if timeout is None else self._to_timeouts(timeout),
                # Other transports ignore it, too, where there is no TLS.
                server_name=extensions.get("sni_hostname") if origin.is_secure else None,
                **place,
            )
        except PenstockError as error:
            if stream is not None and stream.raised is error:
                raise
            raise library.translate(error, request) from error

    def _to_timeouts(self, timeout: Mapping[str, float | None]) -> Timeouts:
        """The limits of a request: four are the caller's, the others the pool's."""
        if not isinstance(timeout, dict) and not isinstance(timeout, Mapping):
            raise TypeError(f'the extension "timeout" must be a mapping, not {timeout!r}')
        usual = self._pool.timeouts
        given = tuple([timeout.get(name, getattr(usual, name)) for name in _LIMITS])
        limits = self._known_limits.get(given)
        if limits is None:
            if len(self._known_limits) >= 64:
                self._known_limits.clear()
            connect, read, write, pool = [_AT_ONCE if limit == 0 else limit for limit in given]
            limits = self._known_limits[given] = Timeouts(
                connect=connect,
                read=read,
                write=write,
                pool=pool,
                first_byte=usual.first_byte,
                total=usual.total,
            )
        return limits


class NetworkStream:
    """What the response's extension "network_stream" is: the connection, for those who want to know where it leads."""

    __slots__ = ("_lease",)

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    def get_extra_info(self, info: str) -> object:
        """See `Lease.get_extra_info`."""
        return self._lease.get_extra_info(info)


def _respond(lease: Lease, library: Library, stream: object) -> Any:
    head = lease.head
    assert head is not None
    extensions: dict[str, Any] = {
        "http_version": head.http_version.encode(),
        "network_stream": NetworkStream(lease),
        "penstock": {
            "connection_id": lease.connection_id,
            "attempt": lease.attempt,
            "retries": lease.retries,
            "retry_refusal": lease.retry_refusal,
        },
    }
    if head.http_version != "HTTP/2":
        # It has none, and the libraries know the usual ones.
        extensions["reason_phrase"] = head.reason
    return library.response(head.status, headers=head.headers, stream=stream, extensions=extensions)


@lru_cache(maxsize=1024)
def _to_origin(scheme: bytes, host: bytes, port: int | None) -> Origin:
    if not scheme:
        raise UnsupportedProtocol("the request's URL has no scheme: it must start with https:// or http://")
    name = host.decode("ascii")
    authority = f"[{name}]" if ":" in name else name
    return to_origin(f"{scheme.decode('ascii')}://{authority}{'' if port is None else f':{port}'}")


def _check_place(place: Any) -> dict[str, Any]:
    if not isinstance(place, dict):
        raise TypeError(f'the extension "penstock" must be a dict, not {place!r}')
    for name in place:
        if name not in _PLACE:
            raise TypeError(f'the extension "penstock" may say {", ".join(_PLACE)}, not {name!r}')
    return place
