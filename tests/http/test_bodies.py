"""What may be passed as content, and what is known about it."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from penstock._errors import LocalProtocolError
from penstock._http.body import COALESCE, FILE_PIECE, make_body


@pytest.mark.parametrize(
    ("content", "length", "is_replayable", "is_small"),
    [
        (None, 0, True, True),
        (b"", 0, True, True),
        (b"hello", 5, True, True),
        ("h\u00e9", 3, True, True),
        (bytearray(b"hello"), 5, True, True),
        (memoryview(b"hello")[::2], 3, True, True),
        (b"x" * COALESCE, COALESCE, True, True),
        (b"x" * (COALESCE + 1), COALESCE + 1, True, False),
        (io.BytesIO(b"hello"), 5, True, False),
        ([b"hello"], None, True, False),
        ((b"hello",), None, True, False),
        (iter([b"hello"]), None, False, False),
    ],
)
def test_what_is_known_about_a_body(content: object, length: int | None, is_replayable: bool, is_small: bool) -> None:
    body = make_body(content)  # type: ignore[arg-type]

    assert (body.length, body.is_replayable, body.small is not None) == (length, is_replayable, is_small)


@pytest.mark.parametrize("content", [5, {"a": "b"}, object(), io.StringIO("text")])
def test_what_cannot_be_a_body(content: object) -> None:
    with pytest.raises(TypeError):
        make_body(content)  # type: ignore[arg-type]


def test_a_frozen_copy_is_sent() -> None:
    content = bytearray(b"hello")
    body = make_body(content)
    content[0:1] = b"J"

    assert body.small == b"hello"


def test_a_file_is_measured_from_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    with path.open("rb") as file:
        file.seek(40)
        assert make_body(file).length == 60
        assert file.tell() == 40


def test_a_temporary_file_has_a_length() -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"hello")
        file.seek(0)
        assert make_body(file).length == 5


def test_a_compressed_file_has_the_length_of_what_it_yields(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(b"x" * 1000))
    with gzip.open(path) as file:
        assert make_body(file).length in {None, 1000}  # type: ignore[arg-type]


async def test_a_pipe_has_no_length_and_is_read_once() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"hello")
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        body = make_body(file)
        assert (body.length, body.is_replayable) == (None, False)
        body.restart()
        assert [await body.next_piece(), await body.next_piece()] == [b"hello", None]
        with pytest.raises(LocalProtocolError):
            body.restart()


async def test_a_file_that_grows_is_cut_at_its_announced_length(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    with path.open("rb") as file:
        body = make_body(file)
        with path.open("ab") as more:
            more.write(b"y" * 10)
        body.restart()
        assert [await body.next_piece(), await body.next_piece()] == [b"x" * 10, None]


async def test_a_file_comes_in_pieces_of_useful_size(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * (FILE_PIECE + 5))
    with path.open("rb") as file:
        body = make_body(file)
        for _ in range(2):
            body.restart()
            sizes = []
            while piece := await body.next_piece():
                sizes.append(len(piece))
            assert sizes == [FILE_PIECE, 5]


async def test_a_pipe_that_yields_nothing_can_be_given_up() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as file, os.fdopen(writing, "wb") as silent:
        body = make_body(file)  # type: ignore[arg-type]
        body.restart()
        with trio.move_on_after(0.01) as scope:
            await body.next_piece()
        assert scope.cancelled_caught
        silent.close()


async def test_pipes_that_yield_nothing_leave_other_threads_alone() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as file, os.fdopen(writing, "wb") as silent:
        body = make_body(file)  # type: ignore[arg-type]
        body.restart()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(body.next_piece)
            await trio.testing.wait_all_tasks_blocked()
            assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
            silent.close()


async def plain() -> AsyncIterator[object]:
    for piece in WITH_A_HOLE:
        yield piece


WITH_A_HOLE = [b"a", None, b"c"]


@pytest.mark.parametrize("make", [lambda: WITH_A_HOLE, lambda: iter(WITH_A_HOLE), plain])
async def test_a_none_among_the_pieces_is_a_mistake_and_not_the_end(make: Callable[[], Any]) -> None:
    body = make_body(make())
    body.restart()
    assert await body.next_piece() == b"a"
    with pytest.raises(LocalProtocolError, match="must yield bytes, not NoneType"):
        await body.next_piece()
    await body.aclose()


async def test_a_file_without_data_yet_has_not_ended() -> None:
    class NotYet(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _: object) -> None:
            return None

    body = make_body(NotYet())  # type: ignore[arg-type]
    body.restart()
    with pytest.raises(LocalProtocolError, match="must yield bytes, not NoneType"):
        await body.next_piece()


async def test_a_view_with_gaps_is_a_mistake() -> None:
    body = make_body(iter([memoryview(b"abcd")[::2]]))
    body.restart()
    with pytest.raises(LocalProtocolError, match="not contiguous"):
        await body.next_piece()
