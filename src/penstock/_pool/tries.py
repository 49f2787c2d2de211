"""The tries of one request: which are replays that do no harm, which are a policy's retries, and why there is no other.

There is one loop, in `Pool._exchange`; this decides for it. Replays are counted over the whole request, so a policy
does not multiply them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .._core.retry import may_replay
from .._core.retry_policy import judge_answer, judge_error
from .._errors import NetworkError, ReadError, RemoteProtocolError, WriteError
from .._events import CloseReason, RequestRetried, RetryReason, RetryRefusal, RetryRefused
from .._http.hints import parse_retry_hint

if TYPE_CHECKING:
    from .._core.endpoint import Endpoint
    from .._errors import RequestError, RequestSent
    from .._http.exchange import Exchange, ResponseHead
    from .._http.request import WireRequest
    from .._net.timer import PhaseTimer
    from .._retry_config import RetryPolicy
    from .._types import Origin
    from .lease import Lease
    from .runner import Runner

#: RFC 9110 §15.5.20: the request may be sent again on another connection, whatever its method.
MISDIRECTED = 421

_MORE_AND_MORE: tuple[RequestSent, ...] = ("unknown", "no", "partly", "fully")


class Tries:
    """What became of the tries of one request so far.

    Attributes:
        fresh: whether the next one must have a connection that was dialled just now.
        place: the caller's place in the queue, where the next one stands for the last.
        records: why it was sent again, oldest first.
        refusal: why it was not, None if its policy has nothing to say about how it ended.
    """

    __slots__ = (
        "_delay",
        "_origin",
        "_policy",
        "_replays",
        "_request",
        "_runner",
        "_sent",
        "_server_name",
        "fresh",
        "place",
        "records",
        "refusal",
    )

    def __init__(
        self,
        runner: Runner,
        origin: Origin,
        request: WireRequest,
        policy: RetryPolicy | None,
        server_name: str | None,
    ) -> None:
        self._runner = runner
        self._origin = origin
        self._server_name = server_name
        self._request = request
        self._policy = policy
        self._replays = 0
        # The most that any try sent.
        self._sent: RequestSent = "no"
        self._delay = 0.0
        self.fresh = False
        self.place = 0
        self.records: tuple[RequestRetried, ...] = ()
        self.refusal: RetryRefusal | None = None
        if policy is not None:
            runner.machine.request_begins(runner.clock(), self._endpoint)

    @property
    def attempt(self) -> int:
        """The number of the present try, from 1."""
        return len(self.records) + 1

    def goes_on_after(self, head: ResponseHead, exchange: Exchange, lease: Lease, timer: PhaseTimer) -> bool:
        """Whether there is another try after this answer; its lease is given up then."""
        self._sent = "fully"
        if head.status == MISDIRECTED and self._replays == 0 and self._has_whole_body(exchange):
            lease.misdirected()
            self._replay(RetryReason.MISDIRECTED, lease, status=head.status, fresh=True)
            return True
        policy = self._policy
        if policy is None:
            return False
        hint = parse_retry_hint(head.headers, time.time())
        verdict = judge_answer(policy, status=head.status, method=self._request.method, should_retry=hint.should_retry)
        if not self._is_admitted(verdict, exchange, timer, asked=hint.after, status=head.status):
            return False
        lease.release_soon()
        return True

    def goes_on_without(
        self, error: RequestError, exchange: Exchange | None, lease: Lease | None, timer: PhaseTimer
    ) -> bool:
        """Whether there is another try after this error; the error gets to know what was tried."""
        error.annotate(origin=self._origin, attempt=self.attempt)
        if exchange is not None and lease is not None:
            if isinstance(error, NetworkError | RemoteProtocolError):
                error.annotate(request_sent=exchange.request_sent)
            self._sent = max(self._sent, exchange.request_sent, key=_MORE_AND_MORE.index)
            if self._is_replayed(error, exchange, lease, timer):
                return True
        # A limit that passed is what really happened; the error is what it brought about.
        failure = timer.late or error
        failure.annotate(origin=self._origin, attempt=self.attempt, request_sent=error.request_sent)
        policy = self._policy
        if policy is not None:
            verdict = judge_error(policy, failure, method=self._request.method, is_keyed=self._is_keyed(policy))
            if self._is_admitted(verdict, exchange, timer, error=failure):
                timer.forgive()
                return True
        for told in (error, failure):
            told.retries = self.records
            told.retry_refusal = self.refusal
            if self.records and self._sent != "no":
                told.annotate(request_sent=self._sent)
        return False

    async def pause(self) -> None:
        """Wait until the next try is due, or can only fail. Nothing is held meanwhile."""
        if self._delay:
            await self._runner.pause(self._delay)

    @property
    def _endpoint(self) -> Endpoint:
        return self._runner.endpoint(self._origin, self._server_name)

    def _has_whole_body(self, exchange: Exchange | None) -> bool:
        """Whether another try, after one that got this exchange, if any, can send the body from its first byte."""
        return exchange is None or not exchange.body_begun or self._request.body.is_replayable

    def _is_keyed(self, policy: RetryPolicy) -> bool:
        name = (policy.idempotency_key or "idempotency-key").lower().encode()
        return any(field == name for field, _ in self._request.headers)

    def _is_replayed(self, error: RequestError, exchange: Exchange, lease: Lease, timer: PhaseTimer) -> bool:
        if timer.timed_out or not isinstance(error, NetworkError | RemoteProtocolError):
            return False
        if not (exchange.refused or isinstance(error, ReadError | WriteError)):
            return False
        verdict = may_replay(
            refused=exchange.refused,
            going_away=exchange.outcome is not None and exchange.outcome.close is CloseReason.GOAWAY,
            reused=lease.connection.has_answered,
            request_sent=exchange.request_sent,
            answer_begun=exchange.response_started,
            method=self._request.method,
            replayable_body=self._has_whole_body(exchange),
            attempt=self._replays + 1,
        )
        if verdict.is_allowed:
            reason = RetryReason.REFUSED if exchange.refused else RetryReason.STALE_CONNECTION
            # Over HTTP/2 the pool hears at once of a connection that died; those it has are good.
            self._replay(reason, lease, error=error, fresh=not lease.connection.reads_itself)
        return verdict.is_allowed

    def _replay(
        self,
        reason: RetryReason,
        lease: Lease,
        *,
        fresh: bool,
        status: int | None = None,
        error: RequestError | None = None,
    ) -> None:
        self._replays += 1
        self.fresh = fresh
        self.place = lease.place
        self._note(reason, 0.0, status=status, error=error)

    def _is_admitted(
        self,
        verdict: RetryReason | RetryRefusal | None,
        exchange: Exchange | None,
        timer: PhaseTimer,
        *,
        asked: float | None = None,
        status: int | None = None,
        error: RequestError | None = None,
    ) -> bool:
        """Whether the retry that a policy wants is made; notes what was decided."""
        runner, policy = self._runner, self._policy
        assert policy is not None
        now = runner.clock()
        if verdict is None:
            return False
        decided: float | RetryRefusal
        if isinstance(verdict, RetryRefusal):
            decided = verdict
        elif not self._has_whole_body(exchange):
            decided = RetryRefusal.BODY_CONSUMED
        else:
            retries = len(self.records) - self._replays
            decided = runner.machine.admit_retry(
                now, self._endpoint, policy, retries=retries, asked=asked, until=timer.total_at
            )
            if not isinstance(decided, RetryRefusal):
                # It failed in its own right: it waits behind those who have not been served yet.
                self.fresh, self.place = False, 0
                self._note(verdict, decided, status=status, error=error)
                return True
        self.refusal = decided
        runner.machine.retry_refused(self._endpoint, RetryRefused(now, self._origin, self.attempt, decided))
        runner.perform()
        return False

    def _note(self, reason: RetryReason, delay: float, *, status: int | None, error: RequestError | None) -> None:
        runner = self._runner
        said = "" if error is None else str(error)
        record = RequestRetried(runner.clock(), self._origin, self.attempt, reason, status, said, delay)
        self._delay = delay
        self.records = (*self.records, record)
        runner.machine.retried(self._endpoint, record)
        runner.perform()
