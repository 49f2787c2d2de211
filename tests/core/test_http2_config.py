"""Settings of HTTP/2 are checked when they are made, like all others."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

import penstock
from penstock._http2_config import HTTP2Config

FIELDS = {field.name for field in attrs.fields(HTTP2Config)}

#: Whole numbers: the least that is allowed, and the most.
WHOLE: dict[str, tuple[int, int]] = {
    "max_streams": (1, 1 << 20),
    "soft_streams": (1, 1 << 20),
    "stream_window": (65535, (1 << 31) - 1),
    "connection_window": (65535, (1 << 31) - 1),
    "max_header_block": (1024, 1 << 24),
    "max_continuations": (1, 1024),
    "max_settings": (8, 4096),
    "max_empty_data": (1, 1 << 20),
    "max_unsent_replies": (1024, 1 << 24),
    "glitch_burst": (1, 1 << 30),
    "encoder_table": (0, 65536),
}

#: Durations: whether None is allowed.
SECONDS = {"ping_idle": True, "ping_interval": True, "ping_timeout": False, "barred_timeout": False}

RATES = {"reset_rate", "glitch_rate"}
OTHERS = {"reset_burst"}


def message(kind: type[Exception], **settings: Any) -> str:
    with pytest.raises(kind) as caught:
        HTTP2Config(**settings)
    return str(caught.value)


def windows(name: str, value: int) -> dict[str, int]:
    """The setting, and a window of a stream that goes with it."""
    return {name: value, "stream_window": 65535} if name == "connection_window" else {name: value}


def test_no_field_is_left_out_here() -> None:
    assert set(WHOLE) | set(SECONDS) | RATES | OTHERS == FIELDS


def test_the_name_is_public() -> None:
    assert penstock.HTTP2Config is HTTP2Config


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_have_a_range(name: str) -> None:
    low, high = WHOLE[name]
    span = f"from {low} to {high}"
    assert message(ValueError, **{name: low - 1}) == f"{name} must be {span}, not {low - 1}"
    assert message(ValueError, **{name: high + 1}) == f"{name} must be {span}, not {high + 1}"
    assert message(TypeError, **{name: None}) == f"{name} must be an int, not None"
    assert message(TypeError, **{name: True}) == f"{name} must be an int, not True"
    assert getattr(HTTP2Config(**windows(name, low)), name) == low


@pytest.mark.parametrize("name", SECONDS)
def test_durations_are_more_than_nothing(name: str) -> None:
    none = " (None for no limit)" if SECONDS[name] else ""
    assert message(ValueError, **{name: 0}) == f"{name} must be more than 0 and finite{none}, not 0"
    if SECONDS[name]:
        assert getattr(HTTP2Config(**{name: None}), name) is None
    else:
        assert message(TypeError, **{name: None}) == f"{name} must be a number of seconds, not None"


@pytest.mark.parametrize("name", sorted(RATES))
def test_rates_may_be_nothing_and_not_negative(name: str) -> None:
    assert getattr(HTTP2Config(**{name: 0}), name) == 0
    assert message(ValueError, **{name: -1}) == f"{name} must be 0 or more and finite, not -1"
    assert message(TypeError, **{name: "5"}) == f"{name} must be a number per second, not '5'"


def test_resets_may_be_without_limit() -> None:
    assert HTTP2Config(reset_burst=None).reset_burst is None
    assert message(ValueError, reset_burst=0) == "reset_burst must be at least 1, not 0"


def test_a_connection_has_room_for_one_stream_at_least() -> None:
    text = message(ValueError, stream_window=1 << 20, connection_window=1 << 19)

    assert text == "connection_window must be at least stream_window (1048576), not 524288"


def test_settings_do_not_change() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        HTTP2Config().max_streams = 5  # type: ignore[misc]
