"""Header blocks that are sent: what is remembered of them must not outlive what it depends on."""

from __future__ import annotations

from hpack import Decoder, NeverIndexedHeaderTuple
from hypothesis import given
from hypothesis import strategies as st

from penstock._http.h2_encoder import CappedEncoder

names = st.sampled_from([b"x-a", b"x-b", b":path", b"content-length", b"traceparent", b"cookie"])
values = st.sampled_from([b"", b"1", b"v" * 126, b"v" * 127, b"v" * 254, b"v" * 255, b"w" * 1500, b"z" * 5000])
heads = st.lists(st.tuples(names, values), max_size=6)
sizes = st.sampled_from([0, 50, 300, 4096, 1 << 20])


@given(steps=st.lists(st.one_of(heads, sizes), max_size=40))
def test_what_is_encoded_is_decoded_by_another_whatever_the_server_does_to_the_table(
    steps: list[list[tuple[bytes, bytes]] | int],
) -> None:
    """Blocks that come again are remembered: a table that has changed meanwhile must not spoil them."""
    encoder, decoder = CappedEncoder(4096), Decoder(1 << 24)
    for step in steps:
        if isinstance(step, int):
            decoder.max_allowed_table_size = max(step, decoder.header_table_size)
            encoder.header_table_size = step
        else:
            assert list(decoder.decode(encoder.encode(step), raw=True)) == step
            assert decoder.header_table_size == encoder.header_table_size


def test_paths_do_not_push_out_what_comes_again() -> None:
    encoder = CappedEncoder(4096)
    rest = [(b":method", b"GET"), (b"user-agent", b"x/1"), (b"accept", b"*/*")]
    paths = [(b":path", b"/items/%03d" % number) for number in range(1000)]
    sizes = [len(encoder.encode([rest[0], path, *rest[1:]])) for path in paths]

    # The path is a literal of 12 bytes, everything else an index.
    assert sizes[1:] == [15] * 999
    assert len(encoder.header_table.dynamic_entries) == 2


def test_runs_that_are_remembered_are_few() -> None:
    encoder = CappedEncoder(4096)
    for number in range(1000):
        encoder.encode([(b":method", b"GET"), (b":path", b"/%d" % number)])
        # Never indexed, so that the table stays as it is.
        encoder.encode([NeverIndexedHeaderTuple(b"authorization", b"%d" % number)])

    assert len(encoder._runs) <= 16
