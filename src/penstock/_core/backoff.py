"""How long to leave an endpoint alone after failures.

    pause 1   base
    pause 2   base × 2
    pause n   base × 2^(n−1), at most `longest`

each shortened by up to half by chance, so that many clients do not come back together.
"""

from __future__ import annotations

#: Doubling more often than this overflows nothing and changes nothing: every longest pause is reached by then.
_MAX_DOUBLINGS = 40


def pause(count: int, *, base: float, longest: float, chance: float) -> float:
    """Seconds of the `count`-th pause in a row (from 1); `chance` is from 0 to 1."""
    return doubled(count, base=base, longest=longest) * (1.0 - 0.5 * chance)


def doubled(count: int, *, base: float, longest: float) -> float:
    """Seconds of the `count`-th pause in a row (from 1) before chance has its part."""
    return min(longest, base * 2.0 ** min(count - 1, _MAX_DOUBLINGS))
