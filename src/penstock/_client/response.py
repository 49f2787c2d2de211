"""What a server answered, as the caller sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import trio

from .._errors import DecodingError, HTTPStatusError, RequestError, StreamConsumed, quote_peer, without_secrets
from .._http.headers import Headers
from .charset import find_charset
from .iterators import BytesIterator, EventIterator, JSONLineIterator, KeptContent, LineIterator, RawIterator
from .json_codec import find_loads
from .limits import check_event_timeout

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from .._http.exchange import ResponseHead
    from .._net.timer import PhaseTimer
    from .._pool.tries import Tries
    from .body import ResponseBody
    from .call import Call
    from .iterators import PieceSource


class Request:
    """The request that a response answers; after a redirect, the last one.

    Attributes:
        method: as it was sent.
        url: absolute and normalised, without fragment.
    """

    __slots__ = ("_call", "method", "url")

    def __init__(self, call: Call) -> None:
        self._call = call
        self.method = call.method
        self.url = str(call.url)

    @property
    def headers(self) -> Headers:
        """The fields that were sent."""
        return Headers(self._call.wire.headers)

    def __repr__(self) -> str:
        return f"<Request {self._call}>"


class Response:
    """An answer: its head, and its body read already or about to be read.

    `Client.get` and its like return it with the body read, and its connection given back. `Client.stream` gives it with
    the body still on the wire: the connection is given back when the body ends or the response is closed.

    Attributes:
        status_code: 200 to 999.
        connection_id: the number of the connection, as events and statistics show it.
        retries: why the request was sent again before this answer came, oldest first.
        retry_refusal: why it was not sent once more although its retry policy speaks of this answer; else None.
        history: the redirects that led here, oldest first; their bodies were dropped.
    """

    __slots__ = (
        "_body", "_call", "_content", "_head", "_headers", "_loads", "_seconds", "connection_id", "history",
        "retries", "retry_refusal", "status_code",
    )  # fmt: skip

    def __init__(
        self,
        call: Call,
        head: ResponseHead,
        body: ResponseBody | None,
        content: bytes | None,
        *,
        connection_id: int,
        tries: Tries | None,
        seconds: float,
        history: tuple[Response, ...],
        json_loads: Callable[[bytes], Any] | None,
    ) -> None:
        self.status_code = head.status
        self.connection_id = connection_id
        self.history = history
        self._call = call
        self._head = head
        # There is none where the content came with the head.
        self._body = body
        self._content = content
        self._seconds = seconds
        self.retries = () if tries is None else tries.records
        self.retry_refusal = None if tries is None else tries.refusal
        self._loads = json_loads
        self._headers: Headers | None = None

    @property
    def headers(self) -> Headers:
        """The header fields; names are compared without regard to case."""
        if self._headers is None:
            self._headers = Headers(self._head.headers)
        return self._headers

    @property
    def trailers(self) -> Headers:
        """The fields that came after the body; empty until it has ended."""
        return Headers([] if self._body is None else self._body.trailers)

    @property
    def reason_phrase(self) -> str:
        """The words beside the status code; servers may leave them out, and HTTP/2 has none."""
        return self._head.reason.decode("latin-1")

    @property
    def http_version(self) -> str:
        """What the server speaks: "HTTP/1.1", "HTTP/1.0" or "HTTP/2"."""
        return self._head.http_version

    @property
    def url(self) -> str:
        """Where the answer came from; after redirects, the last place."""
        return str(self._call.url)

    @property
    def request(self) -> Request:
        """The request that was answered."""
        return Request(self._call)

    @property
    def elapsed(self) -> timedelta:
        """Time from the call to the head of this answer, the wait for a connection included."""
        from datetime import timedelta

        return timedelta(seconds=self._seconds)

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status_code <= 299

    @property
    def is_redirect(self) -> bool:
        """Whether the status is 3xx."""
        return 300 <= self.status_code <= 399

    @property
    def is_client_error(self) -> bool:
        """Whether the status is 4xx."""
        return 400 <= self.status_code <= 499

    @property
    def is_server_error(self) -> bool:
        """Whether the status is 5xx."""
        return 500 <= self.status_code <= 599

    @property
    def is_error(self) -> bool:
        """Whether the status is 4xx or 5xx."""
        return 400 <= self.status_code <= 599

    def raise_for_status(self) -> Self:
        """Return the response itself if its status is 2xx.

        Raises:
            HTTPStatusError: it is anything else, a redirect that was not followed included.
        """
        if self.is_success:
            return self
        reason = quote_peer(self._head.reason)
        location = self.headers.get("location") if self.is_redirect else None
        where = f"; it leads to {quote_peer(without_secrets(location.encode('latin-1')))}" if location else ""
        raise HTTPStatusError(f"{self.status_code} {reason} for {self._call}{where}".replace("  ", " "), response=self)

    @property
    def content(self) -> bytes:
        """The whole body, decoded.

        Raises:
            StreamConsumed: it was iterated over and not kept.
            StreamClosed: it was not read before the response was closed.
            StreamError: it is still on the wire; `aread` reads it.
        """
        if self._content is None:
            raise self._unread.explain_missing()
        return self._content

    @property
    def encoding(self) -> str:
        """The charset of the body: what Content-Type names if Python knows it, else UTF-8."""
        return find_charset(self.headers.get("content-type", "")) or "utf-8"

    @property
    def text(self) -> str:
        """The whole body as text; what does not fit the charset becomes U+FFFD."""
        return self.content.decode(self.encoding, "replace")

    def json(self) -> Any:
        """The whole body, read as JSON.

        Raises:
            DecodingError: it is no JSON, or nested too deeply.
        """
        loads = self._loads or find_loads()
        try:
            return loads(self.content)
        except (ValueError, RecursionError) as error:
            what = "is nested too deeply" if isinstance(error, RecursionError) else f"is no JSON: {error}"
            raise DecodingError(f"the body of {self._call} {what}", origin=self._call.url.origin) from error

    async def aread(self) -> bytes:
        """Read the rest of the body and keep it as `content`.

        Raises:
            StreamConsumed: somebody else began to read it.
            StreamClosed: the response is closed.
            RequestError: the body broke off, cannot be decoded, or is larger than the client's `max_content_size`.
        """
        if self._content is None:
            self._content = await self._unread.read_all()
        return self._content

    def aiter_raw(self) -> RawIterator:
        """The body as it comes off the wire, not decoded, in pieces of any size."""
        if self._content is not None:
            raise StreamConsumed(f"the body of {self._call} was read, and is kept as content")
        return RawIterator(self._unread.claim())

    def aiter_bytes(self, chunk_size: int | None = None) -> BytesIterator:
        """The body, decoded, in pieces of `chunk_size` bytes, or of any size if that is None."""
        if chunk_size is not None and (isinstance(chunk_size, bool) or not isinstance(chunk_size, int)):
            raise TypeError(f"chunk_size must be an int or None, not {chunk_size!r}")
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1, not {chunk_size}")
        return BytesIterator(self._source(), chunk_size)

    def aiter_lines(self) -> LineIterator:
        """The body as lines of text without their ends; a line ends at LF, CR or CRLF and nowhere else."""
        return LineIterator(self._source(), self.encoding)

    def aiter_json_lines(self) -> JSONLineIterator:
        """The body as JSON lines, whatever its content type; `Client.json_lines` checks that.

        Each line is one value, read by the client's `json_loads`; empty lines are skipped. A line that is no JSON is a
        `DecodingError` with its number as `line`, and the iteration can go on with the next. A line of more than 16 MiB
        is a `RemoteProtocolError`.
        """
        return JSONLineIterator(self._source(), self._call, self._loads or find_loads())

    def aiter_sse(self, *, event_timeout: float | None = None) -> EventIterator:
        """The body as server-sent events, whatever its content type; `Client.sse` checks that.

        `event_timeout` limits the time to the next event, as there.
        """
        check_event_timeout(event_timeout)
        return self._iterate_events(event_timeout)

    async def aclose(self) -> None:
        """Give up what is left of the body; may be repeated, and never raises.

        The response is closed and its connection given up at once. The pool keeps the connection if the rest of the
        body arrives within 64 KiB and 100 ms. This waits as long, so that a request which follows may have the
        connection, but not longer than until more of the body's content arrives. A cancellation ends the wait and
        changes nothing else; it is raised where the caller waits next. In a scope that is cancelled already nothing is
        waited for: what has not arrived is given up, and the server sees at once that nobody listens.
        """
        if self._body is None:
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            await self._body.aclose()

    def discard_connection(self) -> None:
        """Have the connection closed instead of used again, for callers who distrust it."""
        if self._body is not None:
            self._body.discard()

    @property
    def _unread(self) -> ResponseBody:
        """The body, which did not come with the head."""
        assert self._body is not None
        return self._body

    def _release(self) -> None:
        """Give up what is left of the body; the pool may read the rest and keep the connection."""
        if self._body is not None:
            self._body.release()

    async def _read(self, timer: PhaseTimer) -> None:
        """Read and keep the body, under a timer that the caller has entered."""
        try:
            self._content = await self._unread.read_within(timer)
        except BaseException as error:
            self._unread.fail(error)
            if isinstance(error, RequestError) and self.history and not self._call.wire.is_source_of(error):
                error.annotate(request_sent="fully")
            raise

    def _name_lease(self) -> None:
        """Tell the lease what it is for, in case the response is forgotten unclosed."""
        self._unread.name_lease()

    async def _read_start(self, limit: int, seconds: float) -> tuple[bytes, RequestError | None]:
        """Keep at most `limit` bytes of the body, what comes within so many seconds, and give up the rest.

        Returns:
            What is kept, and what went wrong with the rest.
        """
        self._content, broke = await self._unread.read_start(limit, seconds)
        return self._content, broke

    def _iterate_events(
        self, event_timeout: float | None, *, last_event_id: str = "", retry: int | None = None
    ) -> EventIterator:
        """The body as events; of a stream that goes on with another one, after what that had set."""
        source = self._source()
        timer = None if event_timeout is None or self._content is not None else self._unread.limit_events(event_timeout)
        return EventIterator(source, timer=timer, last_event_id=last_event_id, retry=retry)

    def _source(self) -> PieceSource:
        return self._unread.claim() if self._content is None else KeptContent(self._content)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Response {self.status_code} for {self._call}>"
