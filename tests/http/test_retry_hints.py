"""What an answer says about trying again, in every spelling that servers use, and in those they should not."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._http.hints import RetryHint, parse_retry_hint

NOW = 1_700_000_000.0


def at(seconds: float) -> bytes:
    return format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True).encode()


AFTER = [
    ([(b"retry-after", b"7")], 7.0),
    ([(b"retry-after", b"0")], 0.0),
    ([(b"retry-after", b"1.5")], 1.5),
    ([(b"retry-after-ms", b"250")], 0.25),
    ([(b"retry-after-ms", b"20.5"), (b"retry-after", b"7")], 0.0205),
    ([(b"retry-after-ms", b"soon"), (b"retry-after", b"7")], 7.0),
    ([(b"retry-after", at(30))], 30.0),
    ([(b"retry-after", at(-30))], 0.0),
    # The server's clock is wrong by an hour, and says so.
    ([(b"date", at(3600)), (b"retry-after", at(3605))], 5.0),
    ([(b"date", b"yesterday"), (b"retry-after", at(5))], 5.0),
    ([(b"retry-after", b"-1")], None),
    ([(b"retry-after", b"nan")], None),
    ([(b"retry-after", b"inf")], None),
    ([(b"retry-after", b"1e9")], None),
    ([(b"retry-after", b"")], None),
    ([(b"retry-after", b"9" * 400)], None),
    ([(b"retry-after", b"Fri, 31 Dec 9999 23:59:59 GMT")], 253402300799.0 - NOW),
    ([(b"retry-after", b"Fri, 99 Dec 2023 23:59:59 GMT")], None),
    ([(b"retry-after", b"\xff\xfe")], None),
    ([], None),
]


@pytest.mark.parametrize(("headers", "seconds"), AFTER)
def test_how_long_to_wait(headers: list[tuple[bytes, bytes]], seconds: float | None) -> None:
    assert parse_retry_hint(headers, NOW) == RetryHint(seconds, None)


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "UTC"])
@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"])
def test_each_form_of_a_date_means_utc(form: str, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9110 §5.6.7: the two older ones must be understood as well, wherever this machine stands."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        value = datetime.fromtimestamp(NOW + 10, UTC).strftime(form).encode()
        assert parse_retry_hint([(b"retry-after", value)], NOW).after == 10
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("value", "says"), [(b"true", True), (b"TRUE", True), (b"false", False), (b"maybe", None), (b"", None)]
)
def test_whether_to_try_again(value: bytes, says: bool | None) -> None:
    assert parse_retry_hint([(b"x-should-retry", value)], NOW).should_retry is says


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80))
def test_nothing_that_a_server_says_breaks_it(after: bytes, milliseconds: bytes, date: bytes) -> None:
    headers = [(b"retry-after", after), (b"retry-after-ms", milliseconds), (b"date", date)]
    seconds = parse_retry_hint(headers, NOW).after
    assert seconds is None or 0 <= seconds < 1e16
