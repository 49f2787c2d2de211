"""A child process as the demo holds it: started by module name, stopped by its id, never left behind."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections import deque
from time import monotonic
from types import TracebackType
from typing import Self

from .failure import DemoError
from .messages import Message, MessageReader, encode

#: A child that is alive says something at least this often (seconds): the client reports ten times a second, and the
#: slowest answer is the start of an interpreter on a busy machine.
_SILENCE = 30.0
_TIME_TO_END = 2.0


class Child:
    """A module of this package that runs in a process of its own.

    Args:
        module: its name within the package.
        *arguments: its command line.

    Leaving the `with` block closes the child's standard input, which ends it, and is rough if that does not help.
    """

    def __init__(self, module: str, *arguments: object) -> None:
        self._name = module
        self._reader = MessageReader()
        self._heard: deque[Message] = deque()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"{__package__}.{module}", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            # Ctrl-C is the demo's to handle: a child in a session of its own does not see it.
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def say(self, message: Message) -> None:
        """Tell the child something.

        Raises:
            DemoError: the child is gone.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(encode(message))
        except BrokenPipeError:
            raise DemoError(f"the demo's {self._name} process ended unexpectedly") from None

    def hear(self, *, within: float = _SILENCE) -> Message:
        """Wait for the child's next message.

        Raises:
            DemoError: the child failed, is gone, or said nothing for `within` seconds.
        """
        assert self._process.stdout is not None
        deadline = monotonic() + within
        while not self._heard:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - monotonic()))
            if not ready:
                raise DemoError(f"the demo's {self._name} process has been silent for {within:g} seconds")
            data = self._process.stdout.read(65536)
            if not data:
                raise DemoError(f"the demo's {self._name} process ended unexpectedly")
            self._heard.extend(self._reader.feed(data))
        message = self._heard.popleft()
        if "error" in message:
            raise DemoError(message["error"])
        return message

    def ask(self, message: Message) -> Message:
        """Say something and wait for the next message."""
        self.say(message)
        return self.hear()

    def stop(self) -> None:
        """End the process and wait for its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        for insist in (self._process.terminate, self._process.kill):
            try:
                self._process.wait(_TIME_TO_END)
                break
            except subprocess.TimeoutExpired:
                insist()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
