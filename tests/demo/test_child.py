"""Children: they end with their parent, and their failures arrive as messages."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys

import pytest

from penstock._demo.certificates import Certificates
from penstock._demo.child import Child
from penstock._demo.failure import DemoError
from penstock._demo.loopback import HOST
from penstock._demo.messages import MessageReader, encode

PARENT = """
import sys
from penstock._demo.child import Child
child = Child("relay", 1, 0.01)
child.hear()
print(child.pid, flush=True)
sys.stdin.read()
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_messages_may_be_cut_anywhere() -> None:
    reader = MessageReader()
    stream = encode({"a": 1}) + encode({"b": "ü"})

    found = [message for place in range(len(stream)) for message in reader.feed(stream[place : place + 1])]

    assert found == [{"a": 1}, {"b": "ü"}]


def test_leaving_the_block_ends_the_child() -> None:
    with Child("relay", 1, 0.01) as child:
        child.hear()
        assert is_running(child.pid)

    assert not is_running(child.pid)


def test_a_child_that_does_not_listen_is_stopped_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock._demo.child._TIME_TO_END", 0.05)
    with Child("relay", 1, 0.01) as child:
        child.hear()
        os.kill(child.pid, signal.SIGSTOP)

    assert not is_running(child.pid)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waiting for another's child takes a pidfd, as on Linux")
def test_a_child_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        process = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ended, _, _ = select.select([process], [], [], 10)  # readable when the process has ended
    os.close(process)

    assert ended == [process]


def test_a_failure_arrives_as_words() -> None:
    with Child("relay", "no port", 0.01) as child, pytest.raises(DemoError, match=r"ValueError.*no port"):
        child.hear()


def test_a_busy_port_is_named(certificates: Certificates) -> None:
    with socket.create_server((HOST, 0)) as busy:
        port = busy.getsockname()[1]
        with (
            Child("server", certificates.chain, certificates.key, port) as child,
            pytest.raises(DemoError, match=f"port {port} on {HOST} is in use"),
        ):
            child.hear()


def test_a_child_that_is_gone_is_reported() -> None:
    with Child("relay", 1, 0.01) as child:
        child.hear()
        os.kill(child.pid, signal.SIGKILL)

        with pytest.raises(DemoError, match="relay process ended unexpectedly"):
            child.hear()


def test_silence_is_not_waited_for_without_end() -> None:
    with Child("relay", 1, 0.01) as child:
        child.hear()

        with pytest.raises(DemoError, match=r"silent for 0\.01 seconds"):
            child.hear(within=0.01)
