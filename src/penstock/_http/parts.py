"""The parts of a form with files (RFC 7578): their heads, made of what a caller passed, and their content.

Names and file names are written as the HTML standard has it (§4.10.21.8), which is what servers expect: UTF-8, and line
ends and quotes percent-encoded. No other control character is let through.
"""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, BinaryIO

from .body import BytesBody, make_body
from .fields import check_value
from .headers import HeaderArgument, to_fields

if TYPE_CHECKING:
    from .._types import HeaderList
    from .body import Content, RequestBody

FileArgument = (
    bytes
    | BinaryIO
    | tuple[str | None, "Content"]
    | tuple[str | None, "Content", str | None]
    | tuple[str | None, "Content", str | None, HeaderArgument]
)
Files = Mapping[str, FileArgument] | Iterable[tuple[str, FileArgument]]

#: What a file is called whose name nobody knows: without one, servers take it for a text.
_UNNAMED = "upload"

_OTHER_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
#: Fields of a part that are said elsewhere, or that would tell its end a second time.
_NOT_AS_HEADER = {
    b"content-disposition": "it is made of the name and the file name",
    b"content-type": "it is the third item",
    b"content-length": "the boundary ends a part",
}


class Part:
    """One part: its head, from the line behind the boundary to the blank line, and its content."""

    __slots__ = ("body", "head")

    def __init__(self, head: bytes, body: RequestBody) -> None:
        self.head = head
        self.body = body


def text_part(name: str, text: str) -> Part:
    """A plain field."""
    return Part(_head(name, None, None, []), BytesBody(_encode(text, "a value")))


def file_parts(files: object) -> list[Part]:
    """A part for each of the files that a caller passed, a `Files`; errors are those of `make_multipart`."""
    if isinstance(files, Mapping):
        files = files.items()
    elif not isinstance(files, Iterable) or isinstance(files, str | bytes | bytearray) or hasattr(files, "read"):
        raise TypeError(f"files must be a mapping or pairs, not {type(files).__name__}")
    parts: list[Part] = []
    once: set[int] = set()
    for pair in files:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"files must be pairs of a name and a file, not {type(pair).__name__}")
        name, given = pair
        if not isinstance(name, str):
            raise TypeError(f"a name in files must be a str, not {type(name).__name__}")
        part, content = _to_part(name, given)
        if not part.body.is_replayable:
            if id(content) in once:
                raise ValueError(f"files[{name!r}]: what can be read only once is the content of two parts")
            once.add(id(content))
        parts.append(part)
    return parts


def _to_part(name: str, given: Any) -> tuple[Part, object]:
    kind: object = None
    headers: HeaderArgument = ()
    if isinstance(given, tuple):
        if not 2 <= len(given) <= 4:
            raise TypeError(f"files[{name!r}] must be a tuple of 2 to 4 items, not of {len(given)}")
        filename, content, kind, headers = (*given, None, None)[:4]
        if filename is not None and not isinstance(filename, str):
            raise TypeError(f"files[{name!r}]: the file name must be a str or None, not {type(filename).__name__}")
        if kind is not None and not isinstance(kind, str):
            raise TypeError(f"files[{name!r}]: the content type must be a str or None, not {type(kind).__name__}")
        if content is None:
            raise TypeError(f"files[{name!r}]: the content must not be None")
    elif isinstance(given, bytes | bytearray | memoryview) or hasattr(given, "read"):
        filename, content = _name_of(given), given
    else:
        raise TypeError(
            f"files[{name!r}] must be bytes, a binary file or a tuple of a file name and a content, "
            f"not {type(given).__name__}"
        )
    body = make_body(content)
    if filename is not None and kind is None:
        # By the extension alone: the whole could be taken for a URL.
        kind = mimetypes.guess_type("file" + PurePath(filename).suffix)[0] or "application/octet-stream"
    return Part(_head(name, filename, kind, to_fields(headers or (), f"headers of files[{name!r}]")), body), content


def _name_of(file: object) -> str:
    """The last part of a file's path; what is no path (the number of a descriptor, "<stdin>") says nothing."""
    path = getattr(file, "name", None)
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    name = PurePath(path).name if isinstance(path, str) else ""
    return _UNNAMED if not name or name.startswith("<") else name


def _head(name: str, filename: str | None, kind: object, headers: HeaderList) -> bytes:
    """The fields of a part. Whatever comes from the caller is checked or encoded, so that none can end its line."""
    lines = [b'Content-Disposition: form-data; name="%b"' % _escape(name, "a name")]
    if filename is not None:
        lines[0] += b'; filename="%b"' % _escape(filename, "a file name")
    if kind is not None:
        lines.append(b"Content-Type: " + check_value(str(kind), b"content-type"))
    for field, value in headers:
        if field in _NOT_AS_HEADER:
            raise ValueError(f"a part's header {field.decode()} cannot be set: {_NOT_AS_HEADER[field]}")
        lines.append(field.title() + b": " + value)
    return b"".join([line + b"\r\n" for line in lines])


def _escape(text: str, what: str) -> bytes:
    if _OTHER_CONTROLS.search(text):
        raise ValueError(f"{what} in a multipart body must not have control characters, as {text[:64]!r} has")
    return _encode(text.replace("\n", "%0A").replace("\r", "%0D").replace('"', "%22"), what)


def _encode(text: str, what: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{what} in a multipart body has no UTF-8 form: {text[:64]!r}") from None
