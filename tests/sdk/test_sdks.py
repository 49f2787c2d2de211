"""The SDKs of the providers run on trio over the pool: real ones, against a fake provider on loopback.

Which SDKs these are, the environment says: `nox -s sdk` installs them, in as many environments as their needs ask for.
Where none is installed, this file is skipped. After each test nothing is in use; and the connections that were opened
are as few as they can be.
"""

from __future__ import annotations

import gc
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
import trio

import penstock
from penstock.httpx import PenstockTransport
from tests.sdk.conftest import assert_nothing_is_in_use
from tests.sdk.kits import KITS, Kit, close
from tests.support.certificates import authority_file
from tests.support.fake_provider import TEXT, FakeProvider, running_provider
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

if not KITS:
    pytest.skip("no SDK is installed: they have an environment of their own, nox -s sdk", allow_module_level=True)

pytestmark = [
    pytest.mark.parametrize("kit", KITS, ids=[kit.name for kit in KITS]),
    # The SDKs and the libraries below them iterate with generators that they leave to the garbage collector, and trio
    # says so. Nothing in Penstock is one: any other warning is an error.
    pytest.mark.filterwarnings(
        r"ignore:Async generator '(openai|anthropic|any_llm|httpx|httpx2)\..*' was garbage collected:ResourceWarning"
    ),
    # any-llm is about to have errors of its own.
    pytest.mark.filterwarnings("ignore:Provider-specific exceptions will be converted:DeprecationWarning"),
]

#: The provider is to see within this time, in seconds, that nobody listens any more.
SOON = 0.1


def open_sdk(kit: Kit, provider: FakeProvider | str, pool: penstock.Pool, **options: Any) -> Any:
    url = provider if isinstance(provider, str) else provider.url
    timeout = options.pop("timeout", 10)
    http_client = kit.http().AsyncClient(transport=PenstockTransport(pool), timeout=timeout)
    return kit.open(url, http_client, timeout=timeout, **options)


async def read(kit: Kit, stream: Any) -> str:
    return "".join([kit.text_of(event) async for event in stream])


async def read_first_word(kit: Kit, stream: Any) -> None:
    async for event in stream:
        if kit.text_of(event):
            return
    raise AssertionError("there was no word")


async def gone_after(provider: FakeProvider, since: float) -> float:
    """Seconds after which the provider saw that its client had left."""
    await wait_until(lambda: provider.asked[-1].gone_at is not None)
    at = provider.asked[-1].gone_at
    assert at is not None
    return at - since


async def test_plain_calls_share_a_connection(kit: Kit, provider: FakeProvider, pool: penstock.Pool) -> None:
    async with open_sdk(kit, provider, pool) as client:
        assert [await kit.ask(client, "ok") for _ in range(3)] == [TEXT] * 3

    assert provider.connections == 1


async def test_streams_that_are_read_to_their_end_share_a_connection(
    kit: Kit, provider: FakeProvider, pool: penstock.Pool
) -> None:
    async with open_sdk(kit, provider, pool) as client:
        for _ in range(3):
            assert await read(kit, await kit.stream(client, "ok")) == TEXT

    assert provider.connections == 1


async def test_five_streams_that_stop_at_their_last_event_share_a_connection(
    kit: Kit, provider: FakeProvider, pool: penstock.Pool
) -> None:
    """The server ends each answer a moment later, when the SDK has gone on to the next."""
    async with open_sdk(kit, provider, pool) as client:
        for _ in range(5):
            stream = await kit.stream(client, "late-end")
            assert await read(kit, stream) == TEXT
            await close(stream)

    assert provider.connections == 1


async def test_a_stream_that_is_left_is_given_up_at_once(kit: Kit, provider: FakeProvider, pool: penstock.Pool) -> None:
    async with open_sdk(kit, provider, pool) as client:
        stream = await kit.stream(client, "slow")
        await read_first_word(kit, stream)
        left_at = time.monotonic()
        await close(stream)

        # What is left may be read for 100 ms, in case that it ends.
        assert await gone_after(provider, left_at) < 2 * SOON
        assert await kit.ask(client, "ok") == TEXT

    assert provider.connections <= 2


# That is the one warning of ours that its user has earned.
@pytest.mark.filterwarnings("ignore:POST http.* was dropped without being closed:ResourceWarning")
async def test_a_stream_that_is_forgotten_gives_its_connection_back(
    kit: Kit, provider: FakeProvider, pool: penstock.Pool
) -> None:
    async with open_sdk(kit, provider, pool) as client:
        await read_first_word(kit, await kit.stream(client, "slow"))
        with trio.fail_after(10):
            # Each generator of the SDK and of the library is freed by a collection of its own.
            while pool.statistics().active:
                gc.collect()
                await trio.sleep(0.01)

        await wait_until(lambda: provider.asked[-1].gone_at is not None)


async def test_a_cancel_in_the_middle_of_a_stream_reaches_the_provider(
    kit: Kit, provider: FakeProvider, pool: penstock.Pool
) -> None:
    async with open_sdk(kit, provider, pool) as client:
        with trio.CancelScope() as scope:
            stream = await kit.stream(client, "slow")
            await read_first_word(kit, stream)
            scope.cancel()
            cancelled_at = time.monotonic()
            await read(kit, stream)

        assert scope.cancelled_caught
        assert await gone_after(provider, cancelled_at) < SOON
        assert await kit.ask(client, "ok") == TEXT

    assert provider.connections == 2


async def test_a_cancel_before_the_answer_reaches_the_provider(
    kit: Kit, provider: FakeProvider, pool: penstock.Pool
) -> None:
    async with open_sdk(kit, provider, pool) as client:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(kit.ask, client, "stall")
                await wait_until(lambda: bool(provider.asked))
                cancelled_at = time.monotonic()
                scope.cancel()

        assert await gone_after(provider, cancelled_at) < SOON


@pytest.mark.parametrize("status", [429, 500, 529])
async def test_a_refusal_is_asked_again(kit: Kit, provider: FakeProvider, pool: penstock.Pool, status: int) -> None:
    async with open_sdk(kit, provider, pool) as client:
        assert await kit.ask(client, f"{status}-then-ok") == TEXT

    assert len(provider.asked) == 2
    assert provider.connections == 1


async def test_refusals_without_end_end_as_the_error_of_the_sdk(
    kit: Kit, provider: FakeProvider, pool: penstock.Pool
) -> None:
    async with open_sdk(kit, provider, pool, max_retries=2) as client:
        with pytest.raises(kit.error("InternalServerError")):
            await kit.ask(client, "500")

    # The pool retries nothing of what has been answered.
    assert len(provider.asked) == 3
    assert provider.connections == 1


async def test_a_refused_connection_is_the_connection_error_of_the_sdk(kit: Kit, pool: penstock.Pool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    async with open_sdk(kit, url, pool, max_retries=0) as client:
        with pytest.raises(kit.error("APIConnectionError")) as caught:
            await kit.ask(client, "ok")

    assert isinstance(caught.value.__cause__, kit.http().ConnectError)
    assert isinstance(caught.value.__cause__.__cause__, penstock.ConnectError)


async def test_an_answer_that_does_not_come_is_a_time_out_of_the_sdk(
    kit: Kit, provider: FakeProvider, pool: penstock.Pool
) -> None:
    timeout = kit.http().Timeout(5, read=0.1)
    async with open_sdk(kit, provider, pool, timeout=timeout, max_retries=0) as client:
        with pytest.raises(kit.error("APITimeoutError")) as caught:
            await kit.ask(client, "stall")

    assert isinstance(caught.value.__cause__, kit.http().ReadTimeout)
    assert isinstance(caught.value.__cause__.__cause__, penstock.ReadTimeout)


async def test_a_pool_without_room_is_a_time_out_of_the_sdk(kit: Kit, provider: FakeProvider) -> None:
    async with penstock.Pool(penstock.PoolConfig(max_connections=1, max_connections_per_host=1)) as pool:
        timeout = kit.http().Timeout(5, pool=0.05)
        async with open_sdk(kit, provider, pool, timeout=timeout, max_retries=0) as client:
            stream = await kit.stream(client, "slow")
            await read_first_word(kit, stream)
            with pytest.raises(kit.error("APITimeoutError")) as caught:
                await kit.ask(client, "ok")
            await close(stream)
        await assert_nothing_is_in_use(pool)

    assert isinstance(caught.value.__cause__, kit.http().PoolTimeout)


@pytest.mark.parametrize(("model", "name"), [("stall-body", "ReadTimeout"), ("cut", "RemoteProtocolError")])
async def test_a_stream_that_breaks_is_an_error_of_the_library(
    kit: Kit, provider: FakeProvider, pool: penstock.Pool, model: str, name: str
) -> None:
    timeout = kit.http().Timeout(5, read=0.1)
    async with open_sdk(kit, provider, pool, timeout=timeout, max_retries=0) as client:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - some SDKs wrap it, and some do not
            await read(kit, await kit.stream(client, model))

    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, getattr(kit.http(), name)):
        error = error.__cause__
    assert error is not None, repr(caught.value)
    assert isinstance(error.__cause__, getattr(penstock, name))


async def test_fifty_streams_at_once(kit: Kit, provider: FakeProvider, pool: penstock.Pool) -> None:
    texts: list[str] = []
    async with open_sdk(kit, provider, pool) as client:

        async def one() -> None:
            texts.append(await read(kit, await kit.stream(client, "ok")))

        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(one)

    assert texts == [TEXT] * 100
    assert provider.connections <= 50
    assert pool.statistics().counts.dials_ok <= 50


async def test_closing_one_sdk_leaves_the_pool_to_the_other(
    kit: Kit, provider: FakeProvider, pool: penstock.Pool
) -> None:
    for _ in range(2):
        async with open_sdk(kit, provider, pool) as client:
            assert await kit.ask(client, "ok") == TEXT

    assert provider.connections == 1


async def test_over_http2_streams_share_a_connection_and_a_cancel_ends_one_of_them(kit: Kit, tmp_path: Path) -> None:
    config = penstock.PoolConfig(tls=penstock.TLSConfig(trust=authority_file()))
    texts: list[str] = []
    with running_provider(tmp_path) as provider:
        async with penstock.Pool(config) as pool, open_sdk(kit, provider, pool) as client:

            async def one() -> None:
                texts.append(await read(kit, await kit.stream(client, "ok")))

            with trio.CancelScope() as scope:
                stream = await kit.stream(client, "slow")
                await read_first_word(kit, stream)
                scope.cancel()
                cancelled_at = time.monotonic()
                await read(kit, stream)
            assert await gone_after(provider, cancelled_at) < SOON
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(one)
            await assert_nothing_is_in_use(pool)

    assert texts == [TEXT] * 10
    assert {one.http_version for one in provider.asked} == {"2"}
    assert provider.connections == 1
