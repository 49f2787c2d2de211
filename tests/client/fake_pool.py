"""A pool without connections: it hands each request to a function and plays back what that returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import trio

from penstock._client.client import Client
from penstock._config import PoolConfig, Timeouts
from penstock._errors import ReadError
from penstock._events import CloseReason
from penstock._http.exchange import ResponseHead
from penstock._http.request import WireRequest
from penstock._net.timer import PhaseTimer, Watchdog
from penstock._retry_config import RetryPolicy
from penstock._types import HeaderList, Origin


class Answer:
    """A canned response. A float among the pieces is a pause in seconds, an exception is raised there."""

    def __init__(
        self,
        status: int = 200,
        headers: dict[str, str] | Sequence[tuple[str, str]] = (),
        *pieces: bytes | float | Exception,
        reason: bytes = b"",
        trailers: HeaderList | None = None,
        delay: float = 0,
    ) -> None:
        pairs = headers.items() if isinstance(headers, dict) else headers
        fields = [(name.lower().encode(), value.encode("latin-1")) for name, value in pairs]
        self.head = ResponseHead(status, reason, fields, "HTTP/1.1", dict(fields))
        self.pieces = list(pieces)
        self.trailers = trailers or []
        self.delay = delay


class Nothing:
    """What a timer guards here; `pause` looks at the time itself."""

    def interrupt(self) -> None:
        pass


async def pause(timer: PhaseTimer, seconds: float) -> None:
    """A wait as the exchange has it: one that is late ends with a `NetworkError`."""
    if timer._due >= trio.current_time() + seconds:
        await trio.sleep(seconds)
        return
    due = timer._due
    timer.guard(Nothing(), Watchdog())
    timer._due = due
    await trio.sleep_until(due)
    timer.check(trio.current_time())
    raise ReadError("interrupted")


class FakeLease:
    """Plays an answer's body; `ended` says how it was given back."""

    def __init__(self, answer: Answer, connection_id: int) -> None:
        self.head = answer.head
        self.http_version = answer.head.http_version
        self.connection_id = connection_id
        self.trailers: HeaderList = []
        self.label = ""
        self.tries = None
        self.body_begun = True
        self.ended: str | None = None
        self._answer = answer
        self._left = list(answer.pieces)

    @property
    def is_released(self) -> bool:
        return self.ended is not None

    async def receive(self, timer: PhaseTimer) -> bytes:
        assert self.ended is None, f"receive() on a lease that was {self.ended}"
        while self._left:
            piece = self._left.pop(0)
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, bytes):
                return piece
            timer.read()
            await pause(timer, piece)
        self.trailers = self._answer.trailers
        self.ended = "finished"
        return b""

    def take_whole(self) -> None:
        return None

    def release_soon(self) -> None:
        self.ended = self.ended or "released"

    async def aclose(self) -> None:
        self.release_soon()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def discard(self, reason: CloseReason = CloseReason.DISCARDED) -> None:
        self.ended = self.ended or "discarded"


class Sent:
    """A request as the pool got it."""

    def __init__(self, origin: Origin, wire: WireRequest, body: bytes, timer: PhaseTimer, **place: Any) -> None:
        self.origin = origin
        self.wire = wire
        self.method = wire.method.decode()
        self.url = f"{origin}{wire.target.decode()}"
        self.body = body
        self.limits = timer.limits
        self.place = place

    @property
    def headers(self) -> dict[str, str]:
        assert len({name for name, _ in self.wire.headers}) == len(self.wire.headers), "a field was sent twice"
        return {name.decode(): value.decode("latin-1") for name, value in self.wire.headers}


class FakePool:
    """Answers with what `handler` returns or raises."""

    def __init__(self, handler: Callable[[Sent], Answer | Exception], config: PoolConfig | None = None) -> None:
        self.config = config or PoolConfig()
        self.timeouts = self.config.timeouts
        self.sent: list[Sent] = []
        self.leases: list[FakeLease] = []
        self.entered = False
        self.exited = False
        self._handler = handler

    async def __aenter__(self) -> Self:
        self.entered = True
        return self

    async def __aexit__(self, *error: object) -> None:
        self.exited = True

    def _chance(self) -> float:
        return 0.5

    async def _pause(self, seconds: float) -> bool:
        await trio.sleep(seconds)
        return True

    def _timer(self, limits: Timeouts) -> PhaseTimer:
        return PhaseTimer(limits)

    async def _exchange(
        self,
        origin: Origin,
        request: WireRequest,
        *,
        timer: PhaseTimer,
        priority: int,
        tenant: str | None,
        retry: RetryPolicy | None,
    ) -> tuple[ResponseHead, FakeLease]:
        await trio.lowlevel.checkpoint()
        body = bytearray()
        request.body.restart()
        while piece := await request.body.next_piece():
            body += piece
        sent = Sent(origin, request, bytes(body), timer, priority=priority, tenant=tenant, retry=retry)
        self.sent.append(sent)
        answer = self._handler(sent)
        if isinstance(answer, Exception):
            raise answer
        if answer.delay:
            timer.first_byte()
            await pause(timer, answer.delay)
            timer.disarm()
        lease = FakeLease(answer, len(self.leases) + 1)
        self.leases.append(lease)
        return answer.head, lease


def client_for(answer: Answer, **options: Any) -> tuple[Client, FakePool]:
    """A client whose every request gets this answer, and the pool it has."""
    pool = FakePool(lambda sent: answer)
    return Client(pool, **options), pool  # type: ignore[arg-type]
