"""One request on its way: what the client settled before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from .._core.retry import IDEMPOTENT
from .._http.body import make_body
from .._http.request import build_request

if TYPE_CHECKING:
    from .._config import Timeouts
    from .._http.body import RequestBody
    from .._http.request import WireRequest
    from .._http.trailers import Trailers
    from .._retry_config import RetryPolicy
    from .._types import HeaderList
    from .._url import URL


class Call:
    """A request together with how it is to be sent; redirects make a new one.

    Attributes:
        method: the method's token.
        url: where it goes.
        fields: the header fields that were asked for, names in lower case, without Host and framing.
        body: what follows the head.
        trailers: fields that follow the body, if any.
        wire: all of this as it goes on the wire, checked.
        limits: its timeouts, complete.
        priority: its class in the queue for a connection.
        tenant: whose turn it is in that class.
        retry: when it is tried again; None for never.
        max_redirects: how many redirects are still followed; -1 where none is wanted.
    """

    __slots__ = (
        "body",
        "fields",
        "limits",
        "max_redirects",
        "method",
        "priority",
        "retry",
        "tenant",
        "trailers",
        "url",
        "wire",
    )

    def __init__(
        self,
        method: str,
        url: URL,
        fields: HeaderList,
        body: RequestBody,
        *,
        limits: Timeouts,
        priority: int,
        tenant: str | None,
        max_redirects: int,
        retry: RetryPolicy | None = None,
        trailers: Trailers | None = None,
        wire: WireRequest | None = None,
    ) -> None:
        self.method = method
        self.url = url
        self.fields = fields
        self.body = body
        self.limits = limits
        self.priority = priority
        self.tenant = tenant
        self.max_redirects = max_redirects
        self.retry = retry
        self.trailers = trailers
        self.wire = wire or build_request(url.origin, method, url.raw_target, fields, body, trailers=trailers)

    def with_field(self, name: bytes, value: bytes | None) -> Call:
        """The same request with a field set, or without it, for a body that can be sent again.

        Raises:
            LocalProtocolError: the field cannot be sent.
        """
        fields = [field for field in self.fields if field[0] != name]
        return self._evolve(fields if value is None else [*fields, (name, value)], self.retry)

    def with_policy(self, policy: RetryPolicy) -> Call:
        """The same request, to be tried again, with the idempotency key that the policy wants."""
        return self._evolve(with_key(self.fields, policy, self.wire.method), policy)

    def _evolve(self, fields: HeaderList, retry: RetryPolicy | None) -> Call:
        return Call(
            self.method,
            self.url,
            fields,
            self.body,
            limits=self.limits,
            priority=self.priority,
            tenant=self.tenant,
            max_redirects=self.max_redirects,
            retry=retry,
            trailers=self.trailers,
        )

    def __getstate__(self) -> tuple[None, dict[str, object]]:
        """What a pickled response tells of its request: everything but its content, which is no part of the answer."""
        state = {name: getattr(self, name) for name in self.__slots__}
        state["body"] = make_body(None)
        state["trailers"] = None
        state["wire"] = self.wire.without_content()
        return None, state

    def __str__(self) -> str:
        return f"{self.method} {self.url.shown}"


def with_key(fields: HeaderList, policy: RetryPolicy, method: bytes) -> HeaderList:
    """The fields with an idempotency key of their own, where the policy wants one and the method needs one.

    They are returned as they are where not, or where a key is among them.
    """
    if policy.idempotency_key is None or method in IDEMPOTENT:
        return fields
    key = policy.idempotency_key.lower().encode()
    return fields if any(field[0] == key for field in fields) else [*fields, (key, str(uuid4()).encode())]
