"""Header fields over HTTP/2: what a response must not contain, and what is sent of a request."""

from __future__ import annotations

import pytest
from hpack import Encoder, NeverIndexedHeaderTuple

from penstock._errors import LocalProtocolError, ProtocolReason
from penstock._http import h2_fields
from penstock._http.body import make_body
from penstock._http.h2_decoder import FieldDecoder
from penstock._http.h2_fields import check_field, content_length, request_fields, size_of, take_status
from penstock._http.h2_frames import Code, StreamFault
from penstock._http.request import build_request
from penstock._types import HeaderList, Origin

OK = (b":status", b"200")

MALFORMED = {
    "no status": [(b"x", b"y")],
    "nothing at all": [],
    "a status of four digits": [(b":status", b"0200")],
    "a status that is no number": [(b":status", b"abc")],
    "a status with a sign": [(b":status", b"+20")],
    "a status below 100": [(b":status", b"099")],
    "a status of two digits": [(b":status", b"20")],
    "an empty status": [(b":status", b"")],
    "a status in other digits": [(b":status", "٢٠٠".encode())],
    "the status twice": [OK, (b":status", b"200")],
    "the status after a field": [(b"x", b"y"), OK],
    "a field of requests": [OK, (b":path", b"/")],
    "a field of requests first": [(b":method", b"GET"), OK],
    "an unknown pseudo-field": [OK, (b":protocol", b"x")],
    "a pseudo-field after a field": [OK, (b"x", b"y"), (b":status", b"200")],
    "a name in upper case": [OK, (b"X-Name", b"y")],
    "an empty name": [OK, (b"", b"y")],
    "a space in a name": [OK, (b"x y", b"z")],
    "a colon in a name": [OK, (b"x:y", b"z")],
    "a line end in a name": [OK, (b"x\r\ny", b"z")],
    "a name beyond ASCII": [OK, ("é".encode(), b"z")],
    "a line feed in a value": [OK, (b"x", b"a\nb")],
    "a carriage return in a value": [OK, (b"x", b"a\rb")],
    "a zero byte in a value": [OK, (b"x", b"a\0b")],
    "another control character in a value": [OK, (b"x", b"a\x1bb")],
    "a space before a value": [OK, (b"x", b" a")],
    "a space behind a value": [OK, (b"x", b"a ")],
    "a tab behind a value": [OK, (b"x", b"a\t")],
    "a value of one space": [OK, (b"x", b" ")],
    "a line end behind a value": [OK, (b"x", b"a\n")],
    **{
        f"the field {name}": [OK, (name.encode(), b"close")]
        for name in ("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade")
    },
}


def literally(fields: HeaderList) -> bytes:
    """A block of literals that are in no table, as nginx sends them."""
    return b"".join(b"\0%c%b%c%b" % (len(name), name, len(value), value) for name, value in fields)


def judge(decoder: FieldDecoder, block: bytes) -> int:
    """What an exchange does with the head of a response."""
    fields, _, fault = decoder.decode(block)
    status = take_status(fields)
    if fault is not None:
        raise fault
    return status


@pytest.mark.parametrize("kind", ["literals", "indexed"])
@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_response_costs_its_stream(name: str, kind: str) -> None:
    decoder, encoder = FieldDecoder(1 << 20), Encoder()
    for _ in range(3):
        # Again and again: what has passed once is remembered, what has not is not.
        block = literally(MALFORMED[name]) if kind == "literals" else encoder.encode(MALFORMED[name])
        with pytest.raises(StreamFault) as caught:
            judge(decoder, block)
        assert (caught.value.code, caught.value.reason) == (Code.PROTOCOL_ERROR, ProtocolReason.FRAMING)
        assert len(caught.value.message) < 400


def test_switching_protocols_is_refused_as_an_upgrade() -> None:
    with pytest.raises(StreamFault) as caught:
        take_status([(b":status", b"101")])

    assert caught.value.reason is ProtocolReason.UPGRADE


FINE = {
    "an empty value": (b"x", b""),
    "a tab inside a value": (b"x", b"a\tb"),
    "bytes beyond ASCII": (b"x", b"\xe9\xff"),
    "every character of a token": (b"!#$%&'*+-.^_`|~09az", b"y"),
}


@pytest.mark.parametrize("name", FINE)
def test_what_is_unusual_and_allowed(name: str) -> None:
    assert judge(FieldDecoder(1 << 20), literally([OK, FINE[name]])) == 200


@pytest.mark.parametrize("status", [100, 199, 200, 599, 999])
def test_statuses_at_the_edge(status: int) -> None:
    assert take_status([(b":status", str(status).encode())]) == status


@pytest.mark.parametrize(
    ("values", "length"),
    [([], None), ([b"0"], 0), ([b"5"], 5), ([b"5", b"5"], 5), ([b"9" * 19], int("9" * 19)), ([b"007"], 7)],
)
def test_announced_lengths(values: list[bytes], length: int | None) -> None:
    assert content_length([(b"content-length", value) for value in values]) == length


@pytest.mark.parametrize(
    "values", [[b""], [b"+5"], [b"-1"], [b"5 "], [b"0x5"], [b"5_0"], [b"5, 5"], [b"9" * 20], [b"5", b"6"], [b"5\n"]]
)
def test_lengths_that_are_none(values: list[bytes]) -> None:
    with pytest.raises(StreamFault):
        content_length([(b"content-length", value) for value in values])


def test_names_a_server_makes_up_are_not_kept_for_ever() -> None:
    for number in range(5000):
        check_field(b"x-made-up-%d" % number, b"y")
    check_field(b"y" * 5000, b"z")

    assert len(h2_fields._good_names) <= 1024
    assert max(map(len, h2_fields._good_names)) <= 64


# ---- what is sent ----------------------------------------------------------------------------------------------------


def fields_of(**headers: str) -> list[tuple[bytes, bytes]]:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    request = build_request(Origin("https", "api.test", 443), "GET", "/a?b", pairs, make_body(None))
    return list(request_fields(request, b"https"))


def test_the_head_of_a_request() -> None:
    assert fields_of(x_a="b") == [
        (b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"api.test"), (b":path", b"/a?b"), (b"x-a", b"b"),
    ]  # fmt: skip


def test_what_belongs_to_connections_of_http1_is_not_sent() -> None:
    names = {name for name, _ in fields_of(connection="close", x_a="b")}

    assert names == {b":method", b":scheme", b":authority", b":path", b"x-a"}


def test_secrets_stay_out_of_the_table() -> None:
    fields = fields_of(authorization="Bearer abc", cookie="a=b", x_a="b")
    kept_out = {field[0] for field in fields if isinstance(field, NeverIndexedHeaderTuple)}

    assert kept_out == {b"authorization", b"cookie"}
    assert not isinstance(fields_of(cookie="a=" + "b" * 30)[-1], NeverIndexedHeaderTuple)


def test_a_target_for_proxies_is_refused() -> None:
    request = build_request(Origin("http", "api.test", 80), "GET", "/", [], make_body(None))
    request.target = b"http://api.test/"
    with pytest.raises(LocalProtocolError, match="absolute"):
        request_fields(request, b"http")


def test_the_size_of_a_head_counts_each_field_with_32_bytes_more() -> None:
    assert size_of([(b"ab", b"c"), (b"", b"")]) == 67
