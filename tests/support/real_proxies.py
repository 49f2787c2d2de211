"""Proxies nobody here wrote, as child processes on loopback: tinyproxy for HTTP, microsocks for SOCKS5.

They bind by themselves, so a port may be lost between finding and using it: then another one is tried.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import asynccontextmanager, contextmanager, suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.certificates import server_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

USER, PASSWORD = "user", "word"


def _find(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install {name})")
    return found


@contextmanager
def run_tinyproxy(directory: Path, *, authenticates: bool = False) -> Iterator[int]:
    """Run tinyproxy for the length of the block; yields its port. Its log is `directory/tinyproxy.log`."""
    binary = _find("tinyproxy")
    configuration = directory / "tinyproxy.conf"

    def command(port: int) -> Sequence[str]:
        # A child of root would become another user, who cannot write a log here.
        user = "User root\nGroup root\n" if os.getuid() == 0 else ""
        configuration.write_text(
            f"{user}Port {port}\nListen 127.0.0.1\nTimeout 30\nMaxClients 50\nLogLevel Info\n"
            f'LogFile "{directory}/tinyproxy.log"\nAllow 127.0.0.1\n'
            + (f"BasicAuth {USER} {PASSWORD}\n" if authenticates else "")
        )
        return (binary, "-d", "-c", str(configuration))

    with _running(command) as port:
        yield port


@contextmanager
def run_microsocks(*, authenticates: bool = False) -> Iterator[int]:
    """Run microsocks for the length of the block; yields its port."""
    binary = _find("microsocks")
    credentials = ("-u", USER, "-P", PASSWORD) if authenticates else ()
    with _running(lambda port: (binary, "-i", "127.0.0.1", "-p", str(port), *credentials)) as port:
        yield port


@contextmanager
def _running(command: Callable[[int], Sequence[str]]) -> Iterator[int]:
    for _ in range(5):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        process = subprocess.Popen(
            command(port),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            if _listens(process, port):
                yield port
                return
        finally:
            _stop(process)
    raise RuntimeError(f"{process.args!r} does not listen")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End it; by force if need be, for tinyproxy may get stuck in the handler of the signal that asks it to."""
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    until = monotonic() + 10
    while monotonic() < until and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        sleep(0.02)
    return False


@asynccontextmanager
async def tls_in_front_of(port: int) -> AsyncIterator[int]:
    """Speak TLS as localhost on another port, and pass what is inside on; yields that port."""

    async def pump(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream, scope: trio.CancelScope) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some():
                await sink.send_all(data)
        scope.cancel()

    async def serve(client: trio.abc.Stream) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", port) as inner, trio.open_nursery() as both:
            both.start_soon(pump, client, inner, both.cancel_scope)
            both.start_soon(pump, inner, client, both.cancel_scope)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_ssl_over_tcp_listeners(0, server_context(), host="127.0.0.1", https_compatible=True)
        await nursery.start(trio.serve_listeners, serve, listeners)
        yield listeners[0].transport_listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()
