"""Checks that every settings class uses; the message names the field, the value and the range."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import attrs

    Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def flag(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """A validator for switches."""
    if not isinstance(value, bool):
        raise TypeError(f"{field.name} must be True or False, not {value!r}")


def whole(low: int, high: int | None = None, *, optional: bool = False) -> Validator:
    """A validator for whole numbers of a range, None where that means "no limit"."""
    span = f"at least {low}" if high is None else f"from {low} to {high}"

    def check(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if value is None and optional:
            return
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{field.name} must be an int, not {value!r}")
        if value < low or (high is not None and value > high):
            raise ValueError(f"{field.name} must be {span}, not {value!r}")

    return check


def rate() -> Validator:
    """A validator for how often a second; 0 is allowed."""
    return seconds(optional=False, zero=True, unit="a number per second")


def fraction() -> Validator:
    """A validator for numbers from 0 to 1."""

    def check(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{field.name} must be a number, not {value!r}")
        if not 0 <= value <= 1:
            raise ValueError(f"{field.name} must be from 0 to 1, not {value!r}")

    return check


def seconds(*, optional: bool = True, zero: bool = False, unit: str = "a number of seconds") -> Validator:
    """A validator for durations in seconds; None, where it is allowed, means "no limit"."""

    def check(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if value is None and optional:
            return
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{field.name} must be {unit}, not {value!r}")
        if not isfinite(value) or value < 0 or (value == 0 and not zero):
            least = "0 or more" if zero else "more than 0"
            none = " (None for no limit)" if optional else ""
            raise ValueError(f"{field.name} must be {least} and finite{none}, not {value!r}")

    return check
