"""The public pool."""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import trio

from .._config import PoolConfig, Upstream, check_timeouts
from .._core.planning import Phase
from .._errors import (
    ConnectError,
    PoolClosed,
    PoolError,
    PoolTimeout,
    RequestError,
)
from .._http.body import make_body
from .._http.request import build_request
from .._http.trailers import make_trailers
from .._net.network import SocketNetwork
from .._net.timer import PhaseTimer
from .._place import check_affinity, check_place
from .._retry_config import check_retry
from .._url import to_origin, to_server_name
from .connecting import Connector, find_proxy
from .lease import Lease
from .leaving import leaving
from .refusals import own_instance
from .runner import Runner
from .statistics import explain, snapshot
from .tries import MISDIRECTED, Tries

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from .._config import Timeouts
    from .._core.endpoint import Endpoint
    from .._http.body import Content
    from .._http.exchange import ResponseHead
    from .._http.request import WireRequest
    from .._http.trailers import TrailerArgument
    from .._net.network import Network
    from .._retry_config import RetryPolicy
    from .._types import Origin
    from .instruments import Instrument
    from .statistics import Explanation, Statistics


#: What a pool asks of the outside world.
_NETWORK = ("resolve", "connect", "connect_unix", "watcher")


class Pool:
    """A pool of HTTP connections, bound to one `async with` block of one trio run.

    Args:
        config: all settings; the defaults if None.
        upstreams: origins declared in advance, each a URL or an `Upstream` with settings of its own.
        network: what stands for the outside world, for tests; the real one if None.
        seed: seeds the jitter, for tests.

    Raises:
        ValueError: an origin is declared twice, or an upstream's proxy needs settings of TLS of its own.
        TypeError: an argument has the wrong type.
        InvalidURL, UnsupportedProtocol: an upstream's URL is no origin, or its proxy cannot pass HTTP/2 on.
    """

    def __init__(
        self,
        config: PoolConfig | None = None,
        *,
        upstreams: Sequence[Upstream | str] = (),
        network: Network | None = None,
        seed: int | None = None,
    ) -> None:
        if config is not None and not isinstance(config, PoolConfig):
            raise TypeError(f"config must be a PoolConfig, not a {type(config).__name__}")
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise TypeError(f"seed must be an int or None, not {seed!r}")
        if network is not None and not all(hasattr(network, name) for name in _NETWORK):
            raise TypeError(f"network must have {', '.join(_NETWORK)}, as penstock.testing.FakeNetwork has")
        self.config = PoolConfig() if config is None else config
        self.timeouts = self.config.timeouts
        self._network = network
        self._seed = seed
        self._declared: dict[Origin, Upstream] = {}
        for upstream in _to_upstreams(upstreams):
            if upstream.origin in self._declared:
                raise ValueError(f"upstreams: {upstream.origin} is declared twice")
            find_proxy(self.config, upstream.origin, upstream)
            self._declared[upstream.origin] = upstream
        self._running: Runner | None = None
        self._nursery_manager: AbstractAsyncContextManager[trio.Nursery, bool | None] | None = None
        self._stopped = trio.Event()
        self._http1_engine: str | None = None

    def __repr__(self) -> str:
        if self._running is None:
            return "<Pool, not open>"
        machine = self._running.machine
        return f"<Pool, {machine.phase.value}, {machine.total} connections, {machine.waiting} waiting>"

    async def __aenter__(self) -> Self:
        if self._running is not None:
            raise RuntimeError("a pool is opened once; make another one")
        network: Network = SocketNetwork() if self._network is None else self._network
        try:
            connector = Connector(self.config, network)
            runner = Runner(self.config, connector, network, upstreams=self._declared, seed=self._seed)
        except OSError as error:
            raise PoolError(f"the pool cannot watch idle connections: {error.strerror}") from error
        self._http1_engine = connector.http1_engine.name
        manager = trio.open_nursery()
        nursery = await manager.__aenter__()
        self._running = runner
        self._nursery_manager = manager
        try:
            await nursery.start(self._run)
        except BaseException:
            await self.__aexit__(None, None, None)  # noqa: ASYNC102 - stopped first: what is left ends by itself
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._running is not None
        assert self._nursery_manager is not None
        self._running.stop()
        try:
            # The body's exception is not shown to the nursery, which would wrap it in a group: it leaves by itself.
            await self._nursery_manager.__aexit__(None, None, None)  # noqa: ASYNC102 - likewise
        except BaseException as own:  # noqa: ASYNC103, BLE001 - it leaves below, out of its group
            left = leaving(error, own)
        else:
            return
        if left is not None:
            raise left

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:  # noqa: ASYNC128 - the runner calls it
        try:
            await self._runner.run(task_status)
        finally:
            self._stopped.set()

    @property
    def http1_engine(self) -> str | None:
        """What reads HTTP/1.1 here, "h11" or "httptools"; None before the pool is open."""
        return self._http1_engine

    @property
    def _runner(self) -> Runner:
        runner = self._running
        if runner is None:
            raise RuntimeError("the pool is not open; use `async with Pool(...) as pool:`")
        runner.check_caller()
        return runner

    # ---- connections ---------------------------------------------------------------------------------------------

    def acquire(
        self,
        origin: str | Origin,
        *,
        priority: int = 0,
        tenant: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> Acquire:
        """Take a connection: `async with pool.acquire("https://api.example.com") as lease:`.

        Waiters of one origin are served by priority, in turns between tenants, and first come, first served inside.
        Leaving the block gives the lease up, as `Lease.aclose` does.

        Args:
            origin: "https://host[:port]".
            priority: −100 to 100, lower is served first.
            tenant: whose turn it uses up.
            timeouts: limits of waiting, dialling and of the lease's exchange; the pool's if None.

        Raises:
            InvalidURL, UnsupportedProtocol: the origin is no origin.
            PoolTimeout, PoolFull, PoolClosed: no connection could be had.
            ConnectError: the dial on this caller's behalf failed.
            ProxyError: likewise, on the way through a proxy.
            ValueError: the priority is out of range.
            TypeError: an argument has the wrong type.
        """
        check_place(priority, tenant)
        timeouts = self.timeouts if timeouts is None else check_timeouts(timeouts)
        return Acquire(self._runner, to_origin(origin), priority, tenant, timeouts)

    async def exchange(
        self,
        origin: str | Origin,
        method: str | bytes,
        target: str | bytes,
        *,
        headers: Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]] = (),
        content: Content = None,
        trailers: TrailerArgument | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        priority: int = 0,
        tenant: str | None = None,
        affinity: str | None = None,
        server_name: str | None = None,
    ) -> Lease:
        """Send a request and hand out the lease with the head of its response; for those who build clients.

        It is what `Client` does below its headers, redirects and decoding, the replays that are safe included. Read the
        body with `Lease.read`, and release the lease on every way out. Cancelling it leaves nothing behind.

        Args:
            origin: "https://host[:port]".
            method: as sent; upper case by custom.
            target: path and query in wire form, or "*".
            headers: fields in addition to Host and the framing fields, which are added.
            content: the body: bytes, str, a file, or an iterable of bytes.
            trailers: fields after the body, or a function that returns them once the body was sent.
            timeouts: limits of everything up to the body's last byte; the pool's if None.
            retry: when the request is tried again, beside the replays that are always safe; None for never.
            priority: −100 to 100, lower is served first.
            tenant: whose turn it uses up.
            affinity: requests with one key go to one endpoint of the origin. As every origin has one, they do anyway.
            server_name: the name that the server is asked for in TLS, and that its certificate must carry, instead of
                the origin's host. Connections are shared only under one name, and pins of the host hold all the same.

        Raises:
            RequestError: the request could not be answered; see its subclasses and attributes.
            InvalidURL: the origin is no origin, or the server_name no name of a host.
            StreamConsumed: the content can be sent only once, and was.
            ValueError: an argument is out of range.
            TypeError: an argument has the wrong type.
        """
        if priority != 0 or tenant is not None:
            check_place(priority, tenant)
        check_affinity(affinity)
        timeouts = self.timeouts if timeouts is None else check_timeouts(timeouts)
        check_retry(retry)
        where = to_origin(origin)
        if server_name is not None:
            server_name = self._other_name(where, server_name)
        fields = headers.items() if hasattr(headers, "items") else headers
        request = build_request(where, method, target, fields, make_body(content), trailers=make_trailers(trailers))
        with self._timer(timeouts) as timer:
            _, lease = await self._exchange(
                where,
                request,
                timer=timer,
                priority=priority,
                tenant=tenant,
                retry=retry,
                server_name=server_name,
            )
        lease.label = f"{request.method.decode()} {where}{request.target.partition(b'?')[0].decode()}"
        return lease

    def _other_name(self, origin: Origin, server_name: str) -> str | None:
        """The name of a server that a caller gave, None if it is the one that is meant anyway."""
        if not origin.is_secure:
            raise ValueError(f"server_name has no meaning without TLS, and {origin} has none; leave it None")
        declared = self._declared.get(origin)
        usual = (declared.server_name if declared else None) or origin.host
        name = to_server_name(server_name)
        return None if name == usual else name

    async def prewarm(self, origin: str | Origin, count: int) -> None:
        """Open connections until `count` are there, without sending a request.

        At most as many as the limits leave room for at this time are opened, and none is closed for them; those beyond
        `min_idle` expire like any others. Cancelled, it leaves the dials to finish by themselves.

        Raises:
            ConnectError: a dial failed before `count` connections were there.
            PoolTimeout: they were not there within `pool_timeout`.
            PoolClosed: the pool is closed or draining.
            ValueError: `count` is less than 1.
            TypeError: `count` is no int.
        """
        if isinstance(count, bool) or not isinstance(count, int):
            raise TypeError(f"count must be an int, not {count!r}")
        if count < 1:
            raise ValueError(f"count must be at least 1, not {count!r}")
        runner = self._runner
        machine = runner.machine
        endpoint = runner.endpoint(to_origin(origin))
        count = min(count, endpoint.max_connections)
        failed_before = endpoint.counters.dials_failed
        await trio.lowlevel.checkpoint()
        limit = self.config.pool_timeout
        with trio.move_on_after(math.inf if limit is None else limit):
            while True:
                self._refuse_closed()
                if endpoint.counters.dials_failed > failed_before:
                    raise self._dial_error(endpoint)
                room = self.config.max_connections - machine.total
                count = min(count, endpoint.live + len(endpoint.dials) + room)
                machine.prewarm(trio.current_time(), endpoint, count)
                runner.perform()
                if endpoint.live >= count or not endpoint.target:
                    return
                await runner.wait_changed()
        raise PoolTimeout(
            f"{endpoint.live} of {count} connections were there within {limit:g} s",
            last_dial_error=endpoint.health.last_error,
            limit="pool_timeout",
            seconds=limit,
            origin=endpoint.origin,
        )

    def _dial_error(self, endpoint: Endpoint) -> BaseException:
        error = endpoint.health.last_error
        return ConnectError("a dial failed", origin=endpoint.origin) if error is None else own_instance(error)

    def _timer(self, limits: Timeouts) -> PhaseTimer:
        """A timer for one request of a caller who may use the pool: in this run and process, while it is open."""
        return PhaseTimer(limits, self._runner.clock)

    def _chance(self) -> float:
        """A random number from 0 to 1, for jitter."""
        return self._runner.chance()

    def _pause(self, seconds: float) -> Coroutine[Any, Any, bool]:
        """Wait between two requests that belong together; False if the pool's end ended the wait."""
        return self._runner.pause(seconds)

    async def _exchange(
        self,
        origin: Origin,
        request: WireRequest,
        *,
        timer: PhaseTimer,
        priority: int = 0,
        tenant: str | None = None,
        retry: RetryPolicy | None = None,
        server_name: str | None = None,
    ) -> tuple[ResponseHead, Lease]:
        """Acquire, send, read the head; again where `Tries` allows it. The timer is one of `_timer`."""
        runner = self._running
        assert runner is not None
        tries = None if retry is None else Tries(runner, origin, request, retry, server_name)
        fresh = False
        place = 0
        while True:
            await trio.lowlevel.checkpoint_if_cancelled()
            lease = exchange = None
            try:
                taken = runner.take(
                    origin,
                    timer,
                    priority=priority,
                    tenant=tenant,
                    fresh=fresh,
                    stands_for=place,
                    server_name=server_name,
                )
                lease = taken if isinstance(taken, Lease) else await taken
                exchange = lease.begin(timer)
                try:
                    head = await exchange.send(request, timer)
                except BaseException as error:
                    lease.fail(exchange, timer, error)
                    raise
                lease.headed(exchange, timer, head)
                if tries is None:
                    if head.status != MISDIRECTED:
                        return head, lease
                    tries = Tries(runner, origin, request, None, server_name)
                if not tries.goes_on_after(head, exchange, lease, timer):
                    lease.tries = tries
                    return head, lease
            except RequestError as error:
                if request.is_source_of(error):
                    raise
                tries = tries or Tries(runner, origin, request, None, server_name)
                if not tries.goes_on_without(error, exchange, lease, timer):
                    raise
            await tries.pause()
            fresh, place = tries.fresh, tries.place

    # ---- the pool as a whole -------------------------------------------------------------------------------------

    def statistics(self) -> Statistics:
        """Copy the ledger: levels and counters of the pool, of each endpoint, of each connection."""
        return snapshot(self._runner.machine, trio.current_time())

    def explain(self) -> list[Explanation]:
        """Say for each waiter what it waits for."""
        return explain(self._runner.machine, trio.current_time())

    def suspend(self) -> None:
        """Hold new acquires back. Exchanges in flight go on, and deadlines of waiters keep running."""
        self._runner.machine.suspend()

    def resume(self) -> None:
        """Let go after `suspend`."""
        self._runner.machine.resume(trio.current_time())
        self._runner.perform()

    def renew(self) -> None:
        """Retire every connection opened so far: idle ones at once, the others when their exchanges end."""
        self._runner.machine.renew(trio.current_time())
        self._runner.perform()

    def add_instrument(self, instrument: Instrument) -> None:
        """Tell `instrument` of every event from now on. One that raises is logged and removed."""
        self._runner.instruments.add(instrument)
        self._runner.machine.observed = True

    def remove_instrument(self, instrument: Instrument) -> None:
        """Stop telling `instrument`.

        Raises:
            KeyError: it was not added, or it raised and was removed.
        """
        runner = self._runner
        runner.instruments.remove(instrument)
        runner.machine.observed = bool(runner.instruments)

    async def drain(self) -> None:
        """Take no new requests, let those in flight finish for `drain_timeout` seconds, then close.

        Waiters get `PoolClosed` at once. A cancelled drain leaves the pool draining; `aclose` finishes the job.
        """
        runner = self._runner
        runner.ending.set()
        runner.machine.drain(trio.current_time())
        runner.perform()
        with trio.move_on_after(self.config.drain_timeout):
            while runner.machine.total:
                await runner.wait_changed()
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection and end every task of the pool; requests in flight get `PoolClosed`.

        May be repeated, and called in a cancelled scope: everything is closed before the first checkpoint.
        """
        if self._running is None:
            await trio.lowlevel.checkpoint()
            return
        self._running.check_caller()
        self._running.stop()
        with trio.CancelScope(shield=True):
            await self._stopped.wait()
        await trio.lowlevel.checkpoint()

    def _refuse_closed(self) -> None:
        phase = self._runner.machine.phase
        if phase is Phase.DRAINING or phase is Phase.CLOSED:
            raise PoolClosed(f"the pool is {phase.value}", phase="pool")


class Acquire:
    """What `Pool.acquire` returns: an async context manager that yields a `Lease`."""

    __slots__ = ("_lease", "_limits", "_origin", "_priority", "_runner", "_tenant")

    def __init__(self, runner: Runner, origin: Origin, priority: int, tenant: str | None, limits: Timeouts) -> None:
        self._runner = runner
        self._origin = origin
        self._priority = priority
        self._tenant = tenant
        self._limits = limits
        self._lease: Lease | None = None

    async def __aenter__(self) -> Lease:
        if self._lease is not None:
            raise RuntimeError("an acquire is entered once; call pool.acquire again")
        self._runner.check_caller()
        timer = PhaseTimer(self._limits, self._runner.clock)
        await trio.lowlevel.checkpoint_if_cancelled()
        lease = self._runner.take(self._origin, timer, priority=self._priority, tenant=self._tenant)
        self._lease = lease if isinstance(lease, Lease) else await lease
        return self._lease

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._lease is not None
        draining = self._lease.leave()
        if draining is not None:
            await draining.wait()  # noqa: ASYNC102 - a cancellation ends it


def _to_upstreams(upstreams: Sequence[Upstream | str]) -> list[Upstream]:
    if isinstance(upstreams, str | bytes | Upstream) or not isinstance(upstreams, Iterable):
        raise TypeError(f"upstreams must be a list of Upstream or str, not {upstreams!r}")
    declared: list[Upstream] = []
    for one in upstreams:
        if not isinstance(one, Upstream | str):
            raise TypeError(f"upstreams must hold Upstream or str, not {one!r}")
        declared.append(Upstream(one) if isinstance(one, str) else one)
    return declared
