"""Where a request stands among others: its priority, its tenant, and what it wants to stay together with."""

from __future__ import annotations

#: Priorities from the first served to the last.
PRIORITIES = range(-100, 101)


def check_place(priority: int, tenant: str | None) -> None:
    """Refuse what is no place in a queue.

    Raises:
        TypeError: a value has the wrong type.
        ValueError: the priority is out of range.
    """
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise TypeError(f"priority must be an int, not {priority!r}")
    if priority not in PRIORITIES:
        raise ValueError(f"priority must be from −100 to 100, not {priority!r}")
    if tenant is not None and not isinstance(tenant, str):
        raise TypeError(f"tenant must be a str or None, not {tenant!r}")


def check_affinity(affinity: str | None) -> None:
    """Refuse what is no key of an affinity.

    Raises:
        TypeError: it has the wrong type.
    """
    if affinity is not None and not isinstance(affinity, str):
        raise TypeError(f"affinity must be a str or None, not {affinity!r}")
