"""The response vectors of llhttp, judged by RFC 9112; every difference from llhttp is listed with its reason."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.h1_verdict import cut, judge

pytestmark = pytest.mark.usefixtures("each_engine")

FOLDER = Path(__file__).parent / "vectors" / "llhttp"

_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|([rntf]))")


class Vector(NamedTuple):
    """One answer, and what llhttp makes of it."""

    title: str
    meta: str
    wire: bytes
    log: str

    @property
    def method(self) -> str:
        return "HEAD" if "skipBody" in self.meta else "GET"

    @property
    def llhttp(self) -> tuple[str, bytes]:
        """ "complete", "open" (its end was not seen) or "refused" for the final message, and its body."""
        messages = re.split("^.*message complete", self.log, flags=re.MULTILINE)
        while len(messages) > 1 and re.search("headers complete status=1(?!01)", messages[0]):
            del messages[0]
        body = b"".join(_unescape(part) for part in re.findall(r'span\[body\]="?(.*?)"?$', messages[0], re.MULTILINE))
        if len(messages) > 1:
            return "complete", body
        return ("refused" if "error code" in messages[0] else "open"), body


def _unescape(text: str) -> bytes:
    text = {"cr": "\\r", "lf": "\\n"}.get(text, text)
    letters = {"r": "\r", "n": "\n", "t": "\t", "f": "\f"}
    return _ESCAPE.sub(lambda match: letters.get(match[2]) or chr(int(match[1], 16)), text).encode()


def load() -> list[Vector]:
    vectors = []
    for path in sorted(FOLDER.glob("*.md")):
        title, meta, blocks = "", "", {"http": "", "log": ""}
        inside = None
        for line in path.read_text("utf-8").splitlines():
            if inside is not None and line == "```":
                blocks[inside] = blocks[inside][:-1]
                if inside == "log":
                    http = blocks["http"].replace("\\\n", "").replace("\n", "\r\n")
                    vectors.append(Vector(f"{path.stem}: {title}", meta, _unescape(http), blocks["log"]))
                inside = None
            elif inside is not None:
                blocks[inside] += line + "\n"
            elif line.startswith("```"):
                inside = line[3:]
                blocks[inside] = ""
            elif line.startswith("#"):
                title = line.lstrip("# ")
            elif line.startswith("<!-- meta="):
                meta = line
    return vectors


VECTORS = load()
UNASKED = "RFC 9110 §7.8: a protocol is changed only where the client offered to"
LENIENT = "llhttp is told to be lenient; this client never is"
NO_HTTP_1 = "RFC 9112 §2.3: the answer is not in HTTP/1.0 or HTTP/1.1"
OUR_CODING = "RFC 9112 §6.1: no other transfer coding was offered, and the chunks cannot be trusted"

#: What this client says where it differs, and why that is right.
DIFFERENT: dict[str, tuple[str, str]] = {
    "connection: HTTP 101 response with Upgrade and Content-Length header": ("refused", UNASKED),
    "connection: HTTP 101 response with Upgrade and Transfer-Encoding header": ("refused", UNASKED),
    "connection: HTTP 100 first, then 400": (
        "refused",
        "an empty line stands before the final status line; RFC 9112 §2.2 asks only servers to skip one",
    ),
    "invalid: Bare CR after response line (lenient)": ("refused", LENIENT),
    "invalid: Invalid space after start line": ("open", "a head is judged when it is whole, and this one never is"),
    "invalid: Only LFs present and no body (lenient)": ("refused", LENIENT),
    "invalid: Only LFs present (lenient)": ("refused", LENIENT),
    "lenient-version: Invalid HTTP version (lenient)": ("refused", LENIENT),
    "sample: RTSP response": ("refused", NO_HTTP_1),
    "sample: ICE response": ("refused", NO_HTTP_1),
    "sample: HTTP version 0.9": ("refused", NO_HTTP_1),
    "sample: No carriage ret (lenient)": ("refused", LENIENT),
    "sample: Response starting with CRLF": ("refused", "RFC 9112 §2.2 asks only servers to skip an empty line"),
    "transfer-encoding: `chunked` before other transfer-encoding": ("refused", OUR_CODING),
    "transfer-encoding: multiple transfer-encoding where chunked is not the last one": ("refused", OUR_CODING),
    "transfer-encoding: `chunkedchunked` transfer-encoding does not enable chunked enconding": ("refused", OUR_CODING),
    "transfer-encoding: Invalid OBS fold after chunked value": ("refused", OUR_CODING),
}


async def ours(vector: Vector, segments: list[bytes]) -> tuple[str, bytes]:
    """The same words for what this client makes of it, with the end of the connection after the bytes."""
    verdict = await judge(segments, method=vector.method, end="fin")
    if verdict.error is None:
        return "complete", verdict.body
    return ("refused" if "cut short" not in verdict.message and verdict.reason is not None else "open"), verdict.body


def test_all_vectors_are_loaded() -> None:
    written = sum(path.read_text("utf-8").count("```http") for path in FOLDER.glob("*.md"))

    assert len(VECTORS) == written


@pytest.mark.parametrize("vector", VECTORS, ids=[vector.title for vector in VECTORS])
async def test_vector(vector: Vector) -> None:
    results = {how: await ours(vector, segments) for how, segments in cut(vector.wire, vector.title)}

    assert len(set(results.values())) == 1, results
    word, body = results["whole"]
    theirs, their_body = vector.llhttp
    if vector.title in DIFFERENT:
        assert word == DIFFERENT[vector.title][0]
        assert word != theirs
        return
    # Without a length the end of the connection, which llhttp was not told of, completes the message.
    assert word == theirs or (word, theirs) == ("complete", "open")
    assert body == their_body


def test_no_difference_is_listed_in_vain() -> None:
    assert {vector.title for vector in VECTORS} >= set(DIFFERENT)
