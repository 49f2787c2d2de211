"""What streams a client asks for by name, and whether an answer is one."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from .._errors import ContentTypeError, HTTPStatusError

if TYPE_CHECKING:
    from .response import Response

#: How much of an answer that is not what was asked for is kept for the error, and how many seconds it may take: such
#: an answer may be a stream, too, and without an end.
ERROR_BODY_LIMIT = 65536
ERROR_BODY_SECONDS = 5.0


class StreamKind(Enum):
    """A kind of stream, with the content types it goes by."""

    EVENTS = ("text/event-stream",)
    # Only the first is on its way to a registration; the others are what servers have sent for years.
    JSON_LINES = (
        "application/jsonl",
        "application/x-ndjson",
        "application/ndjson",
        "application/x-jsonlines",
        "application/jsonlines",
        "application/json-lines",
    )

    @property
    def accept(self) -> bytes:
        """The value of the Accept field that asks for it."""
        return ", ".join(self.value).encode()


async def check_answer(response: Response, kind: StreamKind) -> None:
    """Refuse an answer that is no such stream, with the start of what it is; it is closed then.

    What happens to the body of such an answer says less than the answer: it is the cause of the error at most.

    Raises:
        HTTPStatusError: the status is not 2xx.
        ContentTypeError: the content type is another one.
    """
    content_type = response.headers.get("content-type", "")
    essence = content_type.partition(";")[0].strip().lower()
    if response.is_success and essence in kind.value:
        return
    try:
        content, broke = await response._read_start(ERROR_BODY_LIMIT, ERROR_BODY_SECONDS)
    finally:
        await response.aclose()  # noqa: ASYNC102 - releases before it waits
    try:
        response.raise_for_status()
    except HTTPStatusError as error:
        raise error from broke
    raise ContentTypeError(
        f"the answer is {essence[:64]!r}, not {kind.value[0]}",
        content_type=content_type,
        response=response,
        peer_said=content,
        origin=response._call.url.origin,
    ) from broke
