"""May a request whose exchange failed be sent again, unseen by the caller?

The rule (RFC 9110 §9.2.2, RFC 9112 §9.3.1) in one place. A server may close a kept-alive connection at the very moment
at which a request leaves; nobody did anything wrong, and the request deserves a second try on a fresh connection:

    answer begun   connection   request written   method         → replay
    refused        any          any               any              yes, see below
    yes            any          any               any              no
    no             fresh        any               any              no: the server means it
    no             reused       no byte           any              yes
    no             reused       some or all       idempotent       yes
    no             reused       some or all       other            no: it may have been done

and never when the body cannot be produced again, never twice, never after a timeout: there somebody did something.

A request is refused when the server proved that it did not process it: over HTTP/2 by a GOAWAY that names an earlier
stream, or by REFUSED_STREAM (RFC 9113 §8.7). Then any method is sent again, a few times; but not a second time where a
fresh connection did nothing but refuse: that server means it. Where servers leave after so many requests, as nginx
does, a request may meet the end of one busy connection after the other. Each of them has answered somebody, so there is
progress, and many more tries are allowed than after REFUSED_STREAM, which an overloaded server says.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._errors import RequestSent

#: RFC 9110 §9.2.2.
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})

#: The first try and one replay.
MAX_ATTEMPTS = 2
#: The same where the server refuses.
MAX_ATTEMPTS_REFUSED = 3
#: The same where connections that answer others refuse it by leaving. With 200 requests at a time it takes that many
#: when a server leaves after thirty.
MAX_ATTEMPTS_LEFT = 50


class Replay(Enum):
    """The verdict, with its reason."""

    NOTHING_WRITTEN = "no byte of the request was written"
    REFUSED = "the server did not process the request"
    IDEMPOTENT = "the method is idempotent and no byte of an answer came"
    NOT_STALE = "the connection was fresh"
    ANSWER_BEGUN = "the answer had begun"
    NOT_IDEMPOTENT = "the request may have been processed"
    BODY_CONSUMED = "the body cannot be produced again"
    ATTEMPTS_USED = "it was replayed before"

    @property
    def is_allowed(self) -> bool:
        """Whether the request may be sent again."""
        return self in (Replay.NOTHING_WRITTEN, Replay.REFUSED, Replay.IDEMPOTENT)


def may_replay(
    *,
    refused: bool = False,
    going_away: bool = False,
    reused: bool,
    request_sent: RequestSent,
    answer_begun: bool,
    method: bytes,
    replayable_body: bool,
    attempt: int,
) -> Replay:
    """Judge an exchange that ended because the connection broke, or because the server refused it.

    Args:
        refused: whether the server proved that it did not process the request.
        going_away: whether it did so by leaving.
        reused: whether the connection had answered a request before.
        request_sent: how much of the request was written: "no", "partly" or "fully".
        answer_begun: whether any byte of an answer was seen.
        method: as sent; methods are case-sensitive.
        replayable_body: whether the body, if any, can be produced again from its start.
        attempt: 1 for the first try.
    """
    if refused:
        most = MAX_ATTEMPTS_LEFT if going_away else MAX_ATTEMPTS_REFUSED
        return _may_replay_refused(reused=reused, replayable_body=replayable_body, attempt=attempt, most=most)
    if answer_begun:
        return Replay.ANSWER_BEGUN
    if not reused:
        return Replay.NOT_STALE
    if attempt >= MAX_ATTEMPTS:
        return Replay.ATTEMPTS_USED
    if not replayable_body:
        return Replay.BODY_CONSUMED
    if request_sent == "no":
        return Replay.NOTHING_WRITTEN
    return Replay.IDEMPOTENT if method in IDEMPOTENT else Replay.NOT_IDEMPOTENT


def _may_replay_refused(*, reused: bool, replayable_body: bool, attempt: int, most: int) -> Replay:
    if attempt >= most:
        return Replay.ATTEMPTS_USED
    if attempt > 1 and not reused:
        return Replay.NOT_STALE
    return Replay.REFUSED if replayable_body else Replay.BODY_CONSUMED
