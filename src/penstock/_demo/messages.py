"""JSON lines over pipes: how the demo and its children talk."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from .failure import DemoError

Message = dict[str, Any]

#: A child hears from the demo here and answers there; a closed ear means that the demo is gone.
STDIN, STDOUT = 0, 1


class MessageReader:
    """Cut a stream of bytes into messages."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes | bytearray) -> list[Message]:
        """Take the next bytes and return the messages they complete."""
        *lines, self._rest = (self._rest + bytes(data)).split(b"\n")
        return [json.loads(line) for line in lines]


def encode(message: Message) -> bytes:
    """One message as a line."""
    return json.dumps(message).encode() + b"\n"


def say(message: Message) -> None:
    """Tell the demo something; called in a child."""
    line = encode(message)
    while line:
        line = line[os.write(STDOUT, line) :]


def run_child(main: Callable[[], None]) -> None:
    """Run a child's work and report what went wrong as a message, not as a traceback over the user's display."""
    try:
        main()
    except BrokenPipeError:
        sys.exit(1)
    except DemoError as error:
        say({"error": str(error)})
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 — reported, whatever it is
        first: BaseException = error
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        say({"error": f"{type(first).__name__}: {first}"})
        sys.exit(1)
