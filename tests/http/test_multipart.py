"""Forms with files: what they look like, what a parser nobody here wrote makes of them, and what is refused."""

from __future__ import annotations

import io
import re
from email.message import Message
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from python_multipart import MultipartParser

from penstock._errors import LocalProtocolError
from penstock._http.body import COALESCE, FILE_PIECE
from penstock._http.multipart import make_multipart

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from penstock._http.body import RequestBody


class Seen(NamedTuple):
    """One part as the parser sees it."""

    headers: list[tuple[bytes, bytes]]
    content: bytes


def parse(wire: bytes, boundary: bytes) -> list[Seen]:
    """What python-multipart makes of a body."""
    parts: list[Seen] = []
    field = value = content = b""
    headers: list[tuple[bytes, bytes]] = []
    ended = False

    def on_part_begin() -> None:
        nonlocal content, headers
        content, headers = b"", []

    def on_header_field(data: bytes, start: int, end: int) -> None:
        nonlocal field
        field += data[start:end]

    def on_header_value(data: bytes, start: int, end: int) -> None:
        nonlocal value
        value += data[start:end]

    def on_header_end() -> None:
        nonlocal field, value
        headers.append((field, value))
        field = value = b""

    def on_part_data(data: bytes, start: int, end: int) -> None:
        nonlocal content
        content += data[start:end]

    def on_part_end() -> None:
        parts.append(Seen(headers, content))

    def on_end() -> None:
        nonlocal ended
        ended = True

    callbacks = {name: found for name, found in locals().items() if name.startswith("on_")}
    parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
    assert parser.write(wire) == len(wire)
    parser.finalize()
    assert ended
    return parts


def parameters(disposition: bytes) -> dict[str, str]:
    """The parameters of a Content-Disposition, by the standard library, quotes and escapes undone as servers do."""
    message = Message()
    message["content-disposition"] = disposition.decode("utf-8", "surrogateescape")
    found = message.get_params(header="content-disposition")
    assert found is not None
    return dict(found[1:])


async def read(body: RequestBody) -> bytes:
    body.restart()
    pieces = []
    while (piece := await body.next_piece()) is not None:
        pieces.append(bytes(piece))
    await body.aclose()
    return b"".join(pieces)


async def test_a_form_with_files_looks_like_this() -> None:
    body, kind = make_multipart(
        [("model", "whisper-1"), ("language", "é")],
        {
            "file": ("speech.mp3", b"ID3..."),
            "raw": b"\0\1",
            "options": (None, '{"a": 1}', "application/json"),
            "plain": (None, "text"),
            "extra": ("x.bin", b"x", "a/b", {"X-Part": "7", "Content-Transfer-Encoding": "binary"}),
        },
        boundary=b"frontier",
    )
    assert kind == b"multipart/form-data; boundary=frontier"
    wire = await read(body)
    assert wire == (
        b'--frontier\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        b'--frontier\r\nContent-Disposition: form-data; name="language"\r\n\r\n\xc3\xa9\r\n'
        b'--frontier\r\nContent-Disposition: form-data; name="file"; filename="speech.mp3"\r\n'
        b"Content-Type: audio/mpeg\r\n\r\nID3...\r\n"
        b'--frontier\r\nContent-Disposition: form-data; name="raw"; filename="upload"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n\0\1\r\n"
        b'--frontier\r\nContent-Disposition: form-data; name="options"\r\n'
        b'Content-Type: application/json\r\n\r\n{"a": 1}\r\n'
        b'--frontier\r\nContent-Disposition: form-data; name="plain"\r\n\r\ntext\r\n'
        b'--frontier\r\nContent-Disposition: form-data; name="extra"; filename="x.bin"\r\n'
        b"Content-Type: a/b\r\nX-Part: 7\r\nContent-Transfer-Encoding: binary\r\n\r\nx\r\n"
        b"--frontier--\r\n"
    )
    assert (body.length, body.is_replayable, body.small) == (len(wire), True, wire)
    assert await read(body) == wire


def test_boundaries_are_random_and_long() -> None:
    kinds = {make_multipart([("a", "b")], {})[1] for _ in range(100)}
    assert len(kinds) == 100
    assert all(re.fullmatch(rb"multipart/form-data; boundary=[0-9a-f]{32}", kind) for kind in kinds)


@pytest.mark.parametrize("boundary", [b"", b"a b", b"a\r\nb", b'"', b"x" * 71])
def test_a_boundary_that_needs_escapes_is_refused(boundary: bytes) -> None:
    with pytest.raises(ValueError, match="boundary must be"):
        make_multipart([("a", "b")], {}, boundary=boundary)


def test_a_boundary_that_is_no_token_is_quoted() -> None:
    assert make_multipart([("a", "b")], {}, boundary=b"a/b")[1] == b'multipart/form-data; boundary="a/b"'


# ---- where content comes from ----------------------------------------------------------------------------------------


async def test_a_file_is_read_from_its_position_a_piece_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    content = bytes(range(256)) * 12_000
    path.write_bytes(b"skipped" + content)
    with path.open("rb") as file:
        file.read(7)
        body, _ = make_multipart([], {"file": file}, boundary=b"b")
        for _ in range(2):
            body.restart()
            pieces = []
            while (piece := await body.next_piece()) is not None:
                pieces.append(bytes(piece))
            assert max(map(len, pieces)) == FILE_PIECE
            wire = b"".join(pieces)
            assert len(wire) == body.length
            assert body.is_replayable
            (part,) = parse(wire, b"b")
            assert part.content == content
            assert parameters(part.headers[0][1]) == {"name": "file", "filename": "speech.wav"}
            assert part.headers[1][1] in (b"audio/x-wav", b"audio/wav", b"audio/vnd.wave")


async def test_one_file_may_be_two_parts() -> None:
    file = io.BytesIO(b"0123456789")
    file.seek(2)
    body, _ = make_multipart([], [("a", file), ("b", file)], boundary=b"b")
    assert [part.content for part in parse(await read(body), b"b")] == [b"23456789"] * 2


@pytest.mark.parametrize("size", [3, 20], ids=["shorter", "longer"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_file_that_changes_meanwhile(tmp_path: Path, size: int, *, chunked: bool) -> None:
    """A shorter one is refused, also where the whole has no length; a longer one is cut, as it is outside of forms."""
    path = tmp_path / "f"
    path.write_bytes(b"x" * 10)
    with path.open("rb") as file:
        others = [("g", ("g", iter([b"y"])))] if chunked else []
        body, _ = make_multipart([], [("f", file), *others], boundary=b"b")
        assert (body.length is None) is chunked
        path.write_bytes(b"x" * size)
        if size > 10:
            assert parse(await read(body), b"b")[0].content == b"x" * 10
        else:
            with pytest.raises(LocalProtocolError, match="a part of the request body has fewer than the 10 bytes"):
                await read(body)


def generate() -> Iterator[bytes]:
    yield b"ab"
    yield b""
    yield b"cd"


async def agenerate() -> AsyncIterator[bytes]:
    for piece in generate():
        yield piece


class Pipe(io.RawIOBase):
    """A binary file without a position."""

    def __init__(self) -> None:
        self.rest = io.BytesIO(b"abcd")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self.rest.read(size)

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError


@pytest.mark.parametrize("make", [generate, agenerate, Pipe])
async def test_content_of_unknown_length_is_sent_once(make: Any) -> None:
    content = make()
    body, _ = make_multipart([], [("f", ("f", content)), ("n", ("n", b"x" * (COALESCE + 1)))], boundary=b"b")
    assert (body.length, body.is_replayable, body.small) == (None, False, None)
    assert [part.content for part in parse(await read(body), b"b")] == [b"abcd", b"x" * (COALESCE + 1)]
    with pytest.raises(LocalProtocolError, match="can be read once, and was read before"):
        body.restart()
    content = make()
    with pytest.raises(ValueError, match=r"files\['g'\]: what can be read only once is the content of two parts"):
        make_multipart([], [("f", ("f", content)), ("g", ("g", content))])


async def test_a_list_of_pieces_can_be_sent_again() -> None:
    body, _ = make_multipart([], {"f": ("f", [b"a", b"b"])}, boundary=b"b")
    assert (body.length, body.is_replayable) == (None, True)
    assert await read(body) == await read(body)


@pytest.mark.parametrize("size", [0, COALESCE - 200, COALESCE, 3 * COALESCE])
async def test_content_of_every_size_has_its_place(size: int) -> None:
    content = b"\r\n-b" * (size // 4)
    body, _ = make_multipart([("x", "y")], [("f", ("f", content)), ("g", ("g", content))], boundary=b"b")
    wire = await read(body)
    assert body.length == len(wire)
    assert [part.content for part in parse(wire, b"b")] == [b"y", content, content]


async def test_a_generator_that_is_stopped_is_finished() -> None:
    finished = []

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"a"
            yield b"b"
        finally:
            finished.append(True)

    body, _ = make_multipart([], {"f": ("f", pieces())}, boundary=b"b")
    body.restart()
    await body.next_piece()
    assert await body.next_piece() == b"a"
    await body.aclose()
    assert finished == [True]


async def test_what_a_generator_yields_is_checked() -> None:
    body, _ = make_multipart([], {"f": ("f", ["text"])}, boundary=b"b")  # type: ignore[dict-item]
    with pytest.raises(LocalProtocolError, match="must yield bytes, not str"):
        await read(body)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("/a/b/c.txt", "c.txt"), (b"/a/\xff.txt", None), (7, "upload"), ("<stdin>", "upload"), (None, "upload")],
)
async def test_a_file_is_called_by_the_last_part_of_its_path(name: object, shown: str | None) -> None:
    file = io.BytesIO(b"x")
    file.name = name  # type: ignore[attr-defined]
    if shown is None:
        with pytest.raises(ValueError, match="no UTF-8 form"):
            make_multipart([], {"f": file})
        return
    body, _ = make_multipart([], {"f": file}, boundary=b"b")
    assert parameters(parse(await read(body), b"b")[0].headers[0][1])["filename"] == shown


# ---- what cannot be sent ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "error", "message"),
    [
        ("text", TypeError, "must be bytes, a binary file or a tuple"),
        (7, TypeError, "must be bytes, a binary file or a tuple"),
        (io.StringIO("x"), TypeError, "binary mode"),
        (("f",), TypeError, "2 to 4 items, not of 1"),
        (("f", b"", "a/b", {}, 5), TypeError, "2 to 4 items, not of 5"),
        ((7, b""), TypeError, "the file name must be a str or None"),
        (("f", b"", 7), TypeError, "the content type must be a str or None"),
        (("f", None), TypeError, "the content must not be None"),
        (("f", 7), TypeError, "content must be"),
        (("f\0", b""), ValueError, "must not have control characters"),
        (("\udc80", b""), ValueError, "no UTF-8 form"),
        (("f", b"", "a/b\r\nX: y"), LocalProtocolError, "content-type has a control character"),
        (("f", b"", "a/b", {"X\r\n": "y"}), LocalProtocolError, "token"),
        (("f", b"", "a/b", {"X": "y\r\n"}), LocalProtocolError, "control character"),
        (("f", b"", "a/b", {"X": "y\n\n--b"}), LocalProtocolError, "control character"),
        (("f", b"", "a/b", {"Content-Type": "c/d"}), ValueError, "content-type cannot be set: it is the third item"),
        (("f", b"", "a/b", {"Content-Length": "1"}), ValueError, "content-length cannot be set"),
        (("f", b"", "a/b", {"Content-Disposition": "x"}), ValueError, "content-disposition cannot be set"),
    ],
)
def test_a_mistake_is_named(file: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make_multipart([], {"f": file})


@pytest.mark.parametrize("files", ["ab", b"ab", 7, io.BytesIO(), [7], [("a",)], {7: b""}])
def test_files_are_names_with_files(files: Any) -> None:
    with pytest.raises(TypeError):
        make_multipart([], files)


def test_there_is_at_least_one_part() -> None:
    with pytest.raises(ValueError, match="at least one part"):
        make_multipart([], {})


# What ends lines, quotes, parts and parameters, and what some parsers take for such.
ODD = st.text(st.sampled_from(list('ab"\\;:=, \r\n\t\0\x0b\x0c\x1c\x7f\x85é\u2028-%')) | st.characters(), max_size=20)
SENT = st.one_of(
    st.binary(max_size=50), st.sampled_from([b"--b--\r\n", b"\r\n--", b"\r\n--bb", b"Content-Type: x\r\n\r\n"])
)


def undone(text: str) -> str:
    """What a server reads back of a name; a percent sign of the caller's is not told apart, as in every browser."""
    return text.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")


Fields = list[tuple[str, str]]
Files = list[tuple[str, tuple[str | None, bytes, str | None, dict[str, str]]]]

BOUNDARY = b"0123456789abcdef0123456789abcdef"


def check(made: tuple[RequestBody, bytes], fields: Fields, files: Files) -> None:
    """The parser finds these parts, with these headers and contents, and nothing else."""
    body, kind = made
    assert body.small is not None
    parts = parse(body.small, BOUNDARY)
    assert len(parts) == len(fields) + len(files)
    for (name, text), part in zip(fields, parts, strict=False):
        assert part.content == text.encode()
        assert part.headers == [(b"Content-Disposition", f'form-data; name="{undone(name)}"'.encode())]
    for (name, (filename, content, content_type, headers)), part in zip(files, parts[len(fields) :], strict=True):
        assert part.content == content
        shown = f'form-data; name="{undone(name)}"'
        if filename is not None:
            shown += f'; filename="{undone(filename)}"'
        assert part.headers[0] == (b"Content-Disposition", shown.encode())
        has_type = filename is not None or content_type is not None
        assert len(part.headers) == 1 + has_type + len(headers)
        assert all(b"\r" not in value and b"\n" not in value for _, value in part.headers)
    assert kind.endswith(BOUNDARY)


@given(
    st.lists(st.tuples(ODD, ODD), max_size=3),
    st.lists(
        st.tuples(ODD, st.tuples(st.none() | ODD, SENT, st.none() | ODD, st.dictionaries(ODD, ODD, max_size=2))),
        max_size=4,
    ),
)
@example([], [('a"; filename="x', ("b\r\nContent-Type: text/html", b"", None, {}))])
@example([("a\r\n\r\ninjected", "x\r\n--b")], [])
def test_nothing_that_a_caller_passes_makes_another_part_or_header(fields: Fields, files: Files) -> None:
    try:
        made = make_multipart(fields, files, boundary=BOUNDARY)
    except (ValueError, LocalProtocolError):
        return
    check(made, fields, files)


# What names and headers may hold, also where it would end a line, a quote or a parameter if nobody escaped it.
NAMES = st.text('ab"\\;:=, \r\né\u2028-%', max_size=12)
HEADERS = st.dictionaries(st.sampled_from(["X-A", "x-b"]), st.sampled_from(["", "1", '"; a=b']))
KINDS = st.none() | st.sampled_from(["a/b", 'a/b; c="d"'])


@given(
    st.lists(st.tuples(NAMES, NAMES), max_size=3),
    st.lists(st.tuples(NAMES, st.tuples(st.none() | NAMES, SENT, KINDS, HEADERS)), min_size=1, max_size=4),
)
def test_what_can_be_escaped_is_sent(fields: Fields, files: Files) -> None:
    check(make_multipart(fields, files, boundary=BOUNDARY), fields, files)
