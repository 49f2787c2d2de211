"""Requests that are tried again because a policy wants it: when, how often, after how long, and what is told of it."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import trio

import penstock
from penstock import RetryPolicy, RetryReason, RetryRefusal, events
from penstock.testing import ScriptedPeer, head, serve_in_turn, serve_ok, stall
from tests.support.scene import assert_at_rest, at_once, scene, settle
from tests.support.server import closes_without_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from trio.testing import MockClock

    from penstock.testing import Handler

    Said = tuple[int, Sequence[tuple[bytes, bytes]]]

#: The pauses are chosen by chance, and these are so short that they do not count.
QUICK: dict[str, Any] = {"backoff": 1e-6, "backoff_max": 1e-6}
PLAIN = RetryPolicy(**QUICK)


def answers(*said: int | Said) -> Handler:
    """Answer the first request of all connections with the first of these, and so on; then with 200."""
    turns = iter(said)

    async def handler(peer: ScriptedPeer) -> None:
        while True:
            await peer.expect_request()
            one = next(turns, 200)
            status, headers = (one, ()) if isinstance(one, int) else one
            await peer.respond(status, headers, b"answer %d" % status)

    return handler


@pytest.mark.parametrize("status", sorted(PLAIN.statuses))
async def test_an_answer_that_asks_for_it(status: int, autojump_clock: MockClock) -> None:
    async with scene(answers(status, status), retry=PLAIN) as s:
        response = await s.client.post(s.url, json={"a": 1})
        assert response.status_code == 200
        assert [(one.reason, one.status, one.attempt) for one in response.retries] == [
            (RetryReason.STATUS, status, 1),
            (RetryReason.STATUS, status, 2),
        ]
        assert response.retry_refusal is None
        # The refusing answers were short: their connection was kept.
        assert s.requests_per_connection == [3]
        assert s.pool.statistics().counts.retried == 2
        assert [event.delay for event in s.seen.of(events.RequestRetried)] == [one.delay for one in response.retries]
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_without_a_policy_nothing_is(autojump_clock: MockClock) -> None:
    async with scene(answers(503)) as s:
        response = await s.client.get(s.url)
        assert (response.status_code, response.retries, response.retry_refusal) == (503, (), None)


async def test_the_last_answer_is_the_callers(autojump_clock: MockClock) -> None:
    async with scene(answers(500, 502, 503, 504), retry=PLAIN) as s:
        response = await s.client.get(s.url)
        assert (response.status_code, response.content) == (503, b"answer 503")
        assert [one.status for one in response.retries] == [500, 502]
        assert response.retry_refusal is RetryRefusal.ATTEMPTS_USED
        (refused,) = s.seen.of(events.RetryRefused)
        assert (refused.attempt, refused.refusal) == (3, RetryRefusal.ATTEMPTS_USED)
        assert s.pool.statistics().counts.retries_refused == 1
        copied = pickle.loads(pickle.dumps(response))
        assert (copied.retries, copied.retry_refusal) == (response.retries, response.retry_refusal)


async def test_a_stream_is_tried_again_before_it_begins(autojump_clock: MockClock) -> None:
    async with scene(answers(503), retry=PLAIN) as s:
        async with s.client.stream("GET", s.url) as response:
            assert await response.aread() == b"answer 200"
        assert len(response.retries) == 1


async def test_a_request_and_a_client_may_have_their_own(autojump_clock: MockClock) -> None:
    async with scene(answers(503, 503, 503), retry=PLAIN) as s:
        assert (await s.client.get(s.url, retry=None)).status_code == 503
        client = penstock.Client(s.pool, retry=None)
        assert (await client.get(s.url)).status_code == 503
        assert (await client.get(s.url, retry=PLAIN)).status_code == 200


@pytest.mark.parametrize("value", ["yes", True, 3])
async def test_what_is_no_policy(value: Any, autojump_clock: MockClock) -> None:
    async with scene() as s:
        with pytest.raises(TypeError, match="retry must be a RetryPolicy or None"):
            await s.client.get(s.url, retry=value)
    with pytest.raises(TypeError, match="retry must be a RetryPolicy or None"):
        penstock.Client(retry=value)
    with pytest.raises(TypeError, match="retry must be a RetryPolicy"):
        penstock.PoolConfig(retry=value)


# ---- how long ------------------------------------------------------------------------------------------------------


async def test_a_pause_that_the_server_asks_for_is_made_no_shorter(autojump_clock: MockClock) -> None:
    async with scene(answers((429, [(b"retry-after", b"20")])), retry=PLAIN) as s:
        before = trio.current_time()
        response = await s.client.get(s.url)
        assert 20 <= trio.current_time() - before < 20.1
        assert response.retries[0].delay >= 20


async def test_milliseconds_are_finer(autojump_clock: MockClock) -> None:
    asked = [(b"retry-after-ms", b"250"), (b"retry-after", b"9")]
    async with scene(answers((429, asked)), retry=PLAIN) as s:
        before = trio.current_time()
        await s.client.get(s.url)
        assert 0.25 <= trio.current_time() - before < 0.3


async def test_a_pause_that_is_too_long_is_the_callers_to_make(autojump_clock: MockClock) -> None:
    async with scene(answers((429, [(b"retry-after", b"61")])), retry=PLAIN) as s:
        before = trio.current_time()
        response = await s.client.get(s.url)
        assert response.status_code == 429
        assert response.retry_refusal is RetryRefusal.RETRY_AFTER_TOO_LONG
        assert trio.current_time() == before


async def test_a_pause_beyond_the_total_limit_is_not_begun(autojump_clock: MockClock) -> None:
    limits = penstock.Timeouts(total=10)
    async with scene(answers((429, [(b"retry-after", b"10")])), retry=PLAIN) as s:
        before = trio.current_time()
        response = await s.client.get(s.url, timeout=limits)
        assert (response.status_code, response.retry_refusal) == (429, RetryRefusal.NO_TIME_LEFT)
        assert trio.current_time() == before


async def test_the_total_limit_is_over_all_tries(autojump_clock: MockClock) -> None:
    async def slow(peer: ScriptedPeer) -> None:
        while True:
            await peer.expect_request()
            await peer.wait(4)
            await peer.respond(503)

    async with scene(slow, retry=RetryPolicy(max_attempts=20, **QUICK)) as s:
        before = trio.current_time()
        with pytest.raises(penstock.ReadTimeout, match="total_timeout of 10 s") as caught:
            await s.client.get(s.url, timeout=penstock.Timeouts(total=10))
        assert trio.current_time() - before == pytest.approx(10)
        assert (caught.value.attempt, len(caught.value.retries)) == (3, 2)
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_pauses_differ_and_grow(autojump_clock: MockClock) -> None:
    policy = RetryPolicy(max_attempts=20, backoff=1, backoff_max=4)
    async with scene(answers(*[503] * 19), retry=policy) as s:
        delays = [one.delay for one in (await s.client.get(s.url)).retries]
    assert len(set(delays)) == 19
    assert delays[0] <= 1
    assert delays[1] <= 2
    assert max(delays) <= 4
    assert max(delays[2:]) > 2


async def test_a_server_that_says_no(autojump_clock: MockClock) -> None:
    async with scene(answers((503, [(b"x-should-retry", b"false")])), retry=PLAIN) as s:
        response = await s.client.get(s.url)
        assert (response.status_code, response.retry_refusal) == (503, RetryRefusal.SERVER_FORBADE)


async def test_a_server_that_says_yes(autojump_clock: MockClock) -> None:
    async with scene(answers((400, [(b"x-should-retry", b"true")])), retry=PLAIN) as s:
        response = await s.client.get(s.url)
        assert [one.reason for one in response.retries] == [RetryReason.SERVER_ASKED]


# ---- the budget ------------------------------------------------------------------------------------------------------


async def test_a_budget_bounds_what_an_outage_is_multiplied_by(autojump_clock: MockClock) -> None:
    policy = RetryPolicy(max_attempts=3, budget_ratio=0.2, budget_rate=0.5, **QUICK)
    async with scene(answers(*[503] * 1000), retry=policy) as s:
        responses: list[Any] = await at_once(100, lambda: s.client.get(s.url))
        heard = sum(s.requests_per_connection)
        # A fifth of a hundred, and five for the ten seconds that count.
        assert heard == 125
        assert sum(len(response.retries) for response in responses) == 25
        refusals = [response.retry_refusal for response in responses]
        assert set(refusals) <= {RetryRefusal.BUDGET_SPENT, RetryRefusal.ATTEMPTS_USED}
        assert RetryRefusal.BUDGET_SPENT in refusals


async def test_each_server_has_its_own_budget(autojump_clock: MockClock) -> None:
    policy = RetryPolicy(max_attempts=2, budget_ratio=0, budget_rate=0.1, **QUICK)
    async with scene(answers(*[503] * 1000), retry=policy) as s:
        other = s.serve("other.test", answers(*[503] * 1000))
        assert len((await s.client.get(s.url)).retries) == 1
        assert len((await s.client.get(s.url)).retries) == 0
        assert len((await s.client.get(other)).retries) == 1
        await trio.sleep(10)
        assert len((await s.client.get(s.url)).retries) == 1


async def test_a_server_is_not_forgotten_with_its_budget(autojump_clock: MockClock) -> None:
    policy = RetryPolicy(max_attempts=5, budget_ratio=0, budget_rate=0.1)
    later = (503, [(b"retry-after", b"2"), (b"connection", b"close")])
    async with scene(answers(*[later] * 9), retry=policy, idle_timeout=0.5) as s:
        response = await s.client.get(s.url)
        assert (len(response.retries), response.retry_refusal) == (1, RetryRefusal.BUDGET_SPENT)
        await trio.sleep(20)
        assert s.pool.statistics().endpoints == ()


# ---- lost answers ----------------------------------------------------------------------------------------------------


async def test_a_lost_answer_is_asked_for_again(autojump_clock: MockClock) -> None:
    async with scene(serve_in_turn(closes_without_answer(), serve_ok()), retry=PLAIN) as s:
        response = await s.client.get(s.url)
        assert (response.status_code, response.connection_id) == (200, 2)
        (one,) = response.retries
        assert (one.reason, one.status) == (RetryReason.CONNECTION_LOST, None)
        assert "without an answer" in one.error


async def test_but_not_if_it_may_have_been_done(autojump_clock: MockClock) -> None:
    async with scene(serve_in_turn(closes_without_answer(), serve_ok()), retry=PLAIN) as s:
        with pytest.raises(penstock.ReadError) as caught:
            await s.client.post(s.url, content=b"order")
        assert caught.value.retry_refusal is RetryRefusal.NOT_IDEMPOTENT
        assert (caught.value.attempt, caught.value.retries) == (1, ())
        copied = pickle.loads(pickle.dumps(caught.value))
        assert copied.retry_refusal is RetryRefusal.NOT_IDEMPOTENT


async def test_unless_it_has_a_key(autojump_clock: MockClock) -> None:
    policy = RetryPolicy(idempotency_key="Idempotency-Key", **QUICK)
    async with scene(serve_in_turn(closes_without_answer(), answers(503, 200, 200)), retry=policy) as s:
        response = await s.client.post(s.url, content=b"order")
        assert [one.reason for one in response.retries] == [RetryReason.CONNECTION_LOST, RetryReason.STATUS]
        await s.client.post(s.url)
        await s.client.get(s.url)
        heard = [request for peer in s.network.peers for request in peer.requests]
        keys = [dict(request.headers).get(b"idempotency-key") for request in heard]
        assert keys[0] is not None
        assert keys[0] == keys[1] == keys[2]
        assert keys[3] not in (None, keys[0])
        assert keys[4] is None


async def test_a_callers_own_key_stays(autojump_clock: MockClock) -> None:
    policy = RetryPolicy(idempotency_key="Idempotency-Key", **QUICK)
    async with scene(serve_in_turn(closes_without_answer(), serve_ok()), retry=policy) as s:
        await s.client.post(s.url, headers={"idempotency-key": "mine"})
        heard = [request for peer in s.network.peers for request in peer.requests]
        assert [dict(request.headers)[b"idempotency-key"] for request in heard] == [b"mine", b"mine"]


async def test_silence_is_a_lost_answer(autojump_clock: MockClock) -> None:
    async with scene(serve_in_turn(stall, serve_ok()), retry=PLAIN, read_timeout=5.0) as s:
        before = trio.current_time()
        response = await s.client.get(s.url)
        assert trio.current_time() - before == pytest.approx(5, abs=0.1)
        (one,) = response.retries
        assert one.reason is RetryReason.TIMED_OUT
        assert "read_timeout of 5 s" in one.error
        # The limits hold for the next try as for the first.
        assert response.content == b"ok"


async def test_every_try_may_time_out(autojump_clock: MockClock) -> None:
    async with scene(stall, retry=PLAIN, first_byte_timeout=5.0) as s:
        before = trio.current_time()
        with pytest.raises(penstock.ReadTimeout, match="first_byte_timeout of 5 s") as caught:
            await s.client.get(s.url)
        assert trio.current_time() - before == pytest.approx(15, abs=0.1)
        assert caught.value.attempt == 3
        assert [one.reason for one in caught.value.retries] == [RetryReason.TIMED_OUT] * 2
        assert caught.value.retry_refusal is RetryRefusal.ATTEMPTS_USED
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_no_connection_is_no_answer(autojump_clock: MockClock) -> None:
    async with scene(retry=PLAIN) as s:
        with pytest.raises(penstock.ConnectError) as caught:
            await s.client.post("http://nobody.test/", content=b"order")
        assert caught.value.attempt == 3
        assert [one.reason for one in caught.value.retries] == [RetryReason.CONNECT_FAILED] * 2
        assert caught.value.retry_refusal is RetryRefusal.ATTEMPTS_USED


async def test_an_answer_that_breaks_off_in_its_body_is_the_callers(autojump_clock: MockClock) -> None:
    async def cuts(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.send(head(200, [(b"content-length", b"10")]) + b"five!")
        peer.fin()

    async with scene(cuts, retry=PLAIN) as s:
        with pytest.raises(penstock.RemoteProtocolError, match="5"):
            await s.client.get(s.url)
        assert s.requests_per_connection == [1]


async def test_an_answer_against_the_rules_is_not_asked_for_again(autojump_clock: MockClock) -> None:
    async def babbles(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.send(b"nonsense\r\n\r\n")

    async with scene(babbles, retry=PLAIN) as s:
        with pytest.raises(penstock.RemoteProtocolError) as caught:
            await s.client.get(s.url)
        assert (caught.value.retry_refusal, caught.value.attempt) == (None, 1)
        assert s.requests_per_connection == [1]


# ---- replays ---------------------------------------------------------------------------------------------------------


async def test_replays_are_told_as_well(autojump_clock: MockClock) -> None:
    async with scene(serve_in_turn(closes_without_answer(after=1), serve_ok())) as s:
        await s.client.get(s.url)
        response = await s.client.get(s.url)
        assert [one.reason for one in response.retries] == [RetryReason.STALE_CONNECTION]
        counts = s.pool.statistics().counts
        assert (counts.replayed, counts.retried) == (1, 0)


async def test_a_policy_does_not_multiply_replays(autojump_clock: MockClock) -> None:
    """One replay in all; every other try after a dead connection is the policy's, and is counted against it."""
    dies = serve_in_turn(closes_without_answer(after=1), closes_without_answer())
    async with scene(dies, retry=RetryPolicy(max_attempts=2, **QUICK)) as s:
        await s.client.get(s.url)
        with pytest.raises(penstock.ReadError) as caught:
            await s.client.get(s.url)
        reasons = [one.reason for one in caught.value.retries]
        assert reasons == [RetryReason.STALE_CONNECTION, RetryReason.CONNECTION_LOST]
        assert caught.value.retry_refusal is RetryRefusal.ATTEMPTS_USED
        assert s.requests_per_connection == [2, 1, 1]


async def test_a_misdirected_request_is_told(autojump_clock: MockClock) -> None:
    async with scene(serve_in_turn(answers(421), serve_ok())) as s:
        response = await s.client.get(s.url)
        assert [(one.reason, one.status) for one in response.retries] == [(RetryReason.MISDIRECTED, 421)]


# ---- bodies ----------------------------------------------------------------------------------------------------------


async def test_a_body_that_can_be_read_once_is_sent_once(autojump_clock: MockClock) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with scene(answers(503), retry=PLAIN) as s:
        response = await s.client.post(s.url, content=pieces())
        assert (response.status_code, response.retry_refusal) == (503, RetryRefusal.BODY_CONSUMED)


async def test_a_body_that_was_not_begun_can_still_be_sent(autojump_clock: MockClock) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"

    async with scene(retry=PLAIN) as s:
        with pytest.raises(penstock.ConnectError) as caught:
            await s.client.post("http://nobody.test/", content=pieces())
        assert caught.value.attempt == 3


async def test_a_file_is_sent_from_where_it_stood(autojump_clock: MockClock) -> None:
    file = io.BytesIO(b"skipped" + b"x" * 100_000)
    file.seek(7)
    async with scene(answers(503), retry=PLAIN) as s:
        assert (await s.client.put(s.url, content=file)).status_code == 200
        assert [len(request.body) for request in s.network.peers[0].requests] == [100_000] * 2


# ---- the bad days ----------------------------------------------------------------------------------------------------


async def test_a_pause_holds_nothing_and_can_be_cancelled(autojump_clock: MockClock) -> None:
    async with scene(answers((503, [(b"retry-after", b"30")])), retry=PLAIN, max_connections=1) as s:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.client.get, s.url)
            await trio.sleep(10)
            assert s.pool.statistics().active == 0
            assert (await s.client.get(s.url)).status_code == 200
            nursery.cancel_scope.cancel()
        await settle()
        assert_at_rest(s.pool, s.network)
        assert sum(s.requests_per_connection) == 2


@pytest.mark.parametrize("end", ["aclose", "drain"])
async def test_a_pool_that_closes_ends_the_pause(end: str, autojump_clock: MockClock) -> None:
    async with scene(answers((503, [(b"retry-after", b"30")])), retry=PLAIN) as s:
        caught: list[BaseException] = []

        async def ask() -> None:
            try:
                await s.client.get(s.url)
            except penstock.PoolClosed as error:
                caught.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(10)
            before = trio.current_time()
            await getattr(s.pool, end)()
        assert trio.current_time() == before
        (error,) = caught
        assert isinstance(error, penstock.PoolClosed)
        assert [one.status for one in error.retries] == [503]


async def test_a_retry_waits_behind_those_who_were_not_served_yet(autojump_clock: MockClock) -> None:
    order: list[str] = []

    async def handler(peer: ScriptedPeer) -> None:
        while True:
            request = await peer.expect_request()
            order.append(request.target.decode())
            await peer.wait(1)
            await peer.respond(503 if order == ["/first"] else 200)

    async with scene(handler, retry=PLAIN, max_connections=1) as s, trio.open_nursery() as nursery:
        nursery.start_soon(s.client.get, s.url + "/first")
        await trio.sleep(0.5)
        nursery.start_soon(s.client.get, s.url + "/second")
    assert order == ["/first", "/second", "/first"]


# ---- what the server may have seen -----------------------------------------------------------------------------------


async def test_a_replay_that_cannot_connect_does_not_say_that_nothing_was_sent(autojump_clock: MockClock) -> None:
    async with scene(closes_without_answer(after=1)) as s:
        await s.client.get(s.url)
        s.network.stop_listening("api.test", 80)
        with pytest.raises(penstock.ConnectError) as caught:
            await s.client.get(s.url)
        assert (caught.value.request_sent, caught.value.attempt) == ("fully", 2)


async def test_nor_does_a_retry(autojump_clock: MockClock) -> None:
    async with scene(answers((503, [(b"connection", b"close")])), retry=PLAIN) as s:
        await s.pool.prewarm(s.url, 1)
        s.network.stop_listening("api.test", 80)
        with pytest.raises(penstock.ConnectError) as caught:
            await s.client.post(s.url, content=b"order")
        assert (caught.value.request_sent, caught.value.attempt) == ("fully", 3)
