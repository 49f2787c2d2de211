"""The chunked coding: every byte counted, bounded work in one call, limits met exactly."""

from __future__ import annotations

import pytest

from penstock._errors import ProtocolReason
from penstock._http.h1_chunks import CHUNK_OVERHEAD, ChunkDecoder
from penstock._http.h1_judges import Refusal

#: Pieces that one call gives at most.
MOST = 64


def make(*, max_trailer_size: int = 100, max_trailers: int = 5) -> ChunkDecoder:
    return ChunkDecoder(max_trailer_size=max_trailer_size, max_trailers=max_trailers)


def decode(decoder: ChunkDecoder, *segments: bytes) -> bytes:
    body: list[bytes] = []
    for segment in segments:
        decoder.feed(segment)
        known = -1
        while len(body) != known and not decoder.ended:
            known = len(body)
            decoder.pull(body)
    return b"".join(body)


def by_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize("count", [0, 1, MOST - 1, MOST, MOST + 1, 2 * MOST, 500])
@pytest.mark.parametrize("rest", [b"", b"\r\n", b"HTTP/1.1 200 OK"])
def test_the_end_is_found_whatever_one_call_gives(count: int, rest: bytes) -> None:
    decoder = make()

    assert decode(decoder, b"1\r\nx\r\n" * count + b"0\r\nA: b\r\n\r\n" + rest) == b"x" * count
    assert decoder.ended
    assert decoder.trailers == b"A: b\r\n"
    assert decoder.has_leftovers == bool(rest)


def test_one_call_does_a_bounded_piece_of_work() -> None:
    decoder, body = make(), list[bytes]()
    decoder.feed(b"1\r\nx\r\n" * 1000)
    decoder.pull(body)

    assert len(body) == MOST


def test_it_says_when_nothing_more_can_come_without_more_bytes() -> None:
    decoder, body = make(), list[bytes]()
    for segment in by_byte(b"3;a=b\r\nabc\r\n1\r\nx\r"):
        decoder.feed(segment)
        assert not decoder.is_starved
        decoder.pull(body)
        assert decoder.is_starved
        decoder.pull(body)
    assert b"".join(body) == b"abcx"
    decoder.feed(b"\n" + b"1\r\nx\r\n" * MOST)
    decoder.pull(body)
    assert not decoder.is_starved
    decoder.pull(body)
    assert decoder.is_starved


def test_a_wrong_size_is_refused_at_the_first_byte_that_shows_it() -> None:
    wrong = b"1\r\nxyz\r\n"
    decoder, body = make(), list[bytes]()
    for count, segment in enumerate(by_byte(wrong), 1):
        decoder.feed(segment)
        if count == len(wrong):
            with pytest.raises(Refusal, match="not as long as its size"):
                decoder.pull(body)
        else:
            decoder.pull(body)


def test_data_is_given_as_it_comes() -> None:
    decoder = make()

    assert [decode(decoder, data) for data in (b"5", b"\r\nhe", b"ll", b"o\r", b"\n0\r\n", b"\r\n")] == [
        *[b"", b"he", b"ll", b"o", b"", b""]
    ]
    assert decoder.ended


@pytest.mark.parametrize(("padding", "passes"), [(100 - 5, True), (100 - 4, False)])
def test_trailers_may_have_the_largest_size_and_not_a_byte_more(padding: int, passes: bool) -> None:
    wire = b"0\r\nA: " + b"x" * padding + b"\r\n\r\n"
    for segments in ([wire], by_byte(wire)):
        decoder = make()
        if passes:
            decode(decoder, *segments)
            assert decoder.ended
        else:
            with pytest.raises(Refusal, match="longer than allowed"):
                decode(decoder, *segments)


@pytest.mark.parametrize(("count", "passes"), [(5, True), (6, False)])
def test_trailers_are_counted(count: int, passes: bool) -> None:
    wire = b"0\r\n" + b"a: b\r\n" * count + b"\r\n"
    for segments in ([wire], by_byte(wire)):
        decoder = make()
        if passes:
            decode(decoder, *segments)
            assert decoder.ended
        else:
            with pytest.raises(Refusal, match="more header fields"):
                decode(decoder, *segments)


def test_no_trailers_need_no_room() -> None:
    decoder = make(max_trailer_size=0, max_trailers=0)
    decode(decoder, *by_byte(b"0\r\n\r\n"))

    assert decoder.ended


def chunk_with_extension(excess: int, size: int) -> bytes:
    """A chunk whose line and line end cost `excess` more than is paid for by its data."""
    line = b"%x;" % size
    return line + b"n" * (excess + 12 + size - len(line)) + b"\r\n" + b"x" * size + b"\r\n"


def test_extensions_are_bounded_exactly_and_paid_for_by_data() -> None:
    most = chunk_with_extension(CHUNK_OVERHEAD // 8, 1) * 8
    for extra, passes in ((b"", True), (chunk_with_extension(1, 1), False), (b"64\r\n" + b"x" * 100 + b"\r\n", True)):
        for cut in (lambda data: [data], by_byte):
            decoder = make()
            if passes:
                decode(decoder, *cut(most + extra))
            else:
                with pytest.raises(Refusal) as caught:
                    decode(decoder, *cut(most + extra))
                assert caught.value.reason is ProtocolReason.LIMIT


def test_a_large_chunk_buys_no_credit_for_later_extensions() -> None:
    wire = b"%x\r\n%s\r\n" % (100_000, b"x" * 100_000) + chunk_with_extension(4000, 1) * 5
    with pytest.raises(Refusal, match="mostly extensions"):
        decode(make(), wire)
