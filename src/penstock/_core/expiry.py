"""When a connection is too old, too idle, or past what its server promised."""

from __future__ import annotations

#: A connection lives up to a tenth less than allowed, so that connections opened together do not retire together.
AGE_JITTER = 0.1

#: What the server's `Keep-Alive: timeout=n` is shortened by: a request in flight needs time to arrive.
HINT_MARGIN = 2.0

#: A learned idle limit is shortened by this share of itself.
LEARNED_MARGIN = 0.1

#: A server that closes after less than this is restarting, or refusing; it has no such idle limit.
SHORTEST_IDLE = 2.0
#: How many idle ages in a row have to agree, and how closely, in seconds or as a share.
_LESSONS = 3
_AGREE_SECONDS = 1.0
_AGREE_SHARE = 0.1
#: How long a lesson holds before the pool tries longer idle times again.
LESSON_HOLDS = 600.0


def life_span(keep_alive_timeout: float, chance: float) -> float:
    """Longest life of one connection in seconds; `chance` is from 0 to 1."""
    return keep_alive_timeout * (1.0 - AGE_JITTER * chance)


def hinted_idle(hint: float) -> float:
    """Idle seconds left of a server's hint; zero or less means: do not keep it."""
    return hint - HINT_MARGIN


class IdleLesson:
    """What a server that closes idle connections teaches about its own limit.

    A server with an idle limit closes at the same idle age again and again; one that restarts closes connections of all
    ages. So only ages that agree are believed.
    """

    __slots__ = ("_ages", "_learned_at", "limit")

    def __init__(self) -> None:
        self._ages: list[float] = []
        self._learned_at = 0.0
        self.limit: float | None = None

    def peer_closed(self, now: float, idle_for: float) -> None:
        """The server closed a connection that had been idle for so many seconds."""
        if idle_for < SHORTEST_IDLE:
            self._ages.clear()
            return
        self._ages.append(idle_for)
        del self._ages[:-_LESSONS]
        low, high = min(self._ages), max(self._ages)
        if len(self._ages) == _LESSONS and high - low <= max(_AGREE_SECONDS, _AGREE_SHARE * high):
            self.limit = low * (1.0 - LEARNED_MARGIN)
            self._learned_at = now

    def idle_timeout(self, now: float, configured: float) -> float:
        """The idle time to allow: the configured one, or the learned one while the lesson holds."""
        if self.limit is None:
            return configured
        if now - self._learned_at > LESSON_HOLDS:
            self.limit = None
            self._ages.clear()
            return configured
        return min(configured, self.limit)
