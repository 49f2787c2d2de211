"""Content codings: what comes back, in pieces of bounded size, and what is refused."""

from __future__ import annotations

import contextlib
import gzip
import sys
import zlib
from typing import TYPE_CHECKING

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock._errors import DecodingError
from penstock._http import coding
from penstock._http.coding import PULL_SIZE, Decoder, accept_encoding, make_decoder
from penstock._http.inflate import MAX_MEMBERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def raw_deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(data) + deflater.flush()


def zstd_stream(data: bytes) -> bytes:
    # Without a content size, and with a checksum: the other form of a frame.
    return zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compress(data)


ENCODERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", brotli.compress),
    ("zstd", zstandard.compress),
    ("zstd", zstd_stream),
]

every_coding = pytest.mark.parametrize(
    ("name", "encode"), ENCODERS, ids=[f"{name}-{encode.__name__}" for name, encode in ENCODERS]
)


def decoder(*values: str) -> Decoder:
    made = make_decoder([(b"content-encoding", value.encode()) for value in values])
    assert made is not None
    return made


def pieces(data: bytes, step: int) -> Iterator[bytes]:
    for at in range(0, len(data), step):
        yield data[at : at + step]


def decode(made: Decoder, data: bytes, *, step: int = 65536, max_bytes: int = PULL_SIZE) -> bytes:
    output = []
    for piece in pieces(data, step):
        made.feed(piece)
        while part := made.pull(max_bytes):
            assert len(part) <= max_bytes
            output.append(part)
    made.finish()
    return b"".join(output)


@every_coding
@settings(max_examples=25, deadline=None)
@given(
    data=st.binary(max_size=200) | st.binary(min_size=1, max_size=5).map(lambda part: part * 20_000),
    step=st.integers(1, 200),
    max_bytes=st.integers(1, 1000) | st.just(PULL_SIZE),
)
def test_what_was_coded_comes_back(
    name: str, encode: Callable[[bytes], bytes], data: bytes, step: int, max_bytes: int
) -> None:
    assert decode(decoder(name), encode(data), step=step, max_bytes=max(max_bytes, len(data) // 200)) == data


@every_coding
def test_a_bomb_goes_off_as_slowly_as_it_is_pulled(name: str, encode: Callable[[bytes], bytes]) -> None:
    bomb = encode(bytes(20_000_000))
    made = decoder(name)
    made.feed(bomb)

    for _ in range(20):
        assert 0 < len(made.pull()) <= PULL_SIZE


@every_coding
def test_a_cut_body_is_an_error(name: str, encode: Callable[[bytes], bytes]) -> None:
    data = encode(b"hello world " * 1000)
    for end in (1, len(data) // 2, len(data) - 1):
        with pytest.raises(DecodingError):
            decode(decoder(name), data[:end])


@every_coding
@pytest.mark.parametrize("step", [1, 65536])
def test_something_after_the_end_is_an_error(name: str, encode: Callable[[bytes], bytes], step: int) -> None:
    for junk in (b"garbage", b"\n", b"\0\0\0\0"):
        with pytest.raises(DecodingError):
            decode(decoder(name), encode(b"hello") + junk, step=step)


@every_coding
def test_a_corrupt_body_is_an_error(name: str, encode: Callable[[bytes], bytes]) -> None:
    with pytest.raises(DecodingError):
        decode(decoder(name), b"\xff\x06garbage, not coded at all")
    coded = bytearray(encode(b"hello world " * 100))
    coded[len(coded) // 2] ^= 0xFF
    try:
        decode(decoder(name), bytes(coded))
    except DecodingError:
        return
    # Without a checksum a flipped bit may decode to something else.
    assert encode in {raw_deflate, brotli.compress, zstandard.compress}


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(["gzip", "deflate", "br", "zstd", "gzip, br"]),
    data=st.binary(max_size=100),
    step=st.integers(1, 9),
)
def test_random_bytes_never_raise_anything_else(name: str, data: bytes, step: int) -> None:
    with contextlib.suppress(DecodingError):
        decode(decoder(name), data, step=step)


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd"])
def test_no_body_at_all_is_fine(name: str) -> None:
    assert decode(decoder(name), b"") == b""


def test_members_and_frames_follow_one_another() -> None:
    assert (
        decode(decoder("gzip"), gzip.compress(b"one") + gzip.compress(b"") + gzip.compress(b"two"), step=3) == b"onetwo"
    )
    skippable = (0x184D2A53).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"abc"
    frames = skippable + zstandard.compress(b"one") + zstd_stream(b"two") + skippable
    for step in (1, 5, 1000):
        assert decode(decoder("zstd"), frames, step=step) == b"onetwo"


@pytest.mark.parametrize(("name", "encode"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
def test_members_are_counted(name: str, encode: Callable[[bytes], bytes]) -> None:
    assert decode(decoder(name), encode(b"") * MAX_MEMBERS) == b""
    with pytest.raises(DecodingError, match="1024"):
        decode(decoder(name), encode(b"") * (MAX_MEMBERS + 1))


def test_a_large_zstd_window_is_refused() -> None:
    for window, is_fine in ((23, True), (24, False)):
        compressor = zstandard.ZstdCompressor(
            compression_params=zstandard.ZstdCompressionParameters(window_log=window)
        ).compressobj()
        data = compressor.compress(b"hello") + compressor.flush()
        if is_fine:
            assert decode(decoder("zstd"), data) == b"hello"
        else:
            with pytest.raises(DecodingError):
                decode(decoder("zstd"), data)


def test_a_zstd_block_of_an_unknown_kind_is_refused() -> None:
    frame = zstandard.ZstdCompressor(write_content_size=True).compress(b"hello")
    with pytest.raises(DecodingError):
        decode(decoder("zstd"), frame[:6] + b"\x07\0\0" + b"x" * 10)


@pytest.mark.parametrize("values", [["gzip, br"], ["gzip", "br"], ["identity, gzip,", "br, identity"], [" GZIP ,Br"]])
def test_two_codings_come_off_in_order(values: list[str]) -> None:
    data = b"hello world " * 10_000

    for step in (100, 65536):
        assert decode(decoder(*values), brotli.compress(gzip.compress(data)), step=step) == data


def test_three_codings_are_too_many() -> None:
    for value in ("gzip, gzip, gzip", ", ".join(["gzip"] * 10_000)):
        with pytest.raises(DecodingError):
            decoder(value)


@pytest.mark.parametrize("value", ["", "identity", ", identity ,"])
def test_no_coding_needs_no_decoder(value: str) -> None:
    assert make_decoder([(b"content-encoding", value.encode())]) is None
    assert make_decoder([(b"content-type", b"gzip")]) is None


@pytest.mark.parametrize("value", ["compress", "gzipped", "\xff", "exi"])
def test_an_unknown_coding_is_an_error(value: str) -> None:
    with pytest.raises(DecodingError):
        make_decoder([(b"content-encoding", value.encode("latin-1"))])


def test_what_is_offered_can_be_decoded() -> None:
    offered = accept_encoding().decode().split(", ")

    assert offered == ["gzip", "deflate", "br", "zstd"]
    assert all(make_decoder([(b"content-encoding", name.encode())]) for name in offered)


def test_a_missing_package_is_neither_offered_nor_a_surprise(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ImportError("No module named 'brotli'")

    monkeypatch.setitem(coding._OPTIONAL, "br", ("brotli", fail))
    with pytest.raises(DecodingError, match="needs the package brotli"):
        make_decoder([(b"content-encoding", b"br")])


def test_a_brotli_that_cannot_bound_its_output_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        pass

    monkeypatch.setattr(brotli, "Decompressor", Old)
    accept_encoding.cache_clear()
    try:
        assert b"br" not in accept_encoding()
        with pytest.raises(DecodingError):
            make_decoder([(b"content-encoding", b"br")])
    finally:
        accept_encoding.cache_clear()


def test_a_package_that_is_not_there_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "brotli", None)
    monkeypatch.setattr(coding, "find_spec", lambda name: None)
    accept_encoding.cache_clear()
    try:
        assert accept_encoding() == b"gzip, deflate"
    finally:
        accept_encoding.cache_clear()
