"""The real network: connects, what they set, and failures told apart."""

from __future__ import annotations

import contextlib
import errno
import resource
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from penstock._errors import ConnectError, NameResolutionError
from penstock._net.network import Address, SocketNetwork, SocketOptions, is_resource_exhaustion
from penstock._net.stream import SocketStream

OPTIONS = SocketOptions()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def address_of(listener: socket.socket) -> Address:
    return Address(listener.family, listener.getsockname())


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """Lower the limit below what is open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as highest:
        lowest = highest.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    # Lower numbers may still be free.
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(socket.socket())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for each in taken:
            each.close()


async def test_a_connection_carries_bytes_both_ways(listener: socket.socket) -> None:
    stream = await SocketNetwork().connect(address_of(listener), options=OPTIONS)
    peer, _ = listener.accept()
    with peer:
        assert stream.try_send(b"ping") == 4
        assert peer.recv(100) == b"ping"
        peer.sendall(b"pong")
        await stream.wait_readable()
        assert stream.try_receive(100) == b"pong"
        stream.close()


def option(stream: SocketStream, level: int, name: int) -> int:
    return stream._socket.getsockopt(level, name)


@pytest.mark.parametrize("on", [True, False])
async def test_socket_options(listener: socket.socket, on: bool) -> None:
    options = SocketOptions(nodelay=on, keepalive=on)
    stream = await SocketNetwork().connect(address_of(listener), options=options)
    assert isinstance(stream, SocketStream)
    assert bool(option(stream, socket.IPPROTO_TCP, socket.TCP_NODELAY)) is on
    assert bool(option(stream, socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is on
    if on and sys.platform == "linux":
        names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        assert [option(stream, socket.IPPROTO_TCP, name) for name in names] == [60, 60, 5]
    stream.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux owns all of 127/8")
async def test_the_local_address_is_the_one_asked_for(listener: socket.socket) -> None:
    options = SocketOptions(local_address="127.0.0.7")
    stream = await SocketNetwork().connect(address_of(listener), options=options)
    peer, (host, _) = listener.accept()
    assert host == "127.0.0.7"
    peer.close()
    stream.close()


async def test_a_local_address_that_is_not_ours_is_not_the_endpoints_fault(listener: socket.socket) -> None:
    options = SocketOptions(local_address="192.0.2.1")
    with pytest.raises(ConnectError) as caught:
        await SocketNetwork().connect(address_of(listener), options=options)
    assert is_resource_exhaustion(caught.value)


async def test_a_refused_connection(listener: socket.socket) -> None:
    address = address_of(listener)
    listener.close()
    with pytest.raises(ConnectError, match="refused") as caught:
        await SocketNetwork().connect(address, options=OPTIONS)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert caught.value.phase == "connect"
    assert not is_resource_exhaustion(caught.value)


async def test_a_connect_that_is_refused_later(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(socket.socket):
        def connect(self, address: object) -> None:
            super().connect(address)  # type: ignore[arg-type]
            raise BlockingIOError

        def connect_ex(self, address: object) -> int:
            return errno.EALREADY

        def getsockopt(self, *args: int) -> int:  # type: ignore[override]
            return errno.EHOSTUNREACH

    monkeypatch.setattr(socket, "socket", Late)
    with pytest.raises(ConnectError, match="No route to host") as caught:
        await SocketNetwork().connect(address_of(listener), options=OPTIONS)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EHOSTUNREACH


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the loop is asked")
async def test_a_peer_on_this_machine_is_not_waited_for(listener: socket.socket) -> None:
    with trio.testing.assert_no_checkpoints():
        stream = await SocketNetwork().connect(address_of(listener), options=OPTIONS)
    assert stream.try_send(b"ping") == 4
    stream.close()
    address = address_of(listener)
    listener.close()
    with trio.testing.assert_no_checkpoints(), pytest.raises(ConnectError, match="refused"):
        await SocketNetwork().connect(address, options=OPTIONS)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse when the queue is full")
async def test_a_cancelled_connect_leaves_nothing_open(autojump_clock: trio.testing.MockClock) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        # The queue is full after this, and further attempts are not answered.
        stack.enter_context(socket.create_connection(listener.getsockname()))
        with trio.move_on_after(1) as scope:
            await SocketNetwork().connect(address_of(listener), options=OPTIONS)
        assert scope.cancelled_caught


async def test_a_socket_that_reached_itself_reached_nobody(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    from penstock._net import network as module

    address = address_of(listener)
    listener.close()
    # What the kernel may choose by chance among the ephemeral ports.
    monkeypatch.setattr(module, "_set_options", lambda sock, options: sock.bind(address.sockaddr))
    with pytest.raises(ConnectError, match="refused"):
        await SocketNetwork().connect(address, options=OPTIONS)


@pytest.mark.parametrize(
    "abstract", [False, pytest.param(True, marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux only"))]
)
async def test_a_unix_socket(tmp_path: Path, abstract: bool) -> None:
    path = f"\0penstock-{tmp_path}" if abstract else str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        stream = await SocketNetwork().connect_unix(path)
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"hello")
            await stream.wait_readable()
            assert stream.try_receive(100) == b"hello"
        stream.close()


async def test_a_unix_socket_nobody_listens_on(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="No such file"):
        await SocketNetwork().connect_unix(str(tmp_path / "socket"))
    with pytest.raises(ConnectError, match="too long"):
        await SocketNetwork().connect_unix("x" * 500)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse when the queue is full")
async def test_a_full_queue_of_a_unix_socket_is_waited_for(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(path)
        listener.listen(0)
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
        waiting.connect(path)

        async def accept_later() -> None:
            await trio.sleep(5)
            stack.enter_context(listener.accept()[0])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept_later)
            stream = await SocketNetwork().connect_unix(path)
        assert 5 <= trio.current_time() <= 5.1
        stream.close()


async def test_names_are_looked_up() -> None:
    found = await SocketNetwork().resolve("localhost", 80)
    assert Address(socket.AF_INET, ("127.0.0.1", 80)) in found


@pytest.mark.parametrize("host", ["does-not-exist.invalid", "x" * 64 + ".invalid", "nul\0.invalid", "."])
async def test_a_name_that_does_not_resolve(host: str) -> None:
    with pytest.raises(NameResolutionError, match="cannot resolve") as caught:
        await SocketNetwork().resolve(host, 80)
    assert caught.value.phase == "resolve"
    assert not is_resource_exhaustion(caught.value)


async def test_without_descriptors_no_name_is_called_unknown() -> None:
    network = SocketNetwork()
    # The first look-up starts the thread.
    await network.resolve("localhost", 80)
    with no_descriptors(), pytest.raises(ConnectError) as caught:
        await network.resolve("does-not-exist.invalid", 80)
    assert not isinstance(caught.value, NameResolutionError)
    assert is_resource_exhaustion(caught.value)


async def test_a_resolver_that_takes_a_lack_of_descriptors_for_an_unknown_name_is_seen_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    network = SocketNetwork()
    await network.resolve("localhost", 80)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with no_descriptors(), pytest.raises(ConnectError) as caught:
        await network.resolve("api.example", 80)
    assert not isinstance(caught.value, NameResolutionError)
    assert is_resource_exhaustion(caught.value)


async def test_without_descriptors_a_connect_is_not_the_endpoints_fault(listener: socket.socket) -> None:
    network = SocketNetwork()
    for connect in (
        lambda: network.connect(address_of(listener), options=OPTIONS),
        lambda: network.connect_unix("/run/penstock-nobody"),
    ):
        with no_descriptors(), pytest.raises(ConnectError) as caught:
            await connect()
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.EMFILE
        assert is_resource_exhaustion(caught.value)


async def test_a_look_up_without_memory_is_not_the_names_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(ConnectError, match=r"cannot look up api\.example") as caught:
        await SocketNetwork().resolve("api.example", 80)
    assert not isinstance(caught.value, NameResolutionError)
    assert is_resource_exhaustion(caught.value)


async def test_a_look_up_that_hangs_does_not_take_the_applications_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import threading

    from penstock._net import network as module

    release = threading.Event()

    def hang(host: str, port: int) -> list[Address]:
        release.wait(10)
        return []

    monkeypatch.setattr(module, "_look_up", hang)
    network = SocketNetwork()
    async with trio.open_nursery() as nursery:
        for _ in range(module.RESOLVER_THREADS + 5):
            nursery.start_soon(network.resolve, "slow.example", 80)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        assert network._limiter.borrowed_tokens == module.RESOLVER_THREADS
        nursery.cancel_scope.cancel()
    release.set()
    # Abandoned threads give their places back by themselves.
    async with network._limiter:
        pass


def error_with(cause: BaseException | None) -> ConnectError:
    error = ConnectError("failed")
    error.__cause__ = cause
    return error


REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
NO_ADDRESS = OSError(errno.EADDRNOTAVAIL, "cannot assign")
NO_DESCRIPTOR = OSError(errno.EMFILE, "too many")


@pytest.mark.parametrize(
    ("error", "exhausted"),
    [
        (error_with(None), False),
        (error_with(REFUSED), False),
        (error_with(NO_DESCRIPTOR), True),
        (error_with(NO_ADDRESS), True),
        (error_with(OSError(errno.ENOBUFS, "")), True),
        (error_with(ExceptionGroup("", [error_with(NO_ADDRESS), error_with(REFUSED)])), False),
        (error_with(ExceptionGroup("", [error_with(NO_ADDRESS), error_with(NO_ADDRESS)])), True),
        (error_with(ExceptionGroup("", [error_with(NO_DESCRIPTOR), error_with(REFUSED)])), True),
    ],
)
def test_exhaustion_is_found_in_causes_and_groups(error: ConnectError, exhausted: bool) -> None:
    assert is_resource_exhaustion(error) is exhausted


def test_a_circle_of_causes_ends() -> None:
    error = error_with(None)
    error.__cause__ = error
    assert not is_resource_exhaustion(error)
