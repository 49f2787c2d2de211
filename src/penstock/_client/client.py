"""The request API: a thin layer that settles a request, has the pool answer it, and hands out the response."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn, Self, Unpack

from .._config import PoolConfig
from .._errors import PoolClosed, RequestError
from .._pool.pool import Pool
from .body import ResponseBody, explain_too_large
from .event_streams import EventStreamContext, Reconnections
from .json_lines import JSONLineStreamContext
from .limits import MAX_CONTENT_SIZE, UNSET, check_content_size, check_event_timeout
from .option_names import OPTION_NAMES, explain_unknown
from .reconnect import Reconnect
from .redirects import follow, is_redirect
from .request import Composer
from .response import Response
from .stream_kinds import StreamKind
from .streams import StreamContext

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from .._http.exchange import ResponseHead
    from .._http.headers import HeaderArgument
    from .._net.timer import PhaseTimer
    from .._pool.lease import Lease
    from .._retry_config import RetryPolicy
    from .call import Call
    from .fields import Fields
    from .limits import TimeoutArgument, Unset
    from .request import RequestOptions


class ClientState(Enum):
    """How far a client is."""

    NEW = "new"
    OPEN = "open"
    CLOSED = "closed"


class Client:
    """Makes HTTP requests through a pool.

    Used as an async context manager. With a pool of the caller's it never closes it, and many clients may share one;
    without, it opens a pool of its own and closes that when it is left.

    Args:
        pool: the pool to use.
        config: settings of the client's own pool; not together with `pool`.
        trust_env: whether a client with neither has `PoolConfig.from_env()` as its settings, so that the environment
            may name proxies, certificates and `PENSTOCK_*` settings. With `pool` or `config` it is not read.
        base_url: relative URLs are put below its path: "/chat" under "https://host/v1" is "https://host/v1/chat".
        headers: fields of every request. They replace Penstock's own (Accept, Accept-Encoding, User-Agent), and those
            of a request replace them. They go to every origin that is asked.
        params: query parameters of every request, before its own.
        timeout: limits of every request that brings none; left out, the pool's hold.
        retry: when requests that do not say are tried again, None for never; left out, the pool's policy holds.
        follow_redirects: whether redirects are followed where a request does not say.
        max_redirects: how many are followed for one request.
        max_content_size: how large a body may be, in bytes after decoding, that is read whole (by `request` and its
            like, and by `Response.aread`); None for no limit. Iterating over a body has no limit.
        json_dumps: turns `json=` arguments into str or bytes; the standard library's, compact, if None.
        json_loads: what `Response.json` uses on the body's bytes; the standard library's if None.

    Raises:
        ValueError: an argument is out of range, a variable of the environment is, or `pool` and `config` are both
            given.
        TypeError: an argument has the wrong type.
        InvalidURL: the base_url cannot be used.
        LocalProtocolError: a default header must not be sent.
    """

    def __init__(
        self,
        pool: Pool | None = None,
        *,
        config: PoolConfig | None = None,
        trust_env: bool = True,
        base_url: str | None = None,
        headers: HeaderArgument | None = None,
        params: Fields | None = None,
        timeout: TimeoutArgument | Unset = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        follow_redirects: bool = False,
        max_redirects: int = 20,
        max_content_size: int | None = MAX_CONTENT_SIZE,
        json_dumps: Callable[[Any], str | bytes] | None = None,
        json_loads: Callable[[bytes], Any] | None = None,
    ) -> None:
        if pool is not None and config is not None:
            raise ValueError("config configures the client's own pool; with a pool given it would have no effect")
        _check_pool(pool)
        if config is not None and not isinstance(config, PoolConfig):
            raise TypeError(f"config must be a PoolConfig, not a {type(config).__name__}")
        _check_codec("json_dumps", json_dumps)
        _check_codec("json_loads", json_loads)
        if not isinstance(trust_env, bool):
            raise TypeError(f"trust_env must be True or False, not {trust_env!r}")
        self._given = pool
        if config is None:
            config = PoolConfig.from_env() if trust_env and pool is None else PoolConfig()
        self._config = config
        self._pool: Pool | None = pool
        self._owned: Pool | None = None
        self._state = ClientState.NEW
        self._max_content_size = check_content_size(max_content_size)
        self._json_loads = json_loads
        self._composer = Composer(
            base_url=base_url,
            headers=headers,
            params=params,
            timeout=timeout,
            pool_timeouts=self._config.timeouts if pool is None else pool.timeouts,
            retry=(self._config if pool is None else pool.config).retry if retry is UNSET else retry,
            max_redirects=max_redirects,
            follow_redirects=follow_redirects,
            json_dumps=json_dumps,
        )

    async def __aenter__(self) -> Self:
        """Open the client's own pool, if it has one. A client is entered once, whoever owns its pool."""
        if self._state is not ClientState.NEW:
            raise RuntimeError("a client is entered once; make another one")
        self._state = ClientState.OPEN
        if self._given is None:
            self._owned = Pool(self._config)
            self._pool = await self._owned.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client, and its own pool. An exception from inside leaves as itself."""
        self._state = ClientState.CLOSED
        self._pool = None
        self._composer.forget()
        if self._owned is not None:
            await self._owned.__aexit__(kind, error, trace)  # noqa: ASYNC102 - closes everything before it waits

    def __repr__(self) -> str:
        base = self._composer.base
        where = "" if base is None else f" at {base.shown}"
        pool = "a pool of its own" if self._given is None else repr(self._given)
        return f"<Client{where}, {self._state.value}, with {pool}>"

    async def request(self, method: str, url: str, **options: Unpack[RequestOptions]) -> Response:
        """Send a request and read the answer whole.

        Cancelling it gives the connection up; nothing is left behind.

        Args:
            method: the method, in the upper case that HTTP's methods have.
            url: absolute, or relative where the client has a `base_url`.
            **options: `headers` (a mapping or pairs), `params` (appended to the URL's query), one of `json`, `content`
                (bytes, str, a binary file, an iterable or async iterable of bytes) and `data` (a form); `files`, alone
                or beside `data`, for multipart/form-data: a mapping or pairs of a name and bytes, a binary file, or a
                tuple of a file name (None for a plain field), a content, a content type and headers, of which the last
                two may be left out; `trailers` (fields after the body: as `headers`, or a function that returns them
                once the body was sent); `timeout` (a number of seconds for each phase, a complete `Timeouts`, None for
                no limit), `priority` and `tenant` (the place in the queue for a connection), `affinity`
                (requests with one key go to one endpoint of the origin; as every origin has one, they do anyway),
                `retry` (a `RetryPolicy`, None for no retries), and `follow_redirects`.

        Raises:
            RequestError: the request could not be answered; see its subclasses and attributes. A body larger than
                `max_content_size` is a `RemoteProtocolError` with the `reason` LIMIT; its connection is given up
                unless all of the body had come with the head.
            InvalidURL: the URL cannot be used.
            StreamConsumed: the body could be sent only once, and was.
            ValueError: options contradict each other, or one is out of range.
            TypeError: an option has the wrong type.
        """
        return await self._answer(self._settle("request", method, url, options))

    async def get(self, url: str, **options: Unpack[RequestOptions]) -> Response:
        """`request` with GET."""
        return await self._answer(self._settle("get", "GET", url, options))

    async def head(self, url: str, **options: Unpack[RequestOptions]) -> Response:
        """`request` with HEAD."""
        return await self._answer(self._settle("head", "HEAD", url, options))

    async def options(self, url: str, **options: Unpack[RequestOptions]) -> Response:
        """`request` with OPTIONS."""
        return await self._answer(self._settle("options", "OPTIONS", url, options))

    async def post(self, url: str, **options: Unpack[RequestOptions]) -> Response:
        """`request` with POST."""
        return await self._answer(self._settle("post", "POST", url, options))

    async def put(self, url: str, **options: Unpack[RequestOptions]) -> Response:
        """`request` with PUT."""
        return await self._answer(self._settle("put", "PUT", url, options))

    async def patch(self, url: str, **options: Unpack[RequestOptions]) -> Response:
        """`request` with PATCH."""
        return await self._answer(self._settle("patch", "PATCH", url, options))

    async def delete(self, url: str, **options: Unpack[RequestOptions]) -> Response:
        """`request` with DELETE."""
        return await self._answer(self._settle("delete", "DELETE", url, options))

    def stream(self, method: str, url: str, **options: Unpack[RequestOptions]) -> StreamContext:
        """Send a request and hand out the response with its body still to come.

        Use it as `async with client.stream("GET", url) as response:`. Leaving the block gives up what is left of the
        body; the arguments and errors are those of `request`.
        """
        return StreamContext(self._open_stream, self._compose("stream", method, url, options))

    def sse(
        self,
        method: str,
        url: str,
        *,
        event_timeout: float | None = None,
        reconnect: Reconnect | None = None,
        **options: Unpack[RequestOptions],
    ) -> EventStreamContext:
        """Send a request and hand out the server-sent events that answer it.

        Use it as `async with client.sse("POST", url, json=…) as events:` and `async for event in events:`. Leaving the
        block gives up what is left, as `Response.aclose` does.

        Args:
            method: as in `request`.
            url: as in `request`.
            event_timeout: seconds that may pass, while you wait for an event, until it is there; None for no limit.
                Comments and other signs of life do not count, as they do for the read limit. The connection is given
                up when it passes.
            reconnect: how to ask again, with Last-Event-ID, once the stream has ended or broken off; None for not at
                all. The total limit covers all of it. An answer of 204, also the first, ends the iteration. `retry`
                is for the first answer only.
            **options: as in `request`.

        Raises:
            HTTPStatusError: the status is not 2xx; the start of the body has been read.
            ContentTypeError: the answer is no event stream; likewise.
            RemoteProtocolError: an event is too large.
            ReadTimeout: a limit passed; its `limit` tells which.
            ValueError: `event_timeout` is out of range, or the body cannot be sent again to reconnect.
            TypeError: an argument has the wrong type.
        """
        check_event_timeout(event_timeout)
        if reconnect is not None and not isinstance(reconnect, Reconnect):
            raise TypeError(f"reconnect must be a Reconnect or None, not {reconnect!r}")
        if reconnect is None:
            call = self._compose("sse", method, url, options, kind=StreamKind.EVENTS)
            return EventStreamContext(self._open_stream, call, event_timeout=event_timeout)
        # Reconnections are their own retries, and with another Last-Event-ID another request: without a policy a call
        # gets no idempotency key.
        again = self._compose("sse", method, url, {**options, "retry": None}, kind=StreamKind.EVENTS)
        if not again.body.is_replayable:
            raise ValueError("reconnect: this body can be sent only once; pass bytes or a file that can seek")
        # Composed once: options may be iterators.
        call = self._composer.with_policy(again, options.get("retry", UNSET))
        reconnections = Reconnections(again, self._open_stream, reconnect, chance=self._chance, pause=self._pause)
        return EventStreamContext(self._open_stream, call, event_timeout=event_timeout, reconnections=reconnections)

    def json_lines(self, method: str, url: str, **options: Unpack[RequestOptions]) -> JSONLineStreamContext:
        """Send a request and hand out the values of the JSON lines that answer it (JSON Lines, NDJSON).

        Use it as `async with client.json_lines("POST", url, json=…) as values:` and `async for value in values:`.
        Leaving the block gives up what is left, as `Response.aclose` does; the arguments are those of `request`.

        Raises:
            HTTPStatusError: the status is not 2xx; the start of the body has been read.
            ContentTypeError: the answer is no JSON lines; likewise.
            DecodingError: a line is no JSON; the iteration can go on with the next.
            RemoteProtocolError: a line is too large.
        """
        call = self._compose("json_lines", method, url, options, kind=StreamKind.JSON_LINES)
        return JSONLineStreamContext(self._open_stream, call)

    def _compose(
        self, caller: str, method: str, url: str, options: RequestOptions, *, kind: StreamKind | None = None
    ) -> Call:
        if self._state is ClientState.CLOSED:
            # It has forgotten what it was asked for, and is to remember nothing new.
            self._explain_no_pool()
        if not OPTION_NAMES.issuperset(options):
            raise explain_unknown(caller, options)
        return self._composer.compose(method, url, kind=kind, **options)

    def _settle(self, caller: str, method: str, url: str, options: RequestOptions) -> Call:
        if self._pool is None:
            self._explain_no_pool()
        return self._compose(caller, method, url, options) if options else self._composer.recall(method, url)

    def _open_stream(self, call: Call, total_at: float | None = None) -> Coroutine[Any, Any, Response]:
        return self._answer(call, streams=True, total_at=total_at)

    def _chance(self) -> float:
        pool = self._pool or self._explain_no_pool()
        return pool._chance()

    def _pause(self, seconds: float) -> Coroutine[Any, Any, bool]:
        pool = self._pool or self._explain_no_pool()
        return pool._pause(seconds)

    async def _answer(self, call: Call, *, streams: bool = False, total_at: float | None = None) -> Response:
        """Have a call answered, or the one that redirects lead to; the answer is read unless it `streams`.

        The total limit ends at `total_at` if that is given.
        """
        pool = self._pool or self._explain_no_pool()
        history: tuple[Response, ...] = ()
        with pool._timer(call.limits) as timer:
            if total_at is not None:
                timer.end_by(total_at)
            try:
                head, lease = await _send(pool, call, timer)
            except RequestError as error:
                if not call.wire.is_source_of(error):
                    error.annotate(origin=call.url.origin)
                raise
            if call.max_redirects >= 0 and is_redirect(head):
                call, head, lease, history = await self._follow(pool, call, head, lease, timer)
            content = None if streams or head.is_coded else lease.take_whole()
            if content is None:
                response = self._respond(call, head, lease, timer, history)
                if streams:
                    response._name_lease()
                else:
                    await response._read(timer)
                return response
        if self._max_content_size is not None and len(content) > self._max_content_size:
            raise explain_too_large(call, self._max_content_size)
        return Response(
            call,
            head,
            None,
            content,
            connection_id=lease.connection_id,
            tries=lease.tries,
            seconds=timer.clock() - timer.started_at,
            history=history,
            json_loads=self._json_loads,
        )

    def _respond(
        self, call: Call, head: ResponseHead, lease: Lease, timer: PhaseTimer, history: tuple[Response, ...]
    ) -> Response:
        """A response whose body is still to be read."""
        return Response(
            call,
            head,
            ResponseBody(call, head, lease, timer, max_size=self._max_content_size),
            None,
            connection_id=lease.connection_id,
            tries=lease.tries,
            seconds=timer.clock() - timer.started_at,
            history=history,
            json_loads=self._json_loads,
        )

    async def _follow(
        self, pool: Pool, call: Call, head: ResponseHead, lease: Lease, timer: PhaseTimer
    ) -> tuple[Call, ResponseHead, Lease, tuple[Response, ...]]:
        """Ask where redirects lead; returns what was asked last, its answer, and the answers before."""
        history: tuple[Response, ...] = ()
        try:
            while call.max_redirects >= 0 and is_redirect(head):
                response = self._respond(call, head, lease, timer, history)
                body_begun = lease.body_begun
                response._release()
                history = (*history, response)
                call = follow(call, head, followed=len(history) - 1, body_begun=body_begun)
                head, lease = await _send(pool, call, timer)
        except RequestError as error:
            if not call.wire.is_source_of(error):
                # The server has executed the request that was redirected.
                error.annotate(origin=call.url.origin, request_sent="fully")
            raise
        return call, head, lease, history

    def _explain_no_pool(self) -> NoReturn:
        if self._state is ClientState.CLOSED:
            raise PoolClosed("the client is closed")
        raise RuntimeError("open the client first: async with Client() as client")


def _send(pool: Pool, call: Call, timer: PhaseTimer) -> Coroutine[Any, Any, tuple[ResponseHead, Lease]]:
    # No coroutine of its own: every request comes this way.
    return pool._exchange(
        call.url.origin, call.wire, timer=timer, priority=call.priority, tenant=call.tenant, retry=call.retry
    )


def _check_pool(pool: object) -> None:
    # What a pool does is what counts: tests pass pools of their own.
    if pool is None or (hasattr(pool, "_exchange") and not isinstance(pool, type)):
        return
    hint = ""
    if isinstance(pool, PoolConfig):
        hint = "; pass config="
    elif isinstance(pool, str):
        hint = "; pass base_url="
    raise TypeError(f"pool must be a Pool, not a {type(pool).__name__}{hint}")


def _check_codec(name: str, codec: object) -> None:
    if codec is not None and not callable(codec):
        raise TypeError(f"{name} must be callable, not {codec!r}")
