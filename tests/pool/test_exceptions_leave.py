"""What is raised inside of `async with Pool()` or `Client()` leaves as itself, never in a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import penstock
from penstock.testing import FakeNetwork, FakeWatcher, serve_chunked, serve_ok

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    Body = Callable[[penstock.Client], Awaitable[None]]

URL = "http://api.test"


class Fatal(BaseException):
    """As KeyboardInterrupt and SystemExit are: no `Exception`."""


class BrokenWatcher(FakeWatcher):
    """Fails where no network should."""

    async def wait(self) -> list[object]:
        await trio.sleep(1)
        raise RuntimeError("the watcher broke")


class BrokenNetwork(FakeNetwork):
    def watcher(self) -> FakeWatcher:
        return BrokenWatcher()


async def run_with_pool(body: Body, network: FakeNetwork) -> None:
    network.listen("api.test", 80, serve_chunked([b"x"] * 100, every=1))
    async with penstock.Pool(network=network) as pool, penstock.Client(pool) as client:
        await body(client)


async def run_with_own_pool(body: Body, _: FakeNetwork) -> None:
    async with penstock.Client() as client:
        await body(client)


@pytest.mark.parametrize("run", [run_with_pool, run_with_own_pool])
@pytest.mark.parametrize(
    "error", [ValueError("mine"), Fatal("mine"), ExceptionGroup("mine", [ValueError(), KeyError()])]
)
async def test_an_exception_leaves_as_itself(
    run: Callable[[Body, FakeNetwork], Awaitable[None]], error: BaseException, autojump_clock: MockClock
) -> None:
    async def body(_: penstock.Client) -> None:
        await trio.sleep(1)
        raise error

    async with FakeNetwork() as network:
        with pytest.raises(type(error)) as caught:
            await run(body, network)
        assert caught.value is error
        assert network.open_connections == 0


async def test_an_exception_in_an_exchange_leaves_as_itself(autojump_clock: MockClock) -> None:
    async def body(client: penstock.Client) -> None:
        async with client.stream("GET", URL) as response:
            async for _piece in response.aiter_bytes():
                raise ValueError("mine")

    async with FakeNetwork() as network:
        with pytest.raises(ValueError, match="mine"):
            await run_with_pool(body, network)
        assert network.open_connections == 0


async def test_a_cancellation_from_outside_is_seen_as_one(autojump_clock: MockClock) -> None:
    seen: list[type[BaseException]] = []

    async def body(client: penstock.Client) -> None:
        await client.get(URL)

    async with FakeNetwork() as network:
        with trio.move_on_after(3) as scope:
            try:
                await run_with_pool(body, network)
            except BaseException as error:
                seen.append(type(error))
                raise
        assert scope.cancelled_caught
        assert seen == [trio.Cancelled]
        assert network.open_connections == 0


@pytest.mark.parametrize("error", [ValueError("mine"), Fatal("mine")])
async def test_an_exception_is_not_lost_when_the_scope_is_cancelled_as_well(
    error: BaseException, autojump_clock: MockClock
) -> None:
    async def body(_: penstock.Client) -> None:
        scope.cancel()
        raise error

    async with FakeNetwork() as network:
        with pytest.raises(type(error)) as caught, trio.CancelScope() as scope:
            await run_with_pool(body, network)
        assert caught.value is error


async def test_a_fault_of_the_pools_own_leaves_as_itself(autojump_clock: MockClock) -> None:
    async def body(_: penstock.Client) -> None:
        await trio.sleep_forever()

    async with BrokenNetwork() as network:
        with pytest.raises(RuntimeError, match="the watcher broke"):
            await run_with_pool(body, network)
        assert trio.current_time() == 1
        assert network.open_connections == 0


async def test_a_request_in_a_pool_that_breaks(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async def body(client: penstock.Client) -> None:
        await client.get(URL)

    async with BrokenNetwork() as network:
        with pytest.raises(penstock.PoolClosed) as caught:
            await run_with_pool(body, network)
        assert caught.value.__notes__ == ["The pool had broken: RuntimeError('the watcher broke')"]
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("penstock.pool", "ERROR")
    assert "the watcher broke" in str(record.exc_info)


async def test_an_exception_is_not_lost_when_the_pool_breaks_as_well(autojump_clock: MockClock) -> None:
    async def body(_: penstock.Client) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("mine")

    async with BrokenNetwork() as network:
        with pytest.raises(ValueError, match="mine") as caught:
            await run_with_pool(body, network)
    assert caught.value.__notes__ == ["The pool had broken: RuntimeError('the watcher broke')"]


async def test_the_cancellation_by_a_broken_pool_ends_with_it(autojump_clock: MockClock) -> None:
    """In a group with an exception of the body's it must not go on to scopes that were not cancelled."""

    async def body(_: penstock.Client) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("mine")

    async with BrokenNetwork() as network:
        with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="mine")):
            await run_with_pool(body, network)


async def test_a_fault_while_others_wait_tells_them(autojump_clock: MockClock) -> None:
    class BrokenDial(FakeNetwork):
        async def resolve(self, host: str, port: int) -> list[object]:  # type: ignore[override]
            await trio.sleep(1)
            raise ZeroDivisionError("in the resolver")

    async def body(client: penstock.Client) -> None:
        with pytest.raises(penstock.ConnectError, match="ZeroDivisionError") as caught:
            await client.get(URL)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)

    async with BrokenDial() as network:
        await run_with_pool(body, network)


async def test_a_pool_opened_in_a_cancelled_scope_leaves_nothing(autojump_clock: MockClock) -> None:
    async with FakeNetwork() as network:
        network.listen("api.test", 80, serve_ok())
        with trio.CancelScope() as scope:
            scope.cancel()
            async with penstock.Pool(network=network, upstreams=[penstock.Upstream(URL, min_idle=2)]):
                await wait_all_tasks_blocked()
        assert scope.cancelled_caught
        assert network.open_connections == 0


async def test_requests_of_tasks_that_are_ended_by_an_exception_end_too(autojump_clock: MockClock) -> None:
    async def body(client: penstock.Client) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(client.get, URL)
            await trio.sleep(3)
            raise ValueError("mine")

    async with FakeNetwork() as network:
        # The group is the one of the caller's nursery.
        with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="mine")):
            await run_with_pool(body, network)
        assert network.open_connections == 0
