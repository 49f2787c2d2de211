"""Event streams that are asked for again, with Last-Event-ID, when they have ended or broken off."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from penstock._client.client import Client
from penstock._client.reconnect import Reconnect, is_interruption
from penstock._config import Timeouts
from penstock._errors import (
    AddressNotAllowed,
    CertificateError,
    ConnectError,
    ConnectTimeout,
    ContentTypeError,
    HTTPStatusError,
    NameResolutionError,
    PinMismatch,
    PoolClosed,
    PoolTimeout,
    ProtocolReason,
    ProxyError,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    StreamClosed,
    TransportError,
    WriteError,
)
from penstock._retry_config import RetryPolicy

from .fake_pool import Answer, FakePool, Sent

STREAM = {"content-type": "text/event-stream"}
END = Answer(204)


def stream(*pieces: bytes | float | Exception) -> Answer:
    return Answer(200, STREAM, *pieces)


def client_for(*answers: Answer | Exception, **options: Any) -> tuple[Client, FakePool]:
    left = list(answers)
    pool = FakePool(lambda sent: left.pop(0))
    return Client(pool, **options), pool  # type: ignore[arg-type]


def last_ids(pool: FakePool) -> list[str | None]:
    return [sent.headers.get("last-event-id") for sent in pool.sent]


async def test_the_events_of_all_answers_are_one_stream(autojump_clock: trio.testing.MockClock) -> None:
    client, pool = client_for(
        stream(b"id: 1\ndata: a\n\nid: 2\ndata: b\n\ndata: half"),
        stream(b"data: c\n\n", ReadError("reset")),
        stream(b"id: \xc3\xbc\ndata: d\n\n"),
        END,
    )
    async with client.sse("POST", "https://h/x", json={"q": 1}, reconnect=Reconnect(jitter=0)) as events:
        found = [(event.data, event.id) async for event in events]
        assert events.response.status_code == 204
        assert [event async for event in events] == []
    assert found == [("a", "1"), ("b", "2"), ("c", "2"), ("d", "ü")]
    assert last_ids(pool) == [None, "2", "2", "ü".encode().decode("latin-1")]
    assert [sent.body for sent in pool.sent] == [b'{"q":1}'] * 4
    assert all(sent.headers["accept"] == "text/event-stream" for sent in pool.sent)
    assert [lease.ended for lease in pool.leases] == ["finished", "discarded", "finished", "released"]
    assert trio.current_time() == 9


async def test_without_it_a_stream_ends_where_it_ends() -> None:
    client, pool = client_for(stream(b"id: 1\ndata: a\n\n"))
    async with client.sse("GET", "https://h") as events:
        assert len([event async for event in events]) == 1
    assert len(pool.sent) == 1


async def test_the_id_of_the_caller_holds_until_the_server_sets_one(autojump_clock: trio.testing.MockClock) -> None:
    client, pool = client_for(stream(b"data: a\n\n"), stream(b"id: 9\ndata: b\n\n"), END)
    async with client.sse("GET", "https://h", headers={"Last-Event-ID": "7"}, reconnect=Reconnect()) as events:
        assert len([event async for event in events]) == 2
    assert last_ids(pool) == ["7", "7", "9"]


async def test_the_server_sets_the_delay_and_it_grows_with_failures(autojump_clock: trio.testing.MockClock) -> None:
    times: list[float] = []
    answers = iter([stream(b"retry: 1000\ndata: a\n\n"), *[ConnectError("refused")] * 4, stream(b"data: b\n\n"), END])

    def answer(_: Sent) -> Answer | Exception:
        times.append(trio.current_time())
        return next(answers)

    client = Client(FakePool(answer))  # type: ignore[arg-type]
    policy = Reconnect(max_delay=5, jitter=0)
    async with client.sse("GET", "https://h", reconnect=policy) as events:
        assert [event.data async for event in events] == ["a", "b"]
    # 1, 2, 4, then the longest; the event of the last stream begins anew.
    assert times == [0, 1, 3, 7, 12, 17, 18]


async def test_chance_makes_the_wait_longer(autojump_clock: trio.testing.MockClock) -> None:
    client, _ = client_for(stream(), END)
    async with client.sse("GET", "https://h", reconnect=Reconnect(delay=2, jitter=0.5)) as events:
        assert [event async for event in events] == []
    # The fake pool's chance is 0.5.
    assert trio.current_time() == 2.5


async def test_after_the_last_attempt_the_reason_is_raised(autojump_clock: trio.testing.MockClock) -> None:
    client, pool = client_for(stream(b"data: a\n\n", ReadError("one")), ConnectError("two"), ConnectError("three"))
    async with client.sse("GET", "https://h", reconnect=Reconnect(max_attempts=2)) as events:
        assert (await anext(events)).data == "a"
        with pytest.raises(ConnectError, match="three"):
            await anext(events)
        with pytest.raises(StreamClosed):
            await anext(events)
    assert len(pool.sent) == 3


async def test_after_the_last_attempt_an_end_in_order_is_the_end(autojump_clock: trio.testing.MockClock) -> None:
    client, pool = client_for(*[stream()] * 3)
    async with client.sse("GET", "https://h", reconnect=Reconnect(max_attempts=2)) as events:
        assert [event async for event in events] == []
        assert [event async for event in events] == []
    assert len(pool.sent) == 3


async def test_a_stream_that_goes_silent_is_asked_for_again(autojump_clock: trio.testing.MockClock) -> None:
    client, pool = client_for(
        stream(b"id: 1\ndata: a\n\n", 100.0), stream(*[b":\n\n", 4.0] * 10), stream(b"data: b\n\n"), END, timeout=30
    )
    policy = Reconnect(delay=1, jitter=0)
    async with client.sse("GET", "https://h", event_timeout=10, reconnect=policy) as events:
        assert [event.data async for event in events] == ["a", "b"]
    assert trio.current_time() == 10 + 1 + 10 + 2 + 1
    assert last_ids(pool) == [None, "1", "1", "1"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(404, {}, b"why"), HTTPStatusError),
        (Answer(200, {"content-type": "text/html"}, b"why"), ContentTypeError),
        (PoolClosed("closed"), PoolClosed),
        (CertificateError("expired"), CertificateError),
    ],
)
async def test_what_ends_it_for_good(
    answer: Answer | Exception, error: type[Exception], autojump_clock: trio.testing.MockClock
) -> None:
    client, pool = client_for(stream(b"data: a\n\n"), answer)
    async with client.sse("GET", "https://h", reconnect=Reconnect()) as events:
        await anext(events)
        with pytest.raises(error):
            await anext(events)
        with pytest.raises(StopAsyncIteration):
            await anext(events)
    assert len(pool.sent) == 2
    assert all(lease.ended for lease in pool.leases)


async def test_the_first_answer_is_not_asked_for_twice() -> None:
    client, pool = client_for(ConnectError("refused"))
    with pytest.raises(ConnectError):
        async with client.sse("GET", "https://h", reconnect=Reconnect()):
            raise AssertionError
    assert len(pool.sent) == 1


async def test_a_server_that_breaks_the_rules_is_not_asked_again() -> None:
    broken = RemoteProtocolError("no chunk", reason=ProtocolReason.FRAMING)
    client, pool = client_for(stream(b"data: a\n\n", broken))
    async with client.sse("GET", "https://h", reconnect=Reconnect()) as events:
        await anext(events)
        with pytest.raises(RemoteProtocolError, match="no chunk"):
            await anext(events)
    assert len(pool.sent) == 1


@pytest.mark.parametrize("piece", [4.0, 100.0])
async def test_the_total_limit_is_over_all(piece: float, autojump_clock: trio.testing.MockClock) -> None:
    """It ends the first answer, or a later one."""
    limits = Timeouts(total=10)
    client, pool = client_for(*[stream(b"data: a\n\n", piece)] * 3, timeout=limits)
    async with client.sse("GET", "https://h", reconnect=Reconnect(delay=4, jitter=0)) as events:
        with pytest.raises(ReadTimeout, match="total_timeout of 10 s") as caught:
            async for _ in events:
                pass
        assert (caught.value.limit, caught.value.seconds) == ("total_timeout", 10)
        assert str(caught.value.origin) == "https://h"
        assert trio.current_time() == 10
        with pytest.raises((StreamClosed, StopAsyncIteration)):
            await anext(events)
    assert all(lease.ended for lease in pool.leases)


async def test_the_total_limit_ends_a_wait_in_between(autojump_clock: trio.testing.MockClock) -> None:
    client, pool = client_for(stream(b"data: a\n\n", ReadError("reset")), timeout=Timeouts(total=2))
    async with client.sse("GET", "https://h", reconnect=Reconnect()) as events:
        await anext(events)
        with pytest.raises(ReadTimeout, match="while waiting to reconnect") as caught:
            await anext(events)
    assert isinstance(caught.value.__cause__, ReadError)
    assert trio.current_time() == 2
    assert len(pool.sent) == 1


@pytest.mark.parametrize("at", [1, 3.5])
async def test_cancelled_it_is_over(at: float, autojump_clock: trio.testing.MockClock) -> None:
    late = stream(b"data: b\n\n")
    late.delay = 1
    client, _ = client_for(stream(b"data: a\n\n"), late)
    async with client.sse("GET", "https://h", reconnect=Reconnect(jitter=0)) as events:
        await anext(events)
        with trio.move_on_at(at) as scope:
            await anext(events)
        assert scope.cancelled_caught
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_an_id_that_no_field_can_carry(autojump_clock: trio.testing.MockClock) -> None:
    client, pool = client_for(stream(b"id: a\x1bb\ndata: a\n\n"))
    async with client.sse("GET", "https://h", reconnect=Reconnect()) as events:
        await anext(events)
        with pytest.raises(RemoteProtocolError, match="that no header field can carry") as caught:
            await anext(events)
    assert "\x1b" not in str(caught.value)
    assert len(pool.sent) == 1


async def test_closed_it_asks_no_more() -> None:
    client, pool = client_for(stream(b"data: a\n\n", b"data: b\n\n"), stream())
    async with client.sse("GET", "https://h", reconnect=Reconnect()) as events:
        await anext(events)
        await events.aclose()
        with pytest.raises(StreamClosed):
            await anext(events)
    assert [lease.ended for lease in pool.leases] == ["released"]


async def test_leaving_closes_the_stream_that_is_open(autojump_clock: trio.testing.MockClock) -> None:
    client, pool = client_for(stream(b"data: a\n\n"), stream(b"data: b\n\n", b"data: c\n\n"))
    async with client.sse("GET", "https://h", reconnect=Reconnect()) as events:
        assert [(await anext(events)).data, (await anext(events)).data] == ["a", "b"]
    assert [lease.ended for lease in pool.leases] == ["finished", "released"]


async def test_a_body_that_can_be_sent_once_cannot_be_sent_again() -> None:
    client, _ = client_for()
    with pytest.raises(ValueError, match="can be sent only once"):
        client.sse("POST", "https://h", content=iter([b"x"]), reconnect=Reconnect())
    with pytest.raises(TypeError, match="reconnect must be a Reconnect or None, not True"):
        client.sse("POST", "https://h", reconnect=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"delay": -1},
        {"max_delay": 0},
        {"jitter": 1.1},
        {"jitter": -0.1},
        {"jitter": float("nan")},
    ],
)
def test_settings_out_of_range_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Reconnect(**wrong)


@pytest.mark.parametrize("wrong", [{"jitter": True}, {"jitter": "1"}, {"delay": None}, {"max_attempts": 1.5}])
def test_settings_of_another_type_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(wrong))):
        Reconnect(**wrong)


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (ReadError(), True),
        (WriteError(), True),
        (ConnectError(), True),
        (NameResolutionError(), True),
        (ConnectTimeout(limit="connect_timeout"), True),
        (ReadTimeout(limit="event_timeout"), True),
        (ReadTimeout(limit="total_timeout"), False),
        (PoolTimeout(limit="pool_timeout"), False),
        (PoolClosed(), False),
        (ProxyError(), True),
        (ProxyError(status=503), True),
        (ProxyError(status=407), False),
        (PinMismatch(), False),
        (AddressNotAllowed(), False),
        (RemoteProtocolError(reason=ProtocolReason.TRUNCATED), True),
        (RemoteProtocolError(reason=ProtocolReason.RESET), True),
        (RemoteProtocolError(reason=ProtocolReason.GOAWAY), True),
        (RemoteProtocolError(reason=ProtocolReason.LIMIT), False),
    ],
)
def test_what_counts_as_an_interruption(error: TransportError, wanted: bool) -> None:
    assert is_interruption(error) is wanted


# ---- closing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 3.5], ids=["in the pause", "while it is asked"])
@pytest.mark.parametrize("leaves", [False, True])
async def test_closed_by_another_task_it_asks_no_more(
    at: float, leaves: bool, autojump_clock: trio.testing.MockClock
) -> None:
    late = stream(b"data: b\n\n")
    late.delay = 1
    client, pool = client_for(stream(b"data: a\n\n"), late)
    async with (
        trio.open_nursery() as nursery,
        client.sse("GET", "https://h", reconnect=Reconnect(jitter=0)) as events,
    ):

        async def read() -> None:
            assert (await anext(events)).data == "a"
            with pytest.raises(StreamClosed):
                await anext(events)
            assert trio.current_time() == at

        nursery.start_soon(read)
        await trio.sleep(at)
        if not leaves:
            await events.aclose()
            await trio.sleep(20)
    assert len(pool.sent) == (1 if at < 3 else 2)
    assert all(lease.ended for lease in pool.leases)


async def test_an_answer_behind_the_close_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    """The close comes in the very step in which the answer does."""
    answers = [stream(b"data: a\n\n"), stream(b"data: b\n\n")]
    closers: list[Any] = []

    def answer(_: Sent) -> Answer:
        for close in closers:
            nursery.start_soon(close)
        return answers.pop(0)

    pool = FakePool(answer)
    client = Client(pool)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery, client.sse("GET", "https://h", reconnect=Reconnect()) as events:
        await anext(events)
        closers.append(events.aclose)
        with pytest.raises(StreamClosed):
            while True:
                await anext(events)
    assert all(lease.ended for lease in pool.leases)


# ---- how often, and what counts --------------------------------------------------------------------------------------


async def test_a_server_cannot_make_it_loop(autojump_clock: trio.testing.MockClock) -> None:
    client, _ = client_for(*[stream(b"retry: 0\ndata: a\n\n")] * 9, END)
    async with client.sse("GET", "https://h", reconnect=Reconnect(jitter=0)) as events:
        assert len([event async for event in events]) == 9
    assert trio.current_time() == 9 * 0.5


async def test_failures_without_a_delay_grow_apart(autojump_clock: trio.testing.MockClock) -> None:
    client, _ = client_for(stream(b"data: a\n\n"), *[ConnectError("no")] * 4)
    async with client.sse("GET", "https://h", reconnect=Reconnect(delay=0, jitter=0, max_attempts=4)) as events:
        assert (await anext(events)).data == "a"
        with pytest.raises(ConnectError):
            await anext(events)
    assert trio.current_time() == 0 + 1 + 2 + 4


async def test_a_status_that_passes_is_a_failed_attempt(autojump_clock: trio.testing.MockClock) -> None:
    client, pool = client_for(
        stream(b"id: 1\ndata: a\n\n"), Answer(503, {}, b"busy"), Answer(429), stream(b"data: b\n\n"), END
    )
    async with client.sse("GET", "https://h", reconnect=Reconnect(jitter=0)) as events:
        assert [event.data async for event in events] == ["a", "b"]
    assert trio.current_time() == 3 + 6 + 12 + 3
    assert all(lease.ended for lease in pool.leases)


async def test_after_the_last_attempt_the_status_is_raised(autojump_clock: trio.testing.MockClock) -> None:
    client, _ = client_for(stream(b"data: a\n\n"), *[Answer(503, {}, b"busy")] * 2)
    async with client.sse("GET", "https://h", reconnect=Reconnect(max_attempts=2)) as events:
        await anext(events)
        with pytest.raises(HTTPStatusError) as caught:
            await anext(events)
    assert caught.value.response.content == b"busy"


@pytest.mark.parametrize("of_the_client", [False, True])
async def test_a_retry_policy_is_for_the_first_answer(
    of_the_client: bool, autojump_clock: trio.testing.MockClock
) -> None:
    policy = RetryPolicy(idempotency_key="Idempotency-Key")
    client, pool = client_for(stream(b"id: 1\ndata: a\n\n"), END, **({"retry": policy} if of_the_client else {}))
    options: Any = {} if of_the_client else {"retry": policy}
    async with client.sse("POST", "https://h", json={"q": 1}, reconnect=Reconnect(), **options) as events:
        assert len([event async for event in events]) == 1
    assert [sent.place["retry"] for sent in pool.sent] == [policy, None]
    assert ["idempotency-key" in sent.headers for sent in pool.sent] == [True, False]
    assert [sent.body for sent in pool.sent] == [b'{"q":1}'] * 2


async def test_options_that_can_be_read_once_are_read_once(autojump_clock: trio.testing.MockClock) -> None:
    client, pool = client_for(stream(b"id: 1\ndata: a\n\n"), END)
    async with client.sse(
        "POST",
        "https://h/x",
        params=iter([("a", "b")]),
        headers=iter([("authorization", "Bearer x")]),
        data=iter([("c", "d")]),
        retry=RetryPolicy(idempotency_key="Idempotency-Key"),
        reconnect=Reconnect(),
    ) as events:
        assert [event.data async for event in events] == ["a"]
    assert [(sent.url, sent.headers["authorization"], sent.body) for sent in pool.sent] == [
        ("https://h/x?a=b", "Bearer x", b"c=d")
    ] * 2
    assert ["idempotency-key" in sent.headers for sent in pool.sent] == [True, False]


async def test_a_204_at_once_is_a_stream_without_events() -> None:
    client, pool = client_for(END, END)
    async with client.sse("GET", "https://h", reconnect=Reconnect()) as events:
        assert [event async for event in events] == []
    with pytest.raises(ContentTypeError):
        async with client.sse("GET", "https://h"):
            raise AssertionError
    assert len(pool.sent) == 2


# ---- the place in the stream -----------------------------------------------------------------------------------------


async def test_an_id_that_was_taken_back_is_sent_no_more(autojump_clock: trio.testing.MockClock) -> None:
    client, pool = client_for(stream(b"id: 7\ndata: a\n\n"), stream(b"id\ndata: b\n\n"), stream(), END)
    async with client.sse("GET", "https://h", headers={"Last-Event-ID": "5"}, reconnect=Reconnect()) as events:
        assert events.last_event_id == "5"
        assert [(event.data, event.id) async for event in events] == [("a", "7"), ("b", "")]
    assert last_ids(pool) == ["5", "7", None, None]


@pytest.mark.parametrize(("size", "sent"), [(8192, 2), (8193, 1)])
async def test_an_id_is_bounded(size: int, sent: int, autojump_clock: trio.testing.MockClock) -> None:
    client, pool = client_for(stream(b"id: " + b"a" * size + b"\ndata: a\n\n"), END)
    async with client.sse("GET", "https://h", reconnect=Reconnect()) as events:
        await anext(events)
        with pytest.raises(StopAsyncIteration if sent == 2 else RemoteProtocolError) as caught:
            await anext(events)
    if sent == 1:
        assert caught.value.reason is ProtocolReason.LIMIT  # type: ignore[attr-defined]
    assert len(pool.sent) == sent
