"""From what a caller passes to a `Call`: defaults merged in, bodies encoded, conflicts refused."""

from __future__ import annotations

from functools import lru_cache, partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypedDict

from .._errors import InvalidURL
from .._http.body import make_body
from .._http.coding import accept_encoding
from .._http.fields import check_method, check_target, refused
from .._http.headers import HeaderArgument, to_fields
from .._http.multipart import make_multipart
from .._http.parts import Files
from .._http.request import build_request, make_header_set
from .._http.trailers import TrailerArgument, make_trailers
from .._place import check_affinity, check_place
from .._retry_config import check_retry
from .._types import Origin
from .._url import URL, extend, parse_url
from .._version import __version__
from .call import Call, with_key
from .fields import encode_fields, to_texts
from .json_codec import find_dumps
from .limits import UNSET, to_timeouts
from .stream_kinds import StreamKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._config import Timeouts
    from .._http.body import Content, RequestBody
    from .._http.request import HeaderSet
    from .._retry_config import RetryPolicy
    from .._types import HeaderList
    from .fields import Fields
    from .limits import TimeoutArgument, Unset

USER_AGENT = b"penstock/" + __version__.encode()

_FOR_STREAMS: dict[StreamKind, HeaderList] = {
    # The HTML standard §9.2.2; compression would only hold events back.
    StreamKind.EVENTS: [
        (b"accept", StreamKind.EVENTS.accept),
        (b"accept-encoding", b"identity"),
        (b"cache-control", b"no-store"),
    ],
    StreamKind.JSON_LINES: [(b"accept", StreamKind.JSON_LINES.accept)],
}

_STANDARD_METHODS = {
    name: name.encode() for name in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE")
}

_NO_BODY = make_body(None)
_MULTIPART = b"multipart/"
# URLs and fields that differ from request to request would make what is remembered of them grow without end.
_MOST_KNOWN = 256
_LONGEST_KNOWN = 2048

# Other types may be equal to these and say something else.
_TEXT = frozenset({str, bytes})
#: Where fields go, the type of the content, what kind of stream is asked for, and what the caller passed.
_Asked = tuple[Origin, bytes | None, StreamKind | None, tuple[tuple[str | bytes, str | bytes], ...]]


class RequestOptions(TypedDict, total=False):
    """What every request method of `Client` takes by keyword; `Client.request` explains each."""

    headers: HeaderArgument | None
    params: Fields | None
    json: Any
    content: Content
    data: Fields | None
    files: Files | None
    trailers: TrailerArgument | None
    timeout: TimeoutArgument | Unset
    priority: int
    tenant: str | None
    affinity: str | None
    retry: RetryPolicy | Unset | None
    follow_redirects: bool | None


class Composer:
    """Makes calls out of a client's defaults and what one request adds to them.

    Args:
        base_url: what relative URLs are put below, kept as `base`; None to refuse them.
        headers: fields of every request, over Penstock's own defaults.
        params: query of every request.
        timeout: limits of requests that bring none.
        pool_timeouts: limits where the client has none either.
        retry: when requests that do not say are tried again; None for never.
        max_redirects: how long a chain may be.
        follow_redirects: whether requests that do not say follow them.
        json_dumps: turns the `json=` argument into text.
    """

    def __init__(
        self,
        *,
        base_url: str | None,
        headers: HeaderArgument | None,
        params: Fields | None,
        timeout: TimeoutArgument | Unset,
        pool_timeouts: Timeouts,
        retry: RetryPolicy | None,
        max_redirects: int,
        follow_redirects: bool,
        json_dumps: Callable[[Any], str | bytes] | None,
    ) -> None:
        if isinstance(max_redirects, bool) or not isinstance(max_redirects, int):
            raise TypeError(f"max_redirects must be an int, not {max_redirects!r}")
        if max_redirects < 0:
            raise ValueError(f"max_redirects must be at least 0, not {max_redirects}")
        if not isinstance(follow_redirects, bool):
            raise TypeError(f"follow_redirects must be True or False, not {follow_redirects!r}")
        self.base = None if base_url is None else _to_base(base_url)
        self._params = "" if params is None else encode_fields(params, "params")
        self._limits = pool_timeouts if timeout is UNSET else to_timeouts(timeout)
        self._retry = check_retry(retry)
        self._most_redirects = max_redirects
        self._max_redirects = max_redirects if follow_redirects else -1
        self._dumps = json_dumps
        self._defaults = merge(_own_defaults(), to_fields(headers))
        # A mistake in the defaults comes out here, not at the first request.
        build_request(Origin("http", "localhost", 80), "GET", "/", self._defaults, _NO_BODY)
        # The client's own, so that the credentials of its callers go when it goes.
        self._known: dict[tuple[str, str], Call] = {}
        self._settled: dict[_Asked, tuple[HeaderList, HeaderSet]] = {}
        self._find_url = lru_cache(_MOST_KNOWN)(partial(_locate, self.base))

    def forget(self) -> None:
        """Keep nothing of what was asked: its fields and its query may be credentials."""
        self._known.clear()
        self._settled.clear()
        self._find_url.cache_clear()

    def recall(self, method: str, url: str | URL) -> Call:
        """What `compose` makes of a request without options; as nothing in it ever differs, it is made once."""
        try:
            call = self._known.get((method, url))  # type: ignore[arg-type]
        except TypeError:
            call = None
        if call is None:
            if type(method) is not str or type(url) is not str or len(url) > _LONGEST_KNOWN:
                return self.compose(method, url)
            if self._retry is not None and self._retry.idempotency_key is not None:
                # A key is of one request only.
                return self.compose(method, url)
            call = self.compose(method, _locate(self.base, url))
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[method, url] = call
        return call

    def compose(
        self,
        method: str,
        url: str | URL,
        *,
        headers: HeaderArgument | None = None,
        params: Fields | None = None,
        json: Any = None,
        content: Content = None,
        data: Fields | None = None,
        files: Files | None = None,
        trailers: TrailerArgument | None = None,
        timeout: TimeoutArgument | Unset = UNSET,
        priority: int = 0,
        tenant: str | None = None,
        affinity: str | None = None,
        retry: RetryPolicy | Unset | None = UNSET,
        follow_redirects: bool | None = None,
        kind: StreamKind | None = None,
    ) -> Call:
        """Settle one request; `kind` asks for such a stream where the caller's headers do not say otherwise."""
        try:
            verb = _STANDARD_METHODS[method]
        except (KeyError, TypeError):
            verb = None
        if verb is None:
            verb = _check_method(method)
        if affinity is not None:
            check_affinity(affinity)
        if priority != 0 or tenant is not None:
            check_place(priority, tenant)
        if isinstance(url, URL):
            where = url
        elif type(url) is str and len(url) <= _LONGEST_KNOWN:
            where = self._find_url(url)
        else:
            where = _locate(self.base, url)
        if self._params or params is not None:
            where = where.with_query("&".join(filter(None, (self._params, self._encode_params(params)))))
        limits = self._limits if timeout is UNSET else to_timeouts(timeout)
        max_redirects = self._max_redirects
        if follow_redirects is not None:
            if not isinstance(follow_redirects, bool):
                raise TypeError(f"follow_redirects must be True, False or None, not {follow_redirects!r}")
            max_redirects = self._most_redirects if follow_redirects else -1
        body = _NO_BODY
        content_type = None
        if json is not None or content is not None or data is not None or files is not None:
            body, content_type = self._encode_body(json, content, data, files)
        ending = None if trailers is None else make_trailers(trailers)
        given = () if headers is None else _to_items(headers)
        asked = where.origin, content_type, kind, given
        fields, header_set = self._settled.get(asked) or self._settle(asked)
        policy = self._retry if retry is UNSET else check_retry(retry)
        if policy is not None and (keyed := with_key(fields, policy, verb)) is not fields:
            fields, header_set = keyed, make_header_set(where.origin, keyed)
        return Call(
            method,
            where,
            fields,
            body,
            limits=limits,
            priority=priority,
            tenant=tenant,
            max_redirects=max_redirects,
            retry=policy,
            trailers=ending,
            wire=header_set.frame(verb, check_target(where.raw_target, verb), body, ending),
        )

    def with_policy(self, call: Call, retry: RetryPolicy | Unset | None) -> Call:
        """A call that was composed without a policy, with the one that its `retry` option asks for.

        Raises:
            TypeError: the option is none.
        """
        policy = self._retry if retry is UNSET else check_retry(retry)
        return call if policy is None else call.with_policy(policy)

    def _settle(self, asked: _Asked) -> tuple[HeaderList, HeaderSet]:
        """The fields of a request, by themselves and checked together; remembered, since most come again."""
        origin, content_type, kind, given = asked
        fields = self._defaults
        has_boundary = content_type is not None and content_type.startswith(_MULTIPART)
        if content_type is not None:
            of_body = [(b"content-type", content_type)]
            fields = merge(fields, of_body) if has_boundary else merge(of_body, fields)
        if kind is not None:
            fields = merge(fields, _FOR_STREAMS[kind])
        if given:
            own = to_fields(given)
            if has_boundary and any(name == b"content-type" for name, _ in own):
                raise refused("the header content-type cannot be set beside files: it has to name their boundary")
            fields = merge(fields, own)
        settled = fields, make_header_set(origin, fields)
        # Fields that are large are rarely sent twice, and would be kept. The client's own are kept anyway. No boundary
        # comes twice.
        if not has_boundary and sum(map(len, chain.from_iterable(given))) <= _LONGEST_KNOWN:
            if len(self._settled) >= _MOST_KNOWN:
                self._settled.clear()
            self._settled[asked] = settled
        return settled

    def _encode_params(self, params: Fields | None) -> str:
        return "" if params is None else encode_fields(params, "params")

    def _encode_body(
        self, json: Any, content: Content, data: Fields | None, files: Files | None
    ) -> tuple[RequestBody, bytes | None]:
        if files is not None:
            if json is not None or content is not None:
                raise _two_bodies()
            return make_multipart([] if data is None else to_texts(data, "data"), files)
        if json is not None:
            if content is not None or data is not None:
                raise _two_bodies()
            dumps = self._dumps = self._dumps or find_dumps()
            return make_body(dumps(json)), b"application/json"
        if data is None:
            return make_body(content), None
        if content is not None:
            raise _two_bodies()
        return make_body(encode_fields(data, "data")), b"application/x-www-form-urlencoded"


def _two_bodies() -> ValueError:
    return ValueError("a request has one body: pass only one of json, content and data; files go with data alone")


def _locate(base: URL | None, url: str) -> URL:
    if base is not None:
        return extend(base, url)
    try:
        return parse_url(url)
    except InvalidURL as error:
        if ":" in url:
            raise
        raise InvalidURL(f"{error}, or the client needs a base_url") from None


def _to_items(headers: HeaderArgument) -> tuple[tuple[str | bytes, str | bytes], ...]:
    """The fields that a caller passed, for a dictionary's key: where they are equal, so is what is sent."""
    if type(headers) is dict:
        items = tuple(headers.items())
        if _TEXT.issuperset(map(type, chain.from_iterable(items))):
            return items
    return tuple(to_fields(headers))


def _check_method(method: object) -> bytes:
    if not isinstance(method, str):
        raise TypeError(f"method must be a str, not {type(method).__name__}")
    # Methods are case-sensitive (RFC 9110 §9.1), so a server would take "get" for another method, which it has not.
    if method.upper() in _STANDARD_METHODS:
        raise refused(f"there is no method {method!r}; did you mean {method.upper()!r}?")
    return check_method(method)


def merge(under: HeaderList, over: HeaderList) -> HeaderList:
    """Fields of both; a name in `over` replaces every field of that name in `under`."""
    replaced = dict(over)
    return [field for field in under if field[0] not in replaced] + over


def _to_base(base_url: str) -> URL:
    if not isinstance(base_url, str):
        raise TypeError(f"base_url must be a str, not {type(base_url).__name__}")
    try:
        url = parse_url(base_url)
    except InvalidURL as error:
        raise InvalidURL(f"base_url: {error}") from None
    if url.query is not None:
        raise InvalidURL("a base_url has no query; pass params=")
    return url


def _own_defaults() -> HeaderList:
    return [(b"accept", b"*/*"), (b"accept-encoding", accept_encoding()), (b"user-agent", USER_AGENT)]
